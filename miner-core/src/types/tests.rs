use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/data/vectors.json")).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is missing"))
}

fn number(value: &Value, key: &str) -> u32 {
    u32::from_str_radix(text(value, key), 16).unwrap()
}

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// Reads a hash that is written as explorers show it.
fn shown(text: &str) -> [u8; 32] {
    let mut bytes: [u8; 32] = bytes(text);
    bytes.reverse();
    bytes
}

#[test]
fn blocks_are_rebuilt_to_the_last_byte() {
    let vectors = vectors();
    for block in vectors["blocks"].as_array().unwrap() {
        let name = text(block, "name");
        let header = Header {
            version: number(block, "version"),
            prev: BlockHash(shown(text(block, "prev_display"))),
            root: MerkleRoot(shown(text(block, "merkle_display"))),
            ntime: number(block, "ntime"),
            nbits: CompactTarget::new(number(block, "nbits")).unwrap(),
            nonce: number(block, "nonce"),
        };
        assert_eq!(hex::encode(header.to_bytes()), text(block, "header_hex"), "{name}");
        let hash = header.hash();
        assert_eq!(hash.to_string(), text(block, "hash_display"), "{name}");
        assert_eq!(hex::encode(hash.0), text(block, "hash_internal"), "{name}");
        assert_eq!(header.nbits.target().to_string(), text(block, "target_display"), "{name}");
        assert!(header.nbits.target().is_met_by(&hash), "{name}");
        let oracle: bitcoin::block::Header = bitcoin::consensus::deserialize(&header.to_bytes()).unwrap();
        assert_eq!(oracle.block_hash().to_string(), hash.to_string(), "{name}");
        for (ours, theirs) in
            [(header.nbits.target(), "network_difficulty"), (hash.to_target(), "hash_difficulty")]
        {
            let ratio = Difficulty::of(ours).get() / block[theirs].as_f64().unwrap();
            assert!((ratio - 1.0).abs() < 1e-12, "{name}: {theirs}");
        }
    }
}

#[test]
fn difficulties_become_targets_to_the_last_bit() {
    let vectors = vectors();
    let rows = vectors["difficulty"].as_array().unwrap();
    assert_eq!(rows.len(), 29);
    for row in rows {
        let difficulty = row["difficulty"].as_f64().unwrap();
        let target = Target::from(Difficulty::new(difficulty).unwrap());
        assert_eq!(target.to_string(), text(row, "target_display"), "{difficulty:e}");
        assert_eq!(target == Target::MAX, row["saturated"].as_bool().unwrap(), "{difficulty:e}");
    }
    for (difficulty, target) in
        [(f64::MAX, Target::ZERO), (f64::MIN_POSITIVE, Target::MAX), (5e-324, Target::MAX)]
    {
        assert_eq!(Target::from(Difficulty::new(difficulty).unwrap()), target, "{difficulty:e}");
    }
}

#[test]
fn what_is_no_difficulty_is_refused() {
    let vectors = vectors();
    let listed = vectors["difficulty_invalid"].as_array().unwrap().iter().filter_map(Value::as_f64);
    for value in listed.chain([f64::NAN, f64::INFINITY, f64::NEG_INFINITY]) {
        assert_eq!(Difficulty::new(value), None, "{value}");
    }
}

#[test]
fn nbits_decode_as_in_bitcoin_core() {
    let vectors = vectors();
    for row in vectors["nbits"].as_array().unwrap() {
        let nbits = CompactTarget::new(number(row, "nbits")).unwrap();
        assert_eq!(nbits.to_u32(), number(row, "nbits"));
        assert_eq!(nbits.to_string(), text(row, "nbits"));
        assert_eq!(nbits.target().to_string(), text(row, "target_display"), "{nbits}");
    }
    for row in vectors["nbits_invalid"].as_array().unwrap() {
        let bits = number(row, "nbits");
        let expected = match text(row, "why").split([':', ' ']).next().unwrap() {
            "negative" => CompactTargetError::Negative(bits),
            "overflow" => CompactTargetError::Overflow(bits),
            "zero" => CompactTargetError::Zero(bits),
            other => panic!("no such reason: {other}"),
        };
        assert_eq!(CompactTarget::new(bits), Err(expected));
    }
}

#[test]
fn a_sign_without_a_number_is_shifted_away_with_the_mantissa() {
    assert_eq!(CompactTarget::new(0x0180_0001).unwrap().target(), Target::ZERO);
}

#[test]
fn a_hash_meets_a_target_up_to_equality() {
    let target = Target::from(Difficulty::new(3.0).unwrap());
    let mut hash = target.to_be_bytes();
    hash.reverse();
    assert!(target.is_met_by(&BlockHash(hash)));
    hash[0] += 1;
    assert!(!target.is_met_by(&BlockHash(hash)));
    assert!(Target::MAX.is_met_by(&BlockHash([0xff; 32])));
    assert!(!Target::ZERO.is_met_by(&BlockHash([0; 32].map(|_: u8| 1))));
}

#[test]
fn high_word_is_what_a_kernel_compares() {
    assert_eq!(Target::MAX.high_word(), u32::MAX);
    assert_eq!(Target::DIFFICULTY_1.high_word(), 0);
    assert_eq!(CompactTarget::new(0x207f_ffff).unwrap().target().high_word(), 0x7fff_ff00);
}

#[test]
fn the_low_half_of_a_hash_is_its_first_sixteen_bytes() {
    let hash = BlockHash(std::array::from_fn(|i| i as u8));
    assert_eq!(hash.low_half().to_le_bytes()[..], hash.0[..16]);
}

proptest! {
    #[test]
    fn nbits_agree_with_rust_bitcoin(bits: u32) {
        // Below size 3 rust-bitcoin takes the sign bit for a part of the number; Bitcoin Core shifts it away.
        let odd = bits & 0x0080_0000 != 0 && bits >> 24 < 3;
        if let (Ok(ours), false) = (CompactTarget::new(bits), odd) {
            let theirs = bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(bits));
            prop_assert_eq!(ours.target().to_be_bytes(), theirs.to_be_bytes());
        }
    }

    #[test]
    fn targets_survive_bytes_and_order_like_numbers(a: [u8; 32], b: [u8; 32]) {
        prop_assert_eq!(Target::from_be_bytes(a).to_be_bytes(), a);
        prop_assert_eq!(Target::from_be_bytes(a).cmp(&Target::from_be_bytes(b)), a.cmp(&b));
    }

    #[test]
    fn expected_hashes_and_targets_are_inverse(exponent in 0.0f64..250.0) {
        let hashes = exponent.exp2();
        let ratio = Target::from_expected_hashes(hashes).expected_hashes() / hashes;
        // A target near zero is a small whole number: it rounds by up to one part in itself.
        let grain = (exponent - 255.0).exp2();
        prop_assert!((ratio - 1.0).abs() < 1e-9 + 2.0 * grain, "2^{}: {}", exponent, ratio);
    }

    #[test]
    fn a_harder_difficulty_never_has_an_easier_target(a in 1e-15f64..1e60, factor in 1.0f64..1e6) {
        let target = |value| Target::from(Difficulty::new(value).unwrap());
        prop_assert!(target(a * factor) <= target(a));
    }
}
