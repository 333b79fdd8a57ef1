//! The command line. It only takes texts apart; `config` says what they mean.

use std::ffi::{OsStr, OsString};

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, Parser, Subcommand};

mod foreign;
mod help;

pub use foreign::hint;

/// `lode` and its commands.
#[derive(Debug, Parser)]
#[command(
    name = "lode",
    version = crate::version::SHORT,
    long_version = crate::version::LONG,
    about = "Bitcoin (SHA-256d) miner",
    after_help = help::AFTER,
    styles = styles(),
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What lode can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mine, at a pool or for practice
    ///
    /// Without a pool, lode starts a practice pool inside itself: everything is real but the coins.
    #[command(after_help = help::AFTER_MINE)]
    Mine(Box<MineArgs>),
    /// Measure every kernel, offline, and check its results (also --benchmark)
    #[command(after_help = help::AFTER_BENCH)]
    Bench(Box<BenchArgs>),
    /// List the devices that lode can mine with
    Devices(DevicesArgs),
    /// Run the practice pool alone, for any Stratum V1 miner
    Pool(PoolArgs),
    /// Check a configuration file, or print one to start from
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Measure one kernel, for the lode that started this one
    #[command(hide = true)]
    ProbeKernel(ProbeArgs),
    /// Print a script that completes lode's command line in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `lode probe-kernel`: see `cpu::probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// The kernel
    pub isa: String,
    /// Two logical CPUs of one core, to measure together
    #[arg(num_args = 2)]
    pub siblings: Vec<usize>,
}

/// `lode config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check, then print every setting in force and where it comes from
    Check(Box<CheckArgs>),
    /// Print a commented file with every key
    Example,
}

/// `lode config check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The file [default: --config, LODE_CONFIG]
    #[arg(conflicts_with = "config")]
    pub file: Option<String>,
    /// Settings of `lode mine`: they count as they would there.
    #[command(flatten)]
    pub mine: MineArgs,
}

/// `lode mine`.
#[derive(Debug, Default, Args)]
pub struct MineArgs {
    /// Where to mine.
    #[command(flatten)]
    pub pool: PoolFlags,
    /// What to mine with.
    #[command(flatten)]
    pub cpu: CpuFlags,
    /// What to mine with besides.
    #[command(flatten)]
    pub gpu: GpuFlags,
    /// And what else.
    #[command(flatten)]
    pub asic: AsicFlags,
    /// Stop after N accepted shares
    #[arg(long, value_name = "N", help_heading = "Limits", allow_negative_numbers = true)]
    pub shares: Option<String>,
    /// Stop after this time: seconds, or like 90s, 10m, 1h30m
    #[arg(long, value_name = "TIME", help_heading = "Limits", allow_negative_numbers = true)]
    pub time_limit: Option<String>,
    /// What is told.
    #[command(flatten)]
    pub report: ReportFlags,
    /// Read settings from this TOML file; see `lode config example`
    #[arg(short = 'c', long, value_name = "FILE")]
    pub config: Option<String>,
    /// What other miners want to be told.
    #[command(flatten)]
    pub foreign: foreign::Flags,
}

/// Flags about pools.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Pools")]
pub struct PoolFlags {
    /// Pool as stratum+tcp://HOST:PORT, or stratum+ssl://HOST:PORT for TLS; repeat for backup pools, best first
    #[arg(short = 'o', long, value_name = "URL")]
    pub url: Vec<String>,
    /// User: an account, account.worker or a Bitcoin address, as the pool wants; the n-th -u belongs to the n-th
    /// -o, the last one serves the rest
    #[arg(short, long, value_name = "USER")]
    pub user: Vec<String>,
    /// Password, paired like -u [default: x]
    #[arg(short, long, value_name = "PASS", conflicts_with = "pass_file")]
    pub pass: Vec<String>,
    /// User and password at once, paired like -u
    #[arg(short = 'O', long, value_name = "USER:PASS", conflicts_with_all = ["user", "pass", "pass_file"])]
    pub userpass: Vec<String>,
    /// Take the password from the first line of a file: unlike -p, it is not seen in the process list
    #[arg(long, value_name = "FILE")]
    pub pass_file: Option<String>,
    /// Trust the certificate authorities in this PEM file, or the pool's own certificate, instead of the system's authorities
    #[arg(long, value_name = "FILE", alias = "cert")]
    pub tls_ca: Option<String>,
    /// Go through a SOCKS5 proxy, like socks5://127.0.0.1:9050 or socks5://USER:PASS@HOST:PORT
    #[arg(short = 'x', long, value_name = "URL")]
    pub proxy: Option<String>,
    /// Let the pool move us to this other host (any port, unless given); repeatable
    #[arg(long, value_name = "HOST[:PORT]")]
    pub allow_reconnect: Vec<String>,
    /// Ask the pool for this share difficulty
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    pub suggest_difficulty: Option<String>,
    /// Longest pause between two attempts to connect [default: 60s]
    #[arg(short = 'R', long, value_name = "TIME", allow_negative_numbers = true)]
    pub retry_pause: Option<String>,
}

