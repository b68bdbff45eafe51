-- The longest text of an answer that may stand on screen, in the platform's units: whoever goes on with the turn shows
-- nothing shorter before the answer is complete. 0 where an earlier release has shown it: that is not known.
ALTER TABLE turns ADD COLUMN shown_length BIGINT NOT NULL DEFAULT 0;
