//! Secrets that must be kept and used again, such as signing keys: encrypted with a master key that is not in the
//! database (XChaCha20-Poly1305). The name of the row is bound to the text, so that no secret can be moved to
//! another row.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

/// Length of the master key.
const KEY: usize = 32;
/// Length of a nonce.
const NONCE: usize = 24;
/// What texts begin with: the first way of encrypting.
const PREFIX: &str = "v1.";

/// Why a secret cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The master key cannot be used.
    #[error("{0}")]
    Key(String),
    /// A text was not encrypted with this key for this row.
    #[error(
        "a stored secret cannot be read: it was encrypted with another master key; start with the key that this \
         database was used with (USHER_MASTER_KEY or --master-key-file)"
    )]
    Unreadable,
}

/// Where the master key comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// 32 bytes in Base64.
    Text(SecretString),
    /// A file with the same, made with a new key if it is missing.
    File(PathBuf),
}

/// Encrypts and decrypts. Clones share the key.
#[derive(Clone)]
pub struct Vault(Arc<XChaCha20Poly1305>);

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    /// Takes the master key from where it is, and makes one where there may be none yet.
    ///
    /// # Errors
    /// [`Error::Key`] says what is wrong with it.
    pub fn open(source: &Source) -> Result<Self, Error> {
        let text = match source {
            Source::Text(text) => text.clone(),
            Source::File(path) => read_or_make(path)
                .map_err(|e| Error::Key(format!("the master key file {}: {e}", path.display())))?,
        };
        let key = STANDARD_NO_PAD
            .decode(text.expose_secret().trim().trim_end_matches('='))
            .ok()
            .filter(|key| key.len() == KEY)
            .ok_or_else(|| {
                Error::Key(
                    "the master key must be 32 random bytes in Base64, as `openssl rand -base64 32` makes them".to_owned(),
                )
            })?;
        let cipher = XChaCha20Poly1305::new_from_slice(&key)
            .map_err(|_| Error::Key("the master key has the wrong length".to_owned()))?;
        Ok(Self(Arc::new(cipher)))
    }

    /// Encrypts the secret of a row.
    ///
    /// # Errors
    /// [`Error::Key`] if it cannot be encrypted, which no secret of ours is too large for.
    pub fn seal(&self, row: &str, secret: &[u8]) -> Result<String, Error> {
        let nonce: [u8; NONCE] = rand::rng().random();
        let payload = Payload {
            msg: secret,
            aad: row.as_bytes(),
        };
        let sealed = self
            .0
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::Key("the secret cannot be encrypted".to_owned()))?;
        Ok(format!(
            "{PREFIX}{}",
            STANDARD_NO_PAD.encode([&nonce[..], &sealed].concat())
        ))
    }

    /// Decrypts what [`Vault::seal`] made for the same row.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for anything else.
    pub fn unseal(&self, row: &str, sealed: &str) -> Result<SecretSlice<u8>, Error> {
        let bytes = sealed
            .strip_prefix(PREFIX)
            .and_then(|text| STANDARD_NO_PAD.decode(text).ok())
            .ok_or(Error::Unreadable)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE).ok_or(Error::Unreadable)?;
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| Error::Unreadable)?;
        let payload = Payload {
            msg: sealed,
            aad: row.as_bytes(),
        };
        let secret = self
            .0
            .decrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::Unreadable)?;
        Ok(SecretSlice::from(secret))
    }
}

/// A new master key.
fn new_key() -> SecretString {
    let bytes: [u8; KEY] = rand::rng().random();
    SecretString::from(STANDARD_NO_PAD.encode(bytes))
}

fn read_or_make(path: &Path) -> std::io::Result<SecretString> {
    match std::fs::File::open(path) {
        Ok(mut file) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(SecretString::from(text))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => make(path),
        Err(e) => Err(e),
    }
}

/// Makes the file with the owner's rights only. It has its name only when it is whole: of two servers that start
/// at once, one makes it and the other reads it.
fn make(path: &Path) -> std::io::Result<SecretString> {
    let key = new_key();
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
    let draft = folder
        .unwrap_or(Path::new("."))
        .join(format!(".usher-key-{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&draft).and_then(|mut file| {
        file.write_all(key.expose_secret().as_bytes())?;
        file.sync_all()
    });
    let linked = written.and_then(|()| std::fs::hard_link(&draft, path));
    let _ = std::fs::remove_file(&draft);
    match linked {
        Ok(()) => {
            tracing::info!(path = %path.display(), "a master key was made; keep a copy of it apart from the database");
            Ok(key)
        }
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => read_or_make(path),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(byte: u8) -> Vault {
        let text = STANDARD_NO_PAD.encode([byte; KEY]);
        Vault::open(&Source::Text(SecretString::from(text))).unwrap()
    }

    #[test]
    fn only_the_same_key_and_row_open_it() {
        let sealed = vault(1).seal("table/1", b"secret").unwrap();
        assert!(!sealed.contains("secret"));
        assert_eq!(
            vault(1).unseal("table/1", &sealed).unwrap().expose_secret(),
            b"secret"
        );
        assert_ne!(sealed, vault(1).seal("table/1", b"secret").unwrap());
        let mut changed = sealed.clone().into_bytes();
        let last = changed.len() - 3;
        changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        for (vault, row, text) in [
            (vault(2), "table/1", sealed.as_str()),
            (vault(1), "table/2", &sealed),
            (vault(1), "table/1", &changed),
            (vault(1), "table/1", "v1.AAAA"),
            (vault(1), "table/1", "secret"),
            (vault(1), "table/1", ""),
        ] {
            assert!(
                matches!(vault.unseal(row, text), Err(Error::Unreadable)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_missing_file_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::File(folder.path().join("usher.key"));
        let sealed = Vault::open(&source).unwrap().seal("r", b"x").unwrap();
        assert_eq!(
            Vault::open(&source)
                .unwrap()
                .unseal("r", &sealed)
                .unwrap()
                .expose_secret(),
            b"x"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.path().join("usher.key"))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o077, 0);
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused_without_being_shown() {
        for text in ["", "hunter2", "AAAA", &"A".repeat(44)] {
            let error = Vault::open(&Source::Text(SecretString::from(text))).unwrap_err();
            assert!(error.to_string().contains("openssl rand -base64 32"));
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
