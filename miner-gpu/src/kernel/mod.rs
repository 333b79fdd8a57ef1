//! The kernel: straight-line WGSL, written by a generator.
//!
//! Everything that the nonce does not change is folded on the host into a few words of a uniform: the midstates, the
//! first three rounds, the schedule words that are still constant. What is left is one `let` after another: loops over
//! arrays run a hundred times slower on drivers that keep arrays in memory. No one text is fastest on all drivers, so
//! there are [`Variant`]s; which one is used is measured. `docs/gpu.md` explains the arithmetic.

mod count;
mod job;
mod lane;
mod sha;

use std::fmt;
use std::str::FromStr;

use miner_core::sha256d::scalar::{IV, compress};

use job::Program;

/// Hits that one dispatch can report; more are counted, and looked for again in smaller pieces.
pub const HITS: u32 = 255;

/// Bytes of the buffer that hits are written to: the count, a spare word, and a word and an index for each.
pub(crate) const HIT_BYTES: u64 = 8 + 8 * HITS as u64;

/// Words of the uniform before the job's: the first nonce, invocations in a row, hit mask, hit limit, rotate counts.
const HEAD: usize = 16;

/// The rotate counts of SHA-256, as kernels with [`Rotate::Uniform`] read them.
const ROTATES: [u32; 10] = [2, 6, 7, 11, 13, 17, 18, 19, 22, 25];

macro_rules! names {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// All of them.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// Its name in reports and in the cache.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

names!(
    /// How a word is rotated.
    Rotate {
        /// By shifts of constant counts, which most compilers turn into one instruction.
        Constant = "const",
        /// By shifts of counts read from the uniform, for a compiler that makes more of the constants than of these.
        Uniform = "uniform"
    }
);
names!(
    /// How Ch is written.
    Choose {
        /// `g ^ (e & (f ^ g))`.
        Xor = "xor",
        /// `(e & f) | (~e & g)`.
        Or = "or"
    }
);
names!(
    /// How Maj is written.
    Majority {
        /// `(a & b) | (c & (a | b))`.
        Plain = "plain",
        /// `b ^ ((a ^ b) & (b ^ c))`: the first xor is the next round's second.
        Shared = "shared"
    }
);

/// One way to write the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// How words are rotated.
    pub rotate: Rotate,
    /// How Ch is written.
    pub choose: Choose,
    /// How Maj is written.
    pub majority: Majority,
}

impl Variant {
    /// Every variant.
    pub fn all() -> impl Iterator<Item = Self> {
        Rotate::ALL.into_iter().flat_map(|rotate| {
            Choose::ALL.into_iter().flat_map(move |choose| {
                Majority::ALL.into_iter().map(move |majority| Self { rotate, choose, majority })
            })
        })
    }
}

/// A variant and its shape: all that decides a kernel's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// How it is written.
    pub variant: Variant,
    /// Headers searched at once, which differ in their version only and share one schedule: 1, 2 or 4.
    pub midstates: u32,
    /// Invocations in a workgroup: a power of two, 32 to 256.
    pub workgroup: u32,
    /// Nonces that one invocation tries: a power of two, 4 to 128.
    pub nonces: u32,
}

/// The numbers of midstates that kernels are written for.
pub const MIDSTATES: [u32; 3] = [1, 2, 4];

/// The most invocations in a workgroup, which every driver takes.
pub(crate) const MAX_WORKGROUP: u32 = 256;

/// The most nonces of an invocation: they differ in their last byte only.
pub(crate) const MAX_NONCES: u32 = 128;

impl Form {
    /// The form to begin with.
    pub const DEFAULT: Self = Self {
        variant: Variant { rotate: Rotate::Constant, choose: Choose::Xor, majority: Majority::Plain },
        midstates: 1,
        workgroup: 64,
        nonces: 64,
    };

    /// Nonces that a workgroup tries: a dispatch tries a multiple of it.
    pub fn granule(&self) -> u64 {
        u64::from(self.workgroup) * u64::from(self.nonces)
    }

    /// Whether kernels of this form can be written.
    pub fn is_valid(&self) -> bool {
        MIDSTATES.contains(&self.midstates)
            && (self.workgroup.is_power_of_two() && (32..=MAX_WORKGROUP).contains(&self.workgroup))
            && (self.nonces.is_power_of_two() && (4..=MAX_NONCES).contains(&self.nonces))
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Variant { rotate, choose, majority } = self.variant;
        let (rotate, choose, majority) = (rotate.name(), choose.name(), majority.name());
        let Self { midstates, workgroup, nonces, .. } = self;
        write!(f, "rotate={rotate} ch={choose} maj={majority} midstates={midstates} ")?;
        write!(f, "workgroup={workgroup} nonces={nonces}")
    }
}

/// A text that names no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the form of a kernel")]
pub struct FormError;

