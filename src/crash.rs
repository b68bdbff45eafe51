//! Named points at which a test has the process killed, to prove that nothing is lost or done twice. In a release
//! build a point is nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Process-wide because a crash is.
static ARMED: OnceLock<(String, AtomicU32)> = OnceLock::new();

/// Arms the `nth` passing (from 1) of a named point. Only the first call has an effect.
pub fn arm(point: &str, nth: u32) {
    let _ = ARMED.set((point.to_owned(), AtomicU32::new(nth)));
}

/// Ends the process here, as `kill -9` would, if the point is armed.
pub fn point(name: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    if let Some((armed, left)) = ARMED.get()
        && armed == name
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}
