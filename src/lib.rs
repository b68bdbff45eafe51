//! reelcoach: a coach for creators on Discord and Telegram, with one shared core.
#![forbid(unsafe_code)]

// ground
pub mod clock;
pub mod config;
pub mod ids;
// outside world
pub mod store;
pub mod upstream;
// the shared core
pub mod core;
// the edges
pub mod platforms;
// put together
pub mod sandbox;
