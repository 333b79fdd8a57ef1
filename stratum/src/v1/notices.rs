//! Words for the operator, never more than a few a minute.

use std::time::{Duration, Instant};

/// Most warnings a minute.
const MAX_WARNINGS: u32 = 6;
const MINUTE: Duration = Duration::from_secs(60);
/// Least time between two messages of the pool.
const MESSAGE_INTERVAL: Duration = Duration::from_secs(10);
/// Unreadable lines within a minute that end the connection.
const MAX_GARBAGE: u32 = 10;

/// Limits what the operator is told, and counts what the pool gets wrong.
#[derive(Debug, Default)]
pub(super) struct Notices {
    warnings: Minute,
    kept_back: u32,
    last_message: Option<Instant>,
    garbage: Minute,
}

/// A counter that starts anew when a minute has passed since its first count.
#[derive(Debug, Default)]
struct Minute {
    since: Option<Instant>,
    count: u32,
}

impl Minute {
    fn count_at(&mut self, now: Instant) -> u32 {
        if self.since.is_none_or(|since| now >= since + MINUTE) {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}

impl Notices {
    /// The warning as it may be shown now, if it may.
    pub(super) fn warn_at(&mut self, now: Instant, text: String) -> Option<String> {
        if self.warnings.count_at(now) > MAX_WARNINGS {
            self.kept_back = self.kept_back.saturating_add(1);
            return None;
        }
        Some(match std::mem::take(&mut self.kept_back) {
            0 => text,
            more => format!("{text} (and {more} warnings before it that were not shown)"),
        })
    }

    /// Whether a message of the pool may be shown now.
    pub(super) fn admits_message_at(&mut self, now: Instant) -> bool {
        let admitted = self.last_message.is_none_or(|last| now >= last + MESSAGE_INTERVAL);
        if admitted {
            self.last_message = Some(now);
        }
        admitted
    }

    /// An unreadable line came: how many it were within a minute, when that is too many.
    pub(super) fn garbage_at(&mut self, now: Instant) -> Option<u32> {
        Some(self.garbage.count_at(now)).filter(|&count| count >= MAX_GARBAGE)
    }
}
