-- What each scope has spent in each period, what is only reserved among it. Kept in the transaction that writes the ledger
-- row, so that a budget is one row to look at and holds exactly.
CREATE TABLE spending (
    scope     TEXT   NOT NULL,               -- bot, platform:discord, chat:discord:17, person:0192…
    period    TEXT   NOT NULL,               -- a day (2026-11-24) or a month (2026-11), UTC
    micro_usd BIGINT NOT NULL,
    alerted   BIGINT NOT NULL,               -- percent of the budget that the operator was told of
    PRIMARY KEY (scope, period)
);

-- Budgets that admins have set, over those of the configuration.
CREATE TABLE budgets (
    scope     TEXT   NOT NULL,               -- a scope, or one of its kind for all of them: person, chat, platform
    span      TEXT   NOT NULL CHECK (span IN ('day', 'month')),
    micro_usd BIGINT,                        -- null: none
    PRIMARY KEY (scope, span)
);

-- When a reservation whose call never ended is given up; null once the call has ended.
ALTER TABLE ledger ADD COLUMN reserved_until BIGINT;
CREATE INDEX ledger_reserved ON ledger (reserved_until) WHERE reserved_until IS NOT NULL;

-- What admins have changed.
CREATE TABLE audit (
    id     TEXT   PRIMARY KEY,               -- sorts by time
    at     BIGINT NOT NULL,
    admin  TEXT   NOT NULL,                  -- platform:account
    change TEXT   NOT NULL                   -- the command as it was understood
);
