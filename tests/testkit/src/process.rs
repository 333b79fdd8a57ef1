//! The real `lode`, read through its JSON lines.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Most bytes of standard error that are kept.
const MOST_STDERR: usize = 1 << 20;
/// Lines shown when something is waited for in vain.
const SHOWN: usize = 15;
/// Characters of each that are shown.
const SHOWN_CHARS: usize = 400;

/// A running `lode mine`; killed when dropped.
#[derive(Debug)]
pub struct Lode {
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
    cursor: usize,
    may_panic: bool,
}

/// How a run ended, with everything that was told.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// The JSON lines of standard output.
    pub lines: Vec<Value>,
    /// Standard error.
    pub stderr: String,
    /// Time from the signal, or from when the end was waited for.
    pub took: Duration,
}

#[derive(Debug, Default)]
struct Output {
    told: Mutex<Told>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    lines: Vec<Value>,
    /// What of standard output was no JSON object with the fields of every line.
    broken: Vec<String>,
    stderr: String,
    closed: bool,
}

/// A signal.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
    /// SIGHUP, of a terminal that closes.
    HangUp,
}

impl Lode {
    /// Starts `lode mine --output json` and these arguments, in an environment without settings.
    pub fn mine(binary: &str, args: &[&str]) -> Self {
        Self::start(Command::new(binary).args(["mine", "--output", "json"]).args(args))
    }

