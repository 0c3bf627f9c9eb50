//! The SCIM protocol (RFC 7643, RFC 7644), pure: no I/O, no clock, no framework.
//!
//! Resources are JSON objects, not structs: attribute names compare without case, unknown attributes and
//! extensions are kept, and a PATCH reaches everywhere. The schema tables say what is known.

pub mod bulk;
pub mod cursor;
pub mod discovery;
pub mod filter;
pub mod fold;
pub mod list;
pub mod patch;
pub mod path;
pub mod projection;
pub mod quirks;
pub mod resource;
pub mod schema;
pub mod sort;

mod error;

pub use error::Error;

/// A resource or a part of one.
pub type Doc = serde_json::Map<String, serde_json::Value>;

/// How strictly input is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 7643 and RFC 7644.
    Rfc,
    /// As Oracle IDCS speaks; every deviation is a named function of [`quirks`].
    Idcs,
    /// As Microsoft Entra ID speaks.
    EntraId,
    /// As Okta speaks.
    Okta,
}

/// The resource types that this server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceType {
    /// RFC 7643 section 4.1.
    User,
    /// RFC 7643 section 4.2.
    Group,
}

impl ResourceType {
    /// `User` or `Group`.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }

    /// `Users` or `Groups`.
    pub fn endpoint(self) -> &'static str {
        match self {
            Self::User => "Users",
            Self::Group => "Groups",
        }
    }

    /// URN of the core schema.
    pub fn schema(self) -> &'static str {
        match self {
            Self::User => schema::USER,
            Self::Group => schema::GROUP,
        }
    }
}
