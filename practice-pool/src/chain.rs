//! The synthetic chain: blocks nobody will ever spend, laid out as real ones are.
//!
//! Heights, previous hashes, transactions and times are made up from a seed, but every byte stands where Bitcoin has it,
//! so that a miner cannot tell the difference and an explorer's tools can read the coinbase.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::replay::Replay;
use crate::target::{U256, sha256d};

/// The text in every coinbase, by which a practice block is known.
pub const TAG: &[u8] = b"/lode practice/";

/// The text of the only output, which cannot be spent.
const OUTPUT_TEXT: &[u8] = b"practice: earns nothing";

/// A block to be mined, as all clients share it; what differs between clients is in [`crate::verify::Assignment`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Counts the jobs of this pool from 1.
    pub number: u64,
    /// Height of the block; of a replayed one, how many came before.
    pub height: u32,
    /// Hash of the block before, in internal byte order.
    pub prev: [u8; 32],
    /// What stands before and after the extranonce in the coinbase of a replayed job; of others it is made up.
    pub coinbase: Option<(Vec<u8>, Vec<u8>)>,
    /// Merkle branch of the coinbase, from the leaves up, in internal byte order.
    pub branches: Vec<[u8; 32]>,
    /// Header version before rolling.
    pub version: u32,
    /// Network target in compact form.
    pub nbits: u32,
    /// Time of the template in unix seconds, the least that a share may carry.
    pub ntime: u32,
    /// Whether the job makes all earlier ones stale.
    pub clean: bool,
}

/// The tip of the synthetic chain, and the source of its jobs.
#[derive(Debug)]
pub(crate) struct Chain {
    seed: u64,
    tip: [u8; 32],
    height: u32,
    nbits: u32,
    retarget: bool,
    block_interval: Duration,
    last_found: Option<Instant>,
    version: u32,
    branches: usize,
    jobs: u64,
    ntime: u32,
    replay: Option<Arc<Replay>>,
    start_height: u32,
}

impl Job {
    /// Serialises the coinbase transaction, without witness, around a gap for `extranonce_len` bytes.
    ///
    /// The script holds the height as BIP 34 wants it, then one push of [`TAG`] and the extranonce.
    pub fn coinbase_parts(&self, extranonce_len: usize) -> (Vec<u8>, Vec<u8>) {
        if let Some(parts) = &self.coinbase {
            return parts.clone();
        }
        let height = push_height(self.height);
        let pushed = byte_len(TAG.len() + extranonce_len);
        let mut head = 2u32.to_le_bytes().to_vec();
        head.push(1);
        head.extend_from_slice(&[0; 32]);
        head.extend_from_slice(&[0xff; 4]);
        head.push(byte_len(height.len() + 1 + usize::from(pushed)));
        head.extend_from_slice(&height);
        head.push(pushed);
        head.extend_from_slice(TAG);

        let mut tail = vec![0xff; 4];
        tail.push(1);
        tail.extend_from_slice(&subsidy(self.height).to_le_bytes());
        tail.push(byte_len(OUTPUT_TEXT.len() + 2));
        tail.push(0x6a);
        tail.push(byte_len(OUTPUT_TEXT.len()));
        tail.extend_from_slice(OUTPUT_TEXT);
        tail.extend_from_slice(&[0; 4]);
        (head, tail)
    }
}

impl Chain {
    pub(crate) fn new(config: &Config) -> Self {
        let mut chain = Self {
            seed: config.seed,
            tip: [0; 32],
            height: config.start_height,
            nbits: config.nbits,
            retarget: config.retarget,
            block_interval: config.block_interval,
            last_found: None,
            version: config.version,
            branches: config.branches,
            jobs: 0,
            ntime: 0,
            replay: config.replay.clone(),
            start_height: config.start_height,
        };
        chain.tip = chain.invented_tip();
        chain
    }

