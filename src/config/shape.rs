//! The keys and words of the configuration file, in one place.

use crate::domain::{
    ConnectionKind, ExistingGroups, Grant, LoginFallback, MailTls, MatchKey, Mode, OnDelete,
    OnDrift, Operation, PullUsers, TargetKind,
};

/// The keys of one kind of table.
#[derive(Debug)]
pub(super) struct Shape {
    /// Supported keys.
    pub(super) keys: &'static [&'static str],
}

/// The whole file.
pub(super) const FILE: Shape = Shape {
    keys: &["connection", "target", "mapping", "alerts"],
};

/// `[alerts]`
pub(super) const ALERTS: Shape = Shape {
    keys: &["no_push", "backlog", "unreachable", "webhook", "mail"],
};

/// `[alerts.webhook]`
pub(super) const WEBHOOK: Shape = Shape {
    keys: &["url", "token"],
};

/// `[alerts.mail]`
pub(super) const MAIL: Shape = Shape {
    keys: &[
        "server", "port", "tls", "username", "password", "from", "to",
    ],
};

/// `alerts.mail.tls`
pub(super) const MAIL_TLS: Words<MailTls> = &[
    ("starttls", MailTls::Starttls),
    ("tls", MailTls::Tls),
    ("none", MailTls::None),
];

/// `[[connection]]`
pub(super) const CONNECTION: Shape = Shape {
    keys: &[
        "name",
        "kind",
        "group_attributes",
        "base_url",
        "client_id",
        "client_secret",
        "private_key",
        "key_id",
        "grant",
        "app_id",
        "only_granted",
        "pull_users",
        "pull_groups",
        "schedule",
        "full_every",
        "requests_per_second",
        "login_deadline",
        "login_fallback",
        "login_user_header",
        "token_audiences",
        "token_tenant",
        "push_clients",
        "precedence",
    ],
};

/// `[[target]]`
pub(super) const TARGET: Shape = Shape {
    keys: &[
        "name",
        "kind",
        "base_url",
        "token",
        "token_expires",
        "username",
        "password",
        "concurrency",
        "requests_per_second",
        "timeout",
    ],
};

/// `[[mapping]]`
pub(super) const MAPPING: Shape = Shape {
    keys: &[
        "connection",
        "target",
        "mode",
        "live_for",
        "drift",
        "users",
        "groups",
        "brakes",
    ],
};

/// `[mapping.brakes]`
pub(super) const BRAKES: Shape = Shape {
    keys: &["deactivations", "deletions", "membership_removals"],
};

/// A brake on accounts.
pub(super) const BRAKE: Shape = Shape {
    keys: &["count", "share", "at_least", "window"],
};

/// The brake on memberships.
pub(super) const MEMBERSHIP_BRAKE: Shape = Shape {
    keys: &["count", "share", "at_least", "window", "group_size"],
};

/// Instead of a brake.
pub(super) const OFF: Words<()> = &[("off", ())];

/// `[mapping.users]`
pub(super) const USERS: Shape = Shape {
    keys: &[
        "scope",
        "username",
        "display_name",
        "email",
        "match_by",
        "adopt",
        "operations",
        "on_delete",
        "delete_after",
        "protect",
        "default_project_lead",
        "default_component_lead",
    ],
};

/// `[mapping.groups]`
pub(super) const GROUPS: Shape = Shape {
    keys: &[
        "only",
        "manual",
        "on_the_fly",
        "create_missing",
        "existing_groups",
        "allow",
        "deny",
        "rewrite",
        "keep_existing",
        "protect",
        "for_all",
        "for_new",
        "group_attributes",
    ],
};

/// An entry of `mapping.groups.manual`
pub(super) const MANUAL: Shape = Shape {
    keys: &["from", "matching", "to", "keep_members", "also_on_the_fly"],
};

/// An entry of `mapping.groups.rewrite`
pub(super) const REWRITE: Shape = Shape {
    keys: &["from", "to"],
};

/// An entry of `group_attributes` that is not just a path
pub(super) const GROUP_ATTRIBUTE: Shape = Shape {
    keys: &["path", "split"],
};

