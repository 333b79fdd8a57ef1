//! Which kernels this CPU can run, and choosing among them.

#[cfg(target_arch = "aarch64")]
use std::arch::is_aarch64_feature_detected as has;
use std::fmt;
use std::hash::{Hash, Hasher};
#[cfg(target_arch = "x86_64")]
use std::is_x86_feature_detected as has;

#[cfg(target_arch = "aarch64")]
use super::aarch64::{neon, sha2};
#[cfg(target_arch = "x86_64")]
use super::x86::{avx2, avx512, avx512_sha, sha_ni, sse2};
use super::{Prepared, portable};

/// A kernel that this CPU can run: only detection makes one, so holding it is the proof.
#[derive(Clone, Copy)]
pub struct Isa(&'static Kernel);

/// Header, first nonce, number of nonces, limit, hits.
type Scan = unsafe fn(&Prepared, u32, u64, u32, &mut Vec<u32>);

/// Headers, first nonce, number of nonces, limit, hits with the index of their header.
type ScanVersions = unsafe fn(&[Prepared], u32, u64, u32, &mut Vec<(u32, u32)>);

/// What a kernel is called, needs and does.
struct Kernel {
    /// Its name in reports.
    name: &'static str,
    /// The instruction sets that it belongs to, of [`SETS`].
    sets: &'static [&'static str],
    /// Nonces that it tries at once.
    lanes: usize,
    /// Whether this CPU has every feature that the two functions are compiled for.
    runs_here: fn() -> bool,
    /// Tries a number of nonces that is a multiple of `lanes`.
    scan: Scan,
    /// The shared schedule, where it gains.
    shared: Option<Shared>,
}

/// How a kernel searches several headers that share the schedule of their second block.
struct Shared {
    /// Headers that it tries at once.
    group: usize,
    /// Headers with which it is about as quick as it gets: a multiple of `group`.
    versions: u32,
    /// Tries any number of nonces with a number of headers that is a multiple of `group`.
    scan: ScanVersions,
}

/// Every instruction set's name, those of other architectures included.
const SETS: [&str; 7] = ["portable", "sse2", "sha-ni", "avx2", "avx512", "neon", "armv8-sha2"];

/// Every kernel of this architecture.
static KERNELS: &[Kernel] = &[
    Kernel {
        name: "portable",
        sets: &["portable"],
        lanes: 1,
        runs_here: || true,
        scan: portable::scan,
        shared: Some(Shared { group: portable::GROUP, versions: 16, scan: portable::scan_versions }),
    },
    #[cfg(target_arch = "x86_64")]
    Kernel {
        name: "sse2",
        sets: &["sse2"],
        lanes: sse2::LANES,
        runs_here: || true,
        scan: sse2::scan,
        shared: Some(Shared { group: sse2::GROUP, versions: 16, scan: sse2::scan_versions }),
    },
    #[cfg(target_arch = "x86_64")]
    Kernel {
        name: "sha-ni-x2",
        sets: &["sha-ni"],
        lanes: sha_ni::two::STREAMS,
        runs_here: || has!("sha") && has!("sse4.1") && has!("ssse3"),
        scan: sha_ni_x2,
        shared: Some(Shared { group: sha_ni::two::STREAMS, versions: 32, scan: sha_ni_x2_versions }),
    },
    #[cfg(target_arch = "x86_64")]
    Kernel {
        name: "sha-ni-x3",
        sets: &["sha-ni"],
        lanes: sha_ni::three::STREAMS,
        runs_here: || has!("sha") && has!("sse4.1") && has!("ssse3") && has!("avx"),
        scan: sha_ni::three::scan,
        shared: Some(Shared {
            group: sha_ni::three::STREAMS,
            versions: 48,
            scan: sha_ni::three::scan_versions,
        }),
    },
    #[cfg(target_arch = "x86_64")]
    Kernel {
        name: "sha-ni-x3-shifts",
        sets: &["sha-ni"],
        lanes: sha_ni::three_shifts::STREAMS,
        runs_here: || has!("sha") && has!("sse4.1") && has!("ssse3") && has!("avx"),
        scan: sha_ni::three_shifts::scan,
        shared: Some(Shared {
            group: sha_ni::three_shifts::STREAMS,
            versions: 48,
            scan: sha_ni::three_shifts::scan_versions,
        }),
    },
    #[cfg(target_arch = "x86_64")]
    Kernel {
        name: "avx2",
        sets: &["avx2"],
        lanes: avx2::LANES,
        runs_here: || has!("avx2"),
        scan: avx2::scan,
        shared: Some(Shared { group: avx2::GROUP, versions: 32, scan: avx2::scan_versions }),
    },
    #[cfg(target_arch = "x86_64")]
    Kernel {
        name: "avx512",
        sets: &["avx512"],
        lanes: avx512::LANES,
        runs_here: || has!("avx512f") && has!("avx512bw"),
        scan: avx512::scan,
        shared: Some(Shared { group: avx512::GROUP, versions: 32, scan: avx512::scan_versions }),
    },
    #[cfg(target_arch = "x86_64")]
    Kernel {
        name: "avx512-sha",
        sets: &["avx512", "sha-ni"],
        lanes: avx512_sha::LANES,
        runs_here: || has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("sha"),
        scan: avx512_sha::scan,
        shared: Some(Shared { group: avx512_sha::LANES, versions: 48, scan: avx512_sha::scan_versions }),
    },
    #[cfg(target_arch = "aarch64")]
    Kernel {
        name: "neon",
        sets: &["neon"],
        lanes: neon::LANES,
        runs_here: || has!("neon"),
        scan: neon::scan,
        shared: Some(Shared { group: neon::GROUP, versions: 32, scan: neon::scan_versions }),
    },
    #[cfg(target_arch = "aarch64")]
    Kernel {
        name: "armv8-sha2",
        sets: &["armv8-sha2"],
        lanes: sha2::STREAMS,
        runs_here: || has!("neon") && has!("sha2"),
        scan: sha2::scan,
        shared: Some(Shared { group: sha2::STREAMS, versions: 32, scan: sha2::scan_versions }),
    },
];

