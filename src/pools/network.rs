//! The way to a pool, so that tests can put another in its place.

use stratum::io::{ConnectError, Endpoint, Stream, connect};

/// Makes connections.
pub(super) trait Network: Clone + Send + Sync + 'static {
    /// Connects to a pool. Cancel-safe: nothing is left behind.
    fn connect(
        &self,
        endpoint: &Endpoint,
    ) -> impl Future<Output = Result<Box<dyn Stream>, ConnectError>> + Send;
}

/// The network of this machine.
#[derive(Clone)]
pub(super) struct Sockets;

impl Network for Sockets {
    async fn connect(&self, endpoint: &Endpoint) -> Result<Box<dyn Stream>, ConnectError> {
        connect(endpoint).await
    }
}
