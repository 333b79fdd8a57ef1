//! The settings of each command.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use super::asics::asics;
use super::devices::{AllGpus, General, gpu_devices, limit_tables};
use super::env::Surroundings;
use super::error::{ConfigError, Notice};
use super::file::{self, ConfigFile, Entries};
use super::layers::{Fact, Layers};
use super::origin::Origin;
use super::pools::{is_world_readable, pools, relative_to_file};
use super::setting::{
    AFFINITY, BENCH_CHART, BENCH_SAVE, BENCH_STRESS, BENCH_TIME, COLOR, CONFIG, DIFFICULTY, EMULATE, GPU,
    GPU_ALLOW_CPU, GPU_CUTOFF, GPU_INTENSITY, GPU_TARGET, INTERVAL, ISA, LEDGER, LIMIT, LISTEN, LOG_FILE,
    OUTPUT, PASS, PRIORITY, SHARES, Setting, THREADS, TIME_LIMIT,
};
use super::value::{self, ValueError};
use crate::cli::{BenchArgs, CpuFlags, GpuFlags, MineArgs, PoolArgs, ReportFlags};
use crate::settings::{
    BenchCpu, BenchSettings, BenchTask, CpuSettings, GpuSettings, MineSettings, OutputFormat,
    PoolServerSettings, ReportSettings, RunLimits,
};

/// Checked settings, with what to tell about them.
#[derive(Debug)]
pub struct Resolved<T> {
    /// The settings.
    pub settings: T,
    /// Each of them as it may be shown, with its origin.
    pub facts: Vec<Fact>,
    /// What is odd.
    pub notices: Vec<Notice>,
}

impl Layers<'_> {
    fn finish<T>(self, settings: T) -> Result<Resolved<T>, Vec<ConfigError>> {
        let Layers { facts, errors, notices, .. } = self;
        if errors.is_empty() { Ok(Resolved { settings, facts, notices }) } else { Err(errors) }
    }
}

/// The settings of `lode mine`.
///
/// # Errors
/// Everything that is wrong with them.
pub fn mine(args: &MineArgs, around: &Surroundings) -> Result<Resolved<MineSettings>, Vec<ConfigError>> {
    let mut layers = Layers::new(around);
    check_algorithm(&mut layers, args.foreign.other_algorithm());
    let file = config_file(&mut layers, args.config.as_deref());
    let settings = MineSettings {
        pools: pools(&mut layers, &args.pool, &file),
        cpu: cpu(&mut layers, &args.cpu, &file.cpu),
        gpu: gpu(&mut layers, &args.gpu, &file),
        asic: asics(&mut layers, &args.asic, &file),
        limits: limits(&mut layers, args),
        report: report(&mut layers, &args.report, &file.report),
    };
    refuse_emulated_at_pool(&mut layers, &settings, args);
    layers.finish(settings)
}

fn refuse_emulated_at_pool(layers: &mut Layers<'_>, settings: &MineSettings, args: &MineArgs) {
    if !settings.pools.is_empty() && !settings.asic.emulate.is_empty() {
        let flag = !args.asic.emulate.is_empty();
        let at = if flag { Origin::Flag(EMULATE.flag) } else { Origin::Env(EMULATE.env) };
        layers.errors.push(ConfigError::EmulatedAtPool { at });
    }
}

/// The settings of `lode bench`.
///
/// # Errors
/// Everything that is wrong with them.
pub fn bench(args: &BenchArgs, around: &Surroundings) -> Result<Resolved<BenchSettings>, Vec<ConfigError>> {
    let mut layers = Layers::new(around);
    check_algorithm(&mut layers, args.foreign.other_algorithm());
    let settings = BenchSettings {
        task: bench_task(&mut layers, args),
        chart: file_flag(&mut layers, &BENCH_CHART, args.chart.as_deref()),
        json: args.json,
        quiet: args.quiet,
    };
    layers.finish(settings)
}

fn bench_task(layers: &mut Layers<'_>, args: &BenchArgs) -> BenchTask {
    if let Some([a, b]) = args.compare.as_deref() {
        return BenchTask::Compare { a: a.into(), b: b.into() };
    }
    let cpu = bench_cpu(layers, args);
    if let Some(choice) = args.gpu.as_deref() {
        // Not of the environment: that says what to mine with.
        return BenchTask::Gpu {
            gpu: bench_gpu(layers, args, choice),
            threads: cpu.threads,
            time: layers.pick_or_default(&BENCH_TIME, args.time.as_deref(), None, value::bench_time),
            save: file_flag(layers, &BENCH_SAVE, args.save.as_deref()),
        };
    }
    let measures = args.time.is_some() || args.save.is_some() || args.chart.is_some();
    // A flag of the other task beats the variable of this one.
    let stress = (args.stress.is_some() || !measures)
        .then(|| layers.pick(&BENCH_STRESS, args.stress.as_deref(), None, value::stress_time));
    if let Some((duration, _)) = stress.flatten() {
        return BenchTask::Stress { cpu, duration };
    }
    BenchTask::Measure {
        cpu,
        time: layers.pick_or_default(&BENCH_TIME, args.time.as_deref(), None, value::bench_time),
        save: file_flag(layers, &BENCH_SAVE, args.save.as_deref()),
    }
}