/// Every key of the file that is supported, each with the header of its table in the guide.
pub fn keys() -> Vec<(&'static str, String)> {
    let within = |prefix: &'static str, shape: &Shape| {
        let keys = shape.keys.iter();
        keys.map(|key| format!("{prefix}{key}")).collect::<Vec<_>>()
    };
    let tables = [
        (
            "[[connection]]",
            [
                within("", &CONNECTION),
                within("group_attributes.", &GROUP_ATTRIBUTE),
            ]
            .concat(),
        ),
        ("[[target]]", within("", &TARGET)),
        ("[[mapping]]", within("", &MAPPING)),
        ("[mapping.users]", within("", &USERS)),
        (
            "[mapping.groups]",
            [
                within("", &GROUPS),
                within("manual.", &MANUAL),
                within("rewrite.", &REWRITE),
            ]
            .concat(),
        ),
        (
            "[mapping.brakes]",
            [within("", &BRAKES), within("", &MEMBERSHIP_BRAKE)].concat(),
        ),
        ("[alerts]", within("", &ALERTS)),
        ("[alerts.webhook]", within("", &WEBHOOK)),
        ("[alerts.mail]", within("", &MAIL)),
    ];
    let is_table =
        |key: &String| ["users", "groups", "brakes", "webhook", "mail"].contains(&key.as_str());
    tables
        .into_iter()
        .flat_map(|(header, keys)| keys.into_iter().map(move |key| (header, key)))
        .filter(|(header, key)| !["[[mapping]]", "[alerts]"].contains(header) || !is_table(key))
        .collect()
}

/// Words and what they stand for.
pub(super) type Words<T> = &'static [(&'static str, T)];

/// `connection.kind`
pub(super) const CONNECTION_KINDS: Words<ConnectionKind> = &[
    ("oracle-idcs", ConnectionKind::OracleIdcs),
    ("scim", ConnectionKind::Scim),
    ("entra-id", ConnectionKind::EntraId),
    ("okta", ConnectionKind::Okta),
];

/// `connection.login_fallback`
pub(super) const LOGIN_FALLBACKS: Words<LoginFallback> = &[
    ("closed", LoginFallback::Closed),
    ("open", LoginFallback::Open),
];

/// `mapping.drift`
pub(super) const ON_DRIFT: Words<OnDrift> = &[
    ("ask", OnDrift::Ask),
    ("push", OnDrift::Push),
    ("accept", OnDrift::Accept),
];

/// `connection.grant`
pub(super) const GRANTS: Words<Grant> = &[
    ("client-credentials", Grant::ClientCredentials),
    ("refresh-token", Grant::RefreshToken),
];

/// `connection.pull_users`
pub(super) const PULL_USERS: Words<PullUsers> =
    &[("all", PullUsers::All), ("pushed", PullUsers::Pushed)];

/// `target.kind`
pub(super) const TARGET_KINDS: Words<TargetKind> = &[
    ("jira-dc", TargetKind::JiraDc),
    ("confluence-dc", TargetKind::ConfluenceDc),
    ("bitbucket-dc", TargetKind::BitbucketDc),
    ("crowd", TargetKind::Crowd),
    ("atlassian-guard", TargetKind::AtlassianGuard),
];

/// `mapping.mode`
pub(super) const MODES: Words<Mode> = &[
    ("shadow", Mode::Shadow),
    ("live", Mode::Live),
    ("paused", Mode::Paused),
];

/// `mapping.users.match_by`
pub(super) const MATCH_KEYS: Words<MatchKey> =
    &[("username", MatchKey::Username), ("email", MatchKey::Email)];

/// `mapping.users.operations`
pub(super) const OPERATIONS: Words<Operation> = &[
    ("create", Operation::Create),
    ("update", Operation::Update),
    ("rename", Operation::Rename),
    ("deactivate", Operation::Deactivate),
    ("reactivate", Operation::Reactivate),
    ("delete", Operation::Delete),
];

/// `mapping.users.on_delete`
pub(super) const ON_DELETE: Words<OnDelete> = &[
    ("deactivate", OnDelete::Deactivate),
    ("remove-groups", OnDelete::RemoveGroups),
    ("delete", OnDelete::Delete),
    ("keep", OnDelete::Keep),
];

/// `mapping.groups.existing_groups`
pub(super) const EXISTING_GROUPS: Words<ExistingGroups> = &[
    ("adopt", ExistingGroups::Adopt),
    ("skip", ExistingGroups::Skip),
];

/// The word that stands for `value`.
pub(super) fn word<T: PartialEq>(words: Words<T>, value: &T) -> &'static str {
    words
        .iter()
        .find(|(_, v)| v == value)
        .map_or("", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A variant without a word would be printed as "" and not read back.
    #[test]
    fn words_agree_with_the_names_that_the_domain_is_stored_under() {
        fn check<T: PartialEq + serde::Serialize>(words: Words<T>) {
            for (word, value) in words {
                assert_eq!(serde_json::to_value(value).unwrap(), *word);
            }
        }
        check(CONNECTION_KINDS);
        check(GRANTS);
        check(LOGIN_FALLBACKS);
        check(PULL_USERS);
        check(ON_DRIFT);
        check(TARGET_KINDS);
        check(MODES);
        check(MAIL_TLS);
        check(MATCH_KEYS);
        check(OPERATIONS);
        check(ON_DELETE);
        check(EXISTING_GROUPS);
    }
}
