//! Settings as a whole, from a command line and a file; the binary's own behaviour stands in `tests/cli.rs`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Parser;
use proptest::prelude::*;

use super::setting::ALL;
use super::*;
use crate::cli::{Cli, Command, MineArgs, with_command};
use crate::explain::Explain;
use crate::settings::{
    AsicPick, AsicSettings, BenchTask, GpuChoice, GpuDevice, GpuIntensity, GpuPick, HeatSettings,
    MineSettings, OutputFormat,
};

type Vars = &'static [(&'static str, &'static str)];

const SECRET: &str = "hunter2";
const FILE: &str = "\
[[pool]]
url = \"stratum+ssl://pool.example:3334\"
user = \"bob\"
pass = \"hunter2\"
suggest_difficulty = 0x10
allow_reconnect = [\"a.example\", \"b.example:1\"]

[cpu]
threads = 2
affinity = [0, 1]
";

fn args(line: &str) -> MineArgs {
    let line = line.split_whitespace().map(OsString::from);
    match Cli::parse_from(with_command(std::iter::once("lode".into()).chain(line))).command {
        Command::Mine(args) => *args,
        other => panic!("{other:?} is not `mine`"),
    }
}

fn around(vars: &[(&str, &str)], stdout_is_terminal: bool) -> Surroundings {
    let vars = vars.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let mut around = Surroundings::new(vars);
    around.stdout_is_terminal = stdout_is_terminal;
    around.cpus = Some(2);
    around
}

fn settings(line: &str, vars: &[(&str, &str)]) -> MineSettings {
    mine(&args(line), &around(vars, false)).expect("good settings").settings
}

fn text(text: impl Into<String>) -> ConfigText {
    ConfigText { path: "lode.toml".into(), text: text.into() }
}

#[test]
fn nothing_given_is_practice_with_all_cpus() {
    let settings = settings("mine", &[]);
    assert!(settings.pools.is_empty());
    assert_eq!(settings.cpu.threads, None);
    assert_eq!((settings.cpu.priority, settings.cpu.limit), (Some(2), 100));
    assert!(!settings.limits.is_bounded());
    assert_eq!(settings.report.output, OutputFormat::Text);
    assert_eq!(settings.report.interval, Duration::from_secs(10));
    assert_eq!(settings.report.verbosity, 0);
}

#[test]
fn flags_become_typed_settings() {
    let MineSettings { pools, cpu, gpu, asic, limits, report } = settings(
        "-o stratum+ssl://al:p%40ss@[2001:db8::1]:443 -t 0 --cpu-affinity 0x5 --cpu-priority 3 --cpu-limit 25% --isa -avx512 \
         --shares 7 --time-limit 1h30m --retry-pause 5 --proxy socks5://u:p@127.0.0.1:9050 --output json -vv \
         --gpu 0,2-3,Arc --gpu-allow-cpu --gpu-intensity 5ms --gpu-temp-target 70 --gpu-temp-cutoff 85C --allow-reconnect c.example --allow-reconnect [::1]:9 --suggest-difficulty 1e-3 \
         --asic all --device icarus:/dev/ttyUSB0 --device asic:bitaxe-gamma:B1@freq=500,mv=1130",
        &[],
    );
    let pool = &pools[0];
    assert_eq!((pool.url.host.as_str(), pool.url.port, pool.url.tls), ("2001:db8::1", 443, true));
    assert_eq!((pool.user.as_str(), pool.pass.reveal()), ("al", "p@ss"));
    let proxy = pool.proxy.as_ref().expect("given");
    assert_eq!((proxy.host.as_str(), proxy.port), ("127.0.0.1", 9050));
    assert_eq!(pool.allow_reconnect, [("c.example".to_owned(), None), ("::1".to_owned(), Some(9))]);
    assert_eq!(pool.suggest_difficulty, Some(0.001));
    assert_eq!(pool.retry_pause, Duration::from_secs(5));
    assert_eq!((cpu.threads, cpu.affinity, cpu.priority), (Some(0), Some(vec![0, 2]), Some(3)));
    assert_eq!(cpu.limit, 25);
    assert_eq!(cpu.isa.as_deref(), Some("-avx512"));
    let picks = [0, 2, 3].map(GpuPick::Index).into_iter().chain([GpuPick::Name("Arc".to_owned())]);
    assert_eq!(gpu.choice, GpuChoice::Some(picks.collect()));
    assert_eq!(gpu.intensity, GpuIntensity::Target(Duration::from_millis(5)));
    assert!(gpu.allow_cpu);
    assert_eq!(gpu.heat, HeatSettings { target: 70, cutoff: 85 });
    let pick = |driver: &str, place: &str, mhz, millivolts| {
        let (driver, place) = (driver.to_owned(), place.to_owned());
        AsicPick { driver, place, mhz, millivolts, enabled: true }
    };
    let gamma = pick("bitaxe-gamma", "B1", Some(500.0), Some(1130));
    assert_eq!(
        asic,
        AsicSettings {
            all: true,
            picks: vec![pick("icarus", "/dev/ttyUSB0", None, None), gamma],
            ..AsicSettings::default()
        }
    );
    assert_eq!((limits.shares, limits.time), (Some(7), Some(Duration::from_secs(5400))));
    assert_eq!((report.output, report.verbosity), (OutputFormat::Json, 2));
}

#[test]
fn devices_are_emulated_where_they_are_asked_for_and_there_is_no_pool() {
    assert_eq!(settings("mine", &[]).asic.emulate, [""; 0]);
    assert_eq!(settings("--emulate gamma --emulate 2PAC,u1", &[]).asic.emulate, ["gamma", "2pac", "u1"]);
    assert_eq!(settings("mine", &[("LODE_EMULATE", "gamma, 2pac")]).asic.emulate, ["gamma", "2pac"]);
    let many = vec!["u1"; 65].join(",");
    for (line, env) in [
        ("--emulate gamma -o stratum+tcp://a.example:1 -u w", &[][..]),
        ("-o stratum+tcp://a.example:1 -u w", &[("LODE_EMULATE", "gamma")]),
        ("mine", &[("LODE_EMULATE", ",")]),
        ("mine", &[("LODE_EMULATE", many.as_str())]),
    ] {
        let errors = mine(&args(line), &around(env, false)).expect_err("refused");
        assert_eq!(errors.len(), 1, "{line}: {errors:?}");
    }
}

#[test]
fn gpus_are_mined_with_where_they_are_asked_for() {
    let gpu = settings("mine", &[]).gpu;
    assert_eq!((gpu.choice, gpu.intensity), (GpuChoice::None, GpuIntensity::Normal));
    assert_eq!(gpu.heat, HeatSettings { target: 80, cutoff: 90 });
    assert!(!gpu.allow_cpu && gpu.devices.is_empty());
    let gpu = settings("mine", &[("LODE_GPU", "all"), ("LODE_GPU_ALLOW_CPU", "true")]).gpu;
    assert_eq!(gpu.choice, GpuChoice::All);
    assert!(gpu.allow_cpu);
}

#[test]
fn a_table_of_one_device_beats_the_file_and_flags_and_variables_beat_the_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lode.toml");
    let file = "[gpu]\nintensity = \"max\"\ntemp_cutoff = 95\n\
                [[device]]\nkey = \"gpu:0000:01:00.0\"\nintensity = \"desktop\"\ntemp_target = 60\n\
                [[device]]\nkey = 1\nenabled = false\ntemp_cutoff = 88\n";
    std::fs::write(&path, file).expect("written");
    let resolved = |line: &str, vars: &[(&str, &str)]| {
        let line = format!("{line} --config {}", path.display());
        mine(&args(&line), &around(vars, false)).expect("good settings")
    };
    let device = |pick, enabled, intensity, target, cutoff| GpuDevice {
        pick,
        enabled,
        intensity,
        heat: HeatSettings { target, cutoff },
    };
    let named = || GpuPick::Name("gpu:0000:01:00.0".to_owned());
    let (desktop, max) = (GpuIntensity::Desktop, GpuIntensity::Max);
    let plain = resolved("mine", &[]);
    assert_eq!(
        plain.settings.gpu.devices,
        [device(named(), true, desktop, 60, 95), device(GpuPick::Index(1), false, max, 80, 88)]
    );
    assert!(plain.notices.is_empty());
    let five = GpuIntensity::Target(Duration::from_millis(5));
    let beaten = resolved("mine --gpu-intensity 5", &[("LODE_GPU_TEMP_CUTOFF", "92")]);
    assert_eq!(
        beaten.settings.gpu.devices,
        [device(named(), true, five, 60, 92), device(GpuPick::Index(1), false, five, 80, 92)]
    );
    let said: Vec<String> = beaten.notices.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "--gpu-intensity holds for all devices: `intensity` of [[device]] 1 is not heeded",
            "LODE_GPU_TEMP_CUTOFF holds for all devices: `temp_cutoff` of [[device]] 2 is not heeded",
        ]
    );
    let shown = print(&beaten.facts);
    let (_, tables) = shown.split_once("[[device]] # 1\n").expect("the tables are shown");
    let lines: Vec<String> =
        tables.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "intensity = 5 # flag --gpu-intensity",
        "temp_cutoff = 92 # variable LODE_GPU_TEMP_CUTOFF",
        &format!("temp_target = 60 # {} line 7", path.display()),
    ] {
        assert_eq!(lines.iter().filter(|shown| *shown == line).count(), 1, "{line} in {tables}");
    }
    let beaten = ["intensity = desktop ", "temp_cutoff = 88 "];
    let shown = |value: &&str| lines.iter().any(|line| line.starts_with(*value));
    assert_eq!(beaten.iter().find(|value| shown(value)), None, "it is not in force: {tables}");
    let line = format!("mine --gpu-intensity 5 --config {}", path.display());
    std::fs::write(&path, file.replace("desktop", "fast")).expect("written");
    let errors = mine(&args(&line), &around(&[], false)).expect_err("what is beaten is checked all the same");
    assert!(errors[0].to_string().starts_with("`intensity` is `fast`"), "{}", errors[0]);
}