fn bench_cpu(layers: &mut Layers<'_>, args: &BenchArgs) -> BenchCpu {
    let flag = args.threads.as_deref();
    let threads = threads(layers, flag, None);
    if threads == Some(0)
        && let Some((text, origin)) = layers.find(&THREADS, flag, None)
    {
        layers.reject(&THREADS, &text, ValueError::Whole { min: 1, max: value::MAX_THREADS }, origin);
    }
    let isa = layers.pick(&ISA, args.isa.as_deref(), None, value::bench_isa).map(|(isa, _)| isa);
    BenchCpu { threads: threads.and_then(NonZero::new), isa }
}

fn bench_gpu(layers: &mut Layers<'_>, args: &BenchArgs, choice: &str) -> GpuSettings {
    let config = config_file(layers, args.config.as_deref());
    let flags = GpuFlags {
        gpu: Some(choice.to_owned()),
        gpu_allow_cpu: args.gpu_allow_cpu,
        gpu_temp_target: args.gpu_temp_target.clone(),
        gpu_temp_cutoff: args.gpu_temp_cutoff.clone(),
        ..GpuFlags::default()
    };
    gpu(layers, &flags, &config)
}

fn file_flag(layers: &mut Layers<'_>, setting: &'static Setting, flag: Option<&str>) -> Option<PathBuf> {
    layers.pick(setting, flag, None, value::path).map(|(path, _)| path)
}

/// The settings of `lode pool`.
///
/// # Errors
/// Everything that is wrong with them.
pub fn pool_server(
    args: &PoolArgs,
    around: &Surroundings,
) -> Result<Resolved<PoolServerSettings>, Vec<ConfigError>> {
    let mut layers = Layers::new(around);
    let settings = PoolServerSettings {
        listen: layers.pick_or_default(&LISTEN, args.listen.as_deref(), None, value::listen),
        difficulty: layers.pick_or_default(&DIFFICULTY, args.difficulty.as_deref(), None, value::difficulty),
        ledger: layers.pick(&LEDGER, args.ledger.as_deref(), None, value::path).map(|(path, _)| path),
    };
    if !settings.listen.ip().is_loopback() {
        layers.notices.push(Notice::OpenToOthers { listen: settings.listen });
    }
    layers.finish(settings)
}

fn check_algorithm(layers: &mut Layers<'_>, other: Option<&str>) {
    layers.errors.extend(other.map(|given| ConfigError::Algorithm { given: given.to_owned() }));
}

fn config_file(layers: &mut Layers<'_>, flag: Option<&str>) -> ConfigFile {
    let Some((path, _)) = layers.pick(&CONFIG, flag, None, value::path) else { return ConfigFile::default() };
    match file::read(&path) {
        Ok(mut config) => {
            warn_if_everybody_can_read(layers, &path, &config);
            limit_tables(layers, &mut config);
            config
        }
        Err(errors) => {
            layers.errors.extend(errors);
            ConfigFile::default()
        }
    }
}

fn warn_if_everybody_can_read(layers: &mut Layers<'_>, path: &Path, config: &ConfigFile) {
    let holds_password = |pool: &Entries| pool.get(PASS.name).is_some_and(|pass| pass.text != PASS.default);
    let exposed = std::fs::metadata(path).is_ok_and(|metadata| is_world_readable(&metadata));
    if exposed && config.pools.iter().any(|(pool, _)| holds_password(pool)) {
        layers.notices.push(Notice::WorldReadable { path: path.to_owned() });
    }
}

fn cpu(layers: &mut Layers<'_>, flags: &CpuFlags, file: &Entries) -> CpuSettings {
    let file = Some(file);
    CpuSettings {
        threads: threads(layers, flags.threads.as_deref(), file),
        isa: layers.pick(&ISA, flags.isa.as_deref(), file, value::isa).map(|(isa, _)| isa),
        affinity: layers
            .pick(&AFFINITY, flags.cpu_affinity.as_deref(), file, value::cpus)
            .map(|(cpus, _)| cpus),
        priority: layers
            .pick(&PRIORITY, flags.cpu_priority.as_deref(), file, value::priority)
            .map(|(priority, _)| priority),
        limit: layers.pick_or_default(&LIMIT, flags.cpu_limit.as_deref(), file, value::percent),
    }
}

