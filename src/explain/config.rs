//! Errors in settings.

use stratum::url::UrlError;

use super::pool::trust_advice;
use super::{Exit, Explain, Explanation, file_advice};
use crate::config::{ConfigError, Origin, Section, Setting, Spot, ValueError};

impl Explain for ConfigError {
    fn explain(&self) -> Explanation {
        Explanation::new(self, Exit::Usage, config_advice(self)).at(config_spot(self))
    }
}

fn config_spot(error: &ConfigError) -> Option<&Spot> {
    match error {
        ConfigError::Syntax { at, .. } | ConfigError::UnknownKey { at, .. } => Some(at),
        ConfigError::NoUrl { at } | ConfigError::NoDeviceKey { at } => at.as_ref(),
        ConfigError::Both { second: at, .. }
        | ConfigError::WrongKind { at, .. }
        | ConfigError::Invalid { at, .. }
        | ConfigError::NoUser { at, .. }
        | ConfigError::HeatLimits { at, .. }
        | ConfigError::EmulatedAtPool { at }
        | ConfigError::NeedsPool { at } => match at {
            Origin::File(spot) => Some(spot),
            Origin::Default | Origin::Flag(_) | Origin::Env(_) => None,
        },
        ConfigError::Unreadable { .. }
        | ConfigError::TooLarge { .. }
        | ConfigError::NotUtf8 { .. }
        | ConfigError::TooMany { .. }
        | ConfigError::TooManyPools { .. }
        | ConfigError::TooManyDevices { .. }
        | ConfigError::PassFile { .. }
        | ConfigError::Authorities(_)
        | ConfigError::Algorithm { .. } => None,
    }
}

fn config_advice(error: &ConfigError) -> String {
    match error {
        ConfigError::Unreadable { source, .. } => file_advice(source).to_owned(),
        ConfigError::TooLarge { .. } => {
            "give lode's own TOML file; `lode config example` prints one to start from".to_owned()
        }
        ConfigError::NotUtf8 { .. } => "save the file as UTF-8 text".to_owned(),
        ConfigError::Syntax { .. } => {
            "a line is `key = value`, text stands in \"quotes\", and a part begins with [cpu], [report] or [[pool]]"
                .to_owned()
        }
        ConfigError::UnknownKey { near, known, home, part, .. } => unknown_key_advice(*near, known, *home, part),
        ConfigError::WrongKind { wanted, .. } => format!("write {wanted}"),
        ConfigError::Invalid { setting, problem, .. } => value_advice(setting, problem),
        ConfigError::NoUrl { .. } => "add a line like url = \"stratum+tcp://pool.example:3333\"".to_owned(),
        ConfigError::NoDeviceKey { .. } => {
            "add a line like key = \"gpu:0000:01:00.0\" or key = \"icarus:/dev/ttyUSB0\", as `lode devices` shows it"
                .to_owned()
        }
        ConfigError::TooManyDevices { limit, .. } => format!("keep at most {limit}"),
        ConfigError::EmulatedAtPool { .. } => {
            "leave the pool out (-o, LODE_URL, [[pool]]): an emulated chip finds only what is known beforehand, so at \
             another pool it finds nothing"
                .to_owned()
        }
        ConfigError::HeatLimits { .. } => {
            "lower the target (--gpu-temp-target, `temp_target`) or raise the cut-off (--gpu-temp-cutoff, `temp_cutoff`)"
                .to_owned()
        }
        ConfigError::NoUser { .. } => {
            "give the pool account, account.worker or Bitcoin address: -u on the command line, `user` in the file"
                .to_owned()
        }
        ConfigError::Both { .. } => "keep one of the two".to_owned(),
        ConfigError::TooMany { .. } => {
            "give it at most once for each -o, in the same order; the last one serves the rest".to_owned()
        }
        ConfigError::NeedsPool { .. } => {
            "add the pool, like -o stratum+tcp://pool.example:3333, or leave this out to practise".to_owned()
        }
        ConfigError::TooManyPools { limit, .. } => format!("keep the best {limit} at most; two or three are usual"),
        ConfigError::PassFile { .. } => "put the password, and nothing else, on the first line".to_owned(),
        ConfigError::Authorities(error) => trust_advice(error).to_owned(),
        ConfigError::Algorithm { .. } => "leave out -a, or write -a sha256d".to_owned(),
    }
}

fn unknown_key_advice(near: Option<&str>, known: &[&str], home: Option<Section>, part: &str) -> String {
    let title = |section| match section {
        Section::Pool => "[[pool]]",
        Section::Cpu => "[cpu]",
        Section::Gpu => "[gpu]",
        Section::Asic => "[asic]",
        Section::Device => "[[device]]",
        Section::Report => "[report]",
        Section::Run => "the command line",
    };
    match (home, near) {
        (Some(home), _) => format!("it belongs below {}", title(home)),
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) if part.is_empty() => {
            "the parts of the file are [[pool]], [cpu], [gpu], [asic], [[device]] and [report]".to_owned()
        }
        (None, None) => format!("{part} takes {}", known.join(", ")),
    }
}

