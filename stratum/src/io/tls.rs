//! TLS with verification, always.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::connect::{GREETING_TIMEOUT, Stream};

/// Largest file of certificates read, in bytes.
const MAX_CA_FILE: u64 = 4 * 1024 * 1024;

/// Whom to trust.
#[derive(Clone)]
pub struct TlsTrust(Arc<ClientConfig>);

/// Why a file of certificates is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is far too large.
    #[error("{}: larger than {MAX_CA_FILE} bytes", .0.display())]
    TooLarge(PathBuf),
    /// It holds no certificate in PEM form.
    #[error("{}: no certificate in PEM form in it", .0.display())]
    NoCertificate(PathBuf),
    /// It holds a certificate that cannot be read.
    #[error("{}: {why}", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Why a connection could not be encrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate is past its time.
    #[error("the pool's certificate has expired")]
    Expired,
    /// The certificate's time has not come: it, or the local clock, is wrong.
    #[error("the pool's certificate is not valid yet")]
    NotYetValid,
    /// The certificate is for another name.
    #[error("the pool's certificate is for another name than {0}")]
    WrongName(String),
    /// Nobody trusted has signed the certificate; it may have signed itself.
    #[error("the pool's certificate is not signed by anyone trusted")]
    UnknownIssuer,
    /// The certificate was revoked, is malformed, or wrong in some other way.
    #[error("the pool's certificate cannot be used: {0}")]
    Certificate(String),
    /// The peer answers with something else.
    #[error("the pool does not speak TLS on this port")]
    NotTls,
    /// The peer closed the connection in the middle of the greeting.
    #[error("the pool closed the connection during the TLS greeting")]
    Closed,
    /// The host cannot be a certificate's name.
    #[error("{0} cannot be the name in a certificate")]
    BadName(String),
    /// The greeting was never finished.
    #[error("the TLS greeting was not finished within {} s", GREETING_TIMEOUT.as_secs())]
    Timeout,
    /// Anything else.
    #[error("the connection could not be encrypted: {0}")]
    Other(String),
}

impl TlsTrust {
    /// Trusts whom the platform trusts; where the platform names nobody, Mozilla's list as compiled in.
    pub fn platform() -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self::of(roots, Vec::new())
    }

    /// Trusts the authorities in a PEM file and the servers whose own certificates are in it, and nobody else.
    pub fn from_pem_file(path: &Path) -> Result<Self, TrustError> {
        let read = |source| TrustError::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(read)?.len() > MAX_CA_FILE {
            return Err(TrustError::TooLarge(path.to_owned()));
        }
        #[expect(clippy::disallowed_methods, reason = "io is the shell of this crate")]
        let pem = std::fs::read(path).map_err(read)?;
        Self::from_pem(&pem, path)
    }

    pub(super) fn from_pem(pem: &[u8], path: &Path) -> Result<Self, TrustError> {
        let bad = |why: String| TrustError::BadCertificate { path: path.to_owned(), why };
        let (mut roots, mut named) = (RootCertStore::empty(), Vec::new());
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            named.push(certificate.clone());
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(TrustError::NoCertificate(path.to_owned()));
        }
        Ok(Self::of(roots, named))
    }

    fn of(roots: RootCertStore, named: Vec<CertificateDer<'static>>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let signed = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .expect("there are roots, and no revocation lists");
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has suites for TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(SignedOrNamed { signed, named }))
            .with_no_client_auth();
        Self(Arc::new(config))
    }

    /// Encrypts a connection to `host`.
    pub(super) async fn connect<S: Stream>(&self, stream: S, host: &str) -> Result<TlsStream<S>, TlsError> {
        let name = ServerName::try_from(host.trim_end_matches('.').to_owned())
            .map_err(|_| TlsError::BadName(host.to_owned()))?;
        let greeting = TlsConnector::from(Arc::clone(&self.0)).connect(name, stream);
        match timeout(GREETING_TIMEOUT, greeting).await {
            Ok(connected) => connected.map_err(|error| classify(&error, host)),
            Err(_) => Err(TlsError::Timeout),
        }
    }
}

/// Trusts servers whose certificates authorities have signed, and servers that were named by their very certificates:
/// pools sign their own, and such a certificate is no authority. Whoever shows one must hold its key; its name and
/// its time say nothing more.
#[derive(Debug)]
struct SignedOrNamed {
    signed: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for SignedOrNamed {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.named.contains(certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        self.signed.verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

impl std::fmt::Debug for TlsTrust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsTrust")
    }
}

fn classify(error: &io::Error, host: &str) -> TlsError {
    use rustls::Error;
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                TlsError::Closed
            }
            _ => TlsError::Other(error.to_string()),
        };
    };
    match inner {
        Error::InvalidCertificate(wrong) => match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsError::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsError::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsError::WrongName(host.to_owned())
            }
            // A wrong signature is that of a stranger who bears the name of someone trusted.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsError::UnknownIssuer,
            other => TlsError::Certificate(other.to_string()),
        },
        Error::InvalidMessage(_) => TlsError::NotTls,
        other => TlsError::Other(other.to_string()),
    }
}
