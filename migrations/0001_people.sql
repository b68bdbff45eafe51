-- A person stands apart from the accounts they write from: limits, budgets and memory hang on the person.
CREATE TABLE people (
    id           TEXT   PRIMARY KEY,
    created_at   BIGINT NOT NULL,
    next_reel_at BIGINT NOT NULL DEFAULT 0   -- when the person's next new reel may start
);

CREATE TABLE accounts (
    platform   TEXT   NOT NULL CHECK (platform IN ('discord', 'telegram', 'console')),
    account    TEXT   NOT NULL,              -- the platform's own id
    person_id  TEXT   NOT NULL REFERENCES people (id),
    name       TEXT   NOT NULL,              -- as last seen
    created_at BIGINT NOT NULL,
    PRIMARY KEY (platform, account)
);
CREATE INDEX accounts_of_person ON accounts (person_id);
