//! TLS of the server itself. The certificate is read again when its files change, so that a renewed one needs no
//! restart, and the old one stays in use until the new one is whole.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether the files changed.
const LOOK: Duration = Duration::from_secs(5);

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate of the server, and after it those between it and the authority (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

/// What tells one version of the files from the next.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// The certificate that is in use.
#[derive(Debug)]
pub struct Keeper {
    files: Files,
    provider: Arc<CryptoProvider>,
    now: RwLock<(Arc<CertifiedKey>, Stamp)>,
}

impl Keeper {
    /// Reads the files.
    pub fn open(files: Files) -> anyhow::Result<Arc<Self>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let stamp = stamp(&files);
        let key = Arc::new(read(&files, &provider)?);
        Ok(Arc::new(Self {
            files,
            provider,
            now: RwLock::new((key, stamp)),
        }))
    }

    /// Settings of a server that shows whatever certificate is in use.
    pub fn server(self: &Arc<Self>) -> anyhow::Result<ServerConfig> {
        Ok(ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone()))
    }

    /// Reads the files again if they changed. Returns whether another certificate is in use now.
    pub fn refresh(&self) -> anyhow::Result<bool> {
        let stamp = stamp(&self.files);
        if self.now.read().unwrap_or_else(PoisonError::into_inner).1 == stamp {
            return Ok(false);
        }
        let key = read(&self.files, &self.provider)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = (Arc::new(key), stamp);
        Ok(true)
    }

    /// Looks after the files until it is told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut told = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            match self.refresh() {
                Ok(true) => {
                    told = None;
                    tracing::info!("the certificate has changed; new connections get the new one");
                }
                Ok(false) => {}
                Err(error) => {
                    let text = format!("{error:#}");
                    // Once, not every few seconds: between two files that are written one after the other it is
                    // nothing to worry about.
                    if told.as_ref() != Some(&text) {
                        tracing::error!(
                            error = text,
                            "the new certificate cannot be used; the old one stays"
                        );
                        told = Some(text);
                    }
                }
            }
        }
    }
}

impl ResolvesServerCert for Keeper {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        Some(now.0.clone())
    }
}

fn stamp(files: &Files) -> Stamp {
    [&files.certificate, &files.key].map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    })
}

fn read(files: &Files, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
    let place = files.certificate.display();
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("{place} cannot be read as a certificate in PEM"))?;
    if chain.is_empty() {
        bail!("{place} holds no certificate in PEM");
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("{} cannot be read as a key in PEM", files.key.display()))?;
    CertifiedKey::from_der(chain, key, provider)
        .with_context(|| format!("{} is not the key of {place}", files.key.display()))
}
