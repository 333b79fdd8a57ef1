//! The measured jobs of `tests/data/vectors.json`, as they would come over the wire.

use super::*;

#[test]
fn every_vector_rebuilds_its_header_and_its_submit() {
    let vectors: Value = serde_json::from_str(include_str!("../../../../tests/data/vectors.json")).unwrap();
    let entries = vectors["stratum_jobs"].as_array().unwrap();
    assert_eq!(entries.len(), 11);
    for entry in entries {
        let name = entry["name"].as_str().unwrap();
        let submit: Vec<&str> =
            entry["submit_params"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let mut config = config();
        config.login = Login::new(submit[0], Secret::new("x")).unwrap();
        let mut session = Session::connect(config, V1Memory::default());
        let rolling = submit.len() == 6;
        session.say(json!({"id": 1, "error": null, "result":
            {"version-rolling": rolling, "version-rolling.mask": entry["version_mask"]}}));
        let subscribed = json!([[["mining.notify", "s"]], entry["extranonce1"], entry["extranonce2_size"]]);
        session.say(json!({"id": 2, "result": subscribed, "error": null}));
        session.say(json!({"id": 3, "result": true, "error": null}));
        session.say(
            json!({"id": null, "method": "mining.set_difficulty", "params": [entry["share_difficulty"]]}),
        );
        session.say(json!({"id": null, "method": "mining.notify", "params": entry["notify_params"]}));
        let job = Arc::new(session.jobs().pop().expect(name));
        assert_eq!(job.share_target.to_string(), entry["share_target_display"].as_str().unwrap(), "{name}");

        let extranonce2 = hex::decode(submit[2]).unwrap();
        let value = extranonce2.iter().rev().fold(0, |sum, &byte| sum << 8 | u128::from(byte));
        let extranonce2 = Extranonce2 { value, size: extranonce2.len() as u8 };
        let number = |digits: &str| u32::from_str_radix(digits, 16).unwrap();
        let version = number(entry["derived"]["header_version"].as_str().unwrap());
        let header = job.header(job.merkle_root(extranonce2), version, number(submit[3]), number(submit[4]));
        assert_eq!(
            hex::encode(header.to_bytes()),
            entry["derived"]["header_hex"].as_str().unwrap(),
            "{name}"
        );
        if version & job.version != job.version {
            // synthE clears base bits, which our scheduler never does.
            assert!(name.contains("synthE"), "{name}");
            continue;
        }
        let share = Share {
            id: ShareId(1),
            backend: BackendId(0),
            job,
            extranonce2,
            version,
            ntime: header.ntime,
            nonce: header.nonce,
            hash: header.hash(),
            is_block: false,
        };
        session.submit(&share);
        assert_eq!(session.sent.last().unwrap()["params"], entry["submit_params"], "{name}");
    }
}