#[test]
fn asics_are_named_in_the_file_or_in_a_variable_and_both_are_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lode.toml");
    let resolved = |text: &str, vars: &[(&str, &str)]| {
        std::fs::write(&path, text).expect("written");
        let mut vars = vars.to_vec();
        vars.push(("LODE_CONFIG", path.to_str().expect("UTF-8")));
        mine(&args("mine"), &around(&vars, false)).map(|resolved| resolved.settings.asic)
    };
    let file = "[asic]\ndevices = \"all\"\n[[device]]\nkey = \"bitaxe-gamma:B1\"\nfreq = 500\nmv = 1130\n";
    let asic = resolved(file, &[]).expect("good");
    assert!(asic.all);
    assert_eq!((asic.picks[0].mhz, asic.picks[0].millivolts), (Some(500.0), Some(1130)));
    let asic = resolved(file, &[("LODE_DEVICE", "icarus:COM3 erupter:/dev/ttyUSB1"), ("LODE_ASIC", "none")]);
    let asic = asic.expect("good");
    let places: Vec<&str> = asic.picks.iter().map(|pick| pick.place.as_str()).collect();
    assert_eq!((asic.all, places), (false, vec!["COM3", "/dev/ttyUSB1"]));
    for (text, what) in [
        ("[[device]]\nfreq = 500\n", "a device has no `key`"),
        ("[[device]]\nkey = \"icarus:\"\n", "`key` is `icarus:`: not a device"),
        ("[[device]]\nkey = \"icarus:x\"\nmv = -1\n", "`mv` is `-1`: not a whole number from 1 to 20000"),
        ("[[device]]\nkey = \"icarus:x\"\nfreq = \"fast\"\n", "`freq` is `fast`: not a clock in MHz"),
        (
            "[[device]]\nkey = \"icarus:x@watts=3\"\n",
            "`key` is `icarus:x@watts=3`: `watts=3` is no setting of a device",
        ),
        ("[asic]\ndevices = \"some\"\n", "`devices` is `some`: not a choice of ASICs"),
    ] {
        let errors = resolved(text, &[]).expect_err("bad");
        assert_eq!(errors[0].to_string(), what);
    }
}

