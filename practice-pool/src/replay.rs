//! Jobs made elsewhere, served in turn: for miners whose devices are known to find something in just these.
//!
//! Every client gets the same extranonce1, and so the same search space. What they submit is judged as always.

use serde::Deserialize;

use crate::chain::Job;
use crate::config::{ConfigError, MAX_BRANCHES, check_extranonce};
use crate::target::{TargetError, U256};

/// Longest coinbase part in bytes: a job is to fit a line.
const MAX_COINBASE: usize = 2048;

/// Jobs to serve in turn, over and over, instead of made-up ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    pub(crate) extranonce1: Vec<u8>,
    pub(crate) extranonce2_size: usize,
    jobs: Vec<Template>,
}

/// Why jobs could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The text is not what it should be.
    #[error("jobs to replay: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A field is not hex of its length.
    #[error("jobs to replay: {0} is not the hex that it should be")]
    Hex(&'static str),
    /// A network target is none.
    #[error("jobs to replay: {0}")]
    Target(#[from] TargetError),
    /// A length is out of range.
    #[error("jobs to replay: {0}")]
    Range(#[from] ConfigError),
    /// There is no job.
    #[error("jobs to replay: there are none")]
    Empty,
}

/// A job without what its turn gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Template {
    prev: [u8; 32],
    coinb1: Vec<u8>,
    coinb2: Vec<u8>,
    branches: Vec<[u8; 32]>,
    version: u32,
    nbits: u32,
    ntime: u32,
}

/// The file: `tests/data/known-answers.json` is one.
#[derive(Deserialize)]
struct File {
    extranonce1: String,
    extranonce2_size: usize,
    jobs: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    prev: String,
    coinb1: String,
    coinb2: String,
    branches: Vec<String>,
    version: String,
    nbits: String,
    ntime: String,
}

impl Replay {
    /// Reads jobs from JSON: `extranonce1`, `extranonce2_size`, and `jobs` with `prev` and `branches` in internal byte order,
    /// `coinb1`, `coinb2`, `version`, `nbits`, `ntime`, all of these in hex. Further fields are ignored.
    ///
    /// # Errors
    /// The first thing wrong with the text.
    pub fn read(json: &str) -> Result<Self, ReplayError> {
        let file: File = serde_json::from_str(json)?;
        let extranonce1 = hex::decode(&file.extranonce1).map_err(|_| ReplayError::Hex("extranonce1"))?;
        check_extranonce(extranonce1.len(), file.extranonce2_size)?;
        let jobs: Vec<Template> = file.jobs.iter().map(Entry::read).collect::<Result<_, _>>()?;
        if jobs.is_empty() {
            return Err(ReplayError::Empty);
        }
        Ok(Self { extranonce1, extranonce2_size: file.extranonce2_size, jobs })
    }

    /// The job of a turn; turns beyond the last begin anew.
    pub(crate) fn job(&self, turn: u32, number: u64, height: u32, clean: bool) -> Job {
        let template = self.jobs[turn as usize % self.jobs.len()].clone();
        Job {
            number,
            height,
            prev: template.prev,
            coinbase: Some((template.coinb1, template.coinb2)),
            branches: template.branches,
            version: template.version,
            nbits: template.nbits,
            ntime: template.ntime,
            clean,
        }
    }
}

impl Entry {
    fn read(&self) -> Result<Template, ReplayError> {
        let part = |text: &str, name| match hex::decode(text) {
            Ok(bytes) if bytes.len() <= MAX_COINBASE => Ok(bytes),
            _ => Err(ReplayError::Hex(name)),
        };
        let branches = self.branches.iter().take(MAX_BRANCHES + 1).map(|branch| fixed(branch, "branch"));
        let branches: Vec<[u8; 32]> = branches.collect::<Result<_, _>>()?;
        if branches.len() > MAX_BRANCHES {
            return Err(ReplayError::Hex("branches"));
        }
        let word = |text: &str, name| fixed(text, name).map(u32::from_be_bytes);
        let nbits = word(&self.nbits, "nbits")?;
        U256::from_nbits(nbits)?;
        Ok(Template {
            prev: fixed(&self.prev, "prev")?,
            coinb1: part(&self.coinb1, "coinb1")?,
            coinb2: part(&self.coinb2, "coinb2")?,
            branches,
            version: word(&self.version, "version")?,
            nbits,
            ntime: word(&self.ntime, "ntime")?,
        })
    }
}

fn fixed<const N: usize>(text: &str, name: &'static str) -> Result<[u8; N], ReplayError> {
    let bytes = hex::decode(text).map_err(|_| ReplayError::Hex(name))?;
    bytes.try_into().map_err(|_| ReplayError::Hex(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../tests/data/known-answers.json");

    #[test]
    fn jobs_are_served_as_they_are_in_the_file() {
        let replay = Replay::read(FILE).unwrap();
        let file: serde_json::Value = serde_json::from_str(FILE).unwrap();
        for (turn, entry) in file["jobs"].as_array().unwrap().iter().enumerate() {
            let job = replay.job(turn as u32, 7, 9, true);
            assert_eq!((job.number, job.height, job.clean), (7, 9, true));
            assert_eq!((hex::encode(job.prev), hex::encode(job.branches[3])), {
                let text = |field: &serde_json::Value| field.as_str().unwrap().to_owned();
                (text(&entry["prev"]), text(&entry["branches"][3]))
            });
            let (coinb1, coinb2) = job.coinbase_parts(8);
            assert_eq!((hex::encode(coinb1).as_str(), hex::encode(coinb2).as_str()), {
                (entry["coinb1"].as_str().unwrap(), entry["coinb2"].as_str().unwrap())
            });
            assert_eq!(format!("{:08x}", job.ntime), entry["ntime"].as_str().unwrap());
        }
        let jobs = file["jobs"].as_array().unwrap().len() as u32;
        assert_eq!(replay.job(jobs, 1, 1, true).prev, replay.job(0, 1, 1, true).prev);
    }

    #[test]
    fn the_coinbases_of_the_known_jobs_are_transactions() {
        let replay = Replay::read(FILE).unwrap();
        for (turn, height) in (0..replay.jobs.len() as u32).zip(800_000u32..) {
            let (coinb1, coinb2) = replay.job(turn, 1, 1, true).coinbase_parts(8);
            let coinbase = [coinb1, vec![0; 8], coinb2].concat();
            let coinbase: bitcoin::Transaction = bitcoin::consensus::deserialize(&coinbase).unwrap();
            assert!(coinbase.is_coinbase());
            let script = coinbase.input[0].script_sig.as_bytes();
            assert_eq!(script[..4], [&[3], &height.to_le_bytes()[..3]].concat());
        }
    }

    #[test]
    fn what_is_no_list_of_jobs_is_refused() {
        let with = |from: &str, to: &str| Replay::read(&FILE.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(with("{", "[").contains("jobs to replay"));
        assert!(with("1b0404cb", "1b04").contains("nbits"));
        assert!(with("1b0404cb", "ff0404cb").contains("target"));
        assert!(with("\"extranonce1\": \"6c6f6465\"", "\"extranonce1\": \"x\"").contains("extranonce1"));
        assert!(with("\"extranonce2_size\": 4", "\"extranonce2_size\": 17").contains("extranonce2_size"));
        let none = r#"{"extranonce1": "", "extranonce2_size": 4, "jobs": []}"#;
        assert!(matches!(Replay::read(none), Err(ReplayError::Empty)));
    }
}