impl FromStr for Form {
    type Err = FormError;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, FormError> {
        let mut fields = text.split(' ');
        let mut field = |name: &str| {
            let value = fields.next().and_then(|field| field.strip_prefix(name)?.strip_prefix('='));
            value.ok_or(FormError)
        };
        let rotate = by_name(&Rotate::ALL, Rotate::name, field("rotate")?)?;
        let choose = by_name(&Choose::ALL, Choose::name, field("ch")?)?;
        let majority = by_name(&Majority::ALL, Majority::name, field("maj")?)?;
        let mut number = |name| field(name)?.parse().map_err(|_| FormError);
        let form = Self {
            variant: Variant { rotate, choose, majority },
            midstates: number("midstates")?,
            workgroup: number("workgroup")?,
            nonces: number("nonces")?,
        };
        (form.is_valid() && fields.next().is_none()).then_some(form).ok_or(FormError)
    }
}

fn by_name<T: Copy>(all: &[T], name: fn(T) -> &'static str, wanted: &str) -> Result<T, FormError> {
    all.iter().copied().find(|&one| name(one) == wanted).ok_or(FormError)
}

/// A kernel's text, and how to make the words that it reads of a job.
#[derive(Clone, Debug)]
pub struct Kernel {
    form: Form,
    source: String,
    program: Program,
}

impl Kernel {
    /// Writes the kernel of a form.
    ///
    /// # Panics
    ///
    /// If the form is not [valid](Form::is_valid).
    pub fn new(form: Form) -> Self {
        assert!(form.is_valid(), "{form:?}");
        let (source, program) = sha::write(&form);
        Self { form, source, program }
    }

    /// Its form.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Its text in WGSL.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Operations for each hash, as GPUs have them: rotations, shifts, comparisons, bitwise functions of three words and
    /// sums of three terms are one each. Counted on naga's parse of the [source](Self::source).
    pub fn operations(&self) -> f64 {
        count::operations(&self.source) as f64 / f64::from(self.form.midstates)
    }

    /// Bytes of the uniform that it reads.
    pub(crate) fn uniform_bytes(&self) -> u64 {
        4 * (HEAD + self.program.slots().next_multiple_of(4)) as u64
    }

    /// The words that it reads of these headers, which differ in their versions only.
    pub(crate) fn words(&self, headers: &[[u8; 80]]) -> Box<[u32]> {
        assert_eq!(headers.len(), self.form.midstates as usize, "a header for each midstate");
        let mut inputs = Vec::with_capacity(8 * headers.len() + 3);
        let word = |header: &[u8; 80], i: usize| u32::from_be_bytes(header.as_chunks::<4>().0[i]);
        for header in headers {
            inputs.extend(compress(IV, std::array::from_fn(|i| word(header, i))));
        }
        inputs.extend((16..19).map(|i| word(&headers[0], i)));
        self.program.run(&inputs)
    }

    /// The uniform for one dispatch, little-endian: from nonce `first` on, `row` invocations in a row of workgroups.
    pub(crate) fn uniform(&self, words: &[u32], first: u32, row: u32, limit: u32) -> Vec<u8> {
        // The compared word is the hash's most significant one with its bytes reversed.
        let mask = (!0u32).checked_shl(32 - limit.leading_zeros()).unwrap_or(0).swap_bytes();
        let mut uniform = vec![first, row, mask, limit];
        uniform.extend(ROTATES);
        uniform.resize(HEAD, 0);
        uniform.extend(words);
        uniform.resize(uniform.len().next_multiple_of(4), 0);
        uniform.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_it_is_written() {
        for variant in Variant::all() {
            for midstates in MIDSTATES {
                let form = Form { variant, midstates, ..Form::DEFAULT };
                assert_eq!(form.to_string().parse(), Ok(form));
            }
        }
        let good = Form::DEFAULT.to_string();
        for (from, to) in [("const", "fast"), ("nonces=64", "nonces=63"), ("midstates=1", "midstates=3")] {
            assert_eq!(good.replace(from, to).parse::<Form>(), Err(FormError), "{to}");
        }
        for text in ["", "rotate=const", &format!("{good} more")] {
            assert_eq!(text.parse::<Form>(), Err(FormError), "{text}");
        }
    }

    #[test]
    fn the_mask_lets_every_hit_pass_and_little_else() {
        let kernel = Kernel::new(Form::DEFAULT);
        for (limit, mask) in [
            (0, u32::MAX),
            (1, u32::MAX - 1),
            (0xff, 0xffff_ff00),
            (0x1234, 0xffff_e000),
            (1 << 31, 0),
            (u32::MAX, 0),
        ] {
            let uniform = kernel.uniform(&[], 0, 0, limit);
            let found = u32::from_le_bytes(uniform[8..12].try_into().unwrap()).swap_bytes();
            assert_eq!(found, mask, "{limit:#x}");
        }
    }

    #[test]
    fn few_words_are_read_of_a_job() {
        for (midstates, words) in MIDSTATES.into_iter().zip([29, 50, 92]) {
            let kernel = Kernel::new(Form { midstates, ..Form::DEFAULT });
            assert!(kernel.program.slots() <= words, "{} of {words}", kernel.program.slots());
        }
    }
}
