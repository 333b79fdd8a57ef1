//! What the pool's methods carry, checked field by field.

use miner_core::types::{CompactTarget, CompactTargetError, Difficulty};
use serde_json::Value;

/// Longest job id taken, in bytes.
const MAX_JOB_ID: usize = 128;
/// Longest merkle branch taken: a block holds far fewer than 2^24 transactions.
const MAX_BRANCHES: usize = 24;
/// Sizes of a whole coinbase transaction taken, in bytes.
const COINBASE_SIZES: std::ops::RangeInclusive<usize> = 42..=16 * 1024;
/// Longest extranonce1 taken, in bytes.
const MAX_EXTRANONCE1: usize = 32;
/// Sizes of extranonce2 taken, in bytes.
const EXTRANONCE2_SIZES: std::ops::RangeInclusive<u64> = 1..=16;

/// Why parameters are of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParamsError {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not {1}")]
    Type(&'static str, &'static str),
    #[error("{0} is not hex of the right length")]
    Hex(&'static str),
    #[error("the job id is longer than {MAX_JOB_ID} bytes")]
    LongJobId,
    #[error("the job id has control characters")]
    ControlInJobId,
    #[error("a merkle branch of {0} hashes (at most {MAX_BRANCHES})")]
    Branches(usize),
    #[error("a coinbase of {0} bytes (allowed are {min} to {max})", min = COINBASE_SIZES.start(), max = COINBASE_SIZES.end())]
    Coinbase(usize),
    #[error("an extranonce1 of {0} bytes (at most {MAX_EXTRANONCE1})")]
    Extranonce1(usize),
    #[error("an extranonce2 of {0} bytes (allowed are {min} to {max})", min = EXTRANONCE2_SIZES.start(), max = EXTRANONCE2_SIZES.end())]
    Extranonce2(u64),
    #[error(transparent)]
    Bits(#[from] CompactTargetError),
    #[error("the difficulty is not a finite number above zero")]
    Difficulty,
}

/// `mining.notify`, checked as far as it can be without the session.
#[derive(Clone, Debug)]
pub(crate) struct Notify {
    pub(crate) id: String,
    /// Internal byte order.
    pub(crate) prev: [u8; 32],
    pub(crate) prefix: Vec<u8>,
    pub(crate) suffix: Vec<u8>,
    pub(crate) branch: Vec<[u8; 32]>,
    pub(crate) version: u32,
    pub(crate) nbits: CompactTarget,
    pub(crate) ntime: u32,
    pub(crate) clean: bool,
}

/// The pool's part of the extranonce and the length of the miner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extranonce {
    pub(crate) first: Vec<u8>,
    pub(crate) second_size: u8,
}

impl Notify {
    /// Reads `[job id, prevhash, coinb1, coinb2, branch, version, nbits, ntime, clean_jobs, …]`.
    ///
    /// Where extras follow and the ninth is no boolean, the last one is taken for clean_jobs.
    pub(crate) fn parse(params: &[Value]) -> Result<Self, ParamsError> {
        let id = text(params, 0, "the job id")?;
        if id.len() > MAX_JOB_ID {
            return Err(ParamsError::LongJobId);
        }
        if id.chars().any(char::is_control) {
            return Err(ParamsError::ControlInJobId);
        }
        let branch = params.get(4).ok_or(ParamsError::Missing("the merkle branch"))?;
        let branch = branch.as_array().ok_or(ParamsError::Type("the merkle branch", "an array"))?;
        if branch.len() > MAX_BRANCHES {
            return Err(ParamsError::Branches(branch.len()));
        }
        let clean = params.get(8).ok_or(ParamsError::Missing("clean_jobs"))?;
        let clean = clean.as_bool().or_else(|| params.last().and_then(Value::as_bool));
        Ok(Self {
            id: id.to_owned(),
            prev: words_reversed(hash(text(params, 1, "prevhash")?, "prevhash")?),
            prefix: bytes(text(params, 2, "coinb1")?, "coinb1")?,
            suffix: bytes(text(params, 3, "coinb2")?, "coinb2")?,
            branch: branch
                .iter()
                .map(|node| {
                    let node = node.as_str().ok_or(ParamsError::Type("a branch hash", "a string"))?;
                    hash(node, "a branch hash")
                })
                .collect::<Result<_, _>>()?,
            version: number(text(params, 5, "version")?, "version")?,
            nbits: CompactTarget::new(number(text(params, 6, "nbits")?, "nbits")?)?,
            ntime: number(text(params, 7, "ntime")?, "ntime")?,
            clean: clean.ok_or(ParamsError::Type("clean_jobs", "true or false"))?,
        })
    }

