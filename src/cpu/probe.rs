//! Measuring a kernel in a process of its own, so that one that crashes, hangs or computes wrongly takes nothing with it.
//!
//! The child is lode itself, started anew with a command that `--help` does not show: a fork would inherit threads and locks.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use miner_core::cpu::{KernelRates, measure, measure_siblings};
use miner_core::sha256d::{Isa, selftest};
use miner_core::types::HashRate;
use serde::{Deserialize, Serialize};

/// The child's command.
pub const COMMAND: &str = "probe-kernel";
/// How long a child may take: it needs a twentieth of a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(2);
/// When a child ends itself, in case whoever started it is gone.
const WATCHDOG: Duration = Duration::from_secs(10);
/// How often the parent looks whether the child has ended.
const LOOK: Duration = Duration::from_millis(2);
/// Most bytes of an answer.
const ANSWER: u64 = 4096;
/// Rates that can be believed, in hashes a second.
const BELIEVABLE: std::ops::Range<f64> = 1e2..1e12;

/// What a child says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// How fast the kernel is.
    Rates(KernelRecord),
    /// How fast both threads of a core are together, the first alone being 1.
    Siblings(f64),
    /// The kernel computes wrongly: how.
    Wrong(String),
    /// It could not be measured: why.
    Failed(String),
}

/// The rates of a kernel as they are written down, in hashes a second on one thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelRecord {
    /// The kernel's name.
    pub isa: String,
    /// One version at a time.
    pub plain_hs: f64,
    /// Several versions at a time, where the kernel gains by it.
    pub rolled_hs: Option<f64>,
}

impl KernelRecord {
    /// The rates as they are written down.
    pub fn of(rates: &KernelRates) -> Self {
        let KernelRates { isa, plain, rolled } = rates;
        Self { isa: isa.name().to_owned(), plain_hs: plain.0, rolled_hs: rolled.map(|rate| rate.0) }
    }

    /// The rates, if they can be believed and this CPU has the kernel.
    pub fn rates(&self) -> Option<KernelRates> {
        let believed = |rate: &f64| BELIEVABLE.contains(rate);
        let isa = Isa::by_name(&self.isa)?;
        let sound = believed(&self.plain_hs) && self.rolled_hs.iter().all(believed);
        let fits = self.rolled_hs.is_some() == (isa.versions() > 1);
        (sound && fits).then(|| KernelRates {
            isa,
            plain: HashRate(self.plain_hs),
            rolled: self.rolled_hs.map(HashRate),
        })
    }
}

/// Why a child gave no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It could not be started, or not be waited for.
    #[error("cannot run {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It did not end by itself.
    #[error("hangs: no answer within {} ms", .0.as_millis())]
    Hangs(Duration),
    /// It crashed.
    #[error("crashes ({0})")]
    Crashes(ExitStatus),
    /// It computes wrongly.
    #[error("computes wrongly: {0}")]
    Wrong(String),
    /// It could not measure.
    #[error("cannot be measured: {0}")]
    Failed(String),
    /// It said something else.
    #[error("gave an answer that makes no sense")]
    Nonsense,
}

/// Starts children.
#[derive(Clone, Debug)]
pub struct Prober {
    /// The program: lode.
    pub program: PathBuf,
    /// How long a child may take.
    pub patience: Duration,
}

impl Prober {
    /// Starts the program that is running.
    pub fn of_this_program() -> io::Result<Self> {
        Ok(Self { program: std::env::current_exe()?, patience: PATIENCE })
    }

    /// How fast a kernel is.
    pub fn rates(&self, isa: Isa) -> Result<KernelRates, ProbeError> {
        match self.ask(&[isa.name().into()])? {
            Answer::Rates(record) if record.isa == isa.name() => record.rates().ok_or(ProbeError::Nonsense),
            other => Err(other.into()),
        }
    }

    /// How fast a kernel is on two CPUs together, one of them alone being 1.
    pub fn siblings(&self, isa: Isa, [first, second]: [usize; 2]) -> Result<f64, ProbeError> {
        match self.ask(&[isa.name().into(), first.to_string().into(), second.to_string().into()])? {
            Answer::Siblings(gain) if (0.1..=4.0).contains(&gain) => Ok(gain),
            other => Err(other.into()),
        }
    }

    fn ask(&self, args: &[OsString]) -> Result<Answer, ProbeError> {
        let mut command = Command::new(&self.program);
        command.arg(COMMAND).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Ctrl-C is for the miner; a child ends by itself.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child =
            command.spawn().map_err(|source| ProbeError::Start { program: self.program.clone(), source })?;
        let ended = wait(&mut child, self.patience);
        if !matches!(ended, Ok(Some(_))) {
            // It may have ended just now; either way it is gone after this.
            let _ = child.kill();
            let _ = child.wait();
        }
        // Where children cannot be waited for (SIGCHLD is ignored), they are of no use.
        let ended = ended.map_err(|source| ProbeError::Start { program: self.program.clone(), source })?;
        let status = ended.ok_or(ProbeError::Hangs(self.patience))?;
        if !status.success() {
            return Err(ProbeError::Crashes(status));
        }
        let mut text = Vec::new();
        let output = child.stdout.take().expect("it is piped");
        output.take(ANSWER).read_to_end(&mut text).map_err(|_| ProbeError::Nonsense)?;
        serde_json::from_slice(&text).map_err(|_| ProbeError::Nonsense)
    }
}

/// Waits for a child; `None`: it takes too long.
fn wait(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    while start.elapsed() < patience {
        match child.try_wait()? {
            None => std::thread::sleep(LOOK),
            ended => return Ok(ended),
        }
    }
    Ok(None)
}

impl From<Answer> for ProbeError {
    /// Of an answer that is not the one hoped for.
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Wrong(what) => Self::Wrong(what),
            Answer::Failed(why) => Self::Failed(why),
            Answer::Rates(_) | Answer::Siblings(_) => Self::Nonsense,
        }
    }
}

/// What the child does: measures the kernel, on one thread or on two siblings.
pub fn answer(isa: &str, siblings: Option<[usize; 2]>) -> Answer {
    // A kernel that hangs keeps its thread; the process ends all the same.
    std::thread::spawn(|| {
        std::thread::sleep(WATCHDOG);
        std::process::exit(1);
    });
    let Some(isa) = Isa::by_name(isa) else {
        return Answer::Failed("this CPU has no such kernel".to_owned());
    };
    if let Err(error) = selftest(isa) {
        return Answer::Wrong(error.to_string());
    }
    match siblings {
        None => Answer::Rates(KernelRecord::of(&measure(&[isa])[0])),
        Some(cpus) => match measure_siblings(isa, cpus) {
            Ok(gain) => Answer::Siblings(gain),
            Err(error) => Answer::Failed(format!("threads cannot be pinned: {error}")),
        },
    }
}
