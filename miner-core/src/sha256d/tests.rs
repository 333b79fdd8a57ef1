//! One runner for every kernel that this CPU has; the oracle is the `sha2` crate by way of [`Header::hash`].

use proptest::prelude::*;

use super::*;
use crate::types::{BlockHash, CompactTarget, Header, MerkleRoot, Target};

/// Headers from a generator that needs no more than to be different everywhere.
fn header(seed: u64) -> Header {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    Header {
        version: next(),
        prev: BlockHash(std::array::from_fn(|_| next() as u8)),
        root: MerkleRoot(std::array::from_fn(|_| next() as u8)),
        ntime: next(),
        nbits: CompactTarget::new(0x1d00_ffff ^ (next() & 0xff)).unwrap(),
        nonce: next(),
    }
}

/// The blocks of the measured vectors: header, and hash in internal order.
fn vectors() -> Vec<([u8; 80], [u8; 32])> {
    let text = include_str!("../../../tests/data/vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let bytes = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
    let blocks = vectors["blocks"].as_array().unwrap().iter();
    blocks
        .map(|b| {
            (bytes(&b["header_hex"]).try_into().unwrap(), bytes(&b["hash_internal"]).try_into().unwrap())
        })
        .collect()
}

/// The kernels under test: all that this CPU has, or what `LODE_ISA` leaves of them.
fn kernels() -> Vec<Isa> {
    let choice = std::env::var("LODE_ISA").map_or_else(|_| IsaChoice::auto(), |text| text.parse().unwrap());
    choice.candidates().to_vec()
}

fn expected(header: &Header, start: u32, count: u64, limit: u32) -> Vec<u32> {
    let mut header = *header;
    let nonces = (0..count).map(|i| start.wrapping_add(i as u32));
    nonces
        .filter(|&nonce| {
            header.nonce = nonce;
            header.hash().to_target().high_word() <= limit
        })
        .collect()
}

fn found(isa: Isa, header: &Header, start: u32, count: u64, limit: u32) -> Vec<u32> {
    let mut hits = Vec::new();
    isa.scan(&Prepared::new(header), start, count, limit, &mut hits);
    hits
}

#[test]
fn a_prepared_header_hashes_as_the_sha2_crate_does() {
    for seed in 0..100 {
        let header = header(seed);
        assert_eq!(Prepared::new(&header).hash(header.nonce), header.hash(), "seed {seed}");
    }
    let vectors = vectors();
    assert!(vectors.len() >= 9);
    for (header, hash) in vectors {
        let nonce = u32::from_le_bytes(header[76..].try_into().unwrap());
        assert_eq!(Prepared::from_bytes(&header).hash(nonce), BlockHash(hash));
    }
}

#[test]
fn every_kernel_passes_its_self_test() {
    for isa in kernels() {
        assert_eq!(selftest(isa), Ok(()));
    }
}

#[test]
fn every_kernel_finds_every_known_block_in_every_lane() {
    for (header, hash) in vectors() {
        let nonce = u32::from_le_bytes(header[76..].try_into().unwrap());
        let limit = BlockHash(hash).to_target().high_word();
        for isa in kernels() {
            for lane in 0..3 * isa.lanes() {
                let (start, count) = (nonce.wrapping_sub(lane), u64::from(lane) + 1);
                let mut hits = Vec::new();
                isa.scan(&Prepared::from_bytes(&header), start, count, limit, &mut hits);
                assert_eq!(hits.last(), Some(&nonce), "{isa} lane {lane}");
            }
        }
    }
}

#[test]
fn every_kernel_agrees_with_the_sha2_crate_across_carries_signs_and_wrap_around() {
    let edges = [0, 1, 1 << 16, 1 << 24, i32::MAX.cast_unsigned(), u32::MAX];
    let starts = edges.iter().flat_map(|&edge| (0..=33u32).map(move |back| edge.wrapping_sub(back)));
    for (seed, start) in starts.enumerate() {
        let header = header(seed as u64);
        let all = expected(&header, start, 50, u32::MAX);
        assert_eq!(all.len(), 50);
        let some = expected(&header, start, 50, 0x3333_3333);
        for isa in kernels() {
            assert_eq!(found(isa, &header, start, 50, u32::MAX), all, "{isa} from {start:#x}");
            assert_eq!(found(isa, &header, start, 50, 0x3333_3333), some, "{isa} from {start:#x}");
        }
    }
}

#[test]
fn hits_at_an_easy_target_are_the_same_for_every_kernel_and_as_many_as_chance_has_it() {
    let (header, count, limit) = (header(7), 1 << 18, 0x0000_ffff);
    let want = expected(&header, 0xfffe_0000, count, limit);
    // The mean is 4, and 20 has a chance of one in 10^8; but the header is fixed.
    assert!((1..20).contains(&want.len()), "{}", want.len());
    for isa in kernels() {
        assert_eq!(found(isa, &header, 0xfffe_0000, count, limit), want, "{isa}");
    }
}

/// Headers that share the second block's schedule: they differ in their version, as if it were rolled.
fn rolled(seed: u64, count: u32) -> Vec<Header> {
    (0..count).map(|i| Header { version: 0x2000_0000 | i << 13, ..header(seed) }).collect()
}

fn found_of_versions(isa: Isa, headers: &[Header], start: u32, count: u64, limit: u32) -> Vec<(u32, u32)> {
    let prepared: Vec<Prepared> = headers.iter().map(Prepared::new).collect();
    let mut hits = Vec::new();
    isa.scan_versions(&prepared, start, count, limit, &mut hits);
    hits.sort_unstable();
    hits
}

fn expected_of_versions(headers: &[Header], start: u32, count: u64, limit: u32) -> Vec<(u32, u32)> {
    let each = |(i, header)| expected(header, start, count, limit).into_iter().map(move |nonce| (i, nonce));
    let mut hits: Vec<(u32, u32)> = (0..).zip(headers).flat_map(each).collect();
    hits.sort_unstable();
    hits
}

#[test]
fn every_kernel_agrees_with_the_sha2_crate_on_rolled_versions_across_carries_signs_and_wrap_around() {
    let edges = [0, 1, 1 << 16, i32::MAX.cast_unsigned(), u32::MAX];
    let starts = edges.iter().flat_map(|&edge| [0, 1, 2, 15, 17].map(|back| edge.wrapping_sub(back)));
    for (seed, start) in (0..).zip(starts) {
        let headers = rolled(seed, 64);
        let (all, some) = (0x3333_3333, 0x00ff_ffff);
        let all = (all, expected_of_versions(&headers, start, 19, all));
        let some = (some, expected_of_versions(&headers, start, 19, some));
        for isa in kernels() {
            for (limit, want) in [&all, &some] {
                assert_eq!(
                    found_of_versions(isa, &headers, start, 19, *limit),
                    *want,
                    "{isa} from {start:#x}"
                );
            }
        }
    }
}

#[test]
fn every_kernel_finds_every_known_block_as_each_of_its_versions() {
    for (bytes, hash) in vectors() {
        let nonce = u32::from_le_bytes(bytes[76..].try_into().unwrap());
        let limit = BlockHash(hash).to_target().high_word();
        for isa in kernels() {
            for place in 0..isa.versions() {
                let mut headers = vec![bytes; isa.versions() as usize];
                for (i, header) in (0..).zip(&mut headers).filter(|(i, _)| *i != place) {
                    header[..4].copy_from_slice(&(0x2000_0000u32 | i << 13).to_le_bytes());
                }
                let headers: Vec<Prepared> = headers.iter().map(Prepared::from_bytes).collect();
                for before in [0, 1, 33] {
                    let mut hits = Vec::new();
                    isa.scan_versions(&headers, nonce.wrapping_sub(before), 35, limit, &mut hits);
                    assert!(hits.contains(&(place, nonce)), "{isa} version {place} before {before}");
                }
            }
        }
    }
}

#[test]
fn any_number_of_versions_and_of_nonces_will_do() {
    let limit = 0x3fff_ffff;
    for isa in kernels() {
        let most = isa.versions() + 1;
        let headers = rolled(5, most);
        let all = expected_of_versions(&headers, u32::MAX - 20, 40, limit);
        for versions in [0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, most - 2, most - 1, most] {
            for count in [0, 1, 7, 16, 17, 40u32] {
                let within = |&&(version, nonce): &&(u32, u32)| {
                    version < versions && nonce.wrapping_sub(u32::MAX - 20) < count
                };
                let want: Vec<(u32, u32)> = all.iter().filter(within).copied().collect();
                let headers = &headers[..versions.min(most) as usize];
                let found = found_of_versions(isa, headers, u32::MAX - 20, count.into(), limit);
                assert_eq!(found, want, "{isa}, {versions} versions, {count} nonces");
            }
        }
    }
}

#[test]
fn headers_that_do_not_share_the_second_block_are_searched_all_the_same() {
    let differ: [fn(&mut Header); 4] = [
        |header| header.root.0[31] ^= 1,
        |header| header.root.0[28] ^= 0x80,
        |header| header.ntime += 1,
        |header| header.nbits = CompactTarget::new(0x1c00_ffff).unwrap(),
    ];
    for isa in kernels() {
        for change in differ {
            for place in [0, 1, isa.versions() as usize - 1] {
                let mut headers = rolled(9, isa.versions().max(2));
                change(&mut headers[place]);
                let want = expected_of_versions(&headers, 77, 20, 0x3fff_ffff);
                assert_eq!(
                    found_of_versions(isa, &headers, 77, 20, 0x3fff_ffff),
                    want,
                    "{isa}, header {place}"
                );
            }
        }
    }
}

#[test]
fn hits_of_versions_at_an_easy_target_are_as_many_as_chance_has_it() {
    let headers = rolled(21, 64);
    let want = expected_of_versions(&headers, 0xffff_f800, 1 << 12, 0x0000_ffff);
    // The mean is 4; but the headers are fixed.
    assert!((1..20).contains(&want.len()), "{}", want.len());
    for isa in kernels() {
        assert_eq!(found_of_versions(isa, &headers, 0xffff_f800, 1 << 12, 0x0000_ffff), want, "{isa}");
    }
}

#[test]
fn a_kernel_asks_for_versions_that_a_unit_can_have() {
    for isa in Isa::available() {
        assert!(matches!(isa.versions(), 1 | 16..=64), "{isa}");
    }
}

#[test]
fn a_scan_of_nothing_finds_nothing_and_keeps_what_was_found() {
    for isa in kernels() {
        let mut hits = vec![42];
        isa.scan(&Prepared::new(&header(1)), 5, 0, u32::MAX, &mut hits);
        assert_eq!(hits, [42]);
        let mut hits = vec![(4, 2)];
        isa.scan_versions(&[], 5, 10, u32::MAX, &mut hits);
        assert_eq!(hits, [(4, 2)]);
    }
}

#[test]
fn the_filter_passes_every_word_up_to_the_limit() {
    for shift in 0..32 {
        for limit in [u32::MAX >> shift, 1 << (31 - shift), 3 << (30 - shift.min(30)), 0] {
            let mask = lanes::clear_bits(limit);
            for top in [0, 1, limit / 2, limit.saturating_sub(1), limit] {
                assert_eq!(top.min(limit).swap_bytes() & mask, 0, "{top:#x} {limit:#x}");
            }
            if let Some(twice) = limit.checked_next_power_of_two().filter(|&twice| twice > limit) {
                assert_ne!(twice.swap_bytes() & mask, 0, "{twice:#x} {limit:#x}");
            }
        }
    }
}

#[test]
fn the_limit_of_a_target_lets_all_its_hashes_pass() {
    let header = header(11);
    let target = Target::from_expected_hashes(50.0);
    for isa in kernels() {
        let passed = found(isa, &header, 0, 5_000, target.high_word());
        let met = (0..5_000).filter(|&nonce| target.is_met_by(&Prepared::new(&header).hash(nonce)));
        let met: Vec<u32> = met.collect();
        assert!(met.len() > 50 && met.iter().all(|nonce| passed.contains(nonce)), "{isa}");
    }
}

#[test]
fn choices_of_kernels_are_read_or_explained() {
    let all = Isa::available();
    let mut sets: Vec<&str> = all.iter().filter_map(|isa| isa.sets().as_array().map(|[set]| *set)).collect();
    sets.dedup();
    let chosen = |text: &str| IsaChoice::parse(text).unwrap().candidates().to_vec();
    assert_eq!(chosen("auto"), all);
    let portable = [Isa::by_name("portable").unwrap()];
    assert_eq!(chosen("portable"), portable);
    assert_eq!(chosen(" -avx512 , -sse2,-sha-ni,-avx2,-neon,-armv8-sha2"), portable);
    assert_eq!(chosen("-portable"), all[1..]);
    for &set in &sets {
        let of_set: Vec<Isa> = all.iter().copied().filter(|isa| isa.sets() == [set]).collect();
        assert_eq!(chosen(set), of_set);
        if all.len() > of_set.len() {
            assert!(chosen(&format!("-{set}")).iter().all(|isa| !isa.sets().contains(&set)));
        }
    }
    for &isa in all.iter().filter(|isa| isa.sets().len() > 1) {
        assert!(chosen(&isa.sets().join(",")).contains(&isa), "{isa}");
    }
    for &isa in &all {
        assert_eq!(Isa::by_name(isa.name()), Some(isa), "a name of its own");
        assert_eq!(chosen(isa.name()), [isa]);
        assert!(isa.name() == "portable" || !chosen(&format!("-{isa}")).contains(&isa));
        assert_eq!(all.iter().filter(|&&other| other == isa).count(), 1);
    }
    assert_eq!(Isa::by_name("mmx"), None);

    let message = |text: &str| IsaChoice::parse(text).unwrap_err().to_string();
    let known = "known are portable, sse2, sha-ni, avx2, avx512, neon, armv8-sha2";
    assert_eq!(message("mmx"), format!("unknown instruction set \"mmx\"; {known}"));
    assert_eq!(message(""), format!("unknown instruction set \"\"; {known}"));
    assert_eq!(message("-avx2,mmx,portable"), message("mmx"));
    assert_eq!(
        message("portable,-avx2"),
        "\"portable,-avx2\" mixes instruction sets to use with ones to exclude"
    );
    assert_eq!(
        message("-portable,-sse2,-sha-ni,-avx2,-avx512,-neon,-armv8-sha2"),
        format!("no instruction set is left; this CPU has {}", sets.join(", "))
    );
    let error = IsaError::Lacking { name: "avx2".into() };
    assert_eq!(error.to_string(), format!("this CPU has no avx2; it has {}", sets.join(", ")));
}

proptest! {
    #[test]
    fn every_kernel_agrees_with_the_sha2_crate_anywhere(
        seed: u64, start: u32, count in 0u64..80, shift in 0u32..6, limit: u32
    ) {
        let (header, limit) = (header(seed), limit >> shift);
        let want = expected(&header, start, count, limit);
        for isa in kernels() {
            prop_assert_eq!(found(isa, &header, start, count, limit), want.clone(), "{}", isa);
        }
    }

    #[test]
    fn every_kernel_agrees_with_the_sha2_crate_on_any_versions(
        seed: u64, start: u32, count in 0u64..40, versions in 0u32..70, shift in 0u32..6, limit: u32
    ) {
        let (headers, limit) = (rolled(seed, versions), limit >> shift);
        let want = expected_of_versions(&headers, start, count, limit);
        for isa in kernels() {
            prop_assert_eq!(found_of_versions(isa, &headers, start, count, limit), want.clone(), "{}", isa);
        }
    }
}
