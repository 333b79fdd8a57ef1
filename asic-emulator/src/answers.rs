//! What is known to lie in some work, since a desktop computer can't search as an ASIC does.
//!
//! A model looks the work that it received up here and finds what is in it when its sweep comes by. Nothing else is ever
//! "found": every entry was hashed when it was put in, and is hashed again, from the work received, before it is reported.

use std::collections::HashMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::hash::{Work, passes};

/// The nonces of difficulty 1 and more in work that somebody searched before.
#[derive(Debug, Clone, Default)]
pub struct KnownAnswers {
    /// By midstate and tail: header nonces.
    by_work: HashMap<Work, Vec<[u8; 4]>>,
    /// By header bytes 4 to 75: versions and header nonces.
    by_content: HashMap<[u8; 72], Vec<(u32, [u8; 4])>>,
}

/// Why answers could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// The text is not what it should be.
    #[error("known answers: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A field is not hex of its length.
    #[error("known answers: {0} is not the hex that it should be")]
    Hex(&'static str),
    /// A header's hash does not begin with 32 zero bits.
    #[error("known answers: {0} is no answer")]
    Wrong(String),
}

/// Midstate and tail as on the wire, nonce as in a header: facts about real chips.
const PUBLISHED_WORK: [(&str, &str, &str); 9] = [
    // The work by which Icarus devices are recognised: block 171874.
    (GOLDEN.0, GOLDEN.1, "000187a2"),
    // The work by which the number of engines is measured.
    (DIVISION.0, DIVISION.1, "04c0fdb4"),
    (DIVISION.0, DIVISION.1, "82540e46"),
    (DIVISION.0, DIVISION.1, "417c0f36"),
    (DIVISION.0, DIVISION.1, "60c994d5"),
    // ESP-Miner's "known working" job for the BM1397, third midstate.
    (
        "7e027035b1acbaf23ea01a527344faf76ab476d328216118b7760f7b1b22d229",
        "3aae0517a084736450e37161",
        "9b044c0a",
    ),
    // Work that opens the cores of a BM1387.
    (ZEROS, "ffffffffffffffffffffffff", "7203ea83"),
    (ZEROS, "ffffffffffffffffffffffff", "e16bf809"),
    // Block 1.
    (
        "0e7501ac5ff2646f28757b75ccbd0ee07d617869066ca2d47fbb2a30a9f61323",
        "ffff001d61bc664957233e0e",
        "01e36299",
    ),
];
const GOLDEN: (&str, &str) =
    ("4679ba4ec99876bf4bfe086082b400254df6c356451471139a3afa71e48f544a", "87320b1a1426674f2fa722ce");
const DIVISION: (&str, &str) =
    ("2e4c8f91fd595d2d7ea20aaacb64a2a04382860277cf26b6a1ee04c56a5b504a", "6461011ac906a951fb9b3c73");
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Headers that hardware found.
const PUBLISHED_HEADERS: [&str; 2] = [
    "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb6\
     06e857233e0e61bc6649ffff001d01e36299",
    "0040b420fd55646bc162b96dfcd4f201a3f4670d1d3996bc96520100000000000000000006ddf5f08c36414b95ea54db71a0c28761a98bcf6355919e044f\
     88725519a7cbd7685468043a02174c035275",
];

/// The file of known answers.
#[derive(Deserialize)]
struct File {
    extranonce1: String,
    jobs: Vec<Job>,
    #[serde(default)]
    others: Vec<Other>,
}

#[derive(Deserialize)]
struct Job {
    prev: String,
    coinb1: String,
    coinb2: String,
    branches: Vec<String>,
    version: String,
    nbits: String,
    ntime: String,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    extranonce2: String,
    nonces: Vec<String>,
}

#[derive(Deserialize)]
struct Other {
    header: String,
}

/// Made-up jobs and what lies in them, for [`KnownAnswers::read`] and for a pool that serves them.
pub const KNOWN_ANSWERS: &str = include_str!("../../tests/data/known-answers.json");

impl KnownAnswers {
    /// No answers at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// What is published: the work that drivers probe devices with, block 1, the share of a Bitaxe Gamma that was
    /// recorded.
    pub fn published() -> Self {
        let mut answers = Self::default();
        for (midstate, tail, nonce) in PUBLISHED_WORK {
            let work = || Some((Work::from_wire(&fixed(midstate)?, &fixed(tail)?), fixed(nonce)?));
            let (work, nonce) = work().expect("the table is hex");
            answers.insert_work(work, nonce).expect("the table was checked");
        }
        for header in PUBLISHED_HEADERS {
            answers.insert_header(&fixed(header).expect("the table is hex")).expect("the table was checked");
        }
        answers
    }

    /// Reads text laid out as [`KNOWN_ANSWERS`], on top of what is [published](Self::published).
    ///
    /// # Errors
    /// What is wrong with the text; an entry whose hash is not one of difficulty 1 is wrong.
    pub fn read(json: &str) -> Result<Self, AnswersError> {
        let file: File = serde_json::from_str(json)?;
        let mut answers = Self::published();
        for job in &file.jobs {
            job.insert_into(&mut answers, &file.extranonce1)?;
        }
        for other in &file.others {
            answers.insert_header(&fixed(&other.header).ok_or(AnswersError::Hex("header"))?)?;
        }
        Ok(answers)
    }