#[test]
fn a_bench_keeps_gpus_as_cool_as_mining_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lode.toml");
    let file = "[gpu]\ndevices = \"none\"\ntemp_target = 70\n[[device]]\nkey = 0\ntemp_target = 50\ntemp_cutoff = 60\n";
    std::fs::write(&path, file).expect("written");
    let gpus = |line: &str, vars: &[(&str, &str)]| {
        let line = line.split_whitespace().map(OsString::from);
        let Command::Bench(args) = Cli::parse_from(line).command else { panic!("it is no bench") };
        match bench(&args, &around(vars, false)).expect("good settings").settings.task {
            BenchTask::Gpu { gpu, .. } => gpu,
            other => panic!("{other:?}"),
        }
    };
    let heat = |target, cutoff| HeatSettings { target, cutoff };
    let plain = gpus("lode bench --gpu", &[]);
    assert_eq!((plain.choice, plain.heat, plain.devices.len()), (GpuChoice::All, heat(80, 90), 0));
    let file = format!("--config {}", path.display());
    let own = gpus(&format!("lode bench --gpu all {file}"), &[]);
    assert_eq!((own.choice, own.heat, own.devices[0].heat), (GpuChoice::All, heat(70, 90), heat(50, 60)));
    let line = format!("lode bench --gpu 0 --gpu-temp-target 65 {file}");
    let flags = gpus(&line, &[("LODE_GPU_TEMP_CUTOFF", "85"), ("LODE_GPU", "none")]);
    assert_eq!((flags.heat, flags.devices[0].heat), (heat(65, 85), heat(65, 85)));
}

