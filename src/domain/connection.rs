//! A connection: one identity provider instance.

use serde::{Deserialize, Serialize};

use super::{ConnectionId, GroupAttribute, SecretRef};

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
    /// How its domain is read, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<PullSettings>,
    /// What the login hook does.
    #[serde(default)]
    pub login: LoginSettings,
    /// Which connection has an account that people of several claim: the one with the lower number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precedence: Option<u32>,
}

impl ConnectionSettings {
    /// The secret with which its domain is read.
    pub fn secret_mut(&mut self) -> Option<&mut SecretRef> {
        let (ClientAuth::Secret(secret) | ClientAuth::PrivateKey { key: secret, .. }) =
            &mut self.pull.as_mut()?.auth;
        Some(secret)
    }

    /// A connection that is only pushed to.
    pub fn new(name: impl Into<String>, kind: ConnectionKind) -> Self {
        Self {
            name: name.into(),
            kind,
            group_attributes: Vec::new(),
            pull: None,
            login: LoginSettings::default(),
            precedence: None,
        }
    }
}

/// What becomes of a login when nobody can say in time that the person is in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoginFallback {
    /// Refused.
    #[default]
    Closed,
    /// Let in.
    Open,
}

/// What the login hook does for a connection, and which tokens of its domain are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginSettings {
    /// How long a login may wait, in milliseconds.
    pub deadline_ms: u64,
    /// What becomes of it after that.
    pub fallback: LoginFallback,
    /// Header in which a proxy with a hook credential names the user.
    pub user_header: String,
    /// For whom a token may be, beside the domain and the application that reads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// Name of the tenant in tokens, if the address of the domain does not begin with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Client ids whose own access tokens may push.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub push_clients: Vec<String>,
}

impl Default for LoginSettings {
    fn default() -> Self {
        Self {
            deadline_ms: 2000,
            fallback: LoginFallback::default(),
            user_header: "Remote-User".to_owned(),
            audiences: Vec::new(),
            tenant: None,
            push_clients: Vec::new(),
        }
    }
}

/// How the confidential application proves itself to the domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// By its client secret.
    Secret(SecretRef),
    /// By an assertion signed with a private key (`private_key_jwt`).
    PrivateKey {
        /// The key, in PEM.
        key: SecretRef,
        /// Alias of the certificate in the application, if it has several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_id: Option<String>,
    },
}

/// How access tokens are obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// As the application itself.
    #[default]
    ClientCredentials,
    /// With a refresh token that an administrator consented to once.
    RefreshToken,
}

/// Whom a pull brings into the mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullUsers {
    /// Everyone in the domain.
    #[default]
    All,
    /// Only those whom a push made: the pull refreshes them, and makes nobody.
    Pushed,
}

/// How a domain is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullSettings {
    /// Address of the domain.
    pub base_url: String,
    /// Client id of the confidential application.
    pub client_id: String,
    /// How it proves itself.
    pub auth: ClientAuth,
    /// How access tokens are obtained.
    #[serde(default)]
    pub grant: Grant,
    /// The application whose grants count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Whether only people are in scope whom the application is granted to ("Enforce Grants as
    /// Authorization").
    #[serde(default)]
    pub only_granted: bool,
    /// Whom a pull brings.
    #[serde(default)]
    pub users: PullUsers,
    /// Filter of the domain for groups; nothing else is read of groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<String>,
    /// When it is read: a span such as `30m`, or cron with five fields in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// A scheduled run reads everything if the last complete one is at least so old, in seconds.
    pub full_every_s: u64,
    /// How many requests a second may be sent.
    pub requests_per_second: u32,
}

/// A stored connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Identifier.
    pub id: ConnectionId,
    /// Settings.
    pub settings: ConnectionSettings,
}
