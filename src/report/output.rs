//! A stream of lines that must never stop mining, whatever becomes of its reader.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

use tracing::warn;

/// How long to wait where a writer that does not block is full (a terminal that another program set so).
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// Writes whole lines and flushes each.
///
/// A closed pipe ends the stream for good and silently for the reader: mining goes on. Any other error (a full disk)
/// costs the line; the next one is tried again, on a line of its own. Each kind of trouble is logged once.
pub(super) struct Output<W> {
    writer: W,
    name: &'static str,
    closed: bool,
    torn: bool,
    warned: bool,
}

impl<W: Write> Output<W> {
    /// `name` is what the log calls the stream.
    pub(super) fn new(writer: W, name: &'static str) -> Self {
        Self { writer, name, closed: false, torn: false, warned: false }
    }

    /// Writes `line`, which has no line feed of its own. Waits as long as the writer does.
    pub(super) fn line(&mut self, line: &str) {
        if self.closed {
            return;
        }
        let start = if self.torn { "\n" } else { "" };
        if let Err(error) = self.write(format!("{start}{line}\n").as_bytes()) {
            self.on_error(&error);
        }
    }

    fn write(&mut self, mut rest: &[u8]) -> std::io::Result<()> {
        while !rest.is_empty() {
            match self.writer.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.torn = !rest.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
                Err(error) => return Err(error),
            }
        }
        self.writer.flush()
    }

    fn on_error(&mut self, error: &std::io::Error) {
        self.closed = error.kind() == ErrorKind::BrokenPipe;
        if self.closed {
            warn!(%error, "{} is closed: reports to it end, mining goes on", self.name);
        } else if !self.warned {
            self.warned = true;
            warn!(%error, "cannot write to {}: lines are lost, mining goes on", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Takes what its script allows: so many bytes, or an error.
    struct Scripted {
        script: Vec<Result<usize, ErrorKind>>,
        taken: Vec<u8>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let allowed = if self.script.is_empty() { Ok(usize::MAX) } else { self.script.remove(0) };
            let count = allowed.map_err(io::Error::from)?.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(script: Vec<Result<usize, ErrorKind>>, lines: &[&str]) -> String {
        let mut output = Output::new(Scripted { script, taken: Vec::new() }, "test");
        for line in lines {
            output.line(line);
        }
        String::from_utf8(output.writer.taken).unwrap()
    }

    #[test]
    fn short_writes_and_interruptions_lose_nothing() {
        let script = vec![Ok(1), Err(ErrorKind::Interrupted), Ok(1), Err(ErrorKind::WouldBlock), Ok(1)];
        assert_eq!(written(script, &["one", "two"]), "one\ntwo\n");
    }

    #[test]
    fn a_closed_pipe_ends_the_stream_for_good() {
        assert_eq!(written(vec![Ok(4), Err(ErrorKind::BrokenPipe)], &["one", "two", "three"]), "one\n");
    }

    #[test]
    fn a_full_disk_costs_the_line_and_tears_no_other() {
        let script = vec![Ok(2), Err(ErrorKind::StorageFull), Err(ErrorKind::StorageFull)];
        assert_eq!(
            written(script.clone(), &["one", "two", "three"]),
            "onthree\n".replace("on", "on\n").as_str()
        );
    }

    #[test]
    fn a_writer_that_takes_nothing_does_not_hang() {
        assert_eq!(written(vec![Ok(0)], &["one", "two"]), "two\n");
    }
}
