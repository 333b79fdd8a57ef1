//! Known answers, asked of a kernel before it may search.

use super::{Isa, Prepared};
use crate::types::BlockHash;

/// A kernel gave a wrong answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{isa}: {case}: expected {expected:x?}, found {found:x?}")]
pub struct SelfTestError {
    /// The kernel.
    pub isa: Isa,
    /// What was asked.
    pub case: String,
    /// The right nonces.
    pub expected: Vec<u32>,
    /// Those that the kernel found.
    pub found: Vec<u32>,
}

/// First nonces that break carries, signs and wrap-around.
const STARTS: [u32; 8] = [
    0,
    1,
    0xffff,
    0x00ff_fff8,
    i32::MAX.cast_unsigned() - 7,
    i32::MIN.cast_unsigned(),
    u32::MAX - 15,
    u32::MAX,
];

/// A top word that one hash in eight has.
const EASY: u32 = 0x1fff_ffff;

/// Asks a kernel for the nonces of known blocks in every lane, and for easy hits across awkward boundaries; of one header,
/// and of as many versions as it is quickest with.
///
/// Takes a few milliseconds. The reference is [`Prepared::hash`], which has to reproduce the blocks' hashes first.
pub fn selftest(isa: Isa) -> Result<(), SelfTestError> {
    for (number, block) in known_blocks().into_iter().enumerate() {
        let header = Prepared::from_bytes(&block.header);
        if header.hash(block.nonce) != block.hash {
            return expect(isa, format!("hash of known block {number}"), vec![block.nonce], vec![]);
        }
        test_nonces(isa, number, &header, block.nonce)?;
        test_versions(isa, number, &block)?;
    }
    Ok(())
}

fn expect(isa: Isa, case: String, expected: Vec<u32>, found: Vec<u32>) -> Result<(), SelfTestError> {
    if expected == found { Ok(()) } else { Err(SelfTestError { isa, case, expected, found }) }
}

/// [`Isa::scan`].
fn test_nonces(isa: Isa, number: usize, header: &Prepared, nonce: u32) -> Result<(), SelfTestError> {
    for lane in 0..isa.lanes() {
        let mut found = Vec::new();
        isa.scan(header, nonce.wrapping_sub(lane), u64::from(isa.lanes()), 0, &mut found);
        expect(isa, format!("known block {number} in lane {lane}"), vec![nonce], found)?;
    }
    for start in STARTS {
        let count = 3 * isa.lanes();
        let mut found = Vec::new();
        isa.scan(header, start, u64::from(count), EASY, &mut found);
        let case = format!("nonces of known block {number} from {start:#x}");
        expect(isa, case, easy(header, start, count), found)?;
    }
    Ok(())
}

/// [`Isa::scan_versions`]: the block's header has a turn in every place among others of rolled versions, and every version
/// finds its easy hits from one of the awkward starts.
fn test_versions(isa: Isa, number: usize, block: &KnownBlock) -> Result<(), SelfTestError> {
    let rolled = |i: u32| {
        let mut header = block.header;
        header[..4].copy_from_slice(&(0x3fff_e000 ^ i << 13).to_le_bytes());
        Prepared::from_bytes(&header)
    };
    let mut headers: Vec<Prepared> = (0..isa.versions()).map(rolled).collect();
    let mut found = Vec::new();
    for place in 0..headers.len() {
        let version = std::mem::replace(&mut headers[place], Prepared::from_bytes(&block.header));
        isa.scan_versions(&headers, block.nonce.wrapping_sub(place as u32 % 3), 3, 0, &mut found);
        headers[place] = version;
        let case = format!("known block {number} as version {place}");
        let nonces =
            found.drain(..).map(|(version, nonce)| if version == place as u32 { nonce } else { !nonce });
        expect(isa, case, vec![block.nonce], nonces.collect())?;
    }
    let (start, count) = (STARTS[number % STARTS.len()], 5);
    isa.scan_versions(&headers, start, count.into(), EASY, &mut found);
    for (version, header) in (0..).zip(&headers) {
        let own = found.iter().filter(|hit| hit.0 == version).map(|hit| hit.1).collect();
        let case = format!("nonces of known block {number} as version {version} from {start:#x}");
        expect(isa, case, easy(header, start, count), own)?;
    }
    Ok(())
}

/// The right answer for [`EASY`].
fn easy(header: &Prepared, start: u32, count: u32) -> Vec<u32> {
    let nonces = (0..count).map(|i| start.wrapping_add(i));
    nonces.filter(|&nonce| header.hash(nonce).to_target().high_word() <= EASY).collect()
}

/// A block of the main chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownBlock {
    /// Its header, serialised.
    pub header: [u8; 80],
    /// Its header's nonce.
    pub nonce: u32,
    /// Its hash; it begins with 32 zero bits or more.
    pub hash: BlockHash,
}

/// Blocks 0, 1, 170, 100000, 125552, 413567 and 881423 of the main chain.
pub fn known_blocks() -> [KnownBlock; 7] {
    BLOCKS.map(|(header, hash)| {
        let (header, mut hash): ([u8; 80], [u8; 32]) = (unhex(header), unhex(hash));
        hash.reverse();
        let nonce = u32::from_le_bytes([header[76], header[77], header[78], header[79]]);
        KnownBlock { header, nonce, hash: BlockHash(hash) }
    })
}

/// Reads a constant of this module.
fn unhex<const N: usize>(text: &str) -> [u8; N] {
    std::array::from_fn(|i| {
        u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("the constants are hex of the right length")
    })
}

/// The hashes as explorers show them.
const BLOCKS: [(&str, &str); 7] = [
    (
        "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd\
         7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c",
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    ),
    (
        "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd\
         1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299",
        "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
    ),
    (
        "0100000055bd840a78798ad0da853f68974f3d183e2bd1db6a842c1feecf222a00000000ff104ccb\
         05421ab93e63f8c3ce5c2c2e9dbb37de2764b3a3175c8166562cac7d51b96a49ffff001d283e9e70",
        "00000000d1145790a8694403d4063f323d499e655c83426834d4ce2f8dd4a2ee",
    ),
    (
        "0100000050120119172a610421a6c3011dd330d9df07b63616c2cc1f1cd00200000000006657a925\
         2aacd5c0b2940996ecff952228c3067cc38d4885efb5a4ac4247e9f337221b4d4c86041b0f2b5710",
        "000000000003ba27aa200b1cecaad478d2b00432346c3f1f3986da1afd33e506",
    ),
    (
        "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000e320b6c2\
         fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0f1fc122bc7f5d74df2b9441a42a14695",
        "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d",
    ),
    (
        "0400000011cec5c65e00d35b08860e4e47c6f63f522bb1294db54205000000000000000005ce7daa\
         2ab7853686a216e6e40415cfca390c23daff2eaaba16c89f640ca564b38d47573684051803b95f7e",
        "0000000000000000025aff8be8a55df8f89c77296db6198f272d6577325d4069",
    ),
    (
        "0060592ee3c96a8a70ca15fe215e99f84ab64c43e1b5d2c43b540100000000000000000076f63a35\
         f1b8b5016d3eb0cce2eebbdf58bf8fbea4e870c8f770346bdfcf622d69c19a678a9a021702fb05ff",
        "0000000000000000000269d52c24ea451225613aab095d90d771d4e29aa96cdd",
    ),
];
