//! Every setting by its names: one line each, from which flags, environment, file, documentation and messages agree.

/// A part of the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// `[[pool]]`.
    Pool,
    /// `[cpu]`.
    Cpu,
    /// `[gpu]`.
    Gpu,
    /// `[asic]`.
    Asic,
    /// `[[device]]`.
    Device,
    /// `[report]`.
    Report,
    /// Not in the file: what concerns one run.
    Run,
}

/// How much of a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// All of it.
    Open,
    /// All but what stands before an `@`.
    Credentials,
    /// Nothing.
    Hidden,
}

/// The names of a setting.
#[derive(Debug)]
pub struct Setting {
    /// Where it stands in the file.
    pub section: Section,
    /// Its key in the file.
    pub name: &'static str,
    /// Its flag; empty where it has none.
    pub flag: &'static str,
    /// Its environment variable; empty where it has none.
    pub env: &'static str,
    /// The value it has when nobody sets it, empty where it has none.
    pub default: &'static str,
    /// How much of its value may be shown.
    pub secrecy: Secrecy,
}

const fn setting(
    section: Section,
    name: &'static str,
    flag: &'static str,
    env: &'static str,
    default: &'static str,
    secrecy: Secrecy,
) -> Setting {
    Setting { section, name, flag, env, default, secrecy }
}

macro_rules! settings {
    ($($ident:ident: $section:ident $name:literal $flag:literal $env:literal $default:literal $secrecy:ident)*) => {
        $(
            #[doc = concat!("`", $name, "`, `", $flag, "`, `", $env, "`")]
            pub(super) static $ident: Setting =
                setting(Section::$section, $name, $flag, $env, $default, Secrecy::$secrecy);
        )*
        /// All of them.
        pub static ALL: &[&Setting] = &[$(&$ident),*];
    };
}

settings! {
    URL:                Pool   "url"                "--url"                "LODE_URL"                ""      Credentials
    USER:               Pool   "user"               "--user"               "LODE_USER"               ""      Open
    PASS:               Pool   "pass"               "--pass"               "LODE_PASS"               "x"     Hidden
    PASS_FILE:          Pool   "pass_file"          "--pass-file"          "LODE_PASS_FILE"          ""      Open
    TLS_CA:             Pool   "tls_ca"             "--tls-ca"             "LODE_TLS_CA"             ""      Open
    PROXY:              Pool   "proxy"              "--proxy"              "LODE_PROXY"              ""      Credentials
    ALLOW_RECONNECT:    Pool   "allow_reconnect"    "--allow-reconnect"    "LODE_ALLOW_RECONNECT"    ""      Open
    SUGGEST_DIFFICULTY: Pool   "suggest_difficulty" "--suggest-difficulty" "LODE_SUGGEST_DIFFICULTY" ""      Open
    RETRY_PAUSE:        Pool   "retry_pause"        "--retry-pause"        "LODE_RETRY_PAUSE"        "60s"   Open
    THREADS:            Cpu    "threads"            "--threads"            "LODE_THREADS"            "auto"  Open
    ISA:                Cpu    "isa"                "--isa"                "LODE_ISA"                "auto"  Open
    AFFINITY:           Cpu    "affinity"           "--cpu-affinity"       "LODE_CPU_AFFINITY"       ""      Open
    PRIORITY:           Cpu    "priority"           "--cpu-priority"       "LODE_CPU_PRIORITY"       "2"     Open
    LIMIT:              Cpu    "limit"              "--cpu-limit"          "LODE_CPU_LIMIT"       "100%"  Open
    GPU:                Gpu    "devices"            "--gpu"                "LODE_GPU"                "none"   Open
    GPU_ALLOW_CPU:      Gpu    "allow_cpu"          "--gpu-allow-cpu"      "LODE_GPU_ALLOW_CPU"      "false" Open
    GPU_INTENSITY:      Gpu    "intensity"          "--gpu-intensity"      "LODE_GPU_INTENSITY"      "normal" Open
    GPU_TARGET:         Gpu    "temp_target"        "--gpu-temp-target"    "LODE_GPU_TEMP_TARGET"    "80"    Open
    GPU_CUTOFF:         Gpu    "temp_cutoff"        "--gpu-temp-cutoff"    "LODE_GPU_TEMP_CUTOFF"    "90"    Open
    ASIC:               Asic   "devices"            "--asic"               "LODE_ASIC"               "none"  Open
    DEVICE:             Run    "device"             "--device"             "LODE_DEVICE"             ""      Open
    EMULATE:            Run    "emulate"            "--emulate"            "LODE_EMULATE"            ""      Open
    DEVICE_KEY:         Device "key"                ""                     ""                        ""      Open
    DEVICE_ENABLED:     Device "enabled"            ""                     ""                        "true"  Open
    DEVICE_INTENSITY:   Device "intensity"          ""                     ""                        ""      Open
    DEVICE_TARGET:      Device "temp_target"        ""                     ""                        ""      Open
    DEVICE_CUTOFF:      Device "temp_cutoff"        ""                     ""                        ""      Open
    DEVICE_FREQ:        Device "freq"               ""                     ""                        ""      Open
    DEVICE_MV:          Device "mv"                 ""                     ""                        ""      Open
    OUTPUT:             Report "output"             "--output"             "LODE_OUTPUT"             "text"  Open
    INTERVAL:           Report "interval"           "--report-interval"    "LODE_REPORT_INTERVAL"    "10s"   Open
    LOG_FILE:           Report "log_file"           "--log-file"           "LODE_LOG_FILE"           ""      Open
    COLOR:              Report "color"              "--color"              "LODE_COLOR"              "auto"  Open
    SHARES:             Run    "shares"             "--shares"             "LODE_SHARES"             ""      Open
    TIME_LIMIT:         Run    "time_limit"         "--time-limit"         "LODE_TIME_LIMIT"         ""      Open
    CONFIG:             Run    "config"             "--config"             "LODE_CONFIG"             ""      Open
    LISTEN:             Run    "listen"             "--listen"             "LODE_POOL_LISTEN"        "127.0.0.1:3333" Open
    DIFFICULTY:         Run    "difficulty"         "--difficulty"         "LODE_POOL_DIFFICULTY"    "0.001" Open
    LEDGER:             Run    "ledger"             "--ledger"             "LODE_POOL_LEDGER"        ""      Open
    BENCH_TIME:         Run    "time"               "--time"               "LODE_BENCH_TIME"         "1s"    Open
    BENCH_SAVE:         Run    "save"               "--save"               "LODE_BENCH_SAVE"         ""      Open
    BENCH_CHART:        Run    "chart"              "--chart"              "LODE_BENCH_CHART"        ""      Open
    BENCH_STRESS:       Run    "stress"             "--stress"             "LODE_BENCH_STRESS"       ""      Open
}

/// The keys that a part of the file may have.
pub(super) fn keys_of(section: Section) -> impl Iterator<Item = &'static str> {
    ALL.iter().filter(move |setting| setting.section == section).map(|setting| setting.name)
}

/// The nearest of `known` to a mistyped name, if it is near enough to have been meant.
pub(super) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(given, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
