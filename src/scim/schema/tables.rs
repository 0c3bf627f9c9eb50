//! The tables themselves.

use super::{Attribute, Kind, Mutability, Returned};

const fn attribute(name: &'static str, kind: Kind, description: &'static str) -> Attribute {
    Attribute {
        name,
        kind,
        multi: false,
        required: false,
        case_exact: false,
        mutability: Mutability::ReadWrite,
        returned: Returned::Default,
        unique: false,
        canonical: &[],
        references: &[],
        description,
        subs: &[],
    }
}

const fn text(name: &'static str, description: &'static str) -> Attribute {
    attribute(name, Kind::String, description)
}

const fn flag(name: &'static str, description: &'static str) -> Attribute {
    attribute(name, Kind::Boolean, description)
}

const fn reference(
    name: &'static str,
    references: &'static [&'static str],
    description: &'static str,
) -> Attribute {
    Attribute {
        references,
        case_exact: true,
        ..attribute(name, Kind::Reference, description)
    }
}

const fn complex(
    name: &'static str,
    subs: &'static [Attribute],
    description: &'static str,
) -> Attribute {
    Attribute {
        subs,
        ..attribute(name, Kind::Complex, description)
    }
}

const fn list(
    name: &'static str,
    subs: &'static [Attribute],
    description: &'static str,
) -> Attribute {
    Attribute {
        multi: true,
        ..complex(name, subs, description)
    }
}

impl Attribute {
    const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    const fn unique(self) -> Self {
        Self {
            unique: true,
            ..self
        }
    }

    const fn exact(self) -> Self {
        Self {
            case_exact: true,
            ..self
        }
    }

    const fn read_only(self) -> Self {
        Self {
            mutability: Mutability::ReadOnly,
            ..self
        }
    }

    const fn immutable(self) -> Self {
        Self {
            mutability: Mutability::Immutable,
            ..self
        }
    }

    const fn values(self, canonical: &'static [&'static str]) -> Self {
        Self { canonical, ..self }
    }
}

const DISPLAY: Attribute = text("display", "A name for people");
const PRIMARY: Attribute = flag(
    "primary",
    "Whether this is the preferred value; true at most once",
);

/// Attributes of every resource (RFC 7643 section 3.1).
pub const COMMON: &[Attribute] = &[
    Attribute {
        returned: Returned::Always,
        ..Attribute {
            multi: true,
            ..reference(
                "schemas",
                &["uri"],
                "URNs of the schemas that the resource uses",
            )
        }
    },
    Attribute {
        returned: Returned::Always,
        ..text("id", "Identifier that the server gives")
            .exact()
            .read_only()
            .unique()
    },
    text("externalId", "Identifier that the client gives").exact(),
    complex(
        "meta",
        &[
            text("resourceType", "Name of the resource type")
                .exact()
                .read_only(),
            attribute("created", Kind::DateTime, "When it was made").read_only(),
            attribute("lastModified", Kind::DateTime, "When it changed last").read_only(),
            reference("location", &["uri"], "Its URI").read_only(),
            text("version", "Its version, as the ETag header shows it")
                .exact()
                .read_only(),
        ],
        "What the server knows about the resource",
    )
    .read_only(),
];

