-- They were kept while the first message of any conversation was taken for a common question: some tell of a person.
DELETE FROM answers;

-- Secrets of this database's own, made once.
CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Who lately asked a question that may turn out to be common; no text, and nobody can be found in two rows of it.
CREATE TABLE askers (
    question TEXT   NOT NULL,                -- keyed hash of the question
    asker    TEXT   NOT NULL,                -- keyed hash of the person and the question
    asked_at BIGINT NOT NULL,
    PRIMARY KEY (question, asker)
);
CREATE INDEX askers_old ON askers (asked_at);

-- Whether a question has the same good answer for everyone; lives as long as somebody asks it.
CREATE TABLE verdicts (
    question  TEXT    PRIMARY KEY,           -- keyed hash of the question
    shareable BOOLEAN NOT NULL
);

-- Turns whose question is asked once more by the button under their answer.
CREATE TABLE retries (
    turn_id         TEXT    PRIMARY KEY,
    person_id       TEXT    NOT NULL,
    chat            TEXT    NOT NULL,
    conversation_id TEXT    NOT NULL,
    first_line      TEXT    NOT NULL,        -- ids of what it left in the memory, from
    last_line       TEXT    NOT NULL,        -- to
    failed          BOOLEAN NOT NULL,        -- it had no answer; if false, one that was given before
    taken_by        TEXT,                    -- the turn that asks again
    at              BIGINT  NOT NULL
);
CREATE INDEX retries_of_person ON retries (person_id, chat, turn_id);
CREATE INDEX retries_at ON retries (at);

-- Whether somebody waits for a reel in a chat.
CREATE INDEX subscriptions_open ON subscriptions (person_id, chat) WHERE state IN ('waiting', 'answering');
