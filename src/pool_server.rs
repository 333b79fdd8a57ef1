//! `lode pool`: the practice pool alone, for any Stratum V1 miner.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use practice_pool::{Config, Handle, Pool, PoolError};

use crate::report::format;
use crate::settings::PoolServerSettings;
use crate::signals::Signals;

/// Time between two lines about what the miners did.
const REPORT: Duration = Duration::from_secs(10);

/// Why the pool cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It cannot start.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The operating system refuses something.
    #[error("{context}: {source}")]
    Os {
        /// What was being done.
        context: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Serves until Ctrl-C or SIGTERM.
pub fn run(settings: PoolServerSettings) -> Result<(), ServerError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| ServerError::Os { context: "cannot start the I/O runtime", source })?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: PoolServerSettings) -> Result<(), ServerError> {
    let mut signals =
        Signals::new().map_err(|source| ServerError::Os { context: "cannot listen for signals", source })?;
    let config = Config {
        listen: settings.listen,
        difficulty: settings.difficulty,
        ledger: settings.ledger,
        ..Config::default()
    };
    let pool = Pool::bind(config).await?;
    let (address, handle) = (pool.local_addr(), pool.handle());
    greet(address);
    let reports = tokio::spawn(report(handle.clone()));
    pool.run(async {
        signals.next().await;
    })
    .await;
    reports.abort();
    say(&line(&handle));
    Ok(())
}

fn greet(address: SocketAddr) {
    say(&format!("Practice pool on stratum+tcp://{address}: every share is checked, nothing is earned."));
    if !address.ip().is_loopback() {
        say("It listens beyond this machine, unencrypted and without passwords.");
    }
    say(&format!("Join it with: lode -o stratum+tcp://{address} -u any.name"));
}

/// Says what the miners did, whenever they did something.
async fn report(handle: Handle) {
    let mut said = String::new();
    loop {
        tokio::time::sleep(REPORT).await;
        let line = line(&handle);
        if line != said {
            say(&line);
            said = line;
        }
    }
}

/// Writes a line to standard output, which may be closed: the pool serves on.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn line(handle: &Handle) -> String {
    let stats = handle.stats();
    format!(
        "connections {}  accepted {}  rejected {}  blocks {}  best {}",
        stats.connections,
        stats.accepted,
        stats.rejected_total(),
        stats.blocks,
        format::amount(stats.best),
    )
}
