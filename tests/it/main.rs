//! The integration tests: one binary, one module per subject. Run them with `tests/run`, which makes sure that
//! there is a PostgreSQL.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests start tasks of their own and read TEST_DATABASE_URL")]

#[macro_use]
mod support;
mod bot;
mod power;
mod process;
mod refusals;

mod access;
mod again;
mod alerts;
mod answers;
mod bad_reels;
mod boards;
mod browser;
mod capacity;
mod cli;
mod clocks;
mod crash;
mod crash_loop;
mod dashboard;
mod discord;
mod disk;
mod docs;
mod files;
mod flood;
mod frozen;
mod gallery;
mod gone;
mod guild;
mod http;
mod instances;
mod money;
mod monitoring;
mod operator;
mod outage;
mod outbox;
mod prompt;
mod providers;
mod queue;
mod quota;
mod reels;
mod refused;
mod reserved;
mod round_trips;
mod store;
mod takeover;
mod talk;
mod telegram;
mod tidy;
mod trouble;
mod trust;
mod usage;
mod words;
