-- Every paid call, once: `key` names the call.
CREATE TABLE ledger (
    key                TEXT    PRIMARY KEY,
    at                 BIGINT  NOT NULL,
    person_id          TEXT    NOT NULL,
    platform           TEXT    NOT NULL,
    chat               TEXT    NOT NULL,
    provider           TEXT    NOT NULL,
    model              TEXT    NOT NULL,
    tool               TEXT    NOT NULL,     -- coach, summary, scrape, analysis, n8n
    input_tokens       BIGINT  NOT NULL,
    cached_tokens      BIGINT  NOT NULL,
    cache_write_tokens BIGINT  NOT NULL,
    output_tokens      BIGINT  NOT NULL,
    reasoning_tokens   BIGINT  NOT NULL,
    micro_usd          BIGINT  NOT NULL,
    price_version      TEXT    NOT NULL,
    estimated          BOOLEAN NOT NULL,
    latency_ms         BIGINT  NOT NULL,
    outcome            TEXT    NOT NULL
);
CREATE INDEX ledger_at ON ledger (at);
