-- How each alert stands that is on its way or was told. What is calm has no row.
CREATE TABLE alerts (
    rule          TEXT   NOT NULL,
    subject       TEXT   NOT NULL,           -- an instance, an upstream, a kind of lane; empty for the whole bot
    raised_at     BIGINT,                    -- when it was told
    turning_since BIGINT,                    -- since when it is to be told, or is over
    since         BIGINT NOT NULL,
    worst         DOUBLE PRECISION NOT NULL,
    seen_at       BIGINT NOT NULL,
    PRIMARY KEY (rule, subject)
);

-- The processes on this database; one that stops takes its row away.
CREATE TABLE instances (
    id         TEXT   PRIMARY KEY,
    name       TEXT   NOT NULL,              -- host:port, the same after a restart
    started_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    measured   TEXT   NOT NULL               -- JSON: what it measured in the last minutes
);

-- Sums of a day (UTC) over all instances.
CREATE TABLE tallies (
    name  TEXT   NOT NULL,                   -- openai_tokens
    day   TEXT   NOT NULL,                   -- 2026-11-24
    value BIGINT NOT NULL,
    PRIMARY KEY (name, day)
);

-- Percent of the budget that the alert chats were told of; what the log was told before this is old.
ALTER TABLE spending ADD COLUMN announced BIGINT NOT NULL DEFAULT 0;
UPDATE spending SET announced = alerted;
CREATE INDEX spending_unannounced ON spending (period) WHERE alerted > announced;
