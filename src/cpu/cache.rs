//! What was measured of kernels, kept between runs: one small file for each kind of CPU, in the user's cache folder.
//!
//! It only saves time. Whatever is wrong with it, the kernels are measured again.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use miner_core::cpu::KernelRates;
use miner_core::sha256d::Isa;
use serde::{Deserialize, Serialize};

use super::probe::KernelRecord;
use crate::version;

/// Most bytes of a file.
const MAX_BYTES: u64 = 64 << 10;

/// Where measurements are kept.
#[derive(Clone, Debug)]
pub struct Cache {
    path: PathBuf,
    key: Key,
}

/// What measurements hold for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    cpu: String,
    build: String,
}

/// What is known of this CPU's kernels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// Their rates.
    pub rates: Vec<KernelRates>,
    /// A kernel, and how fast both threads of a core are with it, one alone being 1.
    pub siblings: Option<(Isa, f64)>,
}

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(flatten)]
    key: Key,
    kernels: Vec<KernelRecord>,
    siblings: Option<(String, f64)>,
}

impl Cache {
    /// In the user's cache folder (`XDG_CACHE_HOME`, else `.cache` in `HOME`), for this CPU and this build of lode;
    /// `None` where there is no such folder.
    pub fn of_user() -> Option<Self> {
        let var = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")))?;
        Some(Self::new(&folder.join("lode"), &cpu(Path::new("/")), &build()))
    }

    /// In a folder, for a CPU and a build by name.
    pub fn new(folder: &Path, cpu: &str, build: &str) -> Self {
        let path = folder.join(format!("kernels-{:016x}.json", fnv(cpu.as_bytes())));
        Self { path, key: Key { cpu: cpu.to_owned(), build: build.to_owned() } }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known; nothing where the file is missing, broken, or of another CPU or build.
    pub fn load(&self) -> Known {
        self.read().unwrap_or_else(|error| {
            tracing::debug!(path = %self.path.display(), %error, "nothing is known of the kernels");
            Known::default()
        })
    }

    fn read(&self) -> io::Result<Known> {
        let mut text = Vec::new();
        // Anything else might have nothing to read, ever.
        if !fs::metadata(&self.path)?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        fs::File::open(&self.path)?.take(MAX_BYTES).read_to_end(&mut text)?;
        let File { key, kernels, siblings } = serde_json::from_slice(&text)?;
        if key != self.key {
            return Err(io::Error::other("it is of another CPU or build"));
        }
        let siblings = siblings
            .and_then(|(isa, gain)| Some((Isa::by_name(&isa)?, gain)))
            .filter(|(_, gain)| gain.is_finite());
        Ok(Known { rates: kernels.iter().filter_map(KernelRecord::rates).collect(), siblings })
    }

    /// Keeps what is known. Whoever reads meanwhile sees the old file or the new one, never half of one.
    pub fn store(&self, known: &Known) {
        match self.write(known) {
            Ok(()) => {
                tracing::debug!(path = %self.path.display(), "what was measured of the kernels is kept")
            }
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "what was measured cannot be kept");
            }
        }
    }

    fn write(&self, known: &Known) -> io::Result<()> {
        let file = File {
            key: self.key.clone(),
            kernels: known.rates.iter().map(KernelRecord::of).collect(),
            siblings: known.siblings.map(|(isa, gain)| (isa.name().to_owned(), gain)),
        };
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let draft = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let written = fs::File::create(&draft)
            .and_then(|mut draft| draft.write_all(&serde_json::to_vec_pretty(&file)?))
            .and_then(|()| fs::rename(&draft, &self.path));
        if written.is_err() {
            // What is left of the draft is of no use; if it cannot be removed, it was likely never there.
            let _ = fs::remove_file(&draft);
        }
        written
    }
}

