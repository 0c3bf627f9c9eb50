//! Where a secret is found. The configuration file holds this, never the secret.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// A reference to a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretRef {
    /// The name of an environment variable of the server.
    Env(String),
    /// A file that the server can read; a final line break is not part of the secret.
    File(PathBuf),
    /// Kept in the database, encrypted.
    Stored(StoredSecret),
}

/// A secret that is kept in the database under a name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct StoredSecret {
    /// The name.
    pub name: String,
    /// The secret as the vault sealed it, once it was read. It is no part of what is stored or printed, but of
    /// what is compared: whoever holds a client made with the former secret sees that the settings are others.
    pub sealed: Option<String>,
}

impl StoredSecret {
    /// What the encryption of the secret of that name is bound to.
    pub fn row(name: &str) -> String {
        format!("secret/{name}")
    }
}

impl std::fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StoredSecret").field(&self.name).finish()
    }
}

impl From<String> for StoredSecret {
    fn from(name: String) -> Self {
        Self { name, sealed: None }
    }
}

impl From<StoredSecret> for String {
    fn from(secret: StoredSecret) -> Self {
        secret.name
    }
}

/// Gives a secret from where the settings say it is, or says why not.
pub type Secrets = Arc<dyn Fn(&SecretRef) -> Result<SecretString, String> + Send + Sync>;