/// RFC 7643 section 4.1.
pub const USER_ATTRIBUTES: &[Attribute] = &[
    text(
        "userName",
        "Name that the user signs in with; unique whatever its case",
    )
    .required()
    .unique(),
    complex(
        "name",
        &[
            text("formatted", "The full name as it is shown"),
            text("familyName", "Family name"),
            text("givenName", "Given name"),
            text("middleName", "Middle names"),
            text("honorificPrefix", "Title before the name"),
            text("honorificSuffix", "Suffix after the name"),
        ],
        "The parts of the name",
    ),
    text("displayName", "Name that is shown to others"),
    text("nickName", "Casual name"),
    reference("profileUrl", &["external"], "The user's own page"),
    text("title", "Job title"),
    text("userType", "Kind of user, such as Employee or Contractor"),
    text(
        "preferredLanguage",
        "Preferred language (RFC 7231 section 5.3.5)",
    ),
    text("locale", "Locale for dates and numbers (RFC 5646)"),
    text("timezone", "Time zone of the IANA database"),
    flag("active", "Whether the user has access"),
    Attribute {
        mutability: Mutability::WriteOnly,
        returned: Returned::Never,
        ..text("password", "Accepted and dropped: Usher keeps no passwords").exact()
    },
    list(
        "emails",
        &[
            text("value", "The address"),
            DISPLAY,
            text("type", "What it is for").values(&["work", "home", "other"]),
            PRIMARY,
        ],
        "E-mail addresses",
    ),
    list(
        "phoneNumbers",
        &[
            text("value", "The number"),
            DISPLAY,
            text("type", "What it is for")
                .values(&["work", "home", "mobile", "fax", "pager", "other"]),
            PRIMARY,
        ],
        "Telephone numbers",
    ),
    list(
        "ims",
        &[
            text("value", "The address"),
            DISPLAY,
            text("type", "Which service")
                .values(&["aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"]),
            PRIMARY,
        ],
        "Instant messaging addresses",
    ),
    list(
        "photos",
        &[
            reference("value", &["external"], "URI of the image"),
            DISPLAY,
            text("type", "Which size").values(&["photo", "thumbnail"]),
            PRIMARY,
        ],
        "Pictures of the user",
    ),
    list(
        "addresses",
        &[
            text("formatted", "The whole address as it is shown"),
            text("streetAddress", "Street and number"),
            text("locality", "City"),
            text("region", "State or region"),
            text("postalCode", "Postal code"),
            text("country", "Country (ISO 3166-1 alpha-2)"),
            text("type", "What it is for").values(&["work", "home", "other"]),
            PRIMARY,
        ],
        "Postal addresses",
    ),
    list(
        "groups",
        &[
            text("value", "Identifier of the group").exact().read_only(),
            reference("$ref", &["User", "Group"], "URI of the group").read_only(),
            text("display", "Name of the group").read_only(),
            text("type", "direct or indirect")
                .values(&["direct", "indirect"])
                .read_only(),
        ],
        "Groups that the user is a direct member of",
    )
    .read_only(),
    list(
        "entitlements",
        &[
            text("value", "The entitlement"),
            DISPLAY,
            text("type", "What it is for"),
            PRIMARY,
        ],
        "Entitlements",
    ),
    list(
        "roles",
        &[
            text("value", "The role"),
            DISPLAY,
            text("type", "What it is for"),
            PRIMARY,
        ],
        "Roles",
    ),
    list(
        "x509Certificates",
        &[
            attribute("value", Kind::Binary, "DER, in base64").exact(),
            DISPLAY,
            text("type", "What it is for"),
            PRIMARY,
        ],
        "Certificates",
    ),
];

/// RFC 7643 section 4.3.
pub const ENTERPRISE_USER_ATTRIBUTES: &[Attribute] = &[
    text("employeeNumber", "Number in the organization"),
    text("costCenter", "Cost centre"),
    text("organization", "Organization"),
    text("division", "Division"),
    text("department", "Department"),
    complex(
        "manager",
        &[
            text("value", "Identifier of the manager").exact(),
            reference("$ref", &["User"], "URI of the manager"),
            text("displayName", "Name of the manager").read_only(),
        ],
        "The user's manager",
    ),
];

/// RFC 7643 section 4.2. Names are unique here, because two groups of one name would be one at a target.
pub const GROUP_ATTRIBUTES: &[Attribute] = &[
    text("displayName", "Name of the group; unique whatever its case")
        .required()
        .unique(),
    list(
        "members",
        &[
            text("value", "Identifier of the member")
                .exact()
                .immutable(),
            reference("$ref", &["User", "Group"], "URI of the member").immutable(),
            text("type", "User or Group")
                .values(&["User", "Group"])
                .immutable(),
        ],
        "Users and groups in this group",
    ),
];
