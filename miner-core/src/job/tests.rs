use std::time::Instant;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::types::Difficulty;
use crate::work::{NonceRange, VersionRange, WorkUnit};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/data/vectors.json")).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is missing"))
}

fn number(value: &Value) -> u32 {
    u32::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}

fn bytes(value: &Value) -> Box<[u8]> {
    hex::decode(value.as_str().unwrap()).unwrap().into()
}

/// Stratum sends the previous hash as eight words, each with its bytes reversed.
fn prev(value: &Value) -> BlockHash {
    let mut hash: [u8; 32] = (*bytes(value)).try_into().unwrap();
    hash.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
    BlockHash(hash)
}

fn job(entry: &Value) -> JobTemplate {
    let notify = &entry["notify_params"];
    let branch = notify[4].as_array().unwrap().iter().map(|node| (*bytes(node)).try_into().unwrap());
    JobTemplate {
        source: SourceId(0),
        epoch: Epoch(0),
        id: JobId(notify[0].as_str().unwrap().into()),
        prev: prev(&notify[1]),
        version: number(&notify[5]),
        version_mask: VersionMask(number(&entry["version_mask"])),
        nbits: CompactTarget::new(number(&notify[6])).unwrap(),
        ntime: number(&notify[7]),
        max_ntime_roll: 600,
        received: Instant::now(),
        merkle: Merkle::Coinbase {
            prefix: bytes(&notify[2]),
            suffix: bytes(&notify[3]),
            branch: branch.collect(),
            extranonce1: bytes(&entry["extranonce1"]),
            extranonce2_size: entry["extranonce2_size"].as_u64().unwrap() as u8,
        },
        share_target: Difficulty::new(entry["share_difficulty"].as_f64().unwrap()).unwrap().into(),
        clean: notify[8].as_bool().unwrap(),
    }
}

fn named(name: &str) -> (JobTemplate, Value) {
    let vectors = vectors();
    let entry = vectors["stratum_jobs"].as_array().unwrap().iter().find(|job| text(job, "name") == name);
    let entry = entry.unwrap_or_else(|| panic!("no job named {name}"));
    (job(entry), entry.clone())
}

fn extranonce2(entry: &Value) -> Extranonce2 {
    let bytes = bytes(&entry["submit_params"][2]);
    let value = bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u128::from(byte));
    Extranonce2 { value, size: bytes.len() as u8 }
}

/// The whole of one plane at the share's own ntime.
fn plane(job: JobTemplate, extranonce2: Extranonce2, ntime: u32) -> WorkUnit {
    let (rollable, root) = (job.rollable(), job.merkle_root(extranonce2));
    WorkUnit {
        id: Default::default(),
        generation: Default::default(),
        root,
        extranonce2,
        rollable,
        versions: VersionRange { first: 0, count: rollable.count() },
        nonces: NonceRange::FULL,
        ntime,
        report_target: job.share_target,
        budget: 1,
        job: Arc::new(job),
    }
}

#[test]
fn real_and_made_jobs_are_rebuilt_to_the_last_byte() {
    let vectors = vectors();
    for entry in vectors["stratum_jobs"].as_array().unwrap() {
        let (name, derived, submit) = (text(entry, "name"), &entry["derived"], &entry["submit_params"]);
        let (job, extranonce2) = (job(entry), extranonce2(entry));
        assert_eq!(job.share_target.to_string(), text(entry, "share_target_display"), "{name}");
        assert_eq!(job.nbits.target().to_string(), text(derived, "job_target_display"), "{name}");
        assert_eq!(hex::encode(job.prev.0), text(derived, "prev_internal"), "{name}");
        assert_eq!(hex::encode(extranonce2.to_bytes()), submit[2].as_str().unwrap(), "{name}");
        let root = job.merkle_root(extranonce2);
        assert_eq!(hex::encode(root.0), text(derived, "merkle_root_internal"), "{name}");
        let version = number(&derived["header_version"]);
        let header = job.header(root, version, number(&submit[3]), number(&submit[4]));
        assert_eq!(hex::encode(header.to_bytes()), text(derived, "header_hex"), "{name}");
        let hash = header.hash();
        assert_eq!(hash.to_string(), text(derived, "hash_display"), "{name}");
        assert!(job.share_target.is_met_by(&hash), "{name}");
        assert_eq!(job.nbits.target().is_met_by(&hash), derived["is_block"].as_bool().unwrap(), "{name}");
    }
}

#[test]
fn a_share_is_inside_its_lease_unless_it_clears_bits_of_the_base_version() {
    let vectors = vectors();
    for entry in vectors["stratum_jobs"].as_array().unwrap() {
        let (name, submit) = (text(entry, "name"), &entry["submit_params"]);
        let (job, version) = (job(entry), number(&entry["derived"]["header_version"]));
        let (base, mask) = (job.version, job.version_mask.0);
        let unit = plane(job, extranonce2(entry), number(&submit[3]));
        let inside = unit.contains(version, number(&submit[3]), number(&submit[4]));
        assert_eq!(inside, name != "synthE", "{name}");
        // What we would submit beside it: synthD's own submit follows another convention of the same header.
        if let Some(submitted) = submit.get(5).filter(|_| inside && name != "synthD") {
            assert_eq!(version & mask, number(submitted), "{name}");
        }
        assert_eq!(inside, version & base == base, "{name}");
    }
}

#[test]
fn merkle_branches_lead_to_the_root() {
    let vectors = vectors();
    for entry in vectors["merkle"].as_array().unwrap() {
        let (job, stratum) = named(text(entry, "name"));
        let Merkle::Coinbase { branch, .. } = &job.merkle else { panic!("a stratum job has a coinbase") };
        let listed: Vec<_> = entry["branch_of_leaf0"].as_array().unwrap().iter().map(bytes).collect();
        assert!(branch.iter().map(|node| &node[..]).eq(listed.iter().map(|node| &node[..])));
        assert_eq!(hex::encode(job.merkle_root(extranonce2(&stratum)).0), text(entry, "root_internal"));
    }
}

