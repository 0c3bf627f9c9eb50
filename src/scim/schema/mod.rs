//! Attribute tables: what RFC 7643 section 8.7.1 says about each attribute that is known.

mod tables;

pub use tables::{COMMON, ENTERPRISE_USER_ATTRIBUTES, GROUP_ATTRIBUTES, USER_ATTRIBUTES};

use super::ResourceType;

/// URN of the core user schema.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// URN of the core group schema.
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// URN of the enterprise user extension.
pub const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Data type (RFC 7643 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    String,
    /// `true` or `false`.
    Boolean,
    /// RFC 3339.
    DateTime,
    /// Base64.
    Binary,
    /// A URI.
    Reference,
    /// Sub-attributes.
    Complex,
}

impl Kind {
    /// As `/Schemas` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::DateTime => "dateTime",
            Self::Binary => "binary",
            Self::Reference => "reference",
            Self::Complex => "complex",
        }
    }
}

/// Who may change an attribute (RFC 7643 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    /// The server alone.
    ReadOnly,
    /// Everyone.
    ReadWrite,
    /// At creation only.
    Immutable,
    /// Everyone, and nobody sees it.
    WriteOnly,
}

/// When an attribute is part of an answer (RFC 7643 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// Always.
    Always,
    /// Never.
    Never,
    /// Unless excluded.
    Default,
}

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    /// Canonical name.
    pub name: &'static str,
    /// Data type.
    pub kind: Kind,
    /// Whether it holds a list.
    pub multi: bool,
    /// Whether a resource must have it.
    pub required: bool,
    /// Whether case matters.
    pub case_exact: bool,
    /// Who may change it.
    pub mutability: Mutability,
    /// When it is shown.
    pub returned: Returned,
    /// `none` or `server`.
    pub unique: bool,
    /// Suggested values.
    pub canonical: &'static [&'static str],
    /// What a reference points to.
    pub references: &'static [&'static str],
    /// For people.
    pub description: &'static str,
    /// Parts of a complex attribute.
    pub subs: &'static [Attribute],
}

impl Attribute {
    /// The sub-attribute of that name, whatever its case.
    pub fn sub(&self, name: &str) -> Option<&'static Attribute> {
        find(self.subs, name)
    }
}

/// The attribute of that name, whatever its case.
pub fn find(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes
        .iter()
        .find(|a| a.name.eq_ignore_ascii_case(name))
}

/// The attributes of the core schema of a resource type.
pub fn core(rt: ResourceType) -> &'static [Attribute] {
    match rt {
        ResourceType::User => USER_ATTRIBUTES,
        ResourceType::Group => GROUP_ATTRIBUTES,
    }
}

/// The core attribute of that name, the common ones (`id`, `externalId`, `meta`, `schemas`) included.
pub fn attribute(rt: ResourceType, name: &str) -> Option<&'static Attribute> {
    find(core(rt), name).or_else(|| find(COMMON, name))
}

/// The attributes of a known extension.
pub fn extension(urn: &str) -> Option<&'static [Attribute]> {
    urn.eq_ignore_ascii_case(ENTERPRISE_USER)
        .then_some(ENTERPRISE_USER_ATTRIBUTES)
}
