//! Secrets are fetched where the configuration says they are, at the moment they are needed.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::domain::SecretRef;

/// Nothing longer is a password or a token; guards against a path such as `/dev/zero`.
const MAX_BYTES: u64 = 64 * 1024;

/// Why a secret is not to be had. Names the place, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is no such variable.
    #[error("environment variable `{0}` is not set")]
    NoVariable(String),
    /// The variable is there, without anything in it.
    #[error("environment variable `{0}` is empty")]
    EmptyVariable(String),
    /// The variable is not UTF-8.
    #[error("environment variable `{0}` is not text in UTF-8")]
    NotTextVariable(String),
    /// The file is not there or may not be read.
    #[error("secret file `{path}` cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        why: String,
    },
    /// The file is there, without anything in it.
    #[error("secret file `{0}` is empty")]
    EmptyFile(PathBuf),
    /// It is kept in the database, where this program has not been.
    #[error("the secret {0:?} is kept in the database and cannot be read here")]
    Stored(String),
    /// The file is not UTF-8, or far too long for a secret.
    #[error("secret file `{0}` is not text in UTF-8 of at most 64 KiB")]
    NotTextFile(PathBuf),
}

/// Fetches a secret. Line breaks at its end are not part of it.
pub fn resolve(secret: &SecretRef) -> Result<SecretString, SecretError> {
    resolve_with(secret, |name| std::env::var_os(name))
}

fn resolve_with(
    secret: &SecretRef,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<SecretString, SecretError> {
    match secret {
        SecretRef::Env(name) => {
            let value = variable(name).ok_or_else(|| SecretError::NoVariable(name.clone()))?;
            let value = value
                .into_string()
                .map_err(|_| SecretError::NotTextVariable(name.clone()))?;
            wrapped(value).ok_or_else(|| SecretError::EmptyVariable(name.clone()))
        }
        SecretRef::Stored(secret) => Err(SecretError::Stored(secret.name.clone())),
        SecretRef::File(path) => {
            let value = read(path)?;
            wrapped(value).ok_or_else(|| SecretError::EmptyFile(path.clone()))
        }
    }
}

fn read(path: &Path) -> Result<String, SecretError> {
    let unreadable = |error: std::io::Error| SecretError::Unreadable {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    String::from_utf8(bytes)
        .ok()
        .filter(|text| text.len() as u64 <= MAX_BYTES)
        .ok_or_else(|| SecretError::NotTextFile(path.to_owned()))
}

fn wrapped(value: String) -> Option<SecretString> {
    let secret = value.trim_end_matches(['\r', '\n']);
    if secret.trim().is_empty() {
        None
    } else {
        Some(SecretString::from(secret))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn from_variable(value: Option<&str>) -> Result<String, SecretError> {
        resolve_with(&SecretRef::Env("TOKEN".to_owned()), |name| {
            assert_eq!(name, "TOKEN");
            value.map(OsString::from)
        })
        .map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn a_variable_is_read_without_its_final_line_break() {
        assert_eq!(from_variable(Some("s3cret \r\n")).unwrap(), "s3cret ");
    }

    #[test]
    fn a_missing_or_empty_variable_is_named() {
        let text = from_variable(None).unwrap_err().to_string();
        assert_eq!(text, "environment variable `TOKEN` is not set");
        for empty in ["", "\n", "  "] {
            let text = from_variable(Some(empty)).unwrap_err().to_string();
            assert_eq!(text, "environment variable `TOKEN` is empty");
        }
    }

    #[test]
    fn the_real_environment_is_read() {
        // Cargo sets it for every test.
        let secret = resolve(&SecretRef::Env("CARGO_PKG_NAME".to_owned())).unwrap();
        assert_eq!(secret.expose_secret(), "usher");
    }

    #[test]
    fn a_file_is_read_without_its_final_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "s3cret\n").unwrap();
        let secret = resolve(&SecretRef::File(path)).unwrap();
        assert_eq!(secret.expose_secret(), "s3cret");
        assert!(!format!("{secret:?}").contains("s3cret"));
    }

    #[test]
    fn an_unusable_file_is_named_and_its_content_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let fail = |name: &str, content: Option<&[u8]>| {
            let path = directory.path().join(name);
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let text = resolve(&SecretRef::File(path.clone()))
                .unwrap_err()
                .to_string();
            assert!(text.contains(&*path.to_string_lossy()), "{text}");
            assert!(!text.contains("s3cret"), "{text}");
            text
        };
        assert!(fail("missing", None).contains("cannot be read"));
        assert!(fail("empty", Some(b"\n")).ends_with("is empty"));
        assert!(fail("binary", Some(b"s3cret\xff")).contains("UTF-8"));
        let long = b"s3cret".repeat(20_000);
        assert!(fail("long", Some(&long)).contains("64 KiB"));
        let text = resolve(&SecretRef::File(directory.path().to_owned()))
            .unwrap_err()
            .to_string();
        assert!(text.contains("cannot be read"), "{text}");
    }
}
