-- Answers to common questions that are given again: nothing in them is of a person.
CREATE TABLE answers (
    key      TEXT   PRIMARY KEY,             -- stands for the question, the model and the prompt
    question TEXT   NOT NULL,                -- as it was asked, for whoever wants a fresh answer
    answer   TEXT   NOT NULL,
    until    BIGINT NOT NULL                 -- given again until then
);
CREATE INDEX answers_until ON answers (until);
