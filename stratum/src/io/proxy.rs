//! SOCKS5 (RFC 1928) with user and password (RFC 1929); the proxy looks names up.

use std::io;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_socks::tcp::Socks5Stream;

use super::connect::GREETING_TIMEOUT;
use crate::url::ProxyUrl;

/// Why a proxy did not lead to the pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// It wants a user and a password, or others.
    #[error("the proxy does not accept the user or password")]
    Login,
    /// It speaks something else.
    #[error("the proxy does not speak SOCKS5: {0}")]
    NotSocks5(String),
    /// It was reached, and cannot or will not reach the pool.
    #[error("the proxy cannot reach the pool: {0}")]
    Pool(String),
    /// The connection to it broke.
    #[error("the connection to the proxy broke: {0}")]
    Broken(String),
    /// It did not answer.
    #[error("no answer from the proxy within {} s", GREETING_TIMEOUT.as_secs())]
    Timeout,
}

/// Asks the proxy at the other end of `stream` for a connection.
pub(super) async fn connect_through(
    stream: TcpStream,
    proxy: &ProxyUrl,
    host: &str,
    port: u16,
) -> Result<Socks5Stream<TcpStream>, ProxyError> {
    let greeting = async {
        match &proxy.login {
            None => Socks5Stream::connect_with_socket(stream, (host, port)).await,
            Some((user, pass)) => {
                Socks5Stream::connect_with_password_and_socket(stream, (host, port), user, pass.reveal())
                    .await
            }
        }
    };
    match timeout(GREETING_TIMEOUT, greeting).await {
        Ok(connected) => connected.map_err(classify),
        Err(_) => Err(ProxyError::Timeout),
    }
}

fn classify(error: tokio_socks::Error) -> ProxyError {
    use tokio_socks::Error;
    match error {
        Error::PasswordAuthFailure(_) | Error::NoAcceptableAuthMethods | Error::UnknownAuthMethod => {
            ProxyError::Login
        }
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            ProxyError::Broken("it closed the connection".to_owned())
        }
        Error::Io(error) => ProxyError::Broken(error.to_string()),
        error @ (Error::InvalidResponseVersion | Error::InvalidReservedByte | Error::UnknownAddressType) => {
            ProxyError::NotSocks5(error.to_string())
        }
        other => ProxyError::Pool(other.to_string()),
    }
}
