-- The reels that failed in a row on an upstream, and whose they were: neither one reel nor one person's reels are enough to
-- take the upstream out of use. A success empties it.
CREATE TABLE breaker_reels (
    upstream  TEXT   NOT NULL,
    shortcode TEXT   NOT NULL,
    person_id TEXT   NOT NULL,
    at        BIGINT NOT NULL,
    PRIMARY KEY (upstream, shortcode)
);

-- The upstream has asked to wait until then (429 with a time): no failure.
ALTER TABLE breakers ADD COLUMN held_until BIGINT NOT NULL DEFAULT 0;
-- Its quota of the day is used up until then; 0 if it is not.
ALTER TABLE breakers ADD COLUMN quota_until BIGINT NOT NULL DEFAULT 0;

-- When work on a job began, moved on by the times in which nobody could work on it: its deadline counts from here.
ALTER TABLE jobs ADD COLUMN began_at BIGINT;
-- An earlier attempt has or may have cost something.
ALTER TABLE jobs ADD COLUMN bought BOOLEAN NOT NULL DEFAULT FALSE;

-- This person's budget did not cover the job: it does not become theirs again.
ALTER TABLE subscriptions ADD COLUMN unfunded BOOLEAN NOT NULL DEFAULT FALSE;
