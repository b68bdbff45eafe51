//! Connections that were lost before the answer began, and what they cost. Nobody can tell whether such a request was
//! carried out. Most often it was not: the service had given up a connection that was kept open, just when it was used
//! again. And OpenAI creates a response before it sends the first headers, so of one that was carried out no more than
//! the input can have been used.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::upstream::Usage;

/// The one that is paid: before it, it is taken to be the service's giving up of old connections; after it, the
/// message has cost enough.
const PAID: u32 = 2;

/// The connections that were lost over all calls for one message.
#[derive(Debug, Default)]
pub struct LostConnections(AtomicU32);

impl LostConnections {
    pub(super) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more is lost. What that costs at most, if anything.
    pub(super) fn one_more(&self, input_tokens: u64) -> Option<Usage> {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        (count == PAID).then(|| Usage {
            input_tokens,
            cache_write_tokens: input_tokens,
            estimated: true,
            ..Usage::default()
        })
    }
}
