//! How far a long run is, on standard error: a line that renews itself on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Tells how far a run is.
#[derive(Debug)]
pub struct Progress<W = io::Stderr> {
    writer: W,
    manner: Manner,
    last: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Silent,
    Lines,
    Live,
}

impl Manner {
    /// Time between two lines.
    fn pause(self) -> Duration {
        match self {
            Self::Silent => Duration::MAX,
            Self::Lines => Duration::from_secs(5),
            Self::Live => Duration::from_millis(200),
        }
    }
}

impl Progress {
    /// On standard error, unless `quiet`. A run that began at `now` and ends soon tells nothing to a pipe.
    pub fn new(quiet: bool, now: Instant) -> Self {
        let writer = io::stderr();
        let manner = match (quiet, writer.is_terminal()) {
            (true, _) => Manner::Silent,
            (false, false) => Manner::Lines,
            (false, true) => Manner::Live,
        };
        Self { last: (manner == Manner::Lines).then_some(now), manner, writer }
    }
}

impl<W: Write> Progress<W> {
    /// Shows `text` where it is time for it.
    pub fn show(&mut self, now: Instant, text: impl FnOnce() -> String) {
        let is_due = |last: Instant| now.saturating_duration_since(last) >= self.manner.pause();
        if self.manner == Manner::Silent || !self.last.is_none_or(is_due) {
            return;
        }
        self.last = Some(now);
        // Whoever closed standard error wants no progress.
        let _ = match self.manner {
            Manner::Live => write!(self.writer, "\r\x1b[K{}", text()),
            _ => writeln!(self.writer, "{}", text()),
        };
        let _ = self.writer.flush();
    }

    /// Makes room for what comes next.
    pub fn end(&mut self) {
        if self.manner == Manner::Live && self.last.is_some() {
            let _ = write!(self.writer, "\r\x1b[K");
            let _ = self.writer.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written when a run tells something each 100 ms for 11 s.
    fn told(manner: Manner) -> String {
        let begin = Instant::now();
        let last = (manner == Manner::Lines).then_some(begin);
        let mut progress = Progress { writer: Vec::new(), manner, last };
        for tenths in 0..=110 {
            progress.show(begin + Duration::from_millis(100 * tenths), || format!("at {tenths}"));
        }
        progress.end();
        String::from_utf8(progress.writer).unwrap()
    }

    #[test]
    fn a_terminal_gets_a_line_that_renews_itself_and_goes_away() {
        let text = told(Manner::Live);
        assert!(
            text.starts_with("\r\x1b[Kat 0\r\x1b[Kat 2\r") && text.ends_with("at 110\r\x1b[K"),
            "{text:?}"
        );
        assert!(!text.contains('\n'));
    }

    #[test]
    fn a_pipe_gets_a_line_each_five_seconds() {
        assert_eq!(told(Manner::Lines), "at 50\nat 100\n");
    }

    #[test]
    fn quiet_is_quiet() {
        assert_eq!(told(Manner::Silent), "");
    }
}
