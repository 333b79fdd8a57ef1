//! Real streams: TLS with certificates made here, a SOCKS5 proxy made here, and the loop in virtual time.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use miner_core::types::{Epoch, SourceId};
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{self, ServerConfig};

use super::*;
use crate::url::{PoolUrl, ProxyUrl};
use crate::v1::{Login, V1Client, V1Config, V1Memory};
use crate::{PoolEvent, PoolProtocol, ProtocolError, Secret};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn issuer() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A pool behind TLS that says one line to whoever comes.
async fn tls_pool(params: CertificateParams, issuer: Option<&Issuer>) -> u16 {
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    pool_with(&certificate, &key).await
}

/// The same, with this certificate and this key, whether or not they belong together.
async fn pool_with(certificate: &Certificate, key: &KeyPair) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let identity = CertifiedKey::new(vec![certificate.der().clone()], key);
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.write_all(b"welcome").await;
                let _ = stream.shutdown().await;
            }
        }
    })
    .await
}

/// Serves each connection in turn; gives the port.
async fn serve<F: Future<Output = ()> + Send>(
    mut handle: impl FnMut(TcpStream) -> F + Send + 'static,
) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            handle(stream).await;
        }
    });
    port
}

fn endpoint(tls: bool, host: &str, port: u16, trust: TlsTrust) -> Endpoint {
    Endpoint { url: PoolUrl { tls, host: host.to_owned(), port }, trust: Some(Arc::new(trust)), proxy: None }
}

fn trust(issuer: &Issuer) -> TlsTrust {
    TlsTrust::from_pem(issuer.pem().as_bytes(), Path::new("ca.pem")).unwrap()
}

async fn greet(endpoint: &Endpoint) -> Result<String, ConnectError> {
    let mut words = String::new();
    connect(endpoint).await?.read_to_string(&mut words).await.unwrap();
    Ok(words)
}

