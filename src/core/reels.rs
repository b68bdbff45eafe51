//! Reels: from a link to a coached answer.

pub mod link;
pub mod pipeline;