    /// Makes the next job on the present tip; its time never runs backwards.
    pub(crate) fn job(&mut self, unix: u32, clean: bool) -> Job {
        self.jobs += 1;
        if let Some(replay) = &self.replay {
            return replay.job(self.height - self.start_height, self.jobs, self.height, clean);
        }
        self.ntime = self.ntime.max(unix);
        let branches = (0..self.branches as u64).map(|i| self.derive(b"tx", self.jobs << 8 | i)).collect();
        Job {
            number: self.jobs,
            height: self.height,
            prev: self.tip,
            coinbase: None,
            branches,
            version: self.version,
            nbits: self.nbits,
            ntime: self.ntime,
            clean,
        }
    }

    /// Advances by a block that somebody else is said to have found.
    pub(crate) fn extend(&mut self) {
        self.height = self.height.saturating_add(1);
        self.tip = self.invented_tip();
    }

    /// Advances by a block that a client found.
    ///
    /// Two finds within one block interval make the network four times harder, so that a fast miner isn't drowned in
    /// clean jobs.
    pub(crate) fn extend_with(&mut self, hash: U256, now: Instant) {
        self.height = self.height.saturating_add(1);
        self.tip = hash.to_le_bytes();
        let soon =
            self.last_found.is_some_and(|last| now.saturating_duration_since(last) < self.block_interval);
        self.last_found = Some(now);
        if self.retarget && soon {
            self.nbits = four_times_harder(self.nbits);
        }
    }

    /// Invents a block hash that meets the network target as a real one would.
    fn invented_tip(&self) -> [u8; 32] {
        let mut hash = self.derive(b"block", u64::from(self.height));
        let target = U256::from_nbits(self.nbits).expect("the configuration was checked").to_be_bytes();
        let zeros = target.iter().take_while(|&&byte| byte == 0).count();
        hash[31 - zeros.min(31)..].fill(0);
        hash
    }

    fn derive(&self, what: &[u8], number: u64) -> [u8; 32] {
        sha256d(&[what, &self.seed.to_le_bytes(), &number.to_le_bytes()])
    }
}

/// Encodes a height as BIP 34 wants it: the shortest push of a script number.
fn push_height(height: u32) -> Vec<u8> {
    match height {
        0 => vec![0x00],
        1..=16 => vec![0x50 + byte_len(height as usize)],
        _ => {
            let mut number = height.to_le_bytes().to_vec();
            while number.last() == Some(&0) {
                number.pop();
            }
            if number.last().is_some_and(|&top| top & 0x80 != 0) {
                number.push(0);
            }
            number.insert(0, byte_len(number.len()));
            number
        }
    }
}

/// The reward at a height in satoshi, by Bitcoin's halving rule.
fn subsidy(height: u32) -> u64 {
    5_000_000_000u64.checked_shr(height / 210_000).unwrap_or(0)
}

/// Quarters a compact target, until it cannot be made smaller.
fn four_times_harder(nbits: u32) -> u32 {
    let (exponent, mantissa) = (nbits >> 24, nbits & 0x007f_ffff);
    let harder = match mantissa >> 2 {
        quarter if quarter >= 0x8000 => exponent << 24 | quarter,
        _ if exponent > 4 => (exponent - 1) << 24 | mantissa << 6,
        _ => nbits,
    };
    if U256::from_nbits(harder).is_ok() { harder } else { nbits }
}

fn byte_len(len: usize) -> u8 {
    u8::try_from(len).expect("scripts of this pool are shorter than 100 bytes")
}

#[cfg(test)]
mod tests {
    use bitcoin::Transaction;
    use bitcoin::consensus::deserialize;

    use super::*;

    fn job(height: u32) -> Job {
        Chain::new(&Config { start_height: height, seed: 1, ..Config::default() }).job(0, true)
    }

    #[test]
    fn heights_are_pushed_as_bip_34_wants_them() {
        let cases: [(u32, &str); 12] = [
            (0, "00"),
            (1, "51"),
            (16, "60"),
            (17, "0111"),
            (127, "017f"),
            (128, "028000"),
            (255, "02ff00"),
            (32_767, "02ff7f"),
            (32_768, "03008000"),
            (901_936, "0330c30d"),
            (8_388_608, "0400008000"),
            (u32::MAX, "05ffffffff00"),
        ];
        for (height, push) in cases {
            assert_eq!(hex::encode(push_height(height)), push, "{height}");
        }
    }

