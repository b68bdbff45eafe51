//! Named points at which a test has the process killed, to prove that nothing is lost or done twice, or stopped, to prove
//! that one which wakes up again writes nothing over what others have done. In a release build a point is nothing.

use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Process-wide because a crash is.
static CRASH: Armed = Armed(OnceLock::new());
static FREEZE: Armed = Armed(OnceLock::new());

/// A point, and how often it is still to be passed.
struct Armed(OnceLock<(String, AtomicU32)>);

impl Armed {
    fn arm(&self, point: &str, nth: u32) {
        let _ = self.0.set((point.to_owned(), AtomicU32::new(nth)));
    }

    fn is_due(&self, name: &str) -> bool {
        cfg!(debug_assertions)
            && self.0.get().is_some_and(|(armed, left)| armed == name && left.fetch_sub(1, Ordering::SeqCst) == 1)
    }
}

/// Arms the `nth` passing (from 1) of a named point. Only the first call has an effect.
pub fn arm(point: &str, nth: u32) {
    CRASH.arm(point, nth);
}

/// The same of a point at which the process is stopped.
pub fn arm_freeze(point: &str, nth: u32) {
    FREEZE.arm(point, nth);
}

/// Ends the process here, as `kill -9` would, if the point is armed.
pub fn point(name: &str) {
    if CRASH.is_due(name) {
        std::process::abort();
    }
}

/// Stops the process here until it is sent SIGCONT, if the point is armed.
pub fn freeze_point(name: &str) {
    if FREEZE.is_due(name) {
        // Only a test comes here: one that fails to stop notices it by that.
        let _ = Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status();
        // The signal may be another thread's to take, and on a busy machine that takes its time.
        std::thread::sleep(Duration::from_secs(1));
    }
}