/// What tells one kind of CPU from another: what `/proc/cpuinfo` below `root` says of the first, but for what differs
/// from core to core and from moment to moment; and the kernels that it can run.
fn cpu(root: &Path) -> String {
    const FLEETING: [&str; 10] = [
        "processor",
        "cpu MHz",
        "physical id",
        "core id",
        "apicid",
        "initial apicid",
        "siblings",
        "cpu cores",
        "bogomips",
        "BogoMIPS",
    ];
    let facts = fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    let first = facts.lines().take_while(|line| !line.trim().is_empty());
    let steady = first.filter(|line| {
        let name = line.split(':').next().unwrap_or("").trim();
        !FLEETING.contains(&name)
    });
    let hash = fnv(steady.collect::<Vec<_>>().join("\n").as_bytes());
    let name = facts.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let kernels: Vec<&str> = Isa::available().iter().map(|isa| isa.name()).collect();
    let name = name.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    format!("{name} {hash:016x} {}", kernels.join(","))
}

/// What tells one build of lode from another: a build from changed sources has the same version line.
fn build() -> String {
    let file = std::env::current_exe().and_then(fs::metadata);
    let size = file.as_ref().map_or(0, fs::Metadata::len);
    let built = file.and_then(|file| file.modified()).ok();
    let built = built.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
    format!("{} {size} {}", version::LINE, built.as_millis())
}

/// FNV-1a.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use miner_core::types::HashRate;

    use super::*;

    fn known() -> Known {
        let rates = |&isa: &Isa| KernelRates {
            isa,
            plain: HashRate(3.25e7),
            rolled: (isa.versions() > 1).then_some(HashRate(4e7)),
        };
        let isas = Isa::available();
        Known { rates: isas.iter().map(rates).collect(), siblings: Some((isas[0], 1.25)) }
    }

    #[test]
    fn what_was_kept_is_known_again_for_the_same_cpu_and_build_alone() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("not/yet/there");
        let cache = Cache::new(&folder, "a cpu", "a build");
        assert_eq!(cache.load(), Known::default());
        cache.store(&known());
        assert_eq!(cache.load(), known());
        assert_eq!(Cache::new(&folder, "a cpu", "another build").load(), Known::default());
        let other = Cache::new(&folder, "another cpu", "a build");
        assert_ne!(other.path(), cache.path());
        fs::copy(cache.path(), other.path()).unwrap();
        assert_eq!(other.load(), Known::default(), "a file of another CPU under this one's name");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "no draft is left");
    }

    #[test]
    fn a_broken_file_is_as_good_as_none_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), "a cpu", "a build");
        cache.store(&known());
        let good = fs::read_to_string(cache.path()).unwrap();
        let none = "{\"cpu\":\"a cpu\",\"build\":\"a build\",\"kernels\":[],\"siblings\":null}".to_owned();
        let huge = format!("{}{good}", " ".repeat(MAX_BYTES as usize));
        for broken in [String::new(), "null".into(), good[..good.len() / 2].into(), huge, none] {
            fs::write(cache.path(), &broken).unwrap();
            assert_eq!(cache.load(), Known::default(), "{broken}");
        }
        for rate in ["0.0", "-1.0", "1e300", "null"] {
            fs::write(cache.path(), good.replace("32500000.0", rate)).unwrap();
            assert_eq!(cache.load().rates, [], "{rate}");
        }
        fs::write(cache.path(), good.replace("portable", "quantum")).unwrap();
        assert!(cache.load().rates.iter().all(|rates| rates.isa.name() != "portable"));
        cache.store(&known());
        assert_eq!(cache.load(), known());
    }

    #[test]
    fn what_cannot_be_written_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let cache = Cache::new(&file, "a cpu", "a build");
        cache.store(&known());
        assert_eq!(cache.load(), Known::default());
    }

    #[test]
    fn a_cpu_is_known_by_what_does_not_change() {
        let machine = |text: &str| {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("proc")).unwrap();
            fs::write(root.path().join("proc/cpuinfo"), text).unwrap();
            cpu(root.path())
        };
        let text = "processor\t: 0\nmodel name\t: Some CPU\ncpu MHz\t\t: 2000\nflags\t\t: sha avx\n\nprocessor\t: 1\n";
        assert!(machine(text).starts_with("Some CPU "), "{}", machine(text));
        assert_eq!(machine(text), machine(&text.replace("2000", "3100.5")));
        assert_ne!(machine(text), machine(&text.replace("sha avx", "avx")));
        assert!(machine("").starts_with(std::env::consts::ARCH));
    }
}
