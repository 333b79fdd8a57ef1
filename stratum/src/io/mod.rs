//! The transports: sockets, TLS, proxies, and the loop that ties one of them to a protocol.

mod connect;
mod proxy;
mod session;
mod tls;

#[cfg(test)]
mod tests;

pub use connect::{ConnectError, Endpoint, Stream, connect};
pub use proxy::ProxyError;
pub use session::{Command, SessionEnd, run_session};
pub use tls::{TlsError, TlsTrust, TrustError};
