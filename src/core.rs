//! The shared core: knows no platform, speaks through [`chat`]. In reading order; a module uses only those above it.

pub mod chat;
pub mod command;
pub mod access;
pub mod text;
pub mod providers;
pub mod alerts;
pub mod money;
pub mod report;
pub mod leases;
pub mod outbox;
pub mod reels;
pub mod capacity;
pub mod wording;
pub mod presence;
pub mod board;
pub mod coach;
pub mod admin;
pub mod inbox;
pub mod late;
pub mod reply;
pub mod worker;
pub mod charges;
pub mod timekeeping;
pub mod watch;