    /// Checks the size that the whole coinbase has with this extranonce.
    pub(crate) fn fits(&self, extranonce: &Extranonce) -> Result<(), ParamsError> {
        let size = self.prefix.len()
            + extranonce.first.len()
            + usize::from(extranonce.second_size)
            + self.suffix.len();
        if COINBASE_SIZES.contains(&size) { Ok(()) } else { Err(ParamsError::Coinbase(size)) }
    }
}

impl Extranonce {
    /// Reads extranonce1 and extranonce2_size, which stand at `at` and after it.
    pub(crate) fn parse(params: &[Value], at: usize) -> Result<Self, ParamsError> {
        let first = bytes(text(params, at, "extranonce1")?, "extranonce1")?;
        if first.len() > MAX_EXTRANONCE1 {
            return Err(ParamsError::Extranonce1(first.len()));
        }
        let size = params.get(at + 1).ok_or(ParamsError::Missing("extranonce2_size"))?;
        let size = size.as_u64().ok_or(ParamsError::Type("extranonce2_size", "a whole number"))?;
        if !EXTRANONCE2_SIZES.contains(&size) {
            return Err(ParamsError::Extranonce2(size));
        }
        Ok(Self { first, second_size: size as u8 })
    }
}

/// `mining.set_difficulty`.
pub(crate) fn difficulty(params: &[Value]) -> Result<Difficulty, ParamsError> {
    params.first().and_then(Value::as_f64).and_then(Difficulty::new).ok_or(ParamsError::Difficulty)
}

/// A number of at most 32 bits in hex, most significant digit first; fewer than 8 digits will do.
pub(crate) fn number(digits: &str, name: &'static str) -> Result<u32, ParamsError> {
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(ParamsError::Hex(name));
    }
    u32::from_str_radix(digits, 16).map_err(|_| ParamsError::Hex(name))
}

/// The string at a place.
pub(crate) fn text<'a>(params: &'a [Value], at: usize, name: &'static str) -> Result<&'a str, ParamsError> {
    params.get(at).ok_or(ParamsError::Missing(name))?.as_str().ok_or(ParamsError::Type(name, "a string"))
}

fn bytes(digits: &str, name: &'static str) -> Result<Vec<u8>, ParamsError> {
    hex::decode(digits).map_err(|_| ParamsError::Hex(name))
}

fn hash(digits: &str, name: &'static str) -> Result<[u8; 32], ParamsError> {
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash).map_err(|_| ParamsError::Hex(name))?;
    Ok(hash)
}

