//! What can be wrong with settings, and what is odd about them.

use std::path::PathBuf;

use stratum::io::TrustError;

use super::file::MAX_BYTES;
use super::origin::{Origin, Spot};
use super::setting::{Section, Setting};
use super::value::ValueError;

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read the {what} {}: {source}", path.display())]
    Unreadable {
        /// What the file is for.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration file is far too large to be one.
    #[error("the configuration file {} is larger than {MAX_BYTES} bytes", path.display())]
    TooLarge {
        /// Its path.
        path: PathBuf,
    },
    /// The configuration file is no text.
    #[error("the configuration file {} is not UTF-8 (line {line})", path.display())]
    NotUtf8 {
        /// Its path.
        path: PathBuf,
        /// The first line that is not.
        line: usize,
    },
    /// It is not TOML.
    #[error("not TOML: {message}")]
    Syntax {
        /// What the parser missed.
        message: String,
        /// Where.
        at: Spot,
    },
    /// A key or a table that lode does not know.
    #[error("unknown {} `{}`{}{}", if part.is_empty() { "part" } else { "key" }, super::shown(key),
        if part.is_empty() { "" } else { " in " }, part)]
    UnknownKey {
        /// The key.
        key: String,
        /// The table it stands in; empty at the top.
        part: &'static str,
        /// What may have been meant.
        near: Option<&'static str>,
        /// What may stand there.
        known: Vec<&'static str>,
        /// The table where such a key belongs.
        home: Option<Section>,
        /// Where it stands.
        at: Spot,
    },
    /// A table where a value should be, or the other way round.
    #[error("`{key}` cannot be {}", article(found))]
    WrongKind {
        /// The key.
        key: String,
        /// What it is.
        found: &'static str,
        /// What it should be.
        wanted: &'static str,
        /// Where it stands.
        at: Origin,
    },
    /// A value that makes no sense.
    #[error("{} is {}: {problem}", name(setting, at), given.as_deref().map_or_else(|| "unusable".to_owned(), quoted))]
    Invalid {
        /// The setting.
        setting: &'static Setting,
        /// The value as far as it may be shown.
        given: Option<String>,
        /// What is wrong with it.
        problem: ValueError,
        /// Where it was given.
        at: Origin,
    },
    /// A pool of the file without a URL.
    #[error("a pool has no `url`")]
    NoUrl {
        /// The header of the pool.
        at: Option<Spot>,
    },
    /// A pool without a user.
    #[error("pool {number} ({url}) has no user")]
    NoUser {
        /// The pool's place in the order, from 1.
        number: usize,
        /// Its URL without credentials.
        url: String,
        /// Where the pool was given.
        at: Origin,
    },
    /// Two settings that exclude each other.
    #[error("pool {number} has two {what}: one by {first}, one by {second}")]
    Both {
        /// The pool's place in the order, from 1.
        number: usize,
        /// Users or passwords.
        what: &'static str,
        /// One place.
        first: Origin,
        /// The other.
        second: Origin,
    },
    /// More users or passwords than pools.
    #[error("{flag} is given {given} times for {pools} {}", if *pools == 1 { "pool" } else { "pools" })]
    TooMany {
        /// The flag.
        flag: &'static str,
        /// How often it is given.
        given: usize,
        /// How many pools there are.
        pools: usize,
    },
    /// Settings of a pool, but no pool.
    #[error("{at} is given, but no pool")]
    NeedsPool {
        /// The setting.
        at: Origin,
    },
    /// A device of the file without a key.
    #[error("a device has no `key`")]
    NoDeviceKey {
        /// The header of its table.
        at: Option<Spot>,
    },
    /// More devices than a machine has.
    #[error("{given} devices are more than {limit}")]
    TooManyDevices {
        /// How many are given.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// Emulated devices for a pool that does not know their answers.
    #[error("{at} is given, and a pool: emulated devices mine on the practice pool inside lode alone")]
    EmulatedAtPool {
        /// Where devices to emulate are given.
        at: Origin,
    },
    /// A target that a GPU would be stopped at.
    #[error(
        "the temperature target of {target} °C is less than {distance} °C below the cut-off at {cutoff} °C"
    )]
    HeatLimits {
        /// Where it is kept, in °C.
        target: u8,
        /// Where it is stopped, in °C.
        cutoff: u8,
        /// The least distance in °C.
        distance: u8,
        /// Where one of them was given.
        at: Origin,
    },
    /// More pools than anybody needs.
    #[error("{given} pools are more than {limit}")]
    TooManyPools {
        /// How many are given.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// A password file that holds no usable password.
    #[error("the password file {} {problem}", path.display())]
    PassFile {
        /// Its path.
        path: PathBuf,
        /// What is wrong, as "is ..." or "holds ...".
        problem: PassFileError,
    },
    /// A file of certificate authorities that holds none.
    #[error("the certificate authorities cannot be used: {0}")]
    Authorities(#[source] TrustError),
    /// Another coin's algorithm.
    #[error("--algo is {}: lode mines SHA-256d (Bitcoin) only", quoted(given))]
    Algorithm {
        /// What was asked for.
        given: String,
    },
}

/// Why a password file holds no usable password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassFileError {
    /// Nothing on the first line.
    #[error("has nothing on its first line")]
    Empty,
    /// The first line is too long.
    #[error("has a first line longer than any password")]
    TooLong,
    /// Not text.
    #[error("is not plain text")]
    NotText,
}