    /// Takes in a solved header of 80 bytes.
    ///
    /// # Errors
    /// [`AnswersError::Wrong`] unless its hash begins with 32 zero bits.
    pub fn insert_header(&mut self, header: &[u8; 80]) -> Result<(), AnswersError> {
        let [v0, v1, v2, v3, .., n0, n1, n2, n3] = *header;
        let content: [u8; 72] = header[4..76].try_into().expect("72 bytes");
        let nonce = [n0, n1, n2, n3];
        self.insert_work(Work::of_header(header), nonce)?;
        let known = self.by_content.entry(content).or_default();
        insert_once(known, (u32::from_le_bytes([v0, v1, v2, v3]), nonce));
        Ok(())
    }

    fn insert_work(&mut self, work: Work, nonce: [u8; 4]) -> Result<(), AnswersError> {
        if !passes(&work.hash(nonce), 0) {
            return Err(AnswersError::Wrong(hex::encode(nonce)));
        }
        insert_once(self.by_work.entry(work).or_default(), nonce);
        Ok(())
    }

    /// The nonces known to lie in a midstate's work.
    pub(crate) fn of_work(&self, work: &Work) -> &[[u8; 4]] {
        self.by_work.get(work).map_or(&[], Vec::as_slice)
    }

    /// The versions and nonces known for header bytes 4 to 75.
    pub(crate) fn of_content(&self, content: &[u8; 72]) -> &[(u32, [u8; 4])] {
        self.by_content.get(content).map_or(&[], Vec::as_slice)
    }
}

impl Job {
    fn insert_into(&self, answers: &mut KnownAnswers, extranonce1: &str) -> Result<(), AnswersError> {
        for answer in &self.answers {
            let coinbase = [&self.coinb1, extranonce1, &answer.extranonce2, &self.coinb2].map(hex::decode);
            let coinbase: Result<Vec<_>, _> = coinbase.into_iter().collect();
            let coinbase = coinbase.map_err(|_| AnswersError::Hex("coinbase"))?.concat();
            let root = self.branches.iter().try_fold(sha256d(&coinbase), |root, branch| {
                let branch: [u8; 32] = fixed(branch).ok_or(AnswersError::Hex("branch"))?;
                Ok::<_, AnswersError>(sha256d(&[root, branch].concat()))
            })?;
            let word = |text: &str, what| {
                let word = fixed::<4>(text).ok_or(AnswersError::Hex(what))?;
                Ok::<_, AnswersError>(u32::from_be_bytes(word).to_le_bytes())
            };
            let mut header = [0; 80];
            header[..4].copy_from_slice(&word(&self.version, "version")?);
            header[4..36].copy_from_slice(&fixed::<32>(&self.prev).ok_or(AnswersError::Hex("prev"))?);
            header[36..68].copy_from_slice(&root);
            header[68..72].copy_from_slice(&word(&self.ntime, "ntime")?);
            header[72..76].copy_from_slice(&word(&self.nbits, "nbits")?);
            for nonce in &answer.nonces {
                header[76..].copy_from_slice(&fixed::<4>(nonce).ok_or(AnswersError::Hex("nonce"))?);
                answers.insert_header(&header)?;
            }
        }
        Ok(())
    }
}

fn insert_once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    hex::decode(text).ok()?.try_into().ok()
}

fn sha256d(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_published_is_an_answer() {
        let answers = KnownAnswers::published();
        assert_eq!(answers.by_work.values().map(Vec::len).sum::<usize>(), 10);
        assert_eq!(answers.by_content.len(), 2);
    }

    /// The reader hashes each entry and refuses wrong ones: nothing is in the file that isn't so.
    #[test]
    fn every_known_answer_hashes_so() {
        let file: File = serde_json::from_str(KNOWN_ANSWERS).unwrap();
        let listed: usize =
            file.jobs.iter().flat_map(|job| &job.answers).map(|answer| answer.nonces.len()).sum();
        let answers = KnownAnswers::read(KNOWN_ANSWERS).unwrap();
        let published = KnownAnswers::published();
        assert!(listed > 0);
        assert_eq!(answers.by_content.len(), {
            let searched = file.jobs.iter().flat_map(|job| &job.answers);
            searched.filter(|answer| !answer.nonces.is_empty()).count() + published.by_content.len()
        });
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        let wrong = KNOWN_ANSWERS.replacen("01e36299", "01e36298", 1);
        assert!(matches!(KnownAnswers::read(&wrong), Err(AnswersError::Wrong(_))));
        assert!(matches!(KnownAnswers::read("{}"), Err(AnswersError::Syntax(_))));
        let short = KNOWN_ANSWERS.replacen("01e36299", "01e362", 1);
        assert!(matches!(KnownAnswers::read(&short), Err(AnswersError::Hex("header"))));
    }
}