/// prevhash travels with the bytes inside each of its eight words reversed.
fn words_reversed(mut hash: [u8; 32]) -> [u8; 32] {
    hash.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
    hash
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Vec<Value> {
        let params = json!([
            "a\"b\\c",
            "11".repeat(32),
            "00".repeat(41),
            "",
            ["22".repeat(32)],
            "20000000",
            "1d00ffff",
            "5",
            true
        ]);
        params.as_array().cloned().unwrap()
    }

    #[test]
    fn short_hex_extras_and_quotes_are_taken() {
        let mut params = good();
        params[8] = json!("extra");
        params.extend([json!(1), json!(true)]);
        let notify = Notify::parse(&params).unwrap();
        assert_eq!((notify.id.as_str(), notify.ntime, notify.clean), ("a\"b\\c", 5, true));
        params[8] = json!(false);
        assert!(!Notify::parse(&params).unwrap().clean);
    }

    #[test]
    fn prevhash_is_put_into_internal_order() {
        let mut params = good();
        params[1] = json!("00010203".to_owned() + &"00".repeat(24) + "04050607");
        let prev = Notify::parse(&params).unwrap().prev;
        assert_eq!((&prev[..4], &prev[28..]), (&[3, 2, 1, 0][..], &[7, 6, 5, 4][..]));
    }

    #[test]
    fn each_bad_field_is_refused_by_name() {
        let table = [
            (0, json!(5), "the job id is not a string"),
            (0, json!("x".repeat(129)), "the job id is longer than 128 bytes"),
            (0, json!("a\nb"), "the job id has control characters"),
            (1, json!("11".repeat(31)), "prevhash is not hex of the right length"),
            (1, json!("zz".repeat(32)), "prevhash is not hex of the right length"),
            (2, json!("123"), "coinb1 is not hex of the right length"),
            (3, json!(null), "coinb2 is not a string"),
            (4, json!("22"), "the merkle branch is not an array"),
            (4, json!([7]), "a branch hash is not a string"),
            (4, json!(["22"]), "a branch hash is not hex of the right length"),
            (4, json!(vec!["22".repeat(32); 25]), "a merkle branch of 25 hashes (at most 24)"),
            (5, json!("+1"), "version is not hex of the right length"),
            (5, json!(536870912), "version is not a string"),
            (6, json!("00000000"), "nbits 00000000 is zero"),
            (6, json!("ff123456"), "nbits ff123456 exceeds 256 bits"),
            (7, json!("123456789"), "ntime is not hex of the right length"),
            (7, json!(""), "ntime is not hex of the right length"),
            (8, json!("true"), "clean_jobs is not true or false"),
        ];
        for (at, value, expected) in table {
            let mut params = good();
            params[at] = value;
            assert_eq!(Notify::parse(&params).unwrap_err().to_string(), expected);
        }
        for length in 0..9 {
            assert!(matches!(Notify::parse(&good()[..length]), Err(ParamsError::Missing(_))), "{length}");
        }
    }

    #[test]
    fn the_coinbase_is_measured_with_both_extranonces() {
        let mut params = good();
        let extranonce = |first: usize, second_size| Extranonce { first: vec![0; first], second_size };
        let notify = Notify::parse(&params).unwrap();
        assert_eq!(notify.fits(&extranonce(0, 1)), Ok(()));
        params[2] = json!("00".repeat(40));
        assert_eq!(Notify::parse(&params).unwrap().fits(&extranonce(0, 1)), Err(ParamsError::Coinbase(41)));
        params[2] = json!("00".repeat(16 * 1024 - 8));
        let notify = Notify::parse(&params).unwrap();
        assert_eq!(notify.fits(&extranonce(4, 4)), Ok(()));
        assert_eq!(notify.fits(&extranonce(4, 5)), Err(ParamsError::Coinbase(16 * 1024 + 1)));
    }

    #[test]
    fn extranonces_are_bounded() {
        let table = [
            (json!(["", 1]), Ok(0)),
            (json!(["AA".repeat(32), 16]), Ok(32)),
            (json!(["aa".repeat(33), 4]), Err("an extranonce1 of 33 bytes (at most 32)")),
            (json!(["a", 4]), Err("extranonce1 is not hex of the right length")),
            (json!([7, 4]), Err("extranonce1 is not a string")),
            (json!(["aa", 0]), Err("an extranonce2 of 0 bytes (allowed are 1 to 16)")),
            (json!(["aa", 17]), Err("an extranonce2 of 17 bytes (allowed are 1 to 16)")),
            (json!(["aa", 1_000_000_000]), Err("an extranonce2 of 1000000000 bytes (allowed are 1 to 16)")),
            (json!(["aa", -4]), Err("extranonce2_size is not a whole number")),
            (json!(["aa", "4"]), Err("extranonce2_size is not a whole number")),
            (json!(["aa"]), Err("extranonce2_size is missing")),
            (json!([]), Err("extranonce1 is missing")),
        ];
        for (params, expected) in table {
            let result = Extranonce::parse(params.as_array().unwrap(), 0);
            assert_eq!(
                result.map(|e| e.first.len()).map_err(|e| e.to_string()),
                expected.map_err(str::to_owned)
            );
        }
    }

    #[test]
    fn only_finite_difficulties_above_zero_count() {
        let taken = [json!(1), json!(0.0005), json!(1e-12), json!(1e60), json!(u64::MAX)];
        assert!(taken.iter().all(|value| difficulty(std::slice::from_ref(value)).is_ok()));
        let refused =
            [json!(0), json!(-0.0), json!(-1), json!("1024"), json!(null), json!([]), json!({}), json!(true)];
        assert!(refused.iter().all(|value| difficulty(std::slice::from_ref(value)).is_err()));
        assert!(difficulty(&[]).is_err());
    }
}
