//! The built-in practice pool: for whoever has no pool yet. It is honest, and it earns nothing.

use practice_pool::{Config, Pool, PoolError};
use stratum::url::PoolUrl;

use crate::settings::PoolSettings;

/// The worker name that it is joined with.
const USER: &str = "practice";

/// Starts it; how to join it.
pub async fn start(config: Config) -> Result<PoolSettings, PoolError> {
    let pool = Pool::bind(config).await?;
    let address = pool.local_addr();
    tokio::spawn(pool.run(std::future::pending()));
    Ok(PoolSettings::new(PoolUrl { tls: false, host: address.ip().to_string(), port: address.port() }, USER))
}
