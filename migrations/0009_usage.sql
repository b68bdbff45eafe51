-- What was used and what it cost, summed up in the transaction that writes the thing itself: a report over a year reads
-- these, never the ledger, and stays right when old ledger rows are deleted. Days are counted since 1970-01-01, UTC; a
-- call belongs to the day on which it began. Reserved calls are not in here until they have ended.

-- By what was called. Rows with an empty guild are sums over everything; beside them each community has its own.
CREATE TABLE usage_models (
    guild              TEXT   NOT NULL,
    day                BIGINT NOT NULL,
    platform           TEXT   NOT NULL,
    provider           TEXT   NOT NULL,
    model              TEXT   NOT NULL,
    tool               TEXT   NOT NULL,
    calls              BIGINT NOT NULL,
    failed             BIGINT NOT NULL,      -- neither ok nor cancelled
    input_tokens       BIGINT NOT NULL,
    cached_tokens      BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    output_tokens      BIGINT NOT NULL,
    reasoning_tokens   BIGINT NOT NULL,
    micro_usd          BIGINT NOT NULL,
    PRIMARY KEY (guild, day, platform, provider, model, tool)
);

-- By who asked where. `days` is how many a row sums up: 1, or 28 from a multiple of 28 on, so that a year of many people
-- is 13 rows of each and not 365. The guild is empty where the chat belongs to none.
CREATE TABLE usage_places (
    days               BIGINT NOT NULL,
    first_day          BIGINT NOT NULL,
    person_id          TEXT   NOT NULL,
    chat               TEXT   NOT NULL,
    guild              TEXT   NOT NULL,
    calls              BIGINT NOT NULL,
    failed             BIGINT NOT NULL,
    input_tokens       BIGINT NOT NULL,
    cached_tokens      BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    output_tokens      BIGINT NOT NULL,
    reasoning_tokens   BIGINT NOT NULL,
    micro_usd          BIGINT NOT NULL,
    PRIMARY KEY (days, first_day, person_id, chat, guild)
);
CREATE INDEX usage_places_of_guild ON usage_places (guild, days, first_day) WHERE guild <> '';

-- How often something happened: turns by outcome, answers by source, reels asked for and read, tools of the model.
CREATE TABLE usage_counts (
    guild    TEXT   NOT NULL,                -- as in usage_models
    day      BIGINT NOT NULL,
    platform TEXT   NOT NULL,
    what     TEXT   NOT NULL,                -- talk, reel, source, request, job, tool
    outcome  TEXT   NOT NULL,
    count    BIGINT NOT NULL,
    PRIMARY KEY (guild, day, platform, what, outcome)
);

-- How long something took, as a histogram whose bounds the program declares once (store, usage): adding rows of any days
-- gives theirs.
CREATE TABLE usage_times (
    guild  TEXT   NOT NULL,                  -- as in usage_models
    day    BIGINT NOT NULL,
    what   TEXT   NOT NULL,                  -- first_text, answer, wait
    bucket BIGINT NOT NULL,
    count  BIGINT NOT NULL,
    PRIMARY KEY (guild, day, what, bucket)
);

-- What stands in the ledger already.
INSERT INTO usage_models
SELECT '', at / 86400000, platform, provider, model, tool, COUNT(*),
       SUM(CASE WHEN outcome IN ('ok', 'cancelled') THEN 0 ELSE 1 END), CAST(SUM(input_tokens) AS BIGINT),
       CAST(SUM(cached_tokens) AS BIGINT), CAST(SUM(cache_write_tokens) AS BIGINT), CAST(SUM(output_tokens) AS BIGINT),
       CAST(SUM(reasoning_tokens) AS BIGINT), CAST(SUM(micro_usd) AS BIGINT)
FROM ledger WHERE outcome <> 'started' GROUP BY 1, 2, 3, 4, 5, 6;

INSERT INTO usage_models
SELECT guild, at / 86400000, platform, provider, model, tool, COUNT(*),
       SUM(CASE WHEN outcome IN ('ok', 'cancelled') THEN 0 ELSE 1 END), CAST(SUM(input_tokens) AS BIGINT),
       CAST(SUM(cached_tokens) AS BIGINT), CAST(SUM(cache_write_tokens) AS BIGINT), CAST(SUM(output_tokens) AS BIGINT),
       CAST(SUM(reasoning_tokens) AS BIGINT), CAST(SUM(micro_usd) AS BIGINT)
FROM ledger WHERE outcome <> 'started' AND guild IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6;

