-- Groups that became supergroups: the same chat under a new id. Every row points to the latest id, however often it changed.
CREATE TABLE moved_chats (
    old_id    TEXT    PRIMARY KEY,           -- telegram:-5001
    new_id    TEXT    NOT NULL,
    at        BIGINT  NOT NULL,
    announced BOOLEAN NOT NULL               -- the alert chats were told
);
CREATE INDEX moved_chats_new ON moved_chats (new_id);
CREATE INDEX moved_chats_unannounced ON moved_chats (at) WHERE NOT announced;

-- What the managers of a server have set for it. It only lowers what the server is granted: by `budgets`, or the configuration.
CREATE TABLE lowered_budgets (
    scope     TEXT   NOT NULL,               -- guild:discord:613425648685547541
    span      TEXT   NOT NULL CHECK (span IN ('day', 'month')),
    micro_usd BIGINT NOT NULL,
    PRIMARY KEY (scope, span)
);

-- Whether who runs the bot set a budget. Of a server's budget that was set before this it is only known where the one who set
-- it has also changed something of the whole bot, which managers cannot; any other one counts as its managers'.
ALTER TABLE budgets ADD COLUMN by_owner BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE budgets SET by_owner = TRUE WHERE scope NOT LIKE 'guild:%' OR EXISTS (
    SELECT 1 FROM audit a WHERE a.change LIKE 'budget of ' || budgets.scope || ' for a ' || budgets.span || ':%'
    AND a.id = (SELECT MAX(l.id) FROM audit l WHERE l.change LIKE 'budget of ' || budgets.scope || ' for a ' || budgets.span || ':%')
    AND EXISTS (SELECT 1 FROM audit o WHERE o.admin = a.admin AND o.guild IS NULL)
);