    #[test]
    fn the_coinbase_is_a_transaction_with_height_tag_and_extranonce() {
        for (height, extranonce_len) in [(1, 1), (1_000_000, 8), (u32::MAX, 32)] {
            let (head, tail) = job(height).coinbase_parts(extranonce_len);
            let extranonce = vec![0xab; extranonce_len];
            let coinbase: Transaction = deserialize(&[head, extranonce.clone(), tail].concat()).unwrap();
            assert!(coinbase.is_coinbase());
            let script = &coinbase.input[0].script_sig;
            assert!(script.len() <= 100, "consensus allows no more");
            let pushes: Vec<_> = script.instructions_minimal().map(Result::unwrap).collect();
            assert_eq!(pushes.len(), 2);
            assert_eq!(pushes[1].push_bytes().unwrap().as_bytes(), [TAG, &extranonce].concat());
            if height > 16 {
                assert_eq!(script.as_bytes()[..push_height(height).len()], push_height(height));
            }
            assert_eq!(coinbase.output[0].value.to_sat(), subsidy(height));
            assert!(coinbase.output[0].script_pubkey.is_op_return());
        }
    }

    #[test]
    fn rewards_halve() {
        let cases = [(0, 5_000_000_000), (209_999, 5_000_000_000), (210_000, 2_500_000_000), (u32::MAX, 0)];
        for (height, reward) in cases {
            assert_eq!(subsidy(height), reward, "{height}");
        }
    }

    #[test]
    fn a_new_block_has_a_new_tip_that_meets_the_target() {
        for nbits in [0x1d00_ffff, 0x1c03_fffc, 0x207f_ffff, 0x1702_3a04] {
            let mut chain = Chain::new(&Config { nbits, seed: 1, ..Config::default() });
            let before = chain.job(5, true);
            chain.extend();
            let after = chain.job(3, true);
            assert_eq!((after.height, after.number, after.ntime), (before.height + 1, before.number + 1, 5));
            assert_ne!(after.prev, before.prev);
            assert_ne!(after.branches, before.branches);
            assert!(U256::from_le_bytes(after.prev) <= U256::from_nbits(nbits).unwrap());
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_chain() {
        assert_eq!(job(7), job(7));
        let other = Chain::new(&Config { start_height: 7, seed: 2, ..Config::default() }).job(0, true);
        assert_ne!(job(7).prev, other.prev);
    }

    #[test]
    fn blocks_found_too_soon_make_the_network_four_times_harder() {
        let mut chain = Chain::new(&Config::default());
        let start = Instant::now();
        let difficulty = |chain: &Chain| U256::from_nbits(chain.nbits).unwrap().difficulty();
        chain.extend_with(U256::from_be_bytes([0; 32]), start);
        assert_eq!(difficulty(&chain), 64.0);
        for n in 1..=8 {
            chain.extend_with(U256::from_be_bytes([0; 32]), start + Duration::from_secs(n));
        }
        assert!((difficulty(&chain) / (64.0 * 65536.0) - 1.0).abs() < 1e-3, "{}", difficulty(&chain));
        chain.extend_with(U256::from_be_bytes([0; 32]), start + Duration::from_secs(1000));
        assert!((difficulty(&chain) / (64.0 * 65536.0) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn the_network_never_gets_so_hard_that_it_has_no_target() {
        let mut nbits = 0x207f_ffff;
        for _ in 0..1000 {
            let harder = four_times_harder(nbits);
            assert!(U256::from_nbits(harder).unwrap() <= U256::from_nbits(nbits).unwrap());
            nbits = harder;
        }
        assert!(U256::from_nbits(nbits).unwrap() > U256::from_be_bytes([0; 32]));
    }
}
