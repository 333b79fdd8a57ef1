//! Peers, fault injectors and judges for tests of the `lode` binary.
//!
//! A test starts a [`practice::Practice`] pool, puts a [`wire::Wire`] before it, lets [`process::Lode`] mine through
//! it, breaks things, and has [`ledger::join`] compare both sides' books. Everything listens on 127.0.0.1, on a port
//! that the system picks, and ends when it is dropped.

pub mod arena;
#[cfg(target_os = "linux")]
pub mod device;
pub mod ledger;
pub mod mischief;
pub mod practice;
pub mod process;
pub mod script;
pub mod socks;
pub mod tls;
pub mod wire;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::{Builder, Runtime};

/// Where all peers run: tests themselves are plain threads.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let built = Builder::new_multi_thread().worker_threads(2).thread_name("testkit").enable_all().build();
        built.expect("the system gives two threads")
    });
    &RUNTIME
}

/// A path below the system's folder for temporary files that nobody else uses; nothing is created there.
pub fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("lode-test-{}-{count}-{name}", std::process::id()))
}