INSERT INTO usage_places
SELECT 1, at / 86400000, person_id, chat, COALESCE(guild, ''), COUNT(*),
       SUM(CASE WHEN outcome IN ('ok', 'cancelled') THEN 0 ELSE 1 END), CAST(SUM(input_tokens) AS BIGINT),
       CAST(SUM(cached_tokens) AS BIGINT), CAST(SUM(cache_write_tokens) AS BIGINT), CAST(SUM(output_tokens) AS BIGINT),
       CAST(SUM(reasoning_tokens) AS BIGINT), CAST(SUM(micro_usd) AS BIGINT)
FROM ledger WHERE outcome <> 'started' GROUP BY 1, 2, 3, 4, 5;

INSERT INTO usage_places
SELECT 28, first_day / 28 * 28, person_id, chat, guild, CAST(SUM(calls) AS BIGINT), CAST(SUM(failed) AS BIGINT),
       CAST(SUM(input_tokens) AS BIGINT), CAST(SUM(cached_tokens) AS BIGINT), CAST(SUM(cache_write_tokens) AS BIGINT),
       CAST(SUM(output_tokens) AS BIGINT), CAST(SUM(reasoning_tokens) AS BIGINT), CAST(SUM(micro_usd) AS BIGINT)
FROM usage_places WHERE days = 1 GROUP BY 1, 2, 3, 4, 5;

-- What stands in the turns, the wishes and the jobs, as far as they are still kept. How long they took is not filled in.
INSERT INTO usage_counts
SELECT '', t.closed_at / 86400000, c.platform, t.kind, t.outcome, COUNT(*) FROM turns t JOIN chats c ON c.id = t.chat
WHERE t.state = 'closed' AND t.closed_at IS NOT NULL AND t.outcome IS NOT NULL GROUP BY 1, 2, 3, 4, 5;

INSERT INTO usage_counts
SELECT c.guild, t.closed_at / 86400000, c.platform, t.kind, t.outcome, COUNT(*) FROM turns t JOIN chats c ON c.id = t.chat
WHERE t.state = 'closed' AND t.closed_at IS NOT NULL AND t.outcome IS NOT NULL AND c.guild IS NOT NULL
GROUP BY 1, 2, 3, 4, 5;

-- The sums of budgets did not know what was spent before they were kept. With them they are the ledger's: every call,
-- the reserved ones among them. Dates are made from days as in Howard Hinnant's `civil_from_days`.
INSERT INTO spending (scope, period, micro_usd, alerted)
WITH calls AS (
    SELECT platform, chat, person_id, guild, at / 86400000 + 719468 AS z, micro_usd FROM ledger
), eras AS (
    SELECT calls.*, z / 146097 AS era, z - z / 146097 * 146097 AS doe FROM calls
), years AS (
    SELECT eras.*, (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365 AS yoe FROM eras
), days AS (
    SELECT years.*, doe - (365 * yoe + yoe / 4 - yoe / 100) AS doy FROM years
), parts AS (
    SELECT days.*, (5 * doy + 2) / 153 AS mp FROM days
), dates AS (
    SELECT parts.*, doy - (153 * mp + 2) / 5 + 1 AS d, CASE WHEN mp < 10 THEN mp + 3 ELSE mp - 9 END AS m,
           yoe + era * 400 + CASE WHEN mp < 10 THEN 0 ELSE 1 END AS y FROM parts
), named AS (
    SELECT platform, chat, person_id, guild, micro_usd,
           CAST(y AS TEXT) || '-' || SUBSTR('0' || CAST(m AS TEXT), LENGTH(CAST(m AS TEXT)), 2) AS month,
           SUBSTR('0' || CAST(d AS TEXT), LENGTH(CAST(d AS TEXT)), 2) AS day FROM dates
), summed AS (
    SELECT 'bot' AS scope, month || '-' || day AS period, micro_usd FROM named
    UNION ALL SELECT 'bot', month, micro_usd FROM named
    UNION ALL SELECT 'platform:' || platform, month, micro_usd FROM named
    UNION ALL SELECT 'chat:' || chat, month, micro_usd FROM named
    UNION ALL SELECT 'person:' || person_id, month || '-' || day, micro_usd FROM named
    UNION ALL SELECT 'person:' || person_id, month, micro_usd FROM named
    UNION ALL SELECT 'guild:' || guild, month, micro_usd FROM named WHERE guild IS NOT NULL
)
SELECT scope, period, CAST(SUM(micro_usd) AS BIGINT), 0 FROM summed GROUP BY scope, period
ON CONFLICT (scope, period) DO UPDATE SET micro_usd = excluded.micro_usd;
