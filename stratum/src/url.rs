//! Where a pool or a proxy is, as an operator writes it.

use std::fmt;
use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;

use crate::Secret;

/// Longest host name (RFC 1035).
const MAX_HOST: usize = 253;
/// Longest URL read, in bytes.
const MAX_URL: usize = 2_048;

/// Where a pool is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolUrl {
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A pool's URL and the credentials that stood in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolAddress {
    /// The URL without them.
    pub url: PoolUrl,
    /// The user, where one is named.
    pub user: Option<String>,
    /// The password, where one is named.
    pub pass: Option<Secret>,
}

/// A SOCKS5 proxy (RFC 1928), and what it wants to know of us (RFC 1929).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUrl {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password.
    pub login: Option<(String, Secret)>,
}

/// Why a text names no place on the network. Never quotes the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than any URL could be.
    #[error("longer than {MAX_URL} bytes")]
    TooLong,
    /// Another protocol.
    #[error("the scheme is not {0}")]
    Scheme(&'static str),
    /// A protocol that lode will learn.
    #[error("{0} is not supported yet")]
    NotYet(&'static str),
    /// No host name or address. Names beyond ASCII are written in their `xn--` form (RFC 5891).
    #[error("the host name is missing or malformed")]
    Host,
    /// No port: pools have no usual one.
    #[error("the port is missing")]
    NoPort,
    /// No port from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// A path or more stands behind the port.
    #[error("something stands behind the port")]
    Trailing,
    /// User or password are empty, have control characters, or are no UTF-8 when decoded.
    #[error("user or password in it cannot be used")]
    Credentials,
}

impl PoolAddress {
    /// Reads `[stratum+tcp://|stratum+ssl://][user[:password]@]host:port`.
    ///
    /// TLS is asked for by `stratum+ssl`, `stratum+tls`, `stratum+tcps`, `ssl` or `tls`. Odd characters in the
    /// credentials are written as `%40`. A closing `/` and the `#xnsub` of older miners mean nothing.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = split_scheme(text)?;
        let tls = match scheme.unwrap_or("stratum+tcp").to_ascii_lowercase().as_str() {
            "stratum+tcp" | "stratum" | "tcp" => false,
            "stratum+ssl" | "stratum+tls" | "stratum+tcps" | "ssl" | "tls" => true,
            "stratum2+tcp" => return Err(UrlError::NotYet("Stratum V2 (stratum2+tcp://)")),
            "http" | "https" => return Err(UrlError::NotYet("mining on a node (http://)")),
            _ => return Err(UrlError::Scheme("stratum+tcp or stratum+ssl")),
        };
        let rest = rest.strip_suffix("#xnsub").unwrap_or(rest);
        let (credentials, place) = split_credentials(rest)?;
        let (host, port) = host_and_port(place.strip_suffix('/').unwrap_or(place))?;
        let (user, pass) = credentials.map_or((None, None), |(user, pass)| (Some(user), pass));
        Ok(Self { url: PoolUrl { tls, host, port: port.ok_or(UrlError::NoPort)? }, user, pass })
    }
}

impl ProxyUrl {
    /// Reads `[socks5://|socks5h://][user:password@]host:port`. Names are always looked up by the proxy.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = split_scheme(text)?;
        if !matches!(scheme.unwrap_or("socks5").to_ascii_lowercase().as_str(), "socks5" | "socks5h") {
            return Err(UrlError::Scheme("socks5"));
        }
        let (credentials, place) = split_credentials(rest)?;
        let (host, port) = host_and_port(place.strip_suffix('/').unwrap_or(place))?;
        let login = match credentials {
            None => None,
            // RFC 1929 counts both in one byte, and leaves neither out.
            Some((user, Some(pass))) if user.len().max(pass.reveal().len()) <= 255 => Some((user, pass)),
            Some(_) => return Err(UrlError::Credentials),
        };
        Ok(Self { host, port: port.ok_or(UrlError::NoPort)?, login })
    }
}

/// Reads `host`, `host:port`, `[v6]` or `[v6]:port`. The host comes without brackets.
pub fn host_and_port(text: &str) -> Result<(String, Option<u16>), UrlError> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner.split_once(']').ok_or(UrlError::Host)?;
            host.parse::<Ipv6Addr>().map_err(|_| UrlError::Host)?;
            (host, rest)
        }
        None => {
            let (host, rest) = text.split_at(text.find([':', '/', '?', '#']).unwrap_or(text.len()));
            (is_host_name(host).then_some(host).ok_or(UrlError::Host)?, rest)
        }
    };
    let port = match rest.strip_prefix(':') {
        Some(port) if port.contains(['/', '?', '#']) => return Err(UrlError::Trailing),
        Some(port) => Some(port_number(port)?),
        None if rest.is_empty() => None,
        None => return Err(UrlError::Trailing),
    };
    Ok((host.to_owned(), port))
}

impl fmt::Display for PoolUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "stratum+ssl" } else { "stratum+tcp" };
        write!(f, "{scheme}://{}", Place(&self.host, self.port))
    }
}

impl fmt::Display for PoolAddress {
    /// Shows the user, and that there is a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.url.tls { "stratum+ssl" } else { "stratum+tcp" };
        let user = self.user.as_deref().unwrap_or_default();
        let pass = if self.pass.is_some() { ":***" } else { "" };
        let at = if self.user.is_some() { "@" } else { "" };
        write!(f, "{scheme}://{user}{pass}{at}{}", Place(&self.url.host, self.url.port))
    }
}

impl fmt::Display for ProxyUrl {
    /// Leaves the credentials out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socks5://{}", Place(&self.host, self.port))
    }
}

