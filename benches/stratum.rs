//! Stratum V1: reading jobs, and putting shares on the wire.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use miner_core::job::{Extranonce2, JobTemplate};
use miner_core::share::Share;
use miner_core::types::{BackendId, Epoch, ShareId, SourceId};
use stratum::v1::{Login, V1Client, V1Config, V1Memory};
use stratum::{PoolEvent, PoolProtocol, Secret};

const GREETING: &str = concat!(
    r#"{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"}}"#,
    "\n",
    r#"{"id":2,"result":[[["mining.notify","s"]],"aabbccdd",4],"error":null}"#,
    "\n",
    r#"{"id":3,"result":true,"error":null}"#,
    "\n",
);

/// A job as large as those of mainnet: 12 branches, 258 bytes of coinbase.
fn notify() -> String {
    let (prev, prefix, suffix) = ("03".repeat(32), "01".repeat(100), "02".repeat(150));
    let branch = vec![format!("\"{}\"", "04".repeat(32)); 12].join(",");
    let numbers = r#""20000000","17023a04","685468d7",true"#;
    let job = format!(r#""1","{prev}","{prefix}","{suffix}",[{branch}],{numbers}"#);
    format!("{{\"id\":null,\"method\":\"mining.notify\",\"params\":[{job}]}}\n")
}

fn ready(now: Instant) -> V1Client {
    let login = Login::new("alice.rig", Secret::new("x")).expect("it is short");
    let config = V1Config::new(SourceId(0), Epoch(0), login, "pool.example", 3333);
    let mut client = V1Client::new(config, V1Memory::default());
    client.handle_connected(now);
    client.handle_bytes(now, GREETING.as_bytes()).expect("a good greeting");
    while client.poll_transmit().is_some() {}
    assert!(matches!(client.poll_event(), Some(PoolEvent::Ready { .. })));
    client
}

fn next_job(client: &mut V1Client) -> Option<JobTemplate> {
    std::iter::from_fn(|| client.poll_event()).find_map(|event| match event {
        PoolEvent::Job(job) => Some(job),
        _ => None,
    })
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("v1");
    group.throughput(Throughput::Elements(1));
    let mut now = Instant::now();
    let mut client = ready(now);
    let line = notify();
    group.bench_function("notify bytes to job, 12 branches", |b| {
        b.iter(|| {
            // Far enough apart for each to be delivered.
            now += Duration::from_millis(100);
            client.handle_bytes(now, black_box(line.as_bytes())).expect("a good line");
            let job = next_job(&mut client).expect("a job");
            assert_eq!(job.ntime, 0x6854_68d7);
            job
        });
    });
    group.finish();
}

fn share_path(c: &mut Criterion) {
    let mut group = c.benchmark_group("v1");
    group.throughput(Throughput::Elements(1));
    let now = Instant::now();
    let mut client = ready(now);
    client.handle_bytes(now, notify().as_bytes()).expect("a good line");
    let job = Arc::new(next_job(&mut client).expect("a job"));
    let extranonce2 = Extranonce2 { value: 5, size: 4 };
    let header = job.header(job.merkle_root(extranonce2), 0x2000_2000, job.ntime, 77);
    let mut share = Share {
        id: ShareId(0),
        backend: BackendId(0),
        job,
        extranonce2,
        version: header.version,
        ntime: header.ntime,
        nonce: header.nonce,
        hash: header.hash(),
        is_block: false,
    };
    // Configure, subscribe, authorize and extranonce.subscribe have gone out.
    let mut request = 4;
    group.bench_function("share to bytes, answer to outcome", |b| {
        b.iter(|| {
            share.id.0 += 1;
            request += 1;
            client.submit(now, black_box(&share));
            let line = client.poll_transmit().expect("a request");
            assert!(line.ends_with(b"\"0000004d\",\"00002000\"]}\n"));
            let answer = format!("{{\"id\":{request},\"result\":true,\"error\":null}}\n");
            client.handle_bytes(now, answer.as_bytes()).expect("a good line");
            assert!(
                matches!(client.poll_event(), Some(PoolEvent::Resolved { share: id, .. }) if id == share.id)
            );
        });
    });
    group.finish();
}

criterion_group!(benches, parse, share_path);
criterion_main!(benches);
