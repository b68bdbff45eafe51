-- What failed under which reference code: an operator who is told a code finds the cause by it. No text of a person.
CREATE TABLE failures (
    reference TEXT   PRIMARY KEY,
    at        BIGINT NOT NULL,
    part      TEXT   NOT NULL,               -- answer, reel
    subject   TEXT   NOT NULL,               -- the turn's id, the reel's code
    cause     TEXT   NOT NULL,               -- in one word, as the ledger and the metrics have it
    detail    TEXT   NOT NULL                -- as the log tells it
);
CREATE INDEX failures_at ON failures (at);
