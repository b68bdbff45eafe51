//! reelcoach: a coach for creators on Discord and Telegram, with one shared core.
//!
//! People talk to a GPT coach and paste Instagram reel links. Adapters translate what they do into one vocabulary
//! ([`core::chat`]); the core answers, queues reels, and keeps every waiting message up to date.
//!
//! # What holds
//!
//! - **Nothing lost, nothing twice.** An event is acknowledged once its row is committed, under the platform's own key.
//!   One event gives one final answer, whoever dies in between: every owed answer and every job is a row under lease.
//! - **Rows decide, memory does not.** Limits are exact because the transaction that writes decides them.
//! - **One sender per chat.** Finals are delivered; progress gives way. The screen is fenced like the rows: what was stopped
//!   for longer than its lease writes nothing over what others have delivered ([`core::leases`]).
//! - **Money is counted once, never as nothing.** Each paid call is a ledger row under its own key, and is set aside
//!   within every budget before it is made.
//! - **Texts and secrets stay out of logs**, and transcripts are data, not instructions.
//!
//! # A message
//!
//! adapter → [`core::inbox`] (row committed, then acknowledged) → the turn is claimed by [`core::reply`] → command, reel
//! links, or talk → [`core::coach`] drives the model and its tools → text is shown and the final delivered through
//! [`core::outbox`] → adapter. Last of all the turn is closed.
//!
//! # A reel link
//!
//! [`core::reply`] → [`core::reels`] submits it in one transaction → [`core::board`] posts the message that tells the
//! position in the queue → [`core::worker`] claims the job for a free lane and runs [`core::reels::pipeline`] (scrape, video,
//! analysis) → the job ends and owes each subscriber a turn → [`core::reply`] again: the board's message becomes the
//! coached answer.
//!
//! # The modules, in reading order: each uses only those above it
#![forbid(unsafe_code)]

// ground
pub mod ids;
pub mod locale;
pub mod clock;
pub mod config;
pub mod telemetry;
pub mod crash;
pub mod fence;
// outside world
pub mod upstream;
pub mod store;
// the shared core
pub mod core;
// the edges
pub mod platforms;
pub mod web;
// put together
pub mod app;
pub mod cli;