impl Isa {
    /// Every kernel that this CPU can run, `portable` first.
    pub fn available() -> Vec<Self> {
        KERNELS.iter().filter(|kernel| (kernel.runs_here)()).map(Self).collect()
    }

    /// The kernel of this name, where the CPU can run it.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// Its name in reports, e.g. `sha-ni-x2`: no other kernel has it.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The instruction sets that it takes, as settings name them, e.g. `sha-ni`: most kernels take one.
    pub fn sets(self) -> &'static [&'static str] {
        self.0.sets
    }

    /// Whether a setting means this kernel, perhaps among others, by `name`.
    fn is_called(self, name: &str) -> bool {
        self.sets().contains(&name) || self.name() == name
    }

    /// Whether settings that allow `names`, and nothing else, allow it.
    fn is_among(self, names: &[&str]) -> bool {
        names.contains(&self.name()) || self.sets().iter().all(|set| names.contains(set))
    }

    /// Nonces that it tries at once.
    pub fn lanes(self) -> u32 {
        self.0.lanes as u32
    }

    /// How many versions at once [`Isa::scan_versions`] is quickest with, at most 64; 1 where it gains nothing by several.
    pub fn versions(self) -> u32 {
        self.0.shared.as_ref().map_or(1, |shared| shared.versions)
    }

    /// Tries `count` nonces from `start`, wrapping after `u32::MAX`, and pushes, in that order, those whose hash has a top
    /// word (its most significant 32 bits) of at most `limit`.
    ///
    /// With `limit` = [`Target::high_word`](crate::types::Target::high_word) that is every nonce that meets the target,
    /// and a few that only nearly do. Any `count` will do; multiples of [`Isa::lanes`] are quickest.
    #[expect(unsafe_code, reason = "one of the kernels' two entries")]
    pub fn scan(self, p: &Prepared, start: u32, count: u64, limit: u32, hits: &mut Vec<u32>) {
        let rest = count % self.0.lanes as u64;
        let whole = count - rest;
        // SAFETY: `available` alone makes an `Isa`, after `runs_here` detected the features.
        unsafe { (self.0.scan)(p, start, whole, limit, hits) }
        portable::scan(p, start.wrapping_add(whole as u32), rest, limit, hits);
    }

    /// [`Isa::scan`] over several headers: pushes, in no order, the index of the header and the nonce of each hit.
    ///
    /// Meant for headers that differ only in their version, or in whatever else lies in their first 64 bytes: those share
    /// the message schedule. Others are searched one by one. Multiples of [`Isa::versions`] are quickest.
    #[expect(unsafe_code, reason = "one of the kernels' two entries")]
    pub fn scan_versions(
        self,
        headers: &[Prepared],
        start: u32,
        count: u64,
        limit: u32,
        hits: &mut Vec<(u32, u32)>,
    ) {
        let mut single = headers;
        if let Some(shared) = &self.0.shared
            && headers.iter().all(|header| header.shares_schedule(&headers[0]))
        {
            let grouped;
            (grouped, single) = headers.split_at(headers.len() - headers.len() % shared.group);
            // SAFETY: as in `scan`.
            unsafe { (shared.scan)(grouped, start, count, limit, hits) }
        }
        let mut nonces = Vec::new();
        for (index, header) in ((headers.len() - single.len()) as u32..).zip(single) {
            self.scan(header, start, count, limit, &mut nonces);
            hits.extend(nonces.drain(..).map(|nonce| (index, nonce)));
        }
    }
}