    /// Starts a command that writes JSON lines.
    pub fn start(command: &mut Command) -> Self {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LODE_") {
                command.env_remove(name);
            }
        }
        // A GPU's driver is a hundred megabytes, and slow to load: tests that want one say so.
        command
            .env("LODE_GPU", "none")
            .env("HOME", std::env::temp_dir())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let output = Arc::new(Output::default());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = (stdout.expect("it is piped"), stderr.expect("it is piped"));
        let (to_lines, to_text) = (Arc::clone(&output), Arc::clone(&output));
        let readers = vec![
            thread::spawn(move || to_lines.read_lines(BufReader::new(stdout))),
            thread::spawn(move || to_text.read_text(stderr)),
        ];
        Self { child, output, readers, cursor: 0, may_panic: false }
    }

    /// The same run, in which a test makes something panic.
    #[must_use]
    pub fn that_may_panic(mut self) -> Self {
        self.may_panic = true;
        self
    }

    /// Waits for a line of this type, and makes later waits begin after it.
    ///
    /// # Panics
    /// When it doesn't come in time; shows what came instead.
    #[track_caller]
    pub fn wait_for(&mut self, kind: &str, within: Duration, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + within;
        let mut told = self.output.lock();
        loop {
            let found = told.lines.iter().enumerate().skip(self.cursor);
            let found = found.into_iter().find(|(_, line)| line["type"] == kind && is_it(line));
            if let Some((at, line)) = found {
                self.cursor = at + 1;
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !told.closed, "no such '{kind}' line within {within:?}:\n{told}");
            told = self.output.news.wait_timeout(told, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Makes later waits begin with what is told from now on.
    pub fn skip(&mut self) {
        self.cursor = self.output.lock().lines.len();
    }

    /// Makes later waits begin with the first line again.
    pub fn rewind(&mut self) {
        self.cursor = 0;
    }

    /// Waits for an accepted share that is told of from now on.
    #[track_caller]
    pub fn wait_for_accepted(&mut self, within: Duration) -> Value {
        self.wait_for("share", within, |share| share["outcome"] == "accepted")
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<Value> {
        self.output.lock().lines.clone()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The most memory it ever held at one time, in KiB: `VmHWM`.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("a running process has a status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")).and_then(|peak| peak.parse().ok());
        peak.expect("Linux tells the peak of each process")
    }

    /// The CPU time of its hashing threads so far.
    pub fn hashing_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
        // Fields 14 and 15 of proc_pid_stat(5), counted from the name on, in hundredths of a second.
        let ticks = |stat: String| {
            let (name, rest) = stat.rsplit_once(')')?;
            let field = |number: usize| rest.split_whitespace().nth(number - 3)?.parse::<u64>().ok();
            name.contains("(hash-").then_some(field(14)? + field(15)?)
        };
        Duration::from_millis(10 * stats.filter_map(ticks).sum::<u64>())
    }

    /// Sends a signal and waits for the end.
    #[track_caller]
    pub fn signal(self, signal: Signal, within: Duration) -> Ended {
        self.send(signal);
        self.end(within)
    }

    /// Sends a signal.
    pub fn send(&self, signal: Signal) {
        let name = match signal {
            Signal::Terminate => "TERM",
            Signal::HangUp => "HUP",
            Signal::Interrupt => "INT",
        };
        let kill = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("there is a shell");
        assert!(sent.success(), "{kill} fails: it ended before\n{}", self.output.lock());
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it doesn't end in time, or wrote something else than JSON lines.
    #[track_caller]
    pub fn end(mut self, within: Duration) -> Ended {
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            assert!(asked.elapsed() < within, "it still runs after {within:?}:\n{}", self.output.lock());
            thread::sleep(Duration::from_millis(5));
        };
        let took = asked.elapsed();
        for reader in self.readers.drain(..) {
            reader.join().expect("readers do not panic");
        }
        let mut told = self.output.lock();
        assert!(told.broken.is_empty(), "standard output holds what is no JSON line: {:?}", told.broken);
        assert!(self.may_panic || !told.stderr.contains("panicked"), "it panicked:\n{told}");
        let (lines, stderr) = (std::mem::take(&mut told.lines), std::mem::take(&mut told.stderr));
        Ended { code: status.code(), lines, stderr, took }
    }
}

impl Drop for Lode {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The lines of one type.
    pub fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.lines.iter().filter(move |line| line["type"] == kind)
    }

    /// The account of shares in the last line.
    ///
    /// # Panics
    /// When the last line is not `end`, or its sums are wrong.
    #[track_caller]
    pub fn account(&self) -> &Value {
        let end = self.lines.last().filter(|line| line["type"] == "end");
        let shares =
            &end.unwrap_or_else(|| panic!("the last line is no end: {:?}", self.lines.last()))["shares"];
        let count = |key: &str| shares[key].as_u64().unwrap_or_else(|| panic!("no number {key} in {shares}"));
        let resolved = count("accepted") + count("rejected") + count("lost");
        assert_eq!(count("found"), resolved + count("pending"), "{shares}");
        assert_eq!(count("pending"), 0, "a final account is complete: {shares}");
        shares
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_lines(&self, stdout: impl BufRead) {
        for line in stdout.split(b'\n') {
            let Ok(line) = line else { break };
            let parsed = serde_json::from_slice::<Value>(&line);
            let good = |line: &Value| line["v"] == 1 && line["ts"].is_string() && line["type"].is_string();
            let mut told = self.lock();
            match parsed {
                Ok(line) if good(&line) => told.lines.push(line),
                _ => told.broken.push(String::from_utf8_lossy(&line).into_owned()),
            }
            self.news.notify_all();
        }
        self.lock().closed = true;
        self.news.notify_all();
    }

    fn read_text(&self, mut stderr: impl Read) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stderr.read(&mut buffer) {
            let mut told = self.lock();
            if told.stderr.len() < MOST_STDERR {
                told.stderr.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.lines.len().saturating_sub(SHOWN);
        writeln!(f, "({skipped} lines before)")?;
        for line in &self.lines[skipped..] {
            let mut line = line.clone();
            line.as_object_mut().into_iter().for_each(|fields| fields.retain(|_, value| !value.is_null()));
            writeln!(f, "{}", line.to_string().chars().take(SHOWN_CHARS).collect::<String>())?;
        }
        for line in &self.broken {
            writeln!(f, "no JSON line: {line}")?;
        }
        write!(f, "standard error:\n{}", self.stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Lode {
        Lode::start(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn lines_are_found_in_order_and_the_end_is_told() {
        let mut run = shell(
            r#"echo '{"v":1,"ts":"t","type":"a","n":1}'; echo '{"v":1,"ts":"t","type":"a","n":2}'; echo why >&2; exit 3"#,
        );
        assert_eq!(run.wait_for("a", SOON, |_| true)["n"], 1);
        assert_eq!(run.wait_for("a", SOON, |_| true)["n"], 2);
        run.rewind();
        assert_eq!(run.wait_for("a", SOON, |line| line["n"] == 2)["n"], 2);
        let ended = run.end(SOON);
        assert_eq!((ended.code, ended.lines.len(), ended.stderr.as_str()), (Some(3), 2, "why\n"));
    }

    #[test]
    #[should_panic(expected = "no such 'b' line")]
    fn what_never_comes_is_noticed() {
        shell(r#"echo '{"v":1,"ts":"t","type":"a"}'"#).wait_for("b", SOON, |_| true);
    }

    #[test]
    #[should_panic(expected = "no JSON line")]
    fn other_text_on_standard_output_is_noticed() {
        shell("echo hello").end(SOON);
    }

    #[test]
    #[should_panic(expected = "it panicked")]
    fn a_panic_is_noticed() {
        shell("echo \"thread 'main' panicked at src/main.rs:1\" >&2").end(SOON);
    }

    #[test]
    #[should_panic(expected = "it still runs")]
    fn a_run_without_end_is_noticed() {
        shell("exec sleep 60").end(Duration::from_millis(50));
    }

    #[test]
    fn signals_arrive() {
        let ended = shell("exec sleep 60").signal(Signal::Terminate, SOON);
        assert_eq!(ended.code, None);
    }
}
