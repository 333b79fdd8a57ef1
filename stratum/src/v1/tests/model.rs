//! Random sessions; the same interpreters run under libFuzzer.

use std::time::Instant;

use proptest::prelude::*;

use crate::v1::script::{run_bytes, run_script};

/// A pool's lines, some of them whole and good, so that cuts fall into something that matters.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => prop::sample::select(vec![
            r#"{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"}}"#.to_owned(),
            r#"{"id":2,"result":[[["mining.notify","s"]],"aabb",4],"error":null}"#.to_owned(),
            r#"{"id":3,"result":true,"error":null}"#.to_owned(),
            r#"{"id":9,"method":"mining.ping","params":[]}"#.to_owned(),
            r#"{"id":null,"method":"mining.set_difficulty","params":[0.5]}"#.to_owned(),
            super::notify("j\"1", "20000000", true).to_string(),
        ]),
        1 => "\\PC{0,40}",
        1 => Just("x".repeat(5_000)),
    ];
    let line = (line, prop::sample::select(vec!["\n", "\r\n", "\n\n"])).prop_map(|(line, end)| line + end);
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, max_shrink_iters: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_session_keeps_its_rules_whatever_the_pool_does(script in prop::collection::vec(any::<u8>(), 0..3_000)) {
        run_script(Instant::now(), &script);
    }

    #[test]
    fn fragments_tell_the_same_as_the_whole(cuts in any::<[u8; 8]>(), lines in lines()) {
        run_bytes(Instant::now(), &[&cuts[..], &lines].concat());
    }
}