fn tls_error(result: Result<String, ConnectError>) -> TlsError {
    match result {
        Err(ConnectError::Tls(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

#[tokio::test]
async fn a_certificate_of_the_own_authority_is_trusted() {
    let issuer = issuer();
    for name in ["localhost", "127.0.0.1"] {
        let port = tls_pool(params(name), Some(&issuer)).await;
        assert_eq!(greet(&endpoint(true, name, port, trust(&issuer))).await.unwrap(), "welcome");
    }
}

#[tokio::test]
async fn a_certificate_that_is_named_itself_is_trusted_and_no_other_of_its_name() {
    let mut expired = params("localhost");
    (expired.not_before, expired.not_after) =
        (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    let mut authority = params("localhost");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for params in [params("localhost"), params("pool.example"), authority, expired] {
        let (key, stranger) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let certificate = params.clone().self_signed(&key).unwrap();
        let trust = TlsTrust::from_pem(certificate.pem().as_bytes(), Path::new("pool.pem")).unwrap();
        let port = pool_with(&certificate, &key).await;
        assert_eq!(greet(&endpoint(true, "localhost", port, trust.clone())).await.unwrap(), "welcome");
        let forged = params.self_signed(&stranger).unwrap();
        let port = pool_with(&forged, &stranger).await;
        tls_error(greet(&endpoint(true, "localhost", port, trust.clone())).await);
        // The right certificate, and not its key.
        let port = pool_with(&certificate, &stranger).await;
        assert!(greet(&endpoint(true, "localhost", port, trust)).await.is_err());
    }
}

#[tokio::test]
async fn every_bad_certificate_is_refused_by_its_fault() {
    let issuer = issuer();
    let mut expired = params("localhost");
    (expired.not_before, expired.not_after) =
        (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    let mut future = params("localhost");
    (future.not_before, future.not_after) =
        (rcgen::date_time_ymd(2120, 1, 1), rcgen::date_time_ymd(2121, 1, 1));
    let table = [
        (expired, Some(&issuer), TlsError::Expired),
        (future, Some(&issuer), TlsError::NotYetValid),
        (params("pool.example"), Some(&issuer), TlsError::WrongName("localhost".into())),
        (params("localhost"), None, TlsError::UnknownIssuer),
    ];
    for (params, signer, expected) in table {
        let port = tls_pool(params, signer).await;
        assert_eq!(tls_error(greet(&endpoint(true, "localhost", port, trust(&issuer))).await), expected);
    }
    let port = tls_pool(params("localhost"), Some(&issuer)).await;
    let platform = endpoint(true, "localhost", port, TlsTrust::platform());
    assert_eq!(tls_error(greet(&platform).await), TlsError::UnknownIssuer);
}

#[tokio::test]
async fn a_peer_without_tls_or_without_patience_is_told_apart() {
    let issuer = issuer();
    let plain = serve(|mut stream| async move {
        let _ = stream.write_all(b"{\"id\":null,\"method\":\"mining.notify\"}\n").await;
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    assert_eq!(tls_error(greet(&endpoint(true, "localhost", plain, trust(&issuer))).await), TlsError::NotTls);
    let closing = serve(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
    })
    .await;
    assert_eq!(
        tls_error(greet(&endpoint(true, "localhost", closing, trust(&issuer))).await),
        TlsError::Closed
    );
    // A server's greeting that stops after a few bytes of a record.
    let truncated = serve(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(&[0x16, 3, 3, 0, 90, 2]).await;
    })
    .await;
    assert_eq!(
        tls_error(greet(&endpoint(true, "localhost", truncated, trust(&issuer))).await),
        TlsError::Closed
    );
}

#[test]
fn a_file_without_certificates_is_refused_by_name() {
    let table = [
        ("", "no certificate in PEM form"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ca.pem: "),
        ("-----BEGIN CERTIFICATE-----\n", "ca.pem: "),
    ];
    for (pem, expected) in table {
        let error = TlsTrust::from_pem(pem.as_bytes(), Path::new("ca.pem")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let missing = TlsTrust::from_pem_file(Path::new("/no/such/file")).unwrap_err();
    assert!(missing.to_string().starts_with("/no/such/file: "), "{missing}");
}

/// A SOCKS5 proxy that takes one login, looks names up itself, and answers `reply`.
async fn socks5(
    login: Option<(&'static str, &'static str)>,
    reply: u8,
    names: mpsc::UnboundedSender<String>,
) -> u16 {
    serve(move |stream| {
        let names = names.clone();
        async move {
            let _ = socks5_connection(stream, login, reply, names).await;
        }
    })
    .await
}

async fn socks5_connection(
    mut stream: TcpStream,
    login: Option<(&str, &str)>,
    reply: u8,
    names: mpsc::UnboundedSender<String>,
) -> std::io::Result<()> {
    let mut methods = vec![0; 2];
    stream.read_exact(&mut methods).await?;
    let mut offered = vec![0; methods[1].into()];
    stream.read_exact(&mut offered).await?;
    let wanted = if login.is_some() { 2 } else { 0 };
    if !offered.contains(&wanted) {
        return stream.write_all(&[5, 0xff]).await;
    }
    stream.write_all(&[5, wanted]).await?;
    if let Some((user, pass)) = login {
        let expected =
            [&[1, user.len() as u8], user.as_bytes(), &[pass.len() as u8], pass.as_bytes()].concat();
        let mut given = vec![0; expected.len()];
        stream.read_exact(&mut given).await?;
        stream.write_all(&[1, u8::from(given != expected)]).await?;
    }
    let mut request = [0; 5];
    stream.read_exact(&mut request).await?;
    assert_eq!(request[..4], [5, 1, 0, 3], "a connection by name");
    let mut name = vec![0; request[4].into()];
    stream.read_exact(&mut name).await?;
    let port = stream.read_u16().await?;
    names.send(String::from_utf8(name).unwrap()).unwrap();
    stream.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    let mut pool = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut pool).await.map(drop)
}

#[tokio::test]
async fn a_proxy_looks_the_name_up_and_carries_tls() {
    let issuer = issuer();
    let pool = tls_pool(params("pool.invalid"), Some(&issuer)).await;
    let (sender, mut names) = mpsc::unbounded_channel();
    let proxy = socks5(Some(("me", "secret")), 0, sender).await;
    let mut endpoint = endpoint(true, "pool.invalid", pool, trust(&issuer));
    endpoint.proxy = Some(ProxyUrl::parse(&format!("socks5://me:secret@127.0.0.1:{proxy}")).unwrap());
    assert_eq!(greet(&endpoint).await.unwrap(), "welcome");
    assert_eq!(names.recv().await.as_deref(), Some("pool.invalid"));
}

#[tokio::test]
async fn a_proxy_that_says_no_is_told_apart_from_a_pool_that_does() {
    let login = Some(("me", "secret"));
    let table = [
        (login, 0, "me:wrong!@", "does not accept the user or password"),
        (login, 0, "", "does not accept the user or password"),
        (None, 5, "", "cannot reach the pool"),
        (None, 4, "", "cannot reach the pool"),
    ];
    for (login, reply, given, expected) in table {
        let (sender, _names) = mpsc::unbounded_channel();
        let proxy = socks5(login, reply, sender).await;
        let mut endpoint = endpoint(false, "pool.invalid", 1, TlsTrust::platform());
        endpoint.proxy = Some(ProxyUrl::parse(&format!("socks5://{given}127.0.0.1:{proxy}")).unwrap());
        let error = connect(&endpoint).await.map(drop).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_refused_connection_names_the_address() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = endpoint(false, "127.0.0.1", address.port(), TlsTrust::platform());
    let error = connect(&endpoint).await.map(drop).unwrap_err();
    assert!(error.to_string().starts_with(&format!("no connection to {address}: ")), "{error}");
}

fn client() -> V1Client {
    let login = Login::new("alice", Secret::new("x")).unwrap();
    V1Client::new(V1Config::new(SourceId(0), Epoch(0), login, "pool", 1), V1Memory::default())
}

/// Runs a session over a pipe of `size` bytes against what `pool` does with the other end.
async fn session_with<F: Future<Output = ()>>(
    size: usize,
    pool: impl FnOnce(tokio::io::DuplexStream) -> F,
) -> (SessionEnd, Vec<PoolEvent>) {
    let (ours, theirs) = tokio::io::duplex(size);
    let (_commands, mut commands) = mpsc::channel(8);
    let (sender, mut events) = mpsc::channel(64);
    let mut client = client();
    let ((end, _), ()) = tokio::join!(
        async {
            let end = run_session(ours, &mut client, &mut commands, &sender).await;
            (end, drop(sender))
        },
        pool(theirs)
    );
    let mut told = Vec::new();
    while let Some(event) = events.recv().await {
        told.push(event);
    }
    (end, told)
}

const GREETING: &[u8] =
    b"{\"id\":1,\"result\":{}}\n{\"id\":2,\"result\":[[],\"aa\",4]}\n{\"id\":3,\"result\":true}\n";

#[tokio::test(start_paused = true)]
async fn a_session_over_a_narrow_pipe_becomes_ready_and_ends_with_it() {
    let (end, events) = session_with(7, |mut stream| async move {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\"x\"]}\n") {
            stream.read_buf(&mut seen).await.unwrap();
        }
        assert_eq!(seen.iter().filter(|&&byte| byte == b'\n').count(), 3);
        for byte in GREETING {
            stream.write_all(&[*byte]).await.unwrap();
            // The session also has something to say by the end.
            let _ = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut [0; 64])).await;
        }
    })
    .await;
    assert!(matches!(end, SessionEnd::Closed | SessionEnd::Io(_)), "{end}");
    assert!(matches!(events[..], [PoolEvent::Ready { resumed: false }]), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_dropped_while_nobody_listens_forgets_nothing() {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    let (_commands, mut commands) = mpsc::channel(8);
    // Room for one event, and two to tell.
    let (sender, mut events) = mpsc::channel(1);
    let mut client = client();
    theirs.write_all(GREETING).await.unwrap();
    theirs
        .write_all(b"{\"id\":null,\"method\":\"client.show_message\",\"params\":[\"hello\"]}\n")
        .await
        .unwrap();
    let session = run_session(ours, &mut client, &mut commands, &sender);
    assert!(tokio::time::timeout(Duration::from_secs(1), session).await.is_err(), "it waits for room");
    drop(sender);
    let mut told = Vec::new();
    while let Some(event) = events.recv().await.or_else(|| client.poll_event()) {
        told.push(event);
    }
    assert!(
        matches!(&told[..], [PoolEvent::Ready { resumed: false }, PoolEvent::Message(text)] if text == "hello"),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_pool_ends_the_session_on_time() {
    let start = tokio::time::Instant::now();
    let (end, _) = session_with(4096, |mut stream| async move {
        stream.write_all(GREETING).await.unwrap();
        while stream.read(&mut [0; 64]).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    assert!(matches!(end, SessionEnd::Protocol(ProtocolError::Timeout { .. })), "{end}");
    assert_eq!(start.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_never_reads_ends_the_session() {
    let (end, _) = session_with(16, |mut stream| async move {
        loop {
            if stream.write_all(b"{\"id\":5,\"method\":\"mining.ping\"}\n").await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    // Nothing left our side: either the handshake or the write gives up first.
    assert!(matches!(end, SessionEnd::WriteTimeout | SessionEnd::Protocol(_)), "{end}");
}

#[tokio::test(start_paused = true)]
async fn the_owner_ends_a_session_by_letting_go() {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    let (commands, mut receiver) = mpsc::channel(8);
    let (sender, mut events) = mpsc::channel(64);
    let mut client = client();
    let session = run_session(ours, &mut client, &mut receiver, &sender);
    let owner = async {
        theirs.write_all(GREETING).await.unwrap();
        assert!(matches!(events.recv().await, Some(PoolEvent::Ready { .. })));
        drop(commands);
    };
    let (end, ()) = tokio::join!(session, owner);
    assert!(matches!(end, SessionEnd::Released), "{end}");
}

#[tokio::test(start_paused = true)]
async fn no_event_is_lost_where_a_session_is_dropped_while_nobody_listens() {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    let (_commands, mut receiver) = mpsc::channel(8);
    let (sender, mut events) = mpsc::channel(1);
    let mut client = client();
    theirs.write_all(GREETING).await.unwrap();
    let message = |text| format!("{{\"id\":null,\"method\":\"mining.notify\",\"params\":[{text}]}}\n");
    for text in 1..=3 {
        theirs.write_all(message(text).as_bytes()).await.unwrap();
    }
    let session = run_session(ours, &mut client, &mut receiver, &sender);
    assert!(tokio::time::timeout(Duration::from_secs(1), session).await.is_err());
    let mut told = Vec::new();
    while let Some(event) = events.try_recv().ok().or_else(|| client.poll_event()) {
        told.push(event);
    }
    let warnings = told.iter().filter(|event| matches!(event, PoolEvent::Warning(_))).count();
    assert!(matches!(told[0], PoolEvent::Ready { .. }) && warnings == 3, "{told:?}");
}
