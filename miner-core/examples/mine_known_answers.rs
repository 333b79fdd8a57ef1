//! Mines `tests/data/known-answers.json`: every nonce of difficulty 1 and more under the first few extranonce2 of some
//! made-up jobs, so that emulated devices can find in work what is really in it.
//!
//! ```sh
//! cargo run --release -p miner-core --example mine_known_answers -- tests/data/known-answers.json 8
//! ```
//!
//! The second argument says how many extranonce2 of each job to search; what the file has already is kept, and each
//! answer is saved as it is found. One extranonce2 is 2^32 hashes, in which one nonce is found on average and none in
//! more than a third.
#![expect(clippy::disallowed_methods, reason = "a tool, with a file and a clock")]

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use miner_core::sha256d::{Isa, Prepared};
use miner_core::types::double_sha256;
use serde_json::{Value, json};

/// Jobs in the file: more than a scheduler remembers the search spaces of, so that one that comes round again is new.
const JOBS: u32 = 9;
/// Hashes with which kernels are compared.
const TRIAL: u64 = 1 << 23;
const EXTRANONCE1: [u8; 4] = *b"lode";
const VERSION: u32 = 0x2000_0000;
/// Difficulty 16,307: shares of the known answers are no blocks.
const NBITS: u32 = 0x1b04_04cb;
const FIRST_HEIGHT: u32 = 800_000;
const FIRST_NTIME: u32 = 1_700_000_000;

