//! A bounded queue of lines in front of a writer that may be slow, full or gone.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that may wait.
const QUEUE: usize = 1024;

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Takes lines, never waits, never fails. Clones share the queue.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Sink {
    /// Starts the thread that writes to `writer`; trouble with it is told on standard error, once, under `name`.
    pub(super) fn start(name: &'static str, writer: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE);
        let mut drain = Drain { name, writer, warned: false };
        thread::Builder::new().name("log".to_owned()).spawn(move || drain.run(&messages))?;
        Ok(Self { queue, dropped: Arc::default() })
    }

    /// Waits until all that was taken so far is written, but no longer than `deadline`.
    pub(super) fn flush(&self, deadline: Instant) {
        let (done, wait) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(message) {
            if Instant::now() >= deadline {
                return;
            }
            message = back;
            thread::sleep(Duration::from_millis(5));
        }
        // Either way there is nothing more to do.
        let _ = wait.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let note = match dropped {
            0 => String::new(),
            _ => format!("({dropped} lines of the log were dropped here)\n"),
        };
        if self.queue.try_send(Message::Line([note.as_bytes(), line].concat())).is_err() {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread's side.
struct Drain<W> {
    name: &'static str,
    writer: W,
    warned: bool,
}

impl<W: Write> Drain<W> {
    fn run(&mut self, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Line(line) => self.write(&line),
                // Whoever asked may have lost patience.
                Message::Flush(done) => drop(done.try_send(())),
            }
        }
    }

    fn write(&mut self, line: &[u8]) {
        let Err(error) = self.writer.write_all(line).and_then(|()| self.writer.flush()) else { return };
        // Nobody is left to read from a closed pipe.
        if error.kind() == ErrorKind::BrokenPipe || self.warned {
            return;
        }
        self.warned = true;
        // Standard error may be the writer that failed.
        let _ =
            writeln!(io::stderr(), "cannot write to {}: {error}; lines are lost, mining goes on", self.name);
    }
}
