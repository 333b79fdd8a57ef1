//! Requests and answers on their way out, serialised, never formatted.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Serialize;

/// Longest line sent, its line feed included: ckpool hangs up on longer ones.
const MAX_LINE: usize = 1_024;
/// Most bytes of answers to the pool's own requests that may wait.
const MAX_ANSWERS: usize = 16 * 1_024;

/// Lines that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    lines: VecDeque<Bytes>,
    waiting: usize,
    last_id: u64,
}

#[derive(Serialize)]
struct Request<'a, P> {
    id: u64,
    method: &'a str,
    params: P,
}

impl Outbox {
    /// Queues a request under a new id; `None` when it would be too long.
    pub(super) fn request(&mut self, method: &str, params: impl Serialize) -> Option<u64> {
        let id = self.last_id + 1;
        self.push(&Request { id, method, params })?;
        self.last_id = id;
        Some(id)
    }

    /// Queues an answer to a request of the pool, unless it is too long or too many wait already.
    pub(super) fn answer(&mut self, answer: impl Serialize) {
        if self.waiting < MAX_ANSWERS {
            // An answer that does not fit owes its length to the pool's own id: nobody can want it.
            let _ = self.push(&answer);
        }
    }

    /// The next line.
    pub(super) fn poll(&mut self) -> Option<Bytes> {
        let line = self.lines.pop_front()?;
        self.waiting -= line.len();
        Some(line)
    }

    fn push(&mut self, message: &impl Serialize) -> Option<()> {
        let mut line = serde_json::to_vec(message).ok()?;
        line.push(b'\n');
        if line.len() > MAX_LINE {
            return None;
        }
        self.waiting += line.len();
        self.lines.push_back(line.into());
        Some(())
    }
}
