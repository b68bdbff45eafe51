//! The edges: adapters that only translate.

pub mod console;
pub mod discord;
pub mod telegram;
