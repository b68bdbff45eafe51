-- The newest migration that a program must know to work on these tables. A migration that only adds leaves it as it is.
CREATE TABLE compatibility (
    id            BIGINT PRIMARY KEY CHECK (id = 1),
    readable_from BIGINT NOT NULL
);
INSERT INTO compatibility (id, readable_from) VALUES (1, 20);

-- Written to see whether the database takes writes.
CREATE TABLE write_check (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    at BIGINT NOT NULL
);

-- The instance that makes a call: once it is known to be gone, nobody will settle what is reserved. Null where nobody can
-- know: the instance writes no heartbeat, or is of an older release.
ALTER TABLE ledger ADD COLUMN instance TEXT;
