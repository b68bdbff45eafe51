-- Places where the bot was spoken to; what Discord's catch-up after a restart reads.
CREATE TABLE chats (
    id           TEXT    PRIMARY KEY,        -- platform:key
    platform     TEXT    NOT NULL CHECK (platform IN ('discord', 'telegram', 'console')),
    last_message TEXT,                       -- newest message id stored from there
    last_at      BIGINT  NOT NULL,
    spoken       BOOLEAN NOT NULL            -- the bot has said something there
);
CREATE INDEX chats_recent ON chats (platform, last_at);

-- One row is one owed answer. `due_at` is when the row next needs somebody: now, the end of the lease
-- of whoever works on it, or never while an earlier turn of the same person and chat is open.
CREATE TABLE turns (
    id              TEXT    PRIMARY KEY,
    kind            TEXT    NOT NULL CHECK (kind IN ('talk', 'reel')),
    state           TEXT    NOT NULL CHECK (state IN ('open', 'answered', 'closed')),
    person_id       TEXT    NOT NULL REFERENCES people (id),
    chat            TEXT    NOT NULL,
    subscription_id TEXT,                    -- kind reel: whose reel it is about
    reply_to        TEXT,                    -- message id in `chat`
    placeholder     TEXT,                    -- message id to edit instead of sending
    merge_until     BIGINT  NOT NULL,        -- until then further messages join this turn
    inputs          BIGINT  NOT NULL,        -- messages in it
    aside           BOOLEAN NOT NULL,        -- answered beside the talk: waits for no turn, and none waits for it
    sealed          BOOLEAN NOT NULL,        -- output has begun: nothing joins any more
    due_at          BIGINT  NOT NULL,
    attempt         BIGINT  NOT NULL,
    leased_by       TEXT,
    shown           TEXT    NOT NULL,        -- JSON: ids of the messages that show the answer, in order
    answer          TEXT,                    -- JSON body, once it is known
    outcome         TEXT    CHECK (outcome IN ('answered', 'silent', 'undeliverable')),
    created_at      BIGINT  NOT NULL,
    closed_at       BIGINT
);
CREATE INDEX turns_due ON turns (due_at, id) WHERE state <> 'closed';
CREATE INDEX turns_open ON turns (person_id, chat, id) WHERE state <> 'closed' AND NOT aside;

-- Everything a person did, under the key by which a second delivery is recognised.
CREATE TABLE inbox (
    chat        TEXT   NOT NULL,
    message     TEXT   NOT NULL,
    turn_id     TEXT   NOT NULL REFERENCES turns (id),
    payload     TEXT   NOT NULL,             -- JSON, emptied when the turn closes
    received_at BIGINT NOT NULL,
    PRIMARY KEY (chat, message)
);
CREATE INDEX inbox_of_turn ON inbox (turn_id);

-- Memory, per person and place.
CREATE TABLE conversations (
    id            TEXT   PRIMARY KEY,
    person_id     TEXT   NOT NULL REFERENCES people (id),
    chat          TEXT   NOT NULL,
    started_at    BIGINT NOT NULL,
    ended_at      BIGINT,
    summary       TEXT   NOT NULL,
    summary_until TEXT   NOT NULL            -- the last message id that the summary covers
);
CREATE UNIQUE INDEX conversations_current ON conversations (person_id, chat) WHERE ended_at IS NULL;

CREATE TABLE messages (
    id              TEXT   PRIMARY KEY,
    conversation_id TEXT   NOT NULL REFERENCES conversations (id),
    turn_id         TEXT   NOT NULL,
    role            TEXT   NOT NULL CHECK (role IN ('person', 'coach', 'reel')),
    content         TEXT   NOT NULL,
    at              BIGINT NOT NULL
);
CREATE INDEX messages_of_conversation ON messages (conversation_id, id);
