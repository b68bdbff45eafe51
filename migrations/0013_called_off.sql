-- Calls that ended because nobody wanted them any more say nothing about how many work: they are counted apart. What
-- stands in the ledger already is filled in, as far as it is kept.
ALTER TABLE usage_models ADD COLUMN called_off BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_places ADD COLUMN called_off BIGINT NOT NULL DEFAULT 0;

INSERT INTO usage_models (guild, day, platform, provider, model, tool, calls, failed, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, called_off)
SELECT '', at / 86400000, platform, provider, model, tool, 0, 0, 0, 0, 0, 0, 0, 0, COUNT(*)
FROM ledger WHERE outcome = 'cancelled' GROUP BY 1, 2, 3, 4, 5, 6
ON CONFLICT (guild, day, platform, provider, model, tool) DO UPDATE SET called_off = excluded.called_off;

INSERT INTO usage_models (guild, day, platform, provider, model, tool, calls, failed, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, called_off)
SELECT guild, at / 86400000, platform, provider, model, tool, 0, 0, 0, 0, 0, 0, 0, 0, COUNT(*)
FROM ledger WHERE outcome = 'cancelled' AND guild IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6
ON CONFLICT (guild, day, platform, provider, model, tool) DO UPDATE SET called_off = excluded.called_off;

INSERT INTO usage_places (days, first_day, person_id, chat, guild, calls, failed, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, called_off)
SELECT 1, at / 86400000, person_id, chat, COALESCE(guild, ''), 0, 0, 0, 0, 0, 0, 0, 0, COUNT(*)
FROM ledger WHERE outcome = 'cancelled' GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (days, first_day, person_id, chat, guild) DO UPDATE SET called_off = excluded.called_off;

INSERT INTO usage_places (days, first_day, person_id, chat, guild, calls, failed, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, called_off)
SELECT 28, first_day / 28 * 28, person_id, chat, guild, 0, 0, 0, 0, 0, 0, 0, 0, CAST(SUM(called_off) AS BIGINT)
FROM usage_places WHERE days = 1 AND called_off > 0 GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (days, first_day, person_id, chat, guild) DO UPDATE SET called_off = excluded.called_off;
