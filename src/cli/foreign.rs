//! Flags of other miners: those that cannot hurt are taken, of the others lode says what to do instead.

use clap::{ArgAction, Args};

/// Flags that are understood and change nothing.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// The algorithm
    #[arg(short, long, hide = true, value_name = "ALGO")]
    pub algo: Option<String>,
    /// cgminer: no full-screen interface
    #[arg(short = 'T', long, hide = true, action = ArgAction::SetTrue)]
    pub text_only: bool,
    /// XMRig: TCP keep-alive
    #[arg(short, long, hide = true, action = ArgAction::SetTrue)]
    pub keepalive: bool,
}

/// Names that mean SHA-256d.
const SHA256D: [&str; 5] = ["sha256d", "sha256", "sha-256d", "btc", "bitcoin"];

impl Flags {
    /// The algorithm that was asked for, where lode does not mine it.
    pub fn other_algorithm(&self) -> Option<&str> {
        self.algo.as_deref().filter(|algo| !SHA256D.contains(&algo.to_ascii_lowercase().as_str()))
    }
}

/// What to do instead of an argument that lode does not have: the flags of cgminer, bfgminer, cpuminer and XMRig, and
/// what newcomers write.
pub fn hint(argument: &str) -> Option<&'static str> {
    if argument.contains("://") {
        return Some("a pool's URL follows -o, as in -o stratum+tcp://pool.example:3333");
    }
    Some(match argument.split('=').next().unwrap_or(argument) {
        "mine" | "bench" | "devices" | "pool" | "config" | "completions" => {
            "the command comes first, its flags behind it"
        }
        "-B" | "--background" | "--daemon" => {
            "lode does not hide: run it under systemd, in tmux or with `&`, where its owner sees it"
        }
        "--tls" | "--ssl" => "write stratum+ssl:// before the pool's host",
        "--tls-fingerprint" | "--cert-fingerprint" => "give the pool's certificate authority with --tls-ca",
        "-r" | "--retries" => "lode tries again for as long as it runs; --time-limit ends it",
        "--failover-only" => "this is how lode works: the next -o serves while the one before is down",
        "--load-balance" | "--balance" | "--quota" | "-U" | "--rotate" | "--round-robin" => {
            "lode mines at the first pool that is well; the others are backups"
        }
        "--donate-level" | "--donate-over-proxy" => "there is no donation in lode: leave it out",
        "--scrypt" | "--kawpow" | "--randomx" | "--coin" => {
            "lode mines SHA-256d (Bitcoin) and nothing else: leave it out"
        }
        "--worksize" | "--gpu-threads" | "--vectors" => {
            "lode measures which kernel suits a GPU, and remembers it: leave it out"
        }
        "--gpu-platform" | "--opencl" | "--cuda" => {
            "lode uses all GPUs that it can reach; choose among those of `lode devices` with --gpu"
        }
        "--gpu-engine" | "--gpu-memclock" | "--gpu-fan" | "--gpu-powertune" => {
            "lode leaves clocks, fans and power to the driver and its tools"
        }
        "--temp-target" => "use --gpu-temp-target",
        "--temp-cutoff" | "--temp-overheat" => "use --gpu-temp-cutoff",
        "--auto-fan" | "--auto-gpu" | "--temp-hysteresis" => {
            "the driver runs the fans; lode slows down to stay at --gpu-temp-target: leave it out"
        }
        "-G" | "--disable-gpu" | "--no-gpu" => "use --gpu none",
        "-S" | "--scan-serial" | "--usb" => "this version mines on CPUs and GPUs only",
        "--api-listen" | "--api-port" | "--api-bind" | "-b" | "--http-port" | "--http-host" => {
            "this version has no API; `--output json` prints everything for programs"
        }
        "--solo" | "--btc-address" | "--coinbase-addr" => "this version mines at pools only",
        "-D" | "--debug" | "-P" | "--protocol-dump" | "--protocol" => "use -v, or -vv for each message",
        "--syslog" => "use --log-file, or run lode under systemd",
        "--cpu-max-threads-hint" => "use -t",
        "--no-cpu" | "--disable-cpu" => "use -t 0",
        "--bench" => "use `lode bench`",
        "--dry-run" => "use `lode config check`",
        _ => return None,
    })
}
