-- How each paid service stands, by what it is asked for: a row appears with the first failure or the first look-up.
CREATE TABLE providers (
    name         TEXT    NOT NULL,           -- openai, apify, gemini, n8n:0
    target       TEXT    NOT NULL,           -- the model or the actor; empty for a webhook
    failing      BOOLEAN NOT NULL,           -- its latest call failed
    trouble      TEXT    NOT NULL CHECK (trouble IN ('', 'credit', 'key', 'gone', 'request')),
    failed_at    BIGINT  NOT NULL,           -- 0: never
    cause        TEXT    NOT NULL,           -- of the latest failure, or of the trouble
    detail       TEXT    NOT NULL,           -- as the log tells it: no text of a person
    reference    TEXT    NOT NULL,           -- under which the failure is noted; until then its turn
    shutdown_on  TEXT,                       -- 2026-12-11: the provider switches the model off
    looked_up_at BIGINT  NOT NULL,           -- when that was last asked
    PRIMARY KEY (name, target)
);

-- How their calls ended, by the minute, so that a share of the last minutes is a sum of few rows.
CREATE TABLE provider_calls (
    minute       BIGINT NOT NULL,            -- its begin
    name         TEXT   NOT NULL,
    calls        BIGINT NOT NULL,
    failed       BIGINT NOT NULL,
    rate_limited BIGINT NOT NULL,            -- among the failed
    PRIMARY KEY (minute, name)
);

-- Sessions of the dashboard that were signed out before their time.
CREATE TABLE ended_sessions (
    session TEXT   PRIMARY KEY,              -- a hash: the cookie cannot be made from it
    until   BIGINT NOT NULL                  -- when it would have ended by itself
);
CREATE INDEX ended_sessions_until ON ended_sessions (until);
