-- What is set aside for calls, found without reading the ledger: an older release ends a call and leaves this part of it.
CREATE INDEX ledger_set_aside ON ledger (at) WHERE reserved > 0;