/// Flags about the CPU.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "CPU")]
pub struct CpuFlags {
    /// CPU threads; 0 for no CPU mining [default: one for each logical CPU that helps]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    /// Kernel: auto measures, avx2 forces, -avx512 leaves out; several with commas [default: auto]
    #[arg(long, value_name = "ISA", allow_hyphen_values = true)]
    pub isa: Option<String>,
    /// CPUs to run on, one for each thread, like 0-3,5 [default: any]
    #[arg(long, value_name = "CPUS")]
    pub cpu_affinity: Option<String>,
    /// From 0, which runs only where nobody else wants to, to 5, which shares the CPU evenly; never real-time [default: 2]
    #[arg(long, value_name = "0-5", allow_negative_numbers = true)]
    pub cpu_priority: Option<String>,
    /// Most of the time that each thread hashes, like 50% [default: 100%]
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    pub cpu_limit: Option<String>,
}

/// Flags about GPUs.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "GPU")]
pub struct GpuFlags {
    /// GPUs: all, none, numbers like 0,2-3, or parts of names, as `lode devices` lists them [default: none, as
    /// no real card has run this yet]
    #[arg(long, value_name = "GPUS", allow_hyphen_values = true)]
    pub gpu: Option<String>,
    /// Take software GPUs too: they are slower than the CPU's own kernels, and for tests
    #[arg(long)]
    pub gpu_allow_cpu: bool,
    /// desktop leaves the machine usable, max gives it all to mining; or the milliseconds that work is handed out for
    /// at once, 1 to 100 [default: normal, 20 ms]
    #[arg(long, value_name = "LEVEL", allow_hyphen_values = true)]
    pub gpu_intensity: Option<String>,
    /// Temperature in °C that GPUs are slowed down to stay at [default: 80]
    #[arg(long, value_name = "CELSIUS", allow_negative_numbers = true)]
    pub gpu_temp_target: Option<String>,
    /// Temperature in °C that GPUs are stopped at, until they are 10 °C cooler [default: 90]
    #[arg(long, value_name = "CELSIUS", allow_negative_numbers = true)]
    pub gpu_temp_cutoff: Option<String>,
    /// The intensity of older miners: d, or a number; it is translated, and said
    #[arg(short = 'I', long, value_name = "N", allow_hyphen_values = true, conflicts_with = "gpu_intensity")]
    pub intensity: Option<String>,
}

/// Flags about USB ASICs.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "USB ASICs")]
pub struct AsicFlags {
    /// all takes every USB ASIC that is surely one by what it calls itself; none takes only those that --device names
    /// [default: none, as no driver has been run on hardware yet]
    #[arg(long, value_name = "ASICS")]
    pub asic: Option<String>,
    /// Take this USB ASIC: its driver and its port, or its serial number, as `lode devices` lists them, and how to run
    /// it, like bitaxe-gamma:SERIAL@freq=500,mv=1130; repeatable
    #[arg(long, value_name = "DRIVER:PORT[@freq=MHZ,mv=MV]")]
    pub device: Vec<String>,
    /// Try lode without an ASIC: emulate one of each KIND, drive it by the real driver, and mine on the practice pool inside
    /// lode, which then serves jobs with known answers. No -o: emulated chips find nothing elsewhere. Repeatable, or with
    /// commas; `list` says what there is
    #[arg(long, value_name = "KIND")]
    pub emulate: Vec<String>,
}