#[test]
fn too_many_devices_are_said_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lode.toml");
    let errors = |text: String| {
        std::fs::write(&path, text).expect("written");
        let line = format!("mine --config {}", path.display());
        let resolved = mine(&args(&line), &around(&[], false));
        resolved.err().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let asics = |count: usize| {
        (0..count).map(|at| format!("[[device]]\nkey = \"icarus:{at}\"\n")).collect::<String>()
    };
    let gpus = |count: usize| (0..count).map(|at| format!("[[device]]\nkey = {at}\n")).collect::<String>();
    assert!(errors(asics(128) + &gpus(128)).is_empty());
    for text in [asics(257), gpus(257), asics(200) + &gpus(57)] {
        assert_eq!(errors(text), ["257 devices are more than 256"]);
    }
}

#[test]
fn intensities_of_older_miners_are_translated_and_said() {
    for (given, means, wanted) in [
        ("d", "desktop", GpuIntensity::Desktop),
        ("-10", "1ms", GpuIntensity::Target(Duration::from_millis(1))),
        ("9", "42ms", GpuIntensity::Target(Duration::from_millis(42))),
        ("20", "100ms", GpuIntensity::Target(Duration::from_millis(100))),
    ] {
        let resolved = mine(&args(&format!("mine -I {given}")), &around(&[], false)).expect("good settings");
        assert_eq!(resolved.settings.gpu.intensity, wanted);
        let said: Vec<String> = resolved.notices.iter().map(ToString::to_string).collect();
        assert_eq!(said, [format!("-I {given} of older miners is taken for --gpu-intensity {means}")]);
    }
    assert!(mine(&args("mine -I 99"), &around(&[], false)).is_err());
}

