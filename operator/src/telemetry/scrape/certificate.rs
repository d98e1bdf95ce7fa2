//! The certificate that metrics are served with: of files, which are read anew, or made at start.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rcgen::{CertificateParams, DnType, KeyPair};
use tokio::time::sleep;
use tokio_rustls::rustls::{
    self,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tracing::{info, warn};

/// How often files are looked at. Who renews certificates leaves hours for it.
const LOOK: Duration = Duration::from_secs(10);
/// What a certificate is for that is made at start. Nobody can check it, so the name says only whose it is.
const NAME: &str = "clarion";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("{} can't be read: {why}; --metrics-certificate and --metrics-key name files in PEM, as tls.crt and tls.key of a Secret", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM ({why}): put one there, or leave out --metrics-certificate and --metrics-key to have one made", .file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// What is missing.
        what: &'static str,
        /// Why that is no PEM.
        why: pem::Error,
    },
    /// The files don't belong together.
    #[error("{} can't be used with the key in {}: {why}; both have to be of the same certificate", .files.certificate.display(), .files.key.display())]
    Pair {
        /// The files.
        files: Files,
        /// Why not.
        why: rustls::Error,
    },
    /// None can be made.
    #[error("a certificate for metrics can't be made: {0}; name files with --metrics-certificate and --metrics-key")]
    Make(#[from] rcgen::Error),
    /// The one that was made can't be used.
    #[error(
        "the certificate that was made for metrics can't be used: {0}; name files with --metrics-certificate and --metrics-key"
    )]
    Made(#[from] rustls::Error),
}

/// Files in PEM.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, and after it those of its issuers.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Files {
    async fn read(&self) -> Result<CertifiedKey, Error> {
        let (certificate, key) = (contents(&self.certificate).await?, contents(&self.key).await?);
        let pem = |file: &Path, what| {
            let file = file.to_owned();
            move |why| Error::Pem { file, what, why }
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
        let chain = chain.and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) });
        let chain = chain.map_err(pem(&self.certificate, "certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(pem(&self.key, "private key"))?;
        certified(chain, key).map_err(|why| Error::Pair { files: self.clone(), why })
    }
}

async fn contents(file: &Path) -> Result<Vec<u8>, Error> {
    tokio::fs::read(file).await.map_err(|why| Error::Read { file: file.to_owned(), why })
}

fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(chain, key, &ring::default_provider())
}

fn self_signed() -> Result<CertifiedKey, Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new([NAME.to_owned()])?;
    parameters.distinguished_name.push(DnType::CommonName, NAME);
    let certificate = parameters.self_signed(&key)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok(certified(vec![certificate.der().clone()], key.into())?)
}

/// The certificate of the moment.
#[derive(Debug)]
pub struct Certificate(RwLock<Arc<CertifiedKey>>);

impl Certificate {
    /// Of files, which are looked at from now on, or one that is made for this process.
    pub async fn new(files: Option<Files>) -> Result<Arc<Self>, Error> {
        let first = match &files {
            Some(files) => files.read().await?,
            None => self_signed()?,
        };
        let this = Arc::new(Self(RwLock::new(Arc::new(first))));
        if let Some(files) = files {
            tokio::spawn(Arc::clone(&this).follow(files));
        }
        Ok(this)
    }

    fn get(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what is in the files whenever that is another certificate. Of one that can't be used, the log tells once.
    async fn follow(self: Arc<Self>, files: Files) {
        let mut told = None;
        loop {
            sleep(LOOK).await;
            match files.read().await {
                Ok(new) => {
                    told = None;
                    if new.cert != self.get().cert {
                        info!(file = %files.certificate.display(), "metrics are served with a new certificate");
                        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                    }
                }
                Err(error) => {
                    let error = Some(error.to_string());
                    if told != error {
                        warn!(error, "metrics are served with the certificate as it was");
                        told = error;
                    }
                }
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    struct Scene(TempDir);

    impl Scene {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn files(&self) -> Files {
            Files { certificate: self.0.path().join("tls.crt"), key: self.0.path().join("tls.key") }
        }

        /// Writes a new certificate and its key.
        fn renew(&self) {
            let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
            std::fs::write(self.files().certificate, made.cert.pem()).unwrap();
            std::fs::write(self.files().key, made.signing_key.serialize_pem()).unwrap();
        }

        async fn refused(&self) -> String {
            Certificate::new(Some(self.files())).await.unwrap_err().to_string()
        }
    }

    #[tokio::test]
    async fn a_broken_file_at_the_start_is_an_error_that_says_what_to_do() {
        let scene = Scene::new();
        let missing = scene.refused().await;
        assert!(missing.contains("tls.crt can't be read") && missing.contains("name files in PEM"), "{missing}");
        scene.renew();
        let key = std::fs::read(scene.files().key).unwrap();
        std::fs::write(scene.files().key, "nothing").unwrap();
        let no_key = scene.refused().await;
        assert!(no_key.contains("tls.key holds no private key in PEM") && no_key.contains("put one there"), "{no_key}");
        std::fs::write(scene.files().certificate, &key).unwrap();
        let no_certificate = scene.refused().await;
        assert!(no_certificate.contains("tls.crt holds no certificate in PEM"), "{no_certificate}");
        scene.renew();
        std::fs::write(scene.files().key, &key).unwrap();
        let no_pair = scene.refused().await;
        assert!(no_pair.contains("both have to be of the same certificate"), "{no_pair}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_file_later_changes_nothing() {
        let scene = Scene::new();
        scene.renew();
        let certificate = Certificate::new(Some(scene.files())).await.unwrap();
        let first = certificate.get();
        std::fs::write(scene.files().certificate, "nothing").unwrap();
        sleep(5 * LOOK).await;
        assert_eq!(certificate.get().cert, first.cert);
        scene.renew();
        // Files are read by threads that know nothing of paused time.
        while certificate.get().cert == first.cert {
            sleep(LOOK).await;
        }
    }

    #[test]
    fn two_processes_make_two_certificates() {
        assert_ne!(self_signed().unwrap().cert, self_signed().unwrap().cert);
    }
}
