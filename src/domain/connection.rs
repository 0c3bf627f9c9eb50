//! A connection: one identity provider instance.

use serde::{Deserialize, Serialize};

use super::{ConnectionId, GroupAttribute};

/// How a connection speaks SCIM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionKind {
    /// Oracle IDCS or an OCI IAM identity domain: answered liberally (see `scim::quirks`).
    #[serde(rename = "oracle-idcs")]
    OracleIdcs,
    /// Any other identity provider: RFC 7643 and RFC 7644 to the letter.
    #[serde(rename = "scim")]
    Scim,
    /// Microsoft Entra ID, with what it does its own way.
    #[serde(rename = "entra-id")]
    EntraId,
    /// Okta, with what it does its own way.
    #[serde(rename = "okta")]
    Okta,
}

impl ConnectionKind {
    /// The name used in the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OracleIdcs => "oracle-idcs",
            Self::Scim => "scim",
            Self::EntraId => "entra-id",
            Self::Okta => "okta",
        }
    }
}

/// What an administrator states about a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSettings {
    /// Unique name, used on the command line.
    pub name: String,
    /// How it speaks SCIM.
    pub kind: ConnectionKind,
    /// Attributes of its users whose values count as names of groups, in every mapping.
    #[serde(default)]
    pub group_attributes: Vec<GroupAttribute>,
}

/// A stored connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Identifier.
    pub id: ConnectionId,
    /// Settings.
    pub settings: ConnectionSettings,
}