fn value_advice(setting: &Setting, problem: &ValueError) -> String {
    let right = match problem {
        ValueError::Whole { min, max: u64::MAX } => format!("a whole number from {min} up"),
        ValueError::Whole { min, max } => format!("a whole number from {min} to {max}"),
        ValueError::Percent => "a whole percentage from 1% to 100%".to_owned(),
        ValueError::Difficulty => "a number above 0, like 1024 or 0.5".to_owned(),
        ValueError::Duration => "seconds, or a time like 90s, 10m or 1h30m".to_owned(),
        ValueError::DurationRange { .. } => "a time within these bounds, like 30s or 10m".to_owned(),
        ValueError::Choice { known } => known.join(" or "),
        ValueError::Cpus => "CPU numbers from 0 to 1023, like 0-3,5, or a mask like 0xf".to_owned(),
        ValueError::Asics => "all or none; --device names single ones".to_owned(),
        ValueError::Kinds => "one or more of what `lode mine --emulate list` prints, like gamma or 2pac,erupter".to_owned(),
        ValueError::Device => "a driver and a port, like icarus:/dev/ttyUSB0".to_owned(),
        ValueError::DeviceSetting(_) => "freq=MHZ, mv=MILLIVOLTS, or both with a comma between".to_owned(),
        ValueError::Megahertz => "a clock in MHz, like 500".to_owned(),
        ValueError::Gpus => {
            "all, none, numbers like 0,2-3, or parts of names, as `lode devices` lists them".to_owned()
        }
        ValueError::Intensity => {
            "desktop, normal, max, or 1 to 100 milliseconds (-I: d, or -10 to 31)".to_owned()
        }
        ValueError::Celsius { min, max } => format!("whole degrees Celsius from {min} to {max}"),
        ValueError::DeviceKey => {
            "one GPU as `lode devices` shows it, like gpu:0000:01:00.0, its number or a part of its name, or an ASIC, \
             like icarus:/dev/ttyUSB0"
                .to_owned()
        }
        ValueError::OtherKind(_) => "it in a table of other devices; docs/configuration.md says of which".to_owned(),
        ValueError::Twice => "each device at most once: one table takes all of its settings".to_owned(),
        ValueError::Isa(_) => {
            "auto, a kernel like avx2, or kernels to leave out like -avx512,-avx2".to_owned()
        }
        ValueError::Url(error) => return pool_url_advice(error).to_owned(),
        ValueError::Proxy(error) => return proxy_advice(error).to_owned(),
        ValueError::Host(_) => "a host, or host and port, like pool.example or pool.example:3333".to_owned(),
        ValueError::Listen => {
            "an IP address and port, like 127.0.0.1:3333, or 0.0.0.0:3333 to be reached from other machines"
                .to_owned()
        }
        ValueError::Empty => "a value, or leave it out".to_owned(),
        ValueError::Login(_) => {
            "one line of ordinary text, at most 300 bytes, as the pool's web page says".to_owned()
        }
        ValueError::NoColon => "both with a colon between, like -O bob.rig1:x".to_owned(),
        ValueError::NotUtf8 => "UTF-8 text".to_owned(),
    };
    match setting.default {
        "" => format!("give {right}"),
        default => format!("give {right}; without it, {} is {default}", setting.name),
    }
}

fn pool_url_advice(error: &UrlError) -> &'static str {
    match error {
        UrlError::Scheme(_) => "write stratum+tcp://HOST:PORT, or stratum+ssl://HOST:PORT for TLS",
        UrlError::NotYet(_) => "use the pool's Stratum V1 address, like stratum+tcp://pool.example:3333",
        UrlError::Host => "write a host name or an address, an IPv6 address in brackets: [2001:db8::1]:3333",
        UrlError::NoPort => "add the port, as the pool's web page says, like :3333",
        UrlError::Port => "write the port that the pool's web page says, like :3333",
        UrlError::Trailing => "end the URL with the port: Stratum has no paths",
        UrlError::TooLong => "write a host and a port: stratum+tcp://HOST:PORT",
        UrlError::Credentials => "give them with -u and --pass-file instead, or write odd characters as %40",
    }
}

fn proxy_advice(error: &UrlError) -> &'static str {
    match error {
        UrlError::Scheme(_) | UrlError::NotYet(_) | UrlError::TooLong => {
            "write socks5://HOST:PORT, like socks5://127.0.0.1:9050"
        }
        UrlError::Host => "write a host name or an address, an IPv6 address in brackets",
        UrlError::NoPort | UrlError::Port => "add the port, like :1080, or :9050 for Tor",
        UrlError::Trailing => "end it with the port",
        UrlError::Credentials => "write both, USER:PASS@, odd characters as %40, at most 255 bytes each",
    }
}
