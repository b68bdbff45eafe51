-- How many messages a person has sent in the current minute. One row for each person, overwritten.
CREATE TABLE message_rates (
    person_id TEXT    PRIMARY KEY REFERENCES people (id),
    since     BIGINT  NOT NULL,              -- when the minute began
    messages  BIGINT  NOT NULL,              -- in it, the first one that was refused included
    told      BOOLEAN NOT NULL               -- the person was told that they are too fast
);

-- A send of the answer may be on screen without its id being noted: whoever had the turn was lost, or a send had an unknown
-- outcome. A turn that was given back in good order is not.
ALTER TABLE turns ADD COLUMN unsure BOOLEAN NOT NULL DEFAULT FALSE;

-- What is answered beside the talk, one at a time for a person and chat.
CREATE INDEX turns_aside ON turns (person_id, chat, id) WHERE state = 'open' AND aside;

-- How many turns are under lease, in a chat and for a person.
CREATE INDEX turns_leased_in_chat ON turns (chat, due_at) WHERE state <> 'closed' AND leased_by IS NOT NULL;
CREATE INDEX turns_leased_for_person ON turns (person_id, due_at) WHERE state <> 'closed' AND leased_by IS NOT NULL;