/// `host:port`, with brackets around an IPv6 address.
struct Place<'a>(&'a str, u16);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.0.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.0, self.1)
    }
}

fn split_scheme(text: &str) -> Result<(Option<&str>, &str), UrlError> {
    let text = text.trim();
    if text.len() > MAX_URL {
        return Err(UrlError::TooLong);
    }
    Ok(text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest)))
}

type Credentials = (String, Option<Secret>);

fn split_credentials(text: &str) -> Result<(Option<Credentials>, &str), UrlError> {
    let Some((credentials, place)) = text.rsplit_once('@') else { return Ok((None, text)) };
    let (user, pass) = match credentials.split_once(':') {
        Some((user, pass)) => (user, Some(Secret::new(decoded(pass)?))),
        None => (credentials, None),
    };
    let user = decoded(user)?;
    if user.is_empty() { Err(UrlError::Credentials) } else { Ok((Some((user, pass)), place)) }
}

fn decoded(text: &str) -> Result<String, UrlError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| UrlError::Credentials)?;
    if text.chars().any(char::is_control) { Err(UrlError::Credentials) } else { Ok(text.into_owned()) }
}

fn port_number(text: &str) -> Result<u16, UrlError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0).ok_or(UrlError::Port)
}

fn is_host_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=MAX_HOST).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_a_pool_is_read() {
        let table = [
            ("stratum+tcp://pool.example:3333", "stratum+tcp://pool.example:3333"),
            ("pool.example:3333", "stratum+tcp://pool.example:3333"),
            ("  TCP://pool.example:3333/ ", "stratum+tcp://pool.example:3333"),
            ("stratum+tcp://pool.example:3333/#xnsub", "stratum+tcp://pool.example:3333"),
            ("stratum+ssl://pool.example:443", "stratum+ssl://pool.example:443"),
            ("stratum+tls://10.0.0.1:1", "stratum+ssl://10.0.0.1:1"),
            ("stratum+tcps://[2001:db8::1]:65535", "stratum+ssl://[2001:db8::1]:65535"),
            ("alice.rig1@pool.example:3333", "stratum+tcp://alice.rig1@pool.example:3333"),
            ("ssl://alice:pa:ss%40w@[::1]:3333", "stratum+ssl://alice:***@[::1]:3333"),
            ("xn--bcher-kva.example:3333", "stratum+tcp://xn--bcher-kva.example:3333"),
        ];
        for (text, expected) in table {
            assert_eq!(PoolAddress::parse(text).unwrap().to_string(), expected, "{text}");
        }
        let address = PoolAddress::parse("ssl://a%40b:pa:ss%40w%3a@[::1]:3333").unwrap();
        assert_eq!(address.user.as_deref(), Some("a@b"));
        assert_eq!(address.pass.as_ref().map(Secret::reveal), Some("pa:ss@w:"));
        assert!(!format!("{address:?}").contains("ss@w"));
    }

    #[test]
    fn what_names_no_pool_is_refused() {
        let (long_host, long_url) = (format!("{}:1", "a".repeat(254)), "a".repeat(3_000));
        let table = [
            ("", UrlError::Host),
            ("pool.example", UrlError::NoPort),
            ("stratum+tcp://", UrlError::Host),
            ("stratum+tcp://:3333", UrlError::Host),
            ("pool.example:0", UrlError::Port),
            ("pool.example:65536", UrlError::Port),
            ("pool.example:+1", UrlError::Port),
            ("pool.example:", UrlError::Port),
            ("pool.example:33x", UrlError::Port),
            ("pool.example:3333/path", UrlError::Trailing),
            ("pool.example/path:1", UrlError::Trailing),
            ("[::1]3333", UrlError::Trailing),
            ("[::1:3333", UrlError::Host),
            ("::1:3333", UrlError::Host),
            ("[pool]:3333", UrlError::Host),
            ("bücher.example:3333", UrlError::Host),
            ("po ol:3333", UrlError::Host),
            ("-pool:3333", UrlError::Host),
            ("user@:3333", UrlError::Host),
            (":pass@pool:3333", UrlError::Credentials),
            ("us%0aer@pool:3333", UrlError::Credentials),
            ("us%ffer@pool:3333", UrlError::Credentials),
            ("ftp://pool:1", UrlError::Scheme("stratum+tcp or stratum+ssl")),
            ("stratum2+tcp://pool:34254/9bXiEd8", UrlError::NotYet("Stratum V2 (stratum2+tcp://)")),
            ("http://127.0.0.1:8332", UrlError::NotYet("mining on a node (http://)")),
            (&long_host, UrlError::Host),
            (&long_url, UrlError::TooLong),
        ];
        for (text, expected) in table {
            assert_eq!(PoolAddress::parse(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn proxies_are_read_with_and_without_a_login() {
        let proxy = ProxyUrl::parse("socks5h://me:secret@127.0.0.1:9050").unwrap();
        assert_eq!(
            proxy.login.as_ref().map(|(user, pass)| (user.as_str(), pass.reveal())),
            Some(("me", "secret"))
        );
        assert_eq!(proxy.to_string(), "socks5://127.0.0.1:9050");
        assert_eq!(ProxyUrl::parse("[::1]:1080").unwrap().to_string(), "socks5://[::1]:1080");
        assert_eq!(ProxyUrl::parse("http://proxy:1").unwrap_err(), UrlError::Scheme("socks5"));
        assert_eq!(ProxyUrl::parse("socks5://me@proxy:1").unwrap_err(), UrlError::Credentials);
        assert_eq!(ProxyUrl::parse("socks5://proxy").unwrap_err(), UrlError::NoPort);
    }
}
