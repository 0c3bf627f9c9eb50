//! Errors that a SCIM client is told about (RFC 7644 section 3.12).

use serde_json::{Value, json};

/// An error with its status and, for 400 and 409, its `scimType`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    status: u16,
    scim_type: Option<&'static str>,
    detail: String,
}

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $status:literal $(, $scim_type:literal)?;)+) => {
        impl Error {
            $(
                $(#[$doc])*
                pub fn $name(detail: impl Into<String>) -> Self {
                    Self { status: $status, scim_type: [$($scim_type)?].first().copied(), detail: detail.into() }
                }
            )+
        }
    };
}

errors! {
    /// The filter cannot be understood, or an operator does not fit an attribute.
    invalid_filter = 400, "invalidFilter";
    /// The answer would be too large.
    too_many = 400, "tooMany";
    /// A unique attribute has a value that another resource has.
    uniqueness = 409, "uniqueness";
    /// A read-only or immutable attribute would change.
    mutability = 400, "mutability";
    /// The body is not what this request needs.
    invalid_syntax = 400, "invalidSyntax";
    /// The path of a PATCH operation cannot be understood.
    invalid_path = 400, "invalidPath";
    /// The path of a PATCH operation selects nothing.
    no_target = 400, "noTarget";
    /// A required value is missing, or a value does not fit its attribute.
    invalid_value = 400, "invalidValue";
    /// The protocol version is not supported.
    invalid_vers = 400, "invalidVers";
    /// The cursor is none of this list (RFC 9865 section 2.3).
    invalid_cursor = 400, "invalidCursor";
    /// A page by cursor needs room for at least one resource (RFC 9865 section 2.3).
    invalid_count = 400, "invalidCount";
    /// Personal data must not stand in the URL.
    sensitive = 403, "sensitive";
    /// Who asks is not known.
    unauthorized = 401;
    /// Not allowed.
    forbidden = 403;
    /// There is no such resource.
    not_found = 404;
    /// The endpoint does not take this method.
    method_not_allowed = 405;
    /// Something that this depends on did not come about.
    conflict = 409;
    /// The resource is not at the version that the client expects.
    precondition_failed = 412;
    /// The body is too large.
    payload_too_large = 413;
    /// The body is of another media type.
    unsupported_media_type = 415;
    /// The server failed.
    internal = 500;
    /// The server does not support this.
    not_implemented = 501;
    /// The server cannot answer at the moment.
    unavailable = 503;
}

impl Error {
    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// `scimType`, where the RFC has one.
    pub fn scim_type(&self) -> Option<&'static str> {
        self.scim_type
    }

    /// What happened, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The body of the answer. `status` is a string, as the RFC has it.
    pub fn to_body(&self) -> Value {
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": self.status.to_string(),
            "detail": self.detail,
        });
        if let Some(scim_type) = self.scim_type {
            body["scimType"] = json!(scim_type);
        }
        body
    }
}
