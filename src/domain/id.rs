//! Identifiers: time-ordered UUIDs (RFC 9562 version 7), 32 hex digits without dashes as IDCS writes its own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Makes a new identifier.
pub fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

macro_rules! id {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// A fresh identifier.
            pub fn new() -> Self {
                Self(new_id())
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }
    )+};
}

id! {
    /// One identity provider instance.
    ConnectionId,
    /// One Atlassian product instance.
    TargetId,
    /// The rules between one connection and one target.
    MappingId,
    /// A SCIM user in the mirror.
    UserId,
    /// A SCIM group in the mirror.
    GroupId,
}
