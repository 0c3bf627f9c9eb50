//! A target: one Atlassian product instance that accounts are written to.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Expiry, SecretRef, TargetId};

/// The products that Usher can write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetKind {
    /// Jira Data Center (and Server), REST API version 2.
    #[serde(rename = "jira-dc")]
    JiraDc,
    /// Crowd's application interface, of Crowd itself or of a Jira that acts as one.
    #[serde(rename = "crowd")]
    Crowd,
    /// Confluence Data Center (and Server).
    #[serde(rename = "confluence-dc")]
    ConfluenceDc,
    /// Bitbucket Data Center (and Server).
    #[serde(rename = "bitbucket-dc")]
    BitbucketDc,
    /// The SCIM directory of Atlassian Guard, for the Cloud products.
    #[serde(rename = "atlassian-guard")]
    AtlassianGuard,
}

impl TargetKind {
    /// The name used in the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JiraDc => "jira-dc",
            Self::Crowd => "crowd",
            Self::ConfluenceDc => "confluence-dc",
            Self::BitbucketDc => "bitbucket-dc",
            Self::AtlassianGuard => "atlassian-guard",
        }
    }
}

/// How Usher proves itself to a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetAuth {
    /// A personal access token, sent as `Authorization: Bearer`.
    Token(SecretRef),
    /// User name and password, sent as `Authorization: Basic`.
    Basic {
        /// The account that Usher signs in with.
        username: String,
        /// Its password.
        password: SecretRef,
    },
}

/// What an administrator states about a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSettings {
    /// Unique name, used on the command line.
    pub name: String,
    /// Which product it is.
    pub kind: TargetKind,
    /// Address of the product, context path included, without a final slash.
    pub base_url: String,
    /// Credentials.
    pub auth: TargetAuth,
    /// The first day on which the token does not work any more, if the administrator stated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires: Option<Date>,
    /// How many work items are converged at the same time (1 to 32).
    pub concurrency: u32,
    /// How many requests a second the product gets at most. `None`: as many as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// How long one request to the product may take, in seconds.
    pub timeout_s: u64,
}

impl TargetSettings {
    /// The secret with which Usher signs in.
    pub fn secret_mut(&mut self) -> &mut SecretRef {
        let (TargetAuth::Token(secret)
        | TargetAuth::Basic {
            password: secret, ..
        }) = &mut self.auth;
        secret
    }

    /// What is left of the token's life at `now` (microseconds since 1970), if its end is stated.
    pub fn expiry(&self, now: i64) -> Option<Expiry> {
        self.token_expires.map(|on| Expiry::of(on, now))
    }
}

/// A stored target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Identifier.
    pub id: TargetId,
    /// Settings.
    pub settings: TargetSettings,
}