/// What a setting is called where it was given.
fn name(setting: &Setting, at: &Origin) -> String {
    match at {
        Origin::File(_) => format!("`{}`", setting.name),
        Origin::Flag(name) | Origin::Env(name) => (*name).to_owned(),
        Origin::Default => setting.name.to_owned(),
    }
}

fn article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

fn quoted(value: impl AsRef<str>) -> String {
    format!("`{}`", super::shown(value.as_ref()))
}

/// Something odd that stops nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A password on the command line.
    PasswordInProcessList {
        /// The flag that carries it.
        flag: &'static str,
    },
    /// A `LODE_` variable that means nothing.
    UnknownVariable {
        /// Its name.
        name: String,
        /// What may have been meant.
        near: Option<&'static str>,
    },
    /// Everybody on this machine can read a password.
    WorldReadable {
        /// The file.
        path: PathBuf,
    },
    /// More threads than CPUs.
    ManyThreads {
        /// The threads.
        threads: usize,
        /// The CPUs that this process may use.
        cpus: usize,
    },
    /// A measure of older miners, and what it is taken for.
    OlderIntensity {
        /// As it was given.
        given: String,
        /// The value of `--gpu-intensity`.
        means: String,
    },
    /// A table of one device says what a flag or variable says for all.
    BeatenTable {
        /// The flag or variable.
        by: &'static str,
        /// The key in the table.
        key: &'static str,
        /// The table's place among its like, from 1.
        number: usize,
    },
    /// The practice pool will be open to other machines.
    OpenToOthers {
        /// Where it listens.
        listen: std::net::SocketAddr,
    },
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PasswordInProcessList { flag } => {
                write!(
                    f,
                    "the password in {flag} stands in the process list: --pass-file and LODE_PASS hide it"
                )
            }
            Self::UnknownVariable { name, near } => {
                write!(f, "the variable {} means nothing to lode", super::shown(name))?;
                near.map_or(Ok(()), |near| write!(f, ": was {near} meant?"))
            }
            Self::WorldReadable { path } => {
                let path = path.display();
                write!(f, "every user of this machine can read the password in {path}: chmod 600 {path}")
            }
            Self::ManyThreads { threads, cpus } => {
                write!(f, "{threads} threads on {cpus} logical CPUs: more threads than CPUs gain nothing")
            }
            Self::OlderIntensity { given, means } => {
                let given = super::shown(given);
                write!(f, "-I {given} of older miners is taken for --gpu-intensity {means}")
            }
            Self::BeatenTable { by, key, number } => {
                write!(f, "{by} holds for all devices: `{key}` of [[device]] {number} is not heeded")
            }
            Self::OpenToOthers { listen } => {
                write!(
                    f,
                    "the practice pool on {listen} takes connections from other machines, without encryption"
                )
            }
        }
    }
}
