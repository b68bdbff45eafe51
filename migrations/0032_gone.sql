-- How often whoever answered a turn ended in the middle of it: such a turn may be what ends them.
ALTER TABLE turns ADD COLUMN holders_lost BIGINT NOT NULL DEFAULT 0;

-- Since when nothing that the bot says arrives in a chat (it was removed, blocked, or may not write there; the chat was
-- deleted); null: it arrives, as far as is known.
ALTER TABLE chats ADD COLUMN gone_since BIGINT;
CREATE INDEX chats_of_guild ON chats (guild) WHERE guild IS NOT NULL;

-- A closed board that still shows an old state, because its chat was gone: brought up to date when the bot is back.
ALTER TABLE boards ADD COLUMN outdated BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX boards_outdated ON boards (chat) WHERE outdated;

-- Reels that are waited for in a chat.
CREATE INDEX subscriptions_waiting ON subscriptions (chat) WHERE state = 'waiting';