/// Blocks and shares that others found: name, header.
const OTHERS: [(&str, &str); 2] = [
    (
        "Bitcoin block 1",
        "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e1fee1467\
         7ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299",
    ),
    (
        "share of a Bitaxe Gamma, recorded by 256foundation/mujina (bm13xx/test_data.rs)",
        "0040b420fd55646bc162b96dfcd4f201a3f4670d1d3996bc96520100000000000000000006ddf5f08c36414b95ea54db71a0c287\
         61a98bcf6355919e044f88725519a7cbd7685468043a02174c035275",
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, planes] = &arguments[..] else {
        eprintln!("usage: mine_known_answers FILE EXTRANONCES");
        return ExitCode::from(2);
    };
    let Ok(planes) = planes.parse::<u32>() else {
        eprintln!("mine_known_answers: EXTRANONCES is a number");
        return ExitCode::from(2);
    };
    let mut file = match fs::read(path).map(|text| serde_json::from_slice(&text)) {
        Ok(Ok(file)) => file,
        Ok(Err(error)) => {
            eprintln!("mine_known_answers: {path}: {error}");
            return ExitCode::FAILURE;
        }
        Err(_) => new_file(),
    };
    let isa = quickest();
    for number in 0..JOBS as usize {
        for plane in 0..planes {
            let job = &mut file["jobs"][number];
            let extranonce2 = hex::encode(plane.to_le_bytes());
            let answers = job["answers"].as_array().expect("new_file makes one");
            if answers.iter().any(|answer| answer["extranonce2"] == extranonce2.as_str()) {
                continue;
            }
            let begin = Instant::now();
            let nonces = search(isa, &header(job, plane));
            println!("job {number}, extranonce2 {extranonce2}: {nonces:?} in {:.1?}", begin.elapsed());
            let answers = job["answers"].as_array_mut().expect("new_file makes one");
            answers.push(json!({ "extranonce2": extranonce2, "nonces": nonces }));
            if let Err(error) = save(path, &file) {
                eprintln!("mine_known_answers: {path}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// The file before anything was searched.
fn new_file() -> Value {
    let jobs: Vec<Value> = (0..JOBS).map(job).collect();
    let others: Vec<Value> =
        OTHERS.iter().map(|(name, header)| json!({ "name": name, "header": header })).collect();
    json!({
        "about": "Jobs made up and searched by miner-core/examples/mine_known_answers.rs. All hex; prev and branches in internal \
                  order, nonces as header bytes 76 to 79. `answers` lists every nonce of difficulty 1 and more under an extranonce2 \
                  at the base version and the job's ntime; an empty list says that there is none. `others`: headers that others found.",
        "extranonce1": hex::encode(EXTRANONCE1),
        "extranonce2_size": 4,
        "jobs": jobs,
        "others": others,
    })
}

/// A made-up job.
fn job(number: u32) -> Value {
    let derive = |what: &str| double_sha256(format!("lode known answers, job {number}, {what}").as_bytes());
    let mut prev = derive("previous block");
    prev[24..].fill(0);
    let branches: Vec<String> = (0..4).map(|i| hex::encode(derive(&format!("branch {i}")))).collect();
    let (coinb1, coinb2) = coinbase(FIRST_HEIGHT + number);
    json!({
        "height": FIRST_HEIGHT + number,
        "prev": hex::encode(prev),
        "coinb1": hex::encode(coinb1),
        "coinb2": hex::encode(coinb2),
        "branches": branches,
        "version": format!("{VERSION:08x}"),
        "nbits": format!("{NBITS:08x}"),
        "ntime": format!("{:08x}", FIRST_NTIME + 600 * number),
        "answers": [],
    })
}

/// A coinbase transaction, without witness, around a gap for both extranonces: its script is the height and a push.
fn coinbase(height: u32) -> (Vec<u8>, Vec<u8>) {
    const TEXT: &[u8] = b"/lode known answers/";
    let mut head = 2u32.to_le_bytes().to_vec();
    head.push(1);
    head.extend_from_slice(&[0; 32]);
    head.extend_from_slice(&[0xff; 4]);
    let pushed = TEXT.len() as u8 + 8;
    head.extend_from_slice(&[4 + 1 + pushed, 3]);
    head.extend_from_slice(&height.to_le_bytes()[..3]);
    head.push(pushed);
    head.extend_from_slice(TEXT);

    let mut tail = vec![0xff; 4];
    tail.push(1);
    tail.extend_from_slice(&625_000_000u64.to_le_bytes());
    tail.extend_from_slice(&[1, 0x6a]);
    tail.extend_from_slice(&[0; 4]);
    (head, tail)
}

/// The header of a job in the file, nonce 0.
fn header(job: &Value, plane: u32) -> [u8; 80] {
    let bytes = |field: &Value| hex::decode(field.as_str().unwrap_or_default()).expect("hex");
    let number =
        |field: &Value| u32::from_str_radix(field.as_str().unwrap_or_default(), 16).expect("8 digits");
    let coinbase =
        [&bytes(&job["coinb1"])[..], &EXTRANONCE1, &plane.to_le_bytes(), &bytes(&job["coinb2"])].concat();
    let branches = job["branches"].as_array().expect("a list");
    let root = branches
        .iter()
        .fold(double_sha256(&coinbase), |root, branch| double_sha256(&[&root[..], &bytes(branch)].concat()));
    let mut header = [0; 80];
    header[..4].copy_from_slice(&number(&job["version"]).to_le_bytes());
    header[4..36].copy_from_slice(&bytes(&job["prev"]));
    header[36..68].copy_from_slice(&root);
    header[68..72].copy_from_slice(&number(&job["ntime"]).to_le_bytes());
    header[72..76].copy_from_slice(&number(&job["nbits"]).to_le_bytes());
    header
}

/// Every nonce with which the header's hash begins with 32 zero bits, as header bytes.
fn search(isa: Isa, header: &[u8; 80]) -> Vec<String> {
    let mut hits = Vec::new();
    isa.scan(&Prepared::from_bytes(header), 0, 1 << 32, 0, &mut hits);
    let mut solved = *header;
    let nonces = hits.iter().map(|hit| {
        solved[76..].copy_from_slice(&hit.to_le_bytes());
        assert_eq!(double_sha256(&solved)[28..], [0; 4], "{} hashed wrongly", isa.name());
        hex::encode(hit.to_le_bytes())
    });
    nonces.collect()
}

/// The kernel that is quickest here.
fn quickest() -> Isa {
    let prepared = Prepared::from_bytes(&[0; 80]);
    let kernels = Isa::available().into_iter();
    let time = |isa: &Isa| {
        let begin = Instant::now();
        isa.scan(&prepared, 0, TRIAL, 0, &mut Vec::new());
        begin.elapsed()
    };
    kernels.min_by_key(time).expect("one runs everywhere")
}

fn save(path: &str, file: &Value) -> std::io::Result<()> {
    let unfinished = format!("{path}.new");
    fs::write(&unfinished, serde_json::to_string_pretty(file)? + "\n")?;
    fs::rename(unfinished, path)
}
