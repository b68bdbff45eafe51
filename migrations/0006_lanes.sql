-- What is known of a lane beside the job on it, which the running job's own row tells.
CREATE TABLE lanes (
    name    TEXT    PRIMARY KEY,             -- direct:0, n8n:1
    paused  BOOLEAN NOT NULL,                -- by an admin: it takes no job
    used_at BIGINT  NOT NULL                 -- when it last took one: the n8n lanes take turns
);

-- The circuit breaker of an upstream, which all its lanes share: `direct`, or one n8n webhook.
CREATE TABLE breakers (
    upstream   TEXT   PRIMARY KEY,           -- direct, n8n:1
    failures   BIGINT NOT NULL,              -- in a row
    trips      BIGINT NOT NULL,              -- how often it opened since it last worked
    open_until BIGINT NOT NULL,              -- nothing starts before; 0 while it is closed
    cause      TEXT   NOT NULL,              -- of the last failure
    reference  TEXT   NOT NULL,              -- under which the log has it
    failed_at  BIGINT NOT NULL
);

-- The line as a whole, in one row. `waiting` is how many jobs are queued: counting them would take longer the more they are.
CREATE TABLE line (
    id       BIGINT  PRIMARY KEY CHECK (id = 1),
    waiting  BIGINT  NOT NULL,
    draining BOOLEAN NOT NULL                -- by an admin: no new reel is taken
);
INSERT INTO line (id, waiting, draining) SELECT 1, COUNT(*), FALSE FROM jobs WHERE state = 'queued';

-- The upstream on which a job last failed: another one is preferred from then on.
ALTER TABLE jobs ADD COLUMN failed_on TEXT;
-- When a job that failed is tried again; 0 if it has not. Its place in the line stays.
ALTER TABLE jobs ADD COLUMN not_before BIGINT NOT NULL DEFAULT 0;
-- What an admin sees of the latest failures.
CREATE INDEX jobs_failed ON jobs (finished_at) WHERE state = 'failed';

-- Each person's own, however many others there are and however much they have asked for.
CREATE INDEX boards_of_person ON boards (person_id, id) WHERE state = 'open';
CREATE INDEX subscriptions_wished ON subscriptions (person_id, id) WHERE state = 'waiting';
DROP INDEX subscriptions_of_job;
CREATE INDEX subscriptions_of_job ON subscriptions (job_id, person_id, id);

-- What is old enough to be deleted, without looking at what is not.
CREATE INDEX turns_old ON turns (closed_at) WHERE state = 'closed';
CREATE INDEX subscriptions_old ON subscriptions (created_at) WHERE state IN ('answered', 'cancelled');
CREATE INDEX boards_old ON boards (created_at) WHERE state = 'closed';
CREATE INDEX jobs_old ON jobs (finished_at) WHERE state IN ('done', 'failed', 'cancelled');
CREATE INDEX reels_old ON reels (until);
CREATE INDEX conversations_old ON conversations (ended_at) WHERE ended_at IS NOT NULL;
