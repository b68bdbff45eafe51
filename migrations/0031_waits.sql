-- Times that somebody waits for and that lie too far ahead are looked for once a minute: without these, among all people
-- and all reels.
CREATE INDEX people_next_reel ON people (next_reel_at);
CREATE INDEX reels_failed ON reels (until) WHERE state = 'failed';