fn threads(layers: &mut Layers<'_>, flag: Option<&str>, file: Option<&Entries>) -> Option<usize> {
    let threads = layers.pick_or_default(&THREADS, flag, file, value::threads);
    if let (Some(threads), Some(cpus)) = (threads, layers.around.cpus)
        && threads > cpus
    {
        layers.notices.push(Notice::ManyThreads { threads, cpus });
    }
    threads
}

fn gpu(layers: &mut Layers<'_>, flags: &GpuFlags, config: &ConfigFile) -> GpuSettings {
    let file = Some(&config.gpu);
    let choice = layers.pick_or_default(&GPU, flags.gpu.as_deref(), file, value::gpus);
    let allow_cpu = flags.gpu_allow_cpu.then_some("true");
    let allow_cpu = layers.pick_or_default(&GPU_ALLOW_CPU, allow_cpu, file, value::yes_or_no);
    let older = flags.intensity.as_deref().and_then(|given| {
        let means = value::older_intensity(given);
        match &means {
            Ok(means) => {
                layers.notices.push(Notice::OlderIntensity { given: given.to_owned(), means: means.clone() })
            }
            Err(problem) => layers.reject(&GPU_INTENSITY, given, problem.clone(), Origin::Flag("-I")),
        }
        means.ok()
    });
    let intensity = flags.gpu_intensity.as_deref().or(older.as_deref());
    let all = AllGpus {
        intensity: general(layers, &GPU_INTENSITY, intensity, file, value::intensity),
        target: general(layers, &GPU_TARGET, flags.gpu_temp_target.as_deref(), file, value::temp_target),
        cutoff: general(layers, &GPU_CUTOFF, flags.gpu_temp_cutoff.as_deref(), file, value::temp_cutoff),
    };
    let heat = all.heat(layers);
    let devices = gpu_devices(layers, config, &all);
    GpuSettings { choice, allow_cpu, intensity: all.intensity.value, heat, devices }
}

fn general<T>(
    layers: &mut Layers<'_>,
    setting: &'static Setting,
    flag: Option<&str>,
    file: Option<&Entries>,
    read: impl Fn(&str) -> Result<T, ValueError>,
) -> General<T> {
    let picked = layers.pick(setting, flag, file, &read);
    let default =
        || (read(setting.default).expect("every default is a value of its setting"), Origin::Default);
    let (value, origin) = picked.unwrap_or_else(default);
    General { setting, value, origin }
}

fn limits(layers: &mut Layers<'_>, args: &MineArgs) -> RunLimits {
    RunLimits {
        shares: layers.pick(&SHARES, args.shares.as_deref(), None, value::shares).map(|(shares, _)| shares),
        time: layers
            .pick(&TIME_LIMIT, args.time_limit.as_deref(), None, value::time_limit)
            .map(|(time, _)| time),
    }
}

fn report(layers: &mut Layers<'_>, flags: &ReportFlags, file: &Entries) -> ReportSettings {
    let file = Some(file);
    let output = layers.pick_or_default(&OUTPUT, flags.output.as_deref(), file, value::output);
    let interval = layers.pick_or_default(&INTERVAL, flags.report_interval.as_deref(), file, value::interval);
    let log_file = layers.pick(&LOG_FILE, flags.log_file.as_deref(), file, value::path);
    let log_file = log_file.map(|(path, origin)| -> PathBuf { relative_to_file(&origin, path) });
    let color = color(layers, flags, file) && output == OutputFormat::Text;
    let verbosity =
        i8::try_from(flags.verbose).unwrap_or(i8::MAX) - i8::try_from(flags.quiet).unwrap_or(i8::MAX);
    ReportSettings { output, color, interval, log_file, verbosity }
}

/// Flag, then `LODE_COLOR`, then `NO_COLOR`, then the file; else what the terminal can show.
fn color(layers: &mut Layers<'_>, flags: &ReportFlags, file: Option<&Entries>) -> bool {
    let flag = if flags.no_color { Some("never") } else { flags.color.as_deref() };
    let by_terminal = layers.around.can_color();
    if flag.is_none() && layers.around.var(COLOR.env).is_none() && layers.around.refuses_color() {
        layers.record(&COLOR, Some("never"), Origin::Env("NO_COLOR"));
        return false;
    }
    layers.pick_or_default(&COLOR, flag, file, value::color).unwrap_or(by_terminal)
}
