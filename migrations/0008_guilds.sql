-- Which community a chat belongs to (discord:613425648685547541), where one is known; the ledger keeps it for its reports.
ALTER TABLE chats ADD COLUMN guild TEXT;
ALTER TABLE ledger ADD COLUMN guild TEXT;
