-- People whom admins keep out at run time, everywhere or in one community.
CREATE TABLE blocks (
    person_id TEXT   NOT NULL REFERENCES people (id),
    guild     TEXT   NOT NULL,               -- discord:613425648685547541, or empty: everywhere
    reason    TEXT   NOT NULL,
    admin     TEXT   NOT NULL,               -- platform:account
    at        BIGINT NOT NULL,
    PRIMARY KEY (person_id, guild)
);

-- Invitations, by the SHA-256 of their code: who reads the database cannot use one.
CREATE TABLE invites (
    code_hash TEXT   PRIMARY KEY,
    uses_left BIGINT NOT NULL CHECK (uses_left >= 0),
    until     BIGINT NOT NULL,
    admin     TEXT   NOT NULL,
    at        BIGINT NOT NULL
);

-- People who came in by an invitation; they stay.
CREATE TABLE admissions (
    person_id TEXT   PRIMARY KEY REFERENCES people (id),
    code_hash TEXT   NOT NULL,
    at        BIGINT NOT NULL
);

-- What is told to somebody only so often: a refusal, a budget that nears its end.
CREATE TABLE notices (
    who   TEXT   NOT NULL,                   -- an account (telegram:42) or a person's id
    what  TEXT   NOT NULL,
    since BIGINT NOT NULL,
    times BIGINT NOT NULL,
    PRIMARY KEY (who, what)
);
CREATE INDEX notices_old ON notices (since);

-- The whole bot pauses while there is a row.
CREATE TABLE pause (
    id     BIGINT PRIMARY KEY CHECK (id = 1),
    reason TEXT   NOT NULL,
    admin  TEXT   NOT NULL,
    at     BIGINT NOT NULL
);

-- Limits that admins have set, over those of the configuration.
CREATE TABLE limits (
    name  TEXT   PRIMARY KEY CHECK (name IN ('spacing', 'waiting', 'line')),
    value BIGINT NOT NULL CHECK (value >= 0)
);

-- The community that a change concerns, whose managers may see it; null: it concerns the bot.
ALTER TABLE audit ADD COLUMN guild TEXT;

-- What a person has asked today and this month.
CREATE INDEX turns_of_person ON turns (person_id, created_at);
