-- Calls that ended because nobody wanted them any more say nothing about how many work: they are counted apart. What
-- stands in the ledger already is filled in, as far as it is kept. The ledger may be long, and changing the tables of sums
-- keeps everybody from them: so it is read once, before.
CREATE TEMPORARY TABLE calls_called_off AS
SELECT at / 86400000 AS day, platform, provider, model, tool, person_id, chat, COALESCE(guild, '') AS guild, COUNT(*) AS called_off
FROM ledger WHERE outcome = 'cancelled' GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;

ALTER TABLE usage_models ADD COLUMN called_off BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_places ADD COLUMN called_off BIGINT NOT NULL DEFAULT 0;

INSERT INTO usage_models (guild, day, platform, provider, model, tool, calls, failed, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, called_off)
SELECT '', day, platform, provider, model, tool, 0, 0, 0, 0, 0, 0, 0, 0, CAST(SUM(called_off) AS BIGINT)
FROM calls_called_off WHERE TRUE GROUP BY 1, 2, 3, 4, 5, 6
ON CONFLICT (guild, day, platform, provider, model, tool) DO UPDATE SET called_off = excluded.called_off;

INSERT INTO usage_models (guild, day, platform, provider, model, tool, calls, failed, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, called_off)
SELECT guild, day, platform, provider, model, tool, 0, 0, 0, 0, 0, 0, 0, 0, CAST(SUM(called_off) AS BIGINT)
FROM calls_called_off WHERE guild <> '' GROUP BY 1, 2, 3, 4, 5, 6
ON CONFLICT (guild, day, platform, provider, model, tool) DO UPDATE SET called_off = excluded.called_off;

INSERT INTO usage_places (days, first_day, person_id, chat, guild, calls, failed, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, called_off)
SELECT 1, day, person_id, chat, guild, 0, 0, 0, 0, 0, 0, 0, 0, CAST(SUM(called_off) AS BIGINT)
FROM calls_called_off WHERE TRUE GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (days, first_day, person_id, chat, guild) DO UPDATE SET called_off = excluded.called_off;

INSERT INTO usage_places (days, first_day, person_id, chat, guild, calls, failed, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, called_off)
SELECT 28, day / 28 * 28, person_id, chat, guild, 0, 0, 0, 0, 0, 0, 0, 0, CAST(SUM(called_off) AS BIGINT)
FROM calls_called_off WHERE TRUE GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (days, first_day, person_id, chat, guild) DO UPDATE SET called_off = excluded.called_off;

DROP TABLE calls_called_off;
