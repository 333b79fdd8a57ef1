//! A TLS front for a pool, with a certificate authority of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{runtime, scratch};

/// Decrypts what miners send and passes it on.
#[derive(Debug)]
pub struct TlsFront {
    addr: SocketAddr,
    authority: PathBuf,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// A front for a pool, with a certificate for `name`.
    pub fn to(pool: SocketAddr, name: &str) -> Self {
        let (authority, config) = certify(name);
        let file = scratch("authority.pem");
        std::fs::write(&file, authority).expect("the folder for temporary files can be written");
        let listener = runtime().block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("a free port on loopback");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let task = runtime().spawn(async move {
            while let Ok((miner, _)) = listener.accept().await {
                tokio::spawn(relay(acceptor.clone(), miner, pool));
            }
        });
        Self { addr, authority: file, task }
    }

    /// Where miners connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The authority's certificate, in a PEM file.
    pub fn authority(&self) -> &Path {
        &self.authority
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
        // Nothing hangs on an old file in the folder for temporary ones.
        let _ = std::fs::remove_file(&self.authority);
    }
}

/// Makes an authority, and a server's settings with a certificate signed by it.
fn certify(name: &str) -> (String, ServerConfig) {
    let fine = "a name makes a certificate";
    let mut params = CertificateParams::new(Vec::new()).expect(fine);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect(fine);
    let authority = params.self_signed(&key).expect(fine).pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect(fine);
    let params = CertificateParams::new(vec![name.to_owned()]).expect(fine);
    let certificate = params.signed_by(&key, &issuer).expect(fine);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth();
    (authority, config.with_single_cert(vec![certificate.der().clone()], key).expect(fine))
}

/// A connection that fails on either side simply ends.
async fn relay(acceptor: TlsAcceptor, miner: TcpStream, pool: SocketAddr) {
    let Ok(mut miner) = acceptor.accept(miner).await else { return };
    let Ok(mut pool) = TcpStream::connect(pool).await else { return };
    let _ = tokio::io::copy_bidirectional(&mut miner, &mut pool).await;
}
