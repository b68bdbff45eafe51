-- What is known of a reel, good or bad, until it is too old to be used.
CREATE TABLE reels (
    shortcode TEXT   PRIMARY KEY,
    pipeline  BIGINT NOT NULL,               -- version of the pipeline that made it
    state     TEXT   NOT NULL CHECK (state IN ('done', 'failed')),
    content   TEXT   NOT NULL,               -- JSON: the reel, or why it failed
    at        BIGINT NOT NULL,
    until     BIGINT NOT NULL
);

-- One run of the pipeline. Order is (ready_at, id) among the queued.
CREATE TABLE jobs (
    id           TEXT    PRIMARY KEY,
    shortcode    TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    phase        TEXT    NOT NULL CHECK (phase IN ('waiting', 'scraping', 'analysing')),
    asked_by     TEXT    NOT NULL REFERENCES people (id),  -- whose 30 s it took
    slot_at      BIGINT,                     -- its place in their spacing; null once that was given back
    ready_at     BIGINT  NOT NULL,           -- not before then
    lane         TEXT,                       -- direct:0, n8n:1: a running job's row is its lane's lease
    lane_kind    TEXT    CHECK (lane_kind IN ('direct', 'n8n')),
    attempt      BIGINT  NOT NULL,
    leased_by    TEXT,
    leased_until BIGINT  NOT NULL,
    run_id       TEXT,                       -- the Apify run that is already paid for
    cancel       BOOLEAN NOT NULL,
    failure      TEXT,
    created_at   BIGINT  NOT NULL,
    started_at   BIGINT,
    finished_at  BIGINT
);
CREATE UNIQUE INDEX jobs_live ON jobs (shortcode) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_ready ON jobs (ready_at, id) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (lane) WHERE state = 'running';
CREATE INDEX jobs_slots ON jobs (asked_by, slot_at) WHERE slot_at IS NOT NULL;
CREATE INDEX jobs_queued_by ON jobs (asked_by) WHERE state = 'queued';
CREATE INDEX jobs_recent ON jobs (lane_kind, finished_at) WHERE state = 'done';

-- One message on screen for a person's waiting reels.
CREATE TABLE boards (
    id            TEXT   PRIMARY KEY,
    state         TEXT   NOT NULL CHECK (state IN ('open', 'closed')),
    person_id     TEXT   NOT NULL REFERENCES people (id),
    chat          TEXT   NOT NULL,
    reply_to      TEXT,
    placeholder   TEXT,
    note          TEXT   NOT NULL,           -- said once, above the lines
    message       TEXT,                      -- its message id, once posted
    posted_at     BIGINT,
    shown         TEXT   NOT NULL,           -- the words on screen
    posting_until BIGINT NOT NULL,           -- somebody is posting it until then
    created_at    BIGINT NOT NULL
);
CREATE INDEX boards_open ON boards (id) WHERE state = 'open';

-- Who wants to hear of a job.
CREATE TABLE subscriptions (
    id         TEXT   PRIMARY KEY,
    state      TEXT   NOT NULL CHECK (state IN ('waiting', 'answering', 'answered', 'cancelled')),
    job_id     TEXT   REFERENCES jobs (id),  -- null: answered from what was known
    shortcode  TEXT   NOT NULL,
    board_id   TEXT   NOT NULL REFERENCES boards (id),
    person_id  TEXT   NOT NULL REFERENCES people (id),
    chat       TEXT   NOT NULL,
    turn_id    TEXT   NOT NULL,              -- the turn that asked
    reply_to   TEXT,                         -- the message that asked
    question   TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (turn_id, shortcode)
);
CREATE INDEX subscriptions_of_job ON subscriptions (job_id);
CREATE INDEX subscriptions_of_board ON subscriptions (board_id);
CREATE INDEX subscriptions_of_person ON subscriptions (person_id, id);
