-- Roles that one instance holds at a time: who polls Telegram, who holds the Discord gateway.
CREATE TABLE leases (
    name   TEXT   PRIMARY KEY,
    holder TEXT   NOT NULL,
    until  BIGINT NOT NULL
);