#[test]
fn the_nth_user_belongs_to_the_nth_pool_and_the_last_serves_the_rest() {
    let line = "-o a:1 -o b:2 -o carol:pw@c:3 -o d:4 -u alice -u bob -p one";
    let settings = settings(line, &[("LODE_PASS", "unused"), ("LODE_USER", "unused")]);
    let logins = settings.pools.iter().map(|pool| (pool.user.as_str(), pool.pass.reveal()));
    assert_eq!(
        logins.collect::<Vec<_>>(),
        [("alice", "one"), ("bob", "one"), ("carol", "pw"), ("bob", "one")]
    );
    assert_eq!(settings.pools.iter().map(|pool| pool.url.port).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn a_password_defaults_to_x_and_comes_from_the_environment() {
    assert_eq!(settings("-o a:1 -u b", &[]).pools[0].pass.reveal(), "x");
    assert_eq!(settings("-o a:1 -u b", &[("LODE_PASS", "p")]).pools[0].pass.reveal(), "p");
    let several = settings("mine", &[("LODE_URL", "a:1 ssl://b:2"), ("LODE_USER", "bob")]);
    assert_eq!(several.pools.len(), 2);
    assert!(several.pools[1].url.tls);
    assert_eq!(several.pools[1].user, "bob");
}

#[test]
fn colour_follows_flag_variables_file_and_terminal() {
    let cases: &[(&str, Vars, bool, bool)] = &[
        ("mine", &[], true, true),
        ("mine", &[], false, false),
        ("mine", &[("TERM", "dumb")], true, false),
        ("mine", &[("TERM", "xterm")], true, true),
        ("mine", &[("NO_COLOR", "1")], true, false),
        ("mine", &[("NO_COLOR", "")], true, true),
        ("mine", &[("NO_COLOR", "1"), ("LODE_COLOR", "always")], false, true),
        ("mine --color always", &[("NO_COLOR", "1")], false, true),
        ("mine --no-color", &[("LODE_COLOR", "always")], true, false),
        ("mine --color always --output json", &[], true, false),
    ];
    for (line, vars, terminal, colored) in cases {
        let settings = mine(&args(line), &around(vars, *terminal)).expect("good").settings;
        assert_eq!(settings.report.color, *colored, "{line} {vars:?} {terminal}");
    }
}

#[test]
fn odd_settings_are_noticed() {
    let cases: &[(&str, Vars, Notice)] = &[
        ("-t 3", &[], Notice::ManyThreads { threads: 3, cpus: 2 }),
        ("-o a:1 -u b -p hunter2", &[], Notice::PasswordInProcessList { flag: "--pass" }),
        ("-o b:hunter2@a:1", &[], Notice::PasswordInProcessList { flag: "--url" }),
        ("-o a:1 -O b:hunter2", &[], Notice::PasswordInProcessList { flag: "--userpass" }),
        (
            "mine",
            &[("LODE_THREAD", "1")],
            Notice::UnknownVariable { name: "LODE_THREAD".into(), near: Some("LODE_THREADS") },
        ),
    ];
    for (line, vars, notice) in cases {
        let resolved = mine(&args(line), &around(vars, false)).expect("good");
        assert_eq!(resolved.notices, std::slice::from_ref(notice), "{line}");
        assert!(!notice.to_string().contains(SECRET));
    }
    assert!(mine(&args("-o a:1 -u b -p x -t 2"), &around(&[], false)).expect("good").notices.is_empty());
}

#[test]
fn every_default_is_a_value_of_its_setting() {
    // `pick_or_default` relies on it.
    let server = pool_server(
        &crate::cli::PoolArgs { listen: None, difficulty: None, ledger: None },
        &around(&[], false),
    );
    assert!(server.expect("good").settings.listen.ip().is_loopback());
    settings("mine", &[]);
}

#[test]
fn names_are_unique_and_documented() {
    let docs = include_str!("../../docs/configuration.md");
    for setting in ALL {
        let Setting { section, name, flag, env, .. } = setting;
        assert!(*section == Section::Run || docs.contains(&format!("`{name}`")), "{name} is undocumented");
        if *section == Section::Device {
            assert!(flag.is_empty() && env.is_empty(), "a flag for one of several devices");
            continue;
        }
        assert!(docs.contains(&format!("`{flag}`")), "docs/configuration.md lacks {flag}");
        assert!(docs.contains(&format!("`{env}`")), "docs/configuration.md lacks {env}");
        assert_eq!(ALL.iter().filter(|other| other.env == *env || other.flag == *flag).count(), 1, "{env}");
    }
}

#[test]
fn the_file_is_read_with_numbers_lists_and_texts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lode.toml");
    std::fs::write(&path, FILE).expect("written");
    let vars = [("LODE_CONFIG", path.to_str().expect("UTF-8"))];
    let MineSettings { pools, cpu, .. } = settings("mine", &vars);
    let pool = &pools[0];
    assert_eq!((pool.url.host.as_str(), pool.url.port, pool.url.tls), ("pool.example", 3334, true));
    assert_eq!((pool.user.as_str(), pool.pass.reveal()), ("bob", SECRET));
    assert_eq!(pool.suggest_difficulty, Some(16.0));
    assert_eq!(pool.allow_reconnect, [("a.example".to_owned(), None), ("b.example".to_owned(), Some(1))]);
    assert_eq!((cpu.threads, cpu.affinity), (Some(2), Some(vec![0, 1])));
}

/// Everything that is said about a text, as the operator would see it.
fn said(input: String) -> String {
    match parse(text(input)) {
        Ok(_) => String::new(),
        Err(errors) => errors.iter().map(|error| error.explain().to_string() + "\n").collect(),
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(input in "\\PC*|[\\[\\]={}\"'#.\n a-z0-9\\\\]{0,200}") {
        said(input);
    }

    #[test]
    fn a_mangled_file_is_read_or_explained(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..3u8), 1..8),
    ) {
        let mut chars: Vec<char> = EXAMPLE.chars().collect();
        for (at, with, kind) in edits {
            let at = at.index(chars.len());
            match kind {
                0 => drop(chars.remove(at)),
                1 => chars.insert(at, with),
                _ => chars[at] = with,
            }
        }
        said(chars.into_iter().collect());
    }

    #[test]
    fn a_slip_never_shows_the_password(
        at in 0..FILE.len() - SECRET.len(),
        with in "[ -~\n]",
        kind in 0..3u8,
    ) {
        let start = FILE.find(SECRET).expect("there");
        let at = if at < start { at } else { at + SECRET.len() };
        let mut file = FILE.to_owned();
        match kind {
            0 => drop(file.remove(at)),
            1 => file.insert_str(at, &with),
            _ => file.replace_range(at..=at, &with),
        }
        prop_assert!(!said(file).contains(SECRET));
    }
}
