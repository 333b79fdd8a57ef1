//! From a host name to a connected stream.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::proxy::{self, ProxyError};
use super::tls::{TlsError, TlsTrust};
use crate::url::{PoolUrl, ProxyUrl};

/// Each address gets this long.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);
/// The next address is tried beside the last one after this (RFC 8305).
const ADDRESS_STAGGER: Duration = Duration::from_millis(250);
/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// TLS and a proxy's greeting each get this long.
pub(super) const GREETING_TIMEOUT: Duration = Duration::from_secs(15);
/// Unacknowledged data ends a connection after this (Linux).
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Any connected stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where to connect, and how.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The pool.
    pub url: PoolUrl,
    /// Whom to trust where the URL asks for TLS; `None`: whom the platform trusts, read anew.
    pub trust: Option<Arc<TlsTrust>>,
    /// What to go through.
    pub proxy: Option<ProxyUrl>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name could not be looked up.
    #[error("the name {host} cannot be looked up: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// The name has no address.
    #[error("the name {host} has no address")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// No address could be connected to.
    #[error("no connection to {address}{}: {source}", others(*.tried))]
    Connect {
        /// The address that failed last.
        address: SocketAddr,
        /// How many were tried.
        tried: usize,
        /// What the system said of it.
        source: io::Error,
    },
    /// The proxy, or what it said of the pool.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The connection could not be encrypted.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

fn others(tried: usize) -> String {
    if tried > 1 { format!(" (the last of {tried} addresses)") } else { String::new() }
}

/// Connects to a pool: looks the name up anew, tries all its addresses, then the proxy, then TLS.
pub async fn connect(endpoint: &Endpoint) -> Result<Box<dyn Stream>, ConnectError> {
    let PoolUrl { tls, host, port } = &endpoint.url;
    let stream: Box<dyn Stream> = match &endpoint.proxy {
        None => Box::new(connect_tcp(host, *port).await?),
        Some(proxy) => {
            let stream = connect_tcp(&proxy.host, proxy.port).await?;
            Box::new(proxy::connect_through(stream, proxy, host, *port).await?)
        }
    };
    if !*tls {
        return Ok(stream);
    }
    let trust = endpoint.trust.clone().unwrap_or_else(|| Arc::new(TlsTrust::platform()));
    Ok(Box::new(trust.connect(stream, host).await?))
}

async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let lookup = timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port))).await;
    let addresses = lookup
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| ConnectError::Resolve { host: host.to_owned(), source })?;
    let addresses = interleaved(addresses.collect());
    if addresses.is_empty() {
        return Err(ConnectError::NoAddress { host: host.to_owned() });
    }
    let stream = connect_any(&addresses).await?;
    // A socket that cannot be tuned still works.
    let _ = tune(&stream);
    Ok(stream)
}

/// IPv6 and IPv4 by turns, in the order of the resolver, beginning with the family of its first (RFC 8305).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            mixed.truncate(MAX_ADDRESSES);
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

/// The first of `addresses` that takes the connection. Each next one starts when the last failed, or after a moment.
async fn connect_any(addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
    let mut waiting = addresses.iter().copied();
    let mut attempts = JoinSet::new();
    let mut last = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(async move {
                let connected = timeout(ADDRESS_TIMEOUT, TcpStream::connect(address)).await;
                (address, connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
            });
        }
        // Nothing is left to start: what runs is waited for as long as it takes, which is bounded.
        let patience = if waiting.len() > 0 { ADDRESS_STAGGER } else { 2 * ADDRESS_TIMEOUT };
        match timeout(patience, attempts.join_next()).await {
            Ok(Some(Ok((_, Ok(stream))))) => return Ok(stream),
            Ok(Some(Ok((address, Err(source))))) => last = Some((address, source)),
            Ok(Some(Err(_))) | Err(_) => {}
            Ok(None) => {
                let (address, source) = last.unwrap_or_else(|| {
                    (SocketAddr::new(IpAddr::from([0; 4]), 0), io::ErrorKind::NotConnected.into())
                });
                return Err(ConnectError::Connect { address, tried: addresses.len(), source });
            }
        }
    }
}

/// Small writes leave at once; a peer that vanished is noticed.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple", windows))]
    let keepalive = keepalive.with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = USER_TIMEOUT;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let mixed =
            interleaved(vec![at("[::1]:1"), at("[::2]:1"), at("[::3]:1"), at("1.1.1.1:1"), at("2.2.2.2:1")]);
        let expected = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"].map(at);
        assert_eq!(mixed, expected);
        assert_eq!(interleaved(vec![at("1.1.1.1:1"); 40]).len(), MAX_ADDRESSES);
    }

    #[tokio::test]
    async fn a_refusing_address_does_not_hide_a_good_one() {
        let good = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let refusing = {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            listener.local_addr().unwrap()
        };
        let stream = connect_any(&[refusing, good.local_addr().unwrap()]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good.local_addr().unwrap());
        let error = connect_any(&[refusing, refusing]).await.unwrap_err().to_string();
        assert!(error.contains("the last of 2 addresses"), "{error}");
    }

    /// A listener whose queue is full answers nothing at all: as dead as an address can be on one machine.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_silent_address_does_not_hide_a_good_one() {
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let silent = silent.listen(1).unwrap();
        let address = silent.local_addr().unwrap();
        let mut crowd = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            crowd.push(stream.unwrap());
            assert!(crowd.len() < 64);
        }
        let good = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let stream = connect_any(&[address, good.local_addr().unwrap()]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_looked_up_is_named() {
        let error = connect_tcp("no-such-host.invalid", 1).await.unwrap_err();
        assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
    }
}
