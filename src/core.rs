//! The shared core: knows no platform, speaks through [`chat`].

pub mod chat;
pub mod reels;
pub mod text;
