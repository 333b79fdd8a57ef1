//! The measured vectors of `tests/data`, rebuilt by the pool's own check.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use practice_pool::Reject;
use practice_pool::chain::Job;
use practice_pool::target::U256;
use practice_pool::verify::{self, Assignment, Submission};
use serde_json::Value;

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/vectors.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn word(value: &Value) -> u32 {
    u32::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn unswap(wire: &Value) -> [u8; 32] {
    let swapped: Vec<u8> = bytes(wire).chunks(4).flat_map(|word| word.iter().rev().copied()).collect();
    swapped.try_into().unwrap()
}

fn assignment(vector: &Value) -> Assignment {
    let notify = &vector["notify_params"];
    let branches = notify[4].as_array().unwrap().iter();
    let job = Job {
        number: 1,
        height: 1,
        prev: unswap(&notify[1]),
        coinbase: None,
        branches: branches.map(|branch| bytes(branch).try_into().unwrap()).collect(),
        version: word(&notify[5]),
        nbits: word(&notify[6]),
        ntime: word(&notify[7]),
        clean: notify[8].as_bool().unwrap(),
    };
    let difficulty = vector["share_difficulty"].as_f64().unwrap();
    Assignment {
        job: Arc::new(job),
        coinb1: bytes(&notify[2]),
        coinb2: bytes(&notify[3]),
        extranonce1: bytes(&vector["extranonce1"]),
        extranonce2_size: usize::try_from(vector["extranonce2_size"].as_u64().unwrap()).unwrap(),
        difficulty,
        target: U256::from_be_bytes(bytes(&vector["share_target_display"]).try_into().unwrap()),
    }
}

fn submission(vector: &Value) -> Submission {
    let submit = &vector["submit_params"];
    Submission {
        extranonce2: bytes(&submit[2]),
        ntime: word(&submit[3]),
        nonce: word(&submit[4]),
        version_bits: submit.get(5).map(word),
    }
}

fn mask(vector: &Value) -> Option<u32> {
    Some(word(&vector["version_mask"])).filter(|&mask| mask != 0)
}

fn each_job(mut check: impl FnMut(&str, &Value, Assignment, Submission)) {
    let all = vectors();
    let jobs = all["stratum_jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 11);
    for vector in jobs {
        check(vector["name"].as_str().unwrap(), vector, assignment(vector), submission(vector));
    }
}

#[test]
fn every_real_share_is_accepted_and_rebuilds_to_the_measured_header_and_hash() {
    each_job(|name, vector, work, submission| {
        let share = verify::check(&work, mask(vector), &submission)
            .unwrap_or_else(|reject| panic!("{name}: {reject}"));
        let derived = &vector["derived"];
        assert_eq!(hex::encode(share.header), derived["header_hex"].as_str().unwrap(), "{name}");
        assert_eq!(share.hash.to_string(), derived["hash_display"].as_str().unwrap(), "{name}");
        assert_eq!(share.version, word(&derived["header_version"]), "{name}");
        assert_eq!(share.is_block, derived["is_block"].as_bool().unwrap(), "{name}");
        let difficulty = derived["share_difficulty_of_hash"].as_f64().unwrap();
        assert!((share.hash.difficulty() / difficulty - 1.0).abs() < 1e-12, "{name}");
    });
}

#[test]
fn the_header_is_the_one_that_the_bitcoin_crate_builds() {
    use bitcoin::block::{Header, Version};
    use bitcoin::consensus::{deserialize, serialize};
    use bitcoin::hashes::Hash;
    use bitcoin::{BlockHash, CompactTarget, Transaction, TxMerkleNode};

    each_job(|name, vector, work, submission| {
        let share = verify::check(&work, mask(vector), &submission).unwrap();
        let coinbase = [&*work.coinb1, &work.extranonce1, &submission.extranonce2, &work.coinb2].concat();
        let coinbase: Transaction = deserialize(&coinbase).unwrap();
        let mut root = TxMerkleNode::from_byte_array(coinbase.compute_txid().to_byte_array());
        for branch in &work.job.branches {
            root = TxMerkleNode::hash(&[root.to_byte_array(), *branch].concat());
        }
        let header = Header {
            version: Version::from_consensus(share.version.cast_signed()),
            prev_blockhash: BlockHash::from_byte_array(work.job.prev),
            merkle_root: root,
            time: submission.ntime,
            bits: CompactTarget::from_consensus(work.job.nbits),
            nonce: submission.nonce,
        };
        assert_eq!(serialize(&header), share.header, "{name}");
        assert_eq!(header.block_hash().to_string(), share.hash.to_string(), "{name}");
    });
}

#[test]
fn a_share_that_was_tampered_with_is_refused() {
    each_job(|name, vector, work, good| {
        let refused =
            |submission: &Submission| verify::check(&work, mask(vector), submission).map(|_| ()).unwrap_err();
        let wrong = [
            (
                Submission { extranonce2: good.extranonce2[1..].to_vec(), ..good.clone() },
                Reject::Extranonce2Size,
            ),
            (
                Submission { extranonce2: [&*good.extranonce2, &[0]].concat(), ..good.clone() },
                Reject::Extranonce2Size,
            ),
            (Submission { ntime: work.job.ntime - 1, ..good.clone() }, Reject::NtimeOutOfRange),
            (Submission { version_bits: Some(1), ..good.clone() }, Reject::VersionBits),
            (Submission { version_bits: Some(0x2000_0000), ..good.clone() }, Reject::VersionBits),
        ];
        for (submission, reject) in wrong {
            assert_eq!(refused(&submission), reject, "{name}: {submission:?}");
        }
        let ntime = if good.ntime > work.job.ntime { good.ntime - 1 } else { good.ntime + 1 };
        for missed in
            [Submission { nonce: good.nonce ^ 1, ..good.clone() }, Submission { ntime, ..good.clone() }]
        {
            let share = verify::rebuild(&work, mask(vector), &missed).unwrap();
            assert!(share.hash > work.target, "{name}: {missed:?}");
            // On regtest's network target every second hash is a block, and a block is good whatever the share's target.
            let checked = verify::check(&work, mask(vector), &missed).map(|_| ());
            let expected = if share.is_block { Ok(()) } else { Err(Reject::LowDifficulty) };
            assert_eq!(checked, expected, "{name}: {missed:?}");
        }
        let late = work.job.ntime.checked_add(verify::NTIME_AHEAD + 1);
        if let Some(ntime) = late {
            assert_eq!(refused(&Submission { ntime, ..good.clone() }), Reject::NtimeOutOfRange, "{name}");
        }
    });
}

#[test]
fn version_bits_follow_bip_310() {
    let all = vectors();
    let (template, good) = (assignment(&all["stratum_jobs"][0]), submission(&all["stratum_jobs"][0]));
    for vector in all["version_rolling"].as_array().unwrap() {
        let mut work = template.clone();
        Arc::make_mut(&mut work.job).version = word(&vector["base"]);
        let submission = Submission { version_bits: Some(word(&vector["submitted"])), ..good.clone() };
        let share = verify::rebuild(&work, Some(word(&vector["mask"])), &submission).unwrap();
        assert_eq!(share.version, word(&vector["bip310_header"]), "{vector}");
        assert_eq!(verify::rebuild(&work, None, &submission), Err(Reject::VersionBits));
    }
}

#[test]
fn difficulties_become_exact_targets() {
    let all = vectors();
    for vector in all["difficulty"].as_array().unwrap() {
        let target = U256::from_difficulty(vector["difficulty"].as_f64().unwrap()).unwrap();
        assert_eq!(target.to_string(), vector["target_display"].as_str().unwrap(), "{vector}");
    }
    for invalid in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(U256::from_difficulty(invalid).is_err(), "{invalid}");
    }
}

#[test]
fn compact_bits_become_targets_or_are_refused() {
    let all = vectors();
    for vector in all["nbits"].as_array().unwrap() {
        let target = U256::from_nbits(word(&vector["nbits"])).unwrap();
        assert_eq!(target.to_string(), vector["target_display"].as_str().unwrap(), "{vector}");
    }
    for vector in all["nbits_invalid"].as_array().unwrap() {
        assert!(U256::from_nbits(word(&vector["nbits"])).is_err(), "{vector}");
    }
}
