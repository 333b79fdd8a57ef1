//! Which kernels this CPU can run, and choosing among them.

use std::fmt;

#[cfg(target_arch = "x86_64")]
use super::x86::{avx2, avx512, sha_ni};
use super::{Prepared, portable};

/// A kernel that this CPU can run: only detection makes one, so holding it is the proof.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Inner);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Inner {
    Portable,
    #[cfg(target_arch = "x86_64")]
    ShaNi,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Every kernel's name, those of other architectures included.
const NAMES: [&str; 4] = ["portable", "sha-ni", "avx2", "avx512"];

impl Isa {
    /// Every kernel that this CPU can run, `portable` first.
    pub fn available() -> Vec<Self> {
        let mut found = vec![Self(Inner::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            use std::is_x86_feature_detected as has;
            if has!("sha") && has!("sse4.1") && has!("ssse3") {
                found.push(Self(Inner::ShaNi));
            }
            if has!("avx2") {
                found.push(Self(Inner::Avx2));
            }
            if has!("avx512f") && has!("avx512bw") {
                found.push(Self(Inner::Avx512));
            }
        }
        found
    }

    /// The kernel of this name, where the CPU can run it.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// Its name in settings and reports, e.g. `sha-ni`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Inner::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Inner::ShaNi => "sha-ni",
            #[cfg(target_arch = "x86_64")]
            Inner::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512 => "avx512",
        }
    }

    /// Nonces that it tries at once.
    pub fn lanes(self) -> u32 {
        match self.0 {
            Inner::Portable => 1,
            #[cfg(target_arch = "x86_64")]
            Inner::ShaNi => sha_ni::STREAMS as u32,
            #[cfg(target_arch = "x86_64")]
            Inner::Avx2 => 8,
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512 => 16,
        }
    }

    /// How many versions at once [`Isa::scan_versions`] is quickest with; 1 where it gains nothing by several.
    pub fn versions(self) -> u32 {
        1
    }

    /// Tries `count` nonces from `start`, wrapping after `u32::MAX`, and pushes, in that order, those whose hash has a top
    /// word (its most significant 32 bits) of at most `limit`.
    ///
    /// With `limit` = [`Target::high_word`](crate::types::Target::high_word) that is every nonce that meets the target,
    /// and a few that only nearly do. Any `count` will do; multiples of [`Isa::lanes`] are quickest.
    pub fn scan(self, p: &Prepared, start: u32, count: u64, limit: u32, hits: &mut Vec<u32>) {
        let rest = count % u64::from(self.lanes());
        let whole = count - rest;
        self.scan_whole(p, start, whole, limit, hits);
        portable::scan(p, start.wrapping_add(whole as u32), rest, limit, hits);
    }

    /// [`Isa::scan`] over several headers, which differ only in their version: pushes the header's index and the nonce.
    pub fn scan_versions(
        self,
        headers: &[Prepared],
        start: u32,
        count: u64,
        limit: u32,
        hits: &mut Vec<(u32, u32)>,
    ) {
        let mut nonces = Vec::new();
        for (index, header) in (0..).zip(headers) {
            self.scan(header, start, count, limit, &mut nonces);
            hits.extend(nonces.drain(..).map(|nonce| (index, nonce)));
        }
    }

    /// `count` is a multiple of the lanes.
    #[expect(unsafe_code, reason = "the kernels' only entry")]
    fn scan_whole(self, p: &Prepared, start: u32, count: u64, limit: u32, hits: &mut Vec<u32>) {
        match self.0 {
            Inner::Portable => portable::scan(p, start, count, limit, hits),
            #[cfg(target_arch = "x86_64")]
            Inner::ShaNi => {
                if std::is_x86_feature_detected!("avx") {
                    // SAFETY: avx was detected.
                    unsafe { sha_ni::clear_upper_halves() }
                }
                // SAFETY: `available` alone makes this variant, after it detected sha, sse4.1 and ssse3.
                unsafe { sha_ni::scan(p, start, count, limit, hits) }
            }
            // SAFETY: `available` alone makes this variant, after it detected avx2.
            #[cfg(target_arch = "x86_64")]
            Inner::Avx2 => unsafe { avx2::scan(p, start, count, limit, hits) },
            // SAFETY: `available` alone makes this variant, after it detected avx512f and avx512bw.
            #[cfg(target_arch = "x86_64")]
            Inner::Avx512 => unsafe { avx512::scan(p, start, count, limit, hits) },
        }
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

/// The kernels that may be chosen from: what `--isa` and `LODE_ISA` say. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsaChoice(Vec<Isa>);

/// Why a choice of kernels cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// No kernel of any CPU has this name.
    #[error("unknown instruction set {name:?}; known are {}", NAMES.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// This CPU cannot run it.
    #[error("this CPU has no {name}; it has {}", names(&Isa::available()))]
    Lacking {
        /// What was asked for.
        name: String,
    },
    /// Everything that this CPU has was excluded.
    #[error("no instruction set is left; this CPU has {}", names(&Isa::available()))]
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

    /// Reads `auto`, names to choose among (`avx2`, `sha-ni,avx2`), or names to exclude (`-avx512,-sha-ni`).
    ///
    /// To exclude what the CPU lacks anyway is no error.
    pub fn parse(text: &str) -> Result<Self, IsaError> {
        if text.trim() == "auto" {
            return Ok(Self::auto());
        }
        let (excluded, wanted): (Vec<&str>, Vec<&str>) =
            text.split(',').map(str::trim).partition(|name| name.starts_with('-'));
        let excluded: Vec<&str> = excluded.into_iter().map(|name| name.trim_start_matches('-')).collect();
        if let Some(name) = wanted.iter().chain(&excluded).find(|name| !NAMES.contains(name)) {
            return Err(IsaError::Unknown { name: (*name).to_owned() });
        }
        if !wanted.is_empty() && !excluded.is_empty() {
            return Err(IsaError::Mixed { text: text.to_owned() });
        }
        if let Some(name) = wanted.iter().find(|name| Isa::by_name(name).is_none()) {
            return Err(IsaError::Lacking { name: (*name).to_owned() });
        }
        let mut left = Isa::available();
        left.retain(|isa| {
            if wanted.is_empty() { !excluded.contains(&isa.name()) } else { wanted.contains(&isa.name()) }
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

fn names(isas: &[Isa]) -> String {
    isas.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ")
}
