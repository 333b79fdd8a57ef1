use std::io::Write;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use tracing::subscriber::with_default;
use tracing::{debug, info, trace, warn};

use super::*;

/// What is written, kept.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn logged(verbosity: i8, color: bool) -> String {
    let kept = Kept::default();
    let sink = Sink::start("test", kept.clone()).unwrap();
    with_default(subscriber(verbosity, color, sink.clone(), None), || {
        warn!("of ours, a warning");
        info!("of ours, news");
        debug!("of ours, details");
        trace!("of ours, all");
        debug!(target: "stratum::v1", "of the protocol, details");
        warn!(target: "elsewhere", "of others, a warning");
        info!(target: "elsewhere", "of others, news");
    });
    sink.flush(soon());
    kept.text()
}

#[test]
fn verbosity_asks_for_more_of_our_own() {
    for (verbosity, expected) in [(-1, 2), (0, 3), (1, 5), (2, 6), (9, 6)] {
        let text = logged(verbosity, false);
        assert_eq!(text.lines().count(), expected, "{text}");
        assert!(text.contains("of others, a warning"));
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    assert!(logged(0, true).contains('\u{1b}'));
}

#[test]
fn the_file_gets_the_same_lines_without_colours_after_what_it_held() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lode.log");
    std::fs::write(&path, "earlier\n").unwrap();
    let file = Sink::start("the file", open(&path).unwrap()).unwrap();
    let stderr = Sink::start("test", Kept::default()).unwrap();
    with_default(subscriber(0, true, stderr, Some(file.clone())), || info!(answer = 42, "news"));
    file.flush(soon());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("earlier\n") && text.ends_with("news answer=42\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_log_file_that_cannot_be_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().display();
    let nowhere = directory.path().join("nowhere").join("lode.log");
    assert_eq!(
        open(&nowhere).unwrap_err().to_string(),
        format!("cannot write the log file {at}/nowhere/lode.log: there is no directory {at}/nowhere")
    );
    let error = open(directory.path()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write the log file {at}: it is a directory"));
    assert!(matches!(open(Path::new("")), Err(LogError::Open { .. })));
}

#[test]
fn a_blocked_writer_stalls_nobody_and_the_gap_is_marked() {
    /// Waits for leave before each write.
    struct Gated(mpsc::Receiver<()>, Kept);

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once the gate is gone, everything may pass.
            let _ = self.0.recv();
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let (open, leave) = mpsc::channel();
    let kept = Kept::default();
    let mut sink = Sink::start("test", Gated(leave, kept.clone())).unwrap();
    for i in 0..5000 {
        assert_eq!(sink.write(format!("{i}\n").as_bytes()).unwrap(), format!("{i}\n").len());
    }
    Sink::flush(&sink, Instant::now());
    drop(open);
    Sink::flush(&sink, soon());
    sink.write_all(b"afterwards\n").unwrap();
    Sink::flush(&sink, soon());
    let text = kept.text();
    let (notes, lines): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.contains("were dropped here"));
    let dropped =
        |note: &&str| note.trim_start_matches('(').split(' ').next().unwrap().parse::<usize>().unwrap();
    assert_eq!(lines.len() + notes.iter().map(dropped).sum::<usize>(), 5001, "{text}");
    assert!(!notes.is_empty());
    assert!(lines.len() > 1024, "the queue is kept");
    assert!(text.ends_with("were dropped here)\nafterwards\n"), "{text}");
}

#[test]
fn a_full_disk_costs_lines_and_no_more() {
    /// Has no room for the first lines.
    struct Full(u32, Kept);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 > 0 {
                self.0 -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let kept = Kept::default();
    let sink = Sink::start("a disk that is full for the test", Full(2, kept.clone())).unwrap();
    with_default(subscriber(0, false, sink.clone(), None), || {
        info!("one");
        info!("two");
        info!("three");
    });
    Sink::flush(&sink, soon());
    assert_eq!(kept.text().lines().count(), 1);
    assert!(kept.text().ends_with("three\n"));
}
