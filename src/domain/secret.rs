//! Where a secret is found. The database and the configuration file hold this, never the secret.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A reference to a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretRef {
    /// The name of an environment variable of the server.
    Env(String),
    /// A file that the server can read; a final line break is not part of the secret.
    File(PathBuf),
}