#[test]
fn rolled_versions_are_understood_by_bip310_and_by_or_pools_alike() {
    let vectors = vectors();
    for row in vectors["version_rolling"].as_array().unwrap() {
        let (base, mask) = (number(&row["base"]), number(&row["mask"]));
        let rollable = VersionMask(mask & !base);
        for index in (0..rollable.count()).step_by((rollable.count() as usize / 1000).max(1)) {
            let header = rollable.version_at(base, index);
            let submitted = header & mask;
            assert_eq!(base & !mask | submitted, header, "a BIP 310 pool");
            assert_eq!(base | submitted, header, "an OR pool");
            assert_eq!(rollable.index_of(base, header), Some(index));
        }
        // The header that a BIP 310 pool would make of the row's submit is ours to make unless it clears base bits.
        let header = number(&row["bip310_header"]);
        assert_eq!(rollable.index_of(base, header).is_some(), header & base == base, "{row}");
    }
}

#[test]
fn heights_are_read_from_coinbases_that_state_them() {
    assert_eq!(named("mainnet 413567 in stratum form").0.height(), Some(413_567));
    let (template, _) = named("synthA");
    let height = |version: u32, script: &[u8]| {
        let Merkle::Coinbase { prefix, suffix, branch, extranonce1, extranonce2_size } =
            template.merkle.clone()
        else {
            panic!("a stratum job has a coinbase")
        };
        let prefix = [&prefix[..42], script].concat().into();
        let merkle = Merkle::Coinbase { prefix, suffix, branch, extranonce1, extranonce2_size };
        JobTemplate { version, merkle, ..template.clone() }.height()
    };
    for (script, expected) in [
        (&[0x51][..], Some(1)),
        (&[0x60], Some(16)),
        (&[0x01, 17], Some(17)),
        (&[0x03, 0x7f, 0x4f, 0x06, 0x99], Some(413_567)),
        (&[0x04, 0xff, 0x64, 0xcd, 0x1d], Some(499_999_999)),
        (&[0x04, 0x00, 0x65, 0xcd, 0x1d], None),
        (&[0x03, 0x7f, 0x4f], None),
        (&[0x00], None),
        (&[0x4c, 1, 1], None),
        (&[], None),
    ] {
        assert_eq!(height(0x2000_0000, script), expected, "{script:02x?}");
    }
    assert_eq!(height(2, &[0x51]), Some(1));
    assert_eq!(height(1, &[0x51]), None, "version 1 says nothing of heights");
    let fixed = JobTemplate { merkle: Merkle::Fixed(MerkleRoot([0; 32])), ..template.clone() };
    assert_eq!((fixed.height(), fixed.extranonce2_size()), (None, 0));
}

#[test]
fn job_ids_read_as_the_pool_sent_them_and_masks_as_pools_write_them() {
    assert_eq!(JobId("5f\"".into()).to_string(), "5f\"");
    assert_eq!(VersionMask(0x00c0_0000).to_string(), "00c00000");
}

#[test]
fn of_32_rollable_bits_the_last_is_not_counted() {
    let all = VersionMask(u32::MAX);
    assert_eq!(all.index_of(0, (1 << 31) - 1), Some((1 << 31) - 1));
    assert_eq!(all.index_of(0, 1 << 31), None);
}

#[test]
fn equal_content_is_everything_that_is_hashed_and_nothing_else() {
    let (job, _) = named("synthD");
    let other = |change: &dyn Fn(&mut JobTemplate)| {
        let mut other = job.clone();
        change(&mut other);
        other
    };
    let named_otherwise = other(&|job| {
        job.id = JobId("other".into());
        job.epoch = Epoch(7);
        job.version_mask = VersionMask::NONE;
        job.share_target = Target::MAX;
        job.clean = !job.clean;
    });
    assert!(job.same_content(&named_otherwise));
    let later = other(&|job| job.ntime += 1);
    assert!(!job.same_content(&later) && job.same_content_but_ntime(&later));
    for changed in [
        other(&|job| job.prev = BlockHash([9; 32])),
        other(&|job| job.version ^= 4),
        other(&|job| job.nbits = CompactTarget::new(0x1d00_ffff).unwrap()),
        other(&|job| job.merkle = Merkle::Fixed(MerkleRoot([0; 32]))),
    ] {
        assert!(!job.same_content(&changed) && !job.same_content_but_ntime(&changed));
    }
}

#[test]
fn a_fixed_root_ignores_the_extranonce() {
    let (job, _) = named("synthA");
    let job = JobTemplate { merkle: Merkle::Fixed(MerkleRoot([5; 32])), ..job };
    assert_eq!(job.merkle_root(Extranonce2 { value: 3, size: 0 }), MerkleRoot([5; 32]));
}

proptest! {
    #[test]
    fn version_indices_are_a_bijection(base: u32, mask: u32, index: u32, version: u32) {
        let rollable = VersionMask(mask & !base);
        let index = index % rollable.count();
        let rolled = rollable.version_at(base, index);
        prop_assert_eq!(rolled & base, base, "base bits are never cleared");
        prop_assert_eq!(rollable.index_of(base, rolled), Some(index));
        match rollable.index_of(base, version) {
            Some(index) => prop_assert_eq!(rollable.version_at(base, index), version),
            // 32 rollable bits spell more versions than are ever counted.
            None => prop_assert!((version ^ base) & !rollable.0 != 0 || rollable.0.count_ones() == 32),
        }
    }
}