/// Flags about reports.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Reports")]
pub struct ReportFlags {
    /// Form of standard output: text for people, json for programs (one object a line) [default: text]
    #[arg(long, value_name = "FORM")]
    pub output: Option<String>,
    /// Time between two lines with the hashrate [default: 10s]
    #[arg(long, value_name = "TIME", alias = "print-time", allow_negative_numbers = true)]
    pub report_interval: Option<String>,
    /// Write the log to this file as well
    #[arg(short, long, value_name = "FILE")]
    pub log_file: Option<String>,
    /// Colours: auto, always or never [default: auto, which heeds NO_COLOR and TERM]
    #[arg(long, value_name = "WHEN")]
    pub color: Option<String>,
    /// Same as --color never
    #[arg(long, conflicts_with = "color")]
    pub no_color: bool,
    /// Say only what needs attention
    #[arg(short, long, action = ArgAction::Count)]
    pub quiet: u8,
    /// Say more; -vv even more
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
}

/// `lode bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// CPU threads of the last, joint measurement [default: one for each logical CPU]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    /// Only these kernels, as in `lode mine`; with --stress they take turns [default: all; with --stress: the fastest]
    #[arg(long, value_name = "ISA", allow_hyphen_values = true)]
    pub isa: Option<String>,
    /// Measure the kernels of GPUs instead of the CPU's: all, or numbers and names as in `lode mine`
    #[arg(long, value_name = "GPUS", num_args = 0..=1, default_missing_value = "all", conflicts_with_all = ["isa", "stress"])]
    pub gpu: Option<String>,
    /// Take software GPUs too: they are for tests
    #[arg(long, requires = "gpu")]
    pub gpu_allow_cpu: bool,
    /// Temperature in °C that GPUs are slowed down to stay at, as in `lode mine` [default: 80]
    #[arg(long, value_name = "CELSIUS", allow_negative_numbers = true, requires = "gpu")]
    pub gpu_temp_target: Option<String>,
    /// Temperature in °C at which the measurement of a GPU ends [default: 90]
    #[arg(long, value_name = "CELSIUS", allow_negative_numbers = true, requires = "gpu")]
    pub gpu_temp_cutoff: Option<String>,
    /// Read what this TOML file says of GPUs and single ones, but for which to take, as `lode mine` would
    #[arg(short = 'c', long, value_name = "FILE", requires = "gpu")]
    pub config: Option<String>,
    /// Time for each measurement [default: 1s]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub time: Option<String>,
    /// Save the result to compare it later; an older result there is replaced, anything else is left alone
    #[arg(long, value_name = "FILE")]
    pub save: Option<String>,
    /// Compare two saved results: what became of each rate from A to B
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["threads", "isa", "gpu", "time", "save", "stress"])]
    pub compare: Option<Vec<String>>,
    /// Draw the result, or the comparison, as an SVG
    #[arg(long, value_name = "FILE.svg")]
    pub chart: Option<String>,
    /// Hash on all threads for this long, checking every hit and that none is missing
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, conflicts_with_all = ["time", "save", "chart"])]
    pub stress: Option<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Tell no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// What other miners want to be told.
    #[command(flatten)]
    pub foreign: foreign::Flags,
}

/// `lode devices`.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `lode pool`.
#[derive(Debug, Args)]
pub struct PoolArgs {
    /// Address to listen on; only this machine reaches 127.0.0.1 [default: 127.0.0.1:3333]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// Difficulty at the start of a session [default: 0.001]
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    pub difficulty: Option<String>,
    /// Append every submit and its verdict to this file
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<String>,
}

/// Completes a command line that names no command: flags alone mean `mine`, `--benchmark` means `bench`.
pub fn with_command(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    const ROOT: [&str; 4] = ["-h", "--help", "-V", "--version"];
    let mut args: Vec<OsString> = args.into_iter().collect();
    let Some(first) = args.get(1) else { return args };
    let is_flag = first.to_str().is_some_and(|first| first.starts_with('-') && !ROOT.contains(&first));
    let mines = is_flag || first == "mine";
    if is_flag {
        args.insert(1, "mine".into());
    }
    if mines && let Some(at) = args.iter().position(|arg| arg == OsStr::new("--benchmark")) {
        args.remove(at);
        args[1] = "bench".into();
    }
    args
}

fn styles() -> Styles {
    Styles::styled()
        .header(AnsiColor::Yellow.on_default().bold())
        .usage(AnsiColor::Yellow.on_default().bold())
        .literal(AnsiColor::Cyan.on_default())
        .placeholder(AnsiColor::Green.on_default())
        .error(AnsiColor::Red.on_default().bold())
}