/// [`sha_ni::two::scan`] with the registers' upper halves clear.
///
/// # Safety
///
/// The CPU has sha, sse4.1 and ssse3.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a kernel's entry")]
unsafe fn sha_ni_x2(p: &Prepared, start: u32, count: u64, limit: u32, hits: &mut Vec<u32>) {
    clear_upper_halves();
    // SAFETY: as above.
    unsafe { sha_ni::two::scan(p, start, count, limit, hits) }
}

/// [`sha_ni::two::scan_versions`] with the registers' upper halves clear.
///
/// # Safety
///
/// The CPU has sha, sse4.1 and ssse3.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a kernel's entry")]
unsafe fn sha_ni_x2_versions(
    headers: &[Prepared],
    start: u32,
    count: u64,
    limit: u32,
    hits: &mut Vec<(u32, u32)>,
) {
    clear_upper_halves();
    // SAFETY: as above.
    unsafe { sha_ni::two::scan_versions(headers, start, count, limit, hits) }
}

/// For code that is compiled without AVX and may run on a CPU that has it.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a feature is detected")]
fn clear_upper_halves() {
    if has!("avx") {
        // SAFETY: it was detected.
        unsafe { sha_ni::clear_upper_halves() }
    }
}

impl PartialEq for Isa {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Isa {}

impl Hash for Isa {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kernels that may be chosen from: those of the instruction sets that `--isa` and `LODE_ISA` leave. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsaChoice(Vec<Isa>);

/// Why a choice of kernels cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// No instruction set of any CPU has this name.
    #[error("unknown instruction set {name:?}; known are {}", SETS.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// This CPU cannot run it.
    #[error("this CPU has no {name}; it has {}", sets(&Isa::available()))]
    Lacking {
        /// What was asked for.
        name: String,
    },
    /// Everything that this CPU has was excluded.
    #[error("no instruction set is left; this CPU has {}", sets(&Isa::available()))]
    NothingLeft,
    /// Some names have a minus and some have none.
    #[error("{text:?} mixes instruction sets to use with ones to exclude")]
    Mixed {
        /// What was given.
        text: String,
    },
}

impl IsaChoice {
    /// Everything that this CPU can run.
    pub fn auto() -> Self {
        Self(Isa::available())
    }

    /// Reads `auto`, instruction sets to choose among (`avx2`, `sha-ni,avx2`), or ones to exclude (`-avx512,-sha-ni`).
    /// A set stands for all its kernels, but for those that take another one too; a kernel can be named by itself, as
    /// reports name it. To exclude what the CPU lacks anyway is no error.
    pub fn parse(text: &str) -> Result<Self, IsaError> {
        if text.trim() == "auto" {
            return Ok(Self::auto());
        }
        let (excluded, wanted): (Vec<&str>, Vec<&str>) =
            text.split(',').map(str::trim).partition(|name| name.starts_with('-'));
        let excluded: Vec<&str> = excluded.into_iter().map(|name| name.trim_start_matches('-')).collect();
        let known = |name: &str| SETS.contains(&name) || KERNELS.iter().any(|kernel| kernel.name == name);
        if let Some(name) = wanted.iter().chain(&excluded).find(|name| !known(name)) {
            return Err(IsaError::Unknown { name: (*name).to_owned() });
        }
        if !wanted.is_empty() && !excluded.is_empty() {
            return Err(IsaError::Mixed { text: text.to_owned() });
        }
        let mut left = Isa::available();
        if let Some(name) = wanted.iter().find(|name| !left.iter().any(|isa| isa.is_called(name))) {
            return Err(IsaError::Lacking { name: (*name).to_owned() });
        }
        left.retain(|isa| match &*wanted {
            [] => !excluded.iter().any(|name| isa.is_called(name)),
            wanted => isa.is_among(wanted),
        });
        if left.is_empty() { Err(IsaError::NothingLeft) } else { Ok(Self(left)) }
    }

    /// The kernels, at least one.
    pub fn candidates(&self) -> &[Isa] {
        &self.0
    }
}

impl Default for IsaChoice {
    fn default() -> Self {
        Self::auto()
    }
}

impl std::str::FromStr for IsaChoice {
    type Err = IsaError;

    fn from_str(text: &str) -> Result<Self, IsaError> {
        Self::parse(text)
    }
}

fn sets(isas: &[Isa]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for set in isas.iter().flat_map(|isa| isa.sets()) {
        if !names.contains(set) {
            names.push(set);
        }
    }
    names.join(", ")
}
