-- What is set aside for calls under way is told apart from what is spent: budget marks go by what is spent. A release
-- before this one leaves both at 0, so that what it sets aside counts as spent.
ALTER TABLE spending ADD COLUMN reserved BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN reserved BIGINT NOT NULL DEFAULT 0;     -- this call's part of spending.reserved

-- When the provider is asked again what a call cost, because its first word is not final; null: it is, or nobody can tell.
ALTER TABLE ledger ADD COLUMN confirm_at BIGINT;
ALTER TABLE ledger ADD COLUMN confirm_tries BIGINT NOT NULL DEFAULT 0;
CREATE INDEX ledger_to_confirm ON ledger (confirm_at) WHERE confirm_at IS NOT NULL;

-- The look for new marks goes by scope and period; an index on the period alone was not taken for it.
CREATE INDEX spending_marks ON spending (scope, period) WHERE alerted > announced;
DROP INDEX spending_unannounced;

-- The estimated part of the sums. The ledger may be long, and changing the tables of sums keeps everybody from them: so it
-- is read once, before.
CREATE TEMPORARY TABLE calls_estimated AS
SELECT at / 86400000 AS day, platform, provider, model, tool, person_id, chat, COALESCE(guild, '') AS guild,
       CAST(SUM(micro_usd) AS BIGINT) AS micro_usd
FROM ledger WHERE estimated AND outcome <> 'started' GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;

ALTER TABLE usage_models ADD COLUMN estimated_micro_usd BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_places ADD COLUMN estimated_micro_usd BIGINT NOT NULL DEFAULT 0;

INSERT INTO usage_models (guild, day, platform, provider, model, tool, calls, failed, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, estimated_micro_usd)
SELECT '', day, platform, provider, model, tool, 0, 0, 0, 0, 0, 0, 0, 0, CAST(SUM(micro_usd) AS BIGINT)
FROM calls_estimated WHERE TRUE GROUP BY 1, 2, 3, 4, 5, 6
ON CONFLICT (guild, day, platform, provider, model, tool) DO UPDATE SET estimated_micro_usd = excluded.estimated_micro_usd;

INSERT INTO usage_models (guild, day, platform, provider, model, tool, calls, failed, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, estimated_micro_usd)
SELECT guild, day, platform, provider, model, tool, 0, 0, 0, 0, 0, 0, 0, 0, CAST(SUM(micro_usd) AS BIGINT)
FROM calls_estimated WHERE guild <> '' GROUP BY 1, 2, 3, 4, 5, 6
ON CONFLICT (guild, day, platform, provider, model, tool) DO UPDATE SET estimated_micro_usd = excluded.estimated_micro_usd;

INSERT INTO usage_places (days, first_day, person_id, chat, guild, calls, failed, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, estimated_micro_usd)
SELECT 1, day, person_id, chat, guild, 0, 0, 0, 0, 0, 0, 0, 0, CAST(SUM(micro_usd) AS BIGINT)
FROM calls_estimated WHERE TRUE GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (days, first_day, person_id, chat, guild) DO UPDATE SET estimated_micro_usd = excluded.estimated_micro_usd;

INSERT INTO usage_places (days, first_day, person_id, chat, guild, calls, failed, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, estimated_micro_usd)
SELECT 28, day / 28 * 28, person_id, chat, guild, 0, 0, 0, 0, 0, 0, 0, 0, CAST(SUM(micro_usd) AS BIGINT)
FROM calls_estimated WHERE TRUE GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (days, first_day, person_id, chat, guild) DO UPDATE SET estimated_micro_usd = excluded.estimated_micro_usd;

DROP TABLE calls_estimated;
