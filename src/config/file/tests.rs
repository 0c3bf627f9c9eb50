//! What the configuration file accepts, and what it says about everything else.

use proptest::prelude::*;

use super::*;
use crate::config::print;
use crate::domain::{
    ClientAuth, ExistingGroups, Grant, MatchKey, Mode, OnDrift, PullSettings, PullUsers, SecretRef,
};

/// The example of the design.
const EXAMPLE: &str = r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"
group_attributes = ["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"]

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "https://jira.example.com"
token = { env = "JIRA_TOKEN" }

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"

[mapping.users]
scope = 'userType ne "Service"'
username = "userName | lower"
display_name = "displayName or name.formatted"
email = "primary_email"
match_by = ["username", "email"]
adopt = true
operations = ["create", "update", "rename", "deactivate", "reactivate"]
on_delete = "deactivate"
protect = ["admin", "svc-*"]
default_project_lead = "pm"
default_component_lead = "pm"

[mapping.groups]
on_the_fly = true
create_missing = true
allow = ["jira-*"]
deny = []
rewrite = [{ from = "^idcs-(.+)$", to = "$1" }]
keep_existing = true
protect = ["jira-administrators"]
for_all = ["jira-software-users"]
for_new = []
manual = [{ from = "Engineering", to = ["developers"], keep_members = true }]

[mapping.brakes]
deactivations = { count = 25, share = 0.10, window = "1h" }
membership_removals = { count = 200, share = 0.20, window = "1h" }
"#;

/// The smallest file with everything in it; tests put mistakes into it.
const SMALL: &str = r#"[[connection]]
name = "corp"
kind = "scim"
[[target]]
name = "jira"
kind = "jira-dc"
base_url = "https://jira.example.com"
token = { env = "JIRA_TOKEN" }
[[mapping]]
connection = "corp"
target = "jira"
"#;

fn example() -> ConfigFile {
    ConfigFile::new(
        vec![ConnectionSettings {
            group_attributes: vec![GroupAttribute {
                path: "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"
                    .to_owned(),
                split: String::new(),
            }],
            ..ConnectionSettings::new("corp", ConnectionKind::OracleIdcs)
        }],
        vec![TargetSettings {
            name: "jira".to_owned(),
            kind: TargetKind::JiraDc,
            base_url: "https://jira.example.com".to_owned(),
            auth: TargetAuth::Token(SecretRef::Env("JIRA_TOKEN".to_owned())),
            token_expires: None,
            concurrency: 4,
            requests_per_second: None,
            timeout_s: 20,
        }],
        vec![MappingEntry {
            connection: "corp".to_owned(),
            target: "jira".to_owned(),
            settings: MappingSettings {
                mode: Mode::Live,
                users: UserRules {
                    scope: Some("userType ne \"Service\"".to_owned()),
                    username: "userName | lower".to_owned(),
                    display_name: "displayName or name.formatted".to_owned(),
                    email: "primary_email".to_owned(),
                    match_by: vec![MatchKey::Username, MatchKey::Email],
                    adopt: true,
                    operations: vec![
                        Operation::Create,
                        Operation::Update,
                        Operation::Rename,
                        Operation::Deactivate,
                        Operation::Reactivate,
                    ],
                    on_delete: OnDelete::Deactivate,
                    delete_after_s: None,
                    protect: vec!["admin".to_owned(), "svc-*".to_owned()],
                    default_project_lead: Some("pm".to_owned()),
                    default_component_lead: Some("pm".to_owned()),
                },
                groups: GroupRules {
                    on_the_fly: true,
                    create_missing: true,
                    allow: vec!["jira-*".to_owned()],
                    deny: Vec::new(),
                    keep_existing: true,
                    protect: vec!["jira-administrators".to_owned()],
                    for_all: vec!["jira-software-users".to_owned()],
                    rewrite: vec![RewriteRule {
                        from: "^idcs-(.+)$".to_owned(),
                        to: "$1".to_owned(),
                    }],
                    manual: vec![ManualRule {
                        source: SourceNames::From("Engineering".to_owned()),
                        to: vec!["developers".to_owned()],
                        keep_members: true,
                        also_on_the_fly: false,
                    }],
                    ..GroupRules::default()
                },
                // What the example states is what holds by default.
                ..MappingSettings::default()
            },
        }],
    )
}

/// What is said about a file, as `LINE:COL: message`.
fn told(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_example_of_the_design_means_what_it_says() {
    assert_eq!(parse(EXAMPLE).unwrap(), example());
}

#[test]
fn what_is_left_out_has_careful_defaults() {
    let file = parse(SMALL).unwrap();
    assert_eq!(file.mappings[0].settings, MappingSettings::default());
    assert_eq!(file.mappings[0].settings.mode, Mode::Shadow);
    assert_eq!(
        (file.targets[0].concurrency, file.targets[0].timeout_s),
        (4, 20)
    );
    assert_eq!(parse("").unwrap(), ConfigFile::default());
}

#[test]
fn a_list_replaces_its_default() {
    let text =
        format!("{SMALL}[mapping.users]\nprotect = []\n[mapping.groups]\nprotect = [\"x\"]\n");
    let settings = parse(&text).unwrap().mappings.remove(0).settings;
    assert!(settings.users.protect.is_empty());
    assert_eq!(settings.groups.protect, ["x"]);
    assert_eq!(settings.groups.deny, ["All-Domain-Users"]);
}

#[test]
fn basic_authentication_addresses_and_spans() {
    let text = SMALL
        .replace(
            "token = { env = \"JIRA_TOKEN\" }",
            "username = \"svc\"\npassword = { file = '/run/pw' }",
        )
        .replace("https://jira.example.com", "HTTPS://[::1]:8443/jira//")
        .replace(
            "kind = \"jira-dc\"",
            "kind = \"jira-dc\"\nconcurrency = 0x20\ntimeout = \"2m\"",
        );
    let target = parse(&text).unwrap().targets.remove(0);
    assert_eq!(target.base_url, "https://[::1]:8443/jira");
    assert_eq!((target.concurrency, target.timeout_s), (32, 120));
    assert_eq!(
        target.auth,
        TargetAuth::Basic {
            username: "svc".to_owned(),
            password: SecretRef::File("/run/pw".into())
        }
    );
}

/// Each row: a line of [`SMALL`] (or "" for the end of it), what stands there instead, what is said.
#[test]
fn mistakes_are_told_with_their_place_and_the_right_word() {
    let users = "[mapping.users]\n";
    let groups = "[mapping.groups]\n";
    for (line, instead, expected) in [
        (
            "kind = \"scim\"",
            "knd = \"scim\"",
            &[
                "1:1: `kind` is missing, as in kind = \"oracle-idcs\"",
                "3:1: unknown key `knd`; did you mean `kind`?",
            ][..],
        ),
        (
            "kind = \"scim\"",
            "kind = \"scym\"",
            &["3:8: unknown kind `scym`; did you mean `scim`? (oracle-idcs, scim, entra-id, okta)"],
        ),
        (
            "kind = \"scim\"",
            "kind = \"ldap-server\"",
            &["3:8: unknown kind `ldap-server`; there are oracle-idcs, scim, entra-id, okta"],
        ),
        (
            "kind = \"scim\"",
            "kind = 3",
            &["3:8: `kind` should be text in quotes, not a whole number"],
        ),
        (
            "kind = \"scim\"",
            "kind = \"oracle-idcs\"\nclient_id = \"c\"\nbase_url = \"idcs\"\nclient_secret = \"s3cret\"",
            &[
                "5:12: `base_url` should begin with https:// (or http://)",
                "6:17: a secret is never written into this file; use client_secret = { env = \"NAME_OF_A_VARIABLE\" } or client_secret = { file = \"/path/to/it\" }",
            ],
        ),
        (
            "name = \"corp\"",
            "name = \" \"",
            &[
                "2:8: `name` is empty; leave the key out",
                "10:14: there is no connection `corp` in this file: add [[connection]] for it",
            ],
        ),
        (
            "name = \"corp\"",
            "name = \"crop\"",
            &["10:14: there is no connection `corp` in this file; did you mean `crop`?"],
        ),
        (
            "name = \"jira\"",
            "name = \"wiki-test\"",
            &["11:10: there is no target `jira` in this file; there are wiki-test"],
        ),
        (
            "kind = \"jira-dc\"",
            "kind = \"jira\"",
            &[
                "6:8: unknown kind `jira`; there are jira-dc, confluence-dc, bitbucket-dc, crowd, atlassian-guard",
            ],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "token = { env = \"JIRA_TOKEN\" }\ntoken_expires = \"2027-02-29\"",
            &["9:17: `token_expires` should be a day that exists, as in \"2027-03-01\""],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "token = { env = \"JIRA_TOKEN\" }\ntoken_expires = 2027-03-01T00:00:00",
            &["9:17: `token_expires` should be a day that exists, as in \"2027-03-01\""],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "token = { env = \"JIRA_TOKEN\" }\ntoken_expires = 365",
            &["9:17: `token_expires` should be a date, as in \"2027-03-01\", not a whole number"],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "username = \"u\"\npassword = { env = \"P\" }\ntoken_expires = \"2027-03-01\"",
            &["10:17: `token_expires` is about a `token`, and there is none"],
        ),
        (
            "kind = \"jira-dc\"",
            "kind = \"jira-dc\"\nconcurrency = 33\ntimeout = \"3h\"",
            &[
                "7:15: `concurrency` should be 1 to 32",
                "8:11: `timeout` should be 1s to 2m",
            ],
        ),
        (
            "kind = \"jira-dc\"",
            "kind = \"jira-dc\"\nconcurrency = -1\ntimeout = 20",
            &[
                "7:15: `concurrency` should be 1 to 32",
                "8:11: `timeout` should be a span of time in quotes, as in \"20s\", not a whole number",
            ],
        ),
        (
            "kind = \"jira-dc\"",
            "kind = \"jira-dc\"\nconcurrency = 1.5\ntimeout_s = \"20\"",
            &[
                "7:15: `concurrency` should be a whole number, not a fraction",
                "8:1: unknown key `timeout_s`; did you mean `timeout`?",
            ],
        ),
        (
            "kind = \"jira-dc\"",
            "kind = \"jira-dc\"\ntimeout = \"20\"",
            &["7:11: `timeout` should be a number with s, m, h or d, as in \"20s\""],
        ),
        (
            "base_url = \"https://jira.example.com\"",
            "",
            &["4:1: `base_url` is missing, as in base_url = \"https://jira.example.com\""],
        ),
        (
            "base_url = \"https://jira.example.com\"",
            "base_url = \"jira.example.com\"",
            &["7:12: `base_url` should begin with https:// (or http://)"],
        ),
        (
            "base_url = \"https://jira.example.com\"",
            "base_url = \"ftp://jira.example.com\"",
            &["7:12: `base_url` should begin with https:// (or http://)"],
        ),
        (
            "base_url = \"https://jira.example.com\"",
            "base_url = \"https://jira.example.com/?a=b\"",
            &["7:12: `base_url` should end before `?` and `#`"],
        ),
        (
            "base_url = \"https://jira.example.com\"",
            "base_url = \"https://u:s3cret@jira\"",
            &["7:12: `base_url` should hold no user name and password: use the keys for them"],
        ),
        (
            "base_url = \"https://jira.example.com\"",
            "base_url = \"https:///jira\"",
            &["7:12: `base_url` has no valid host name"],
        ),
        (
            "base_url = \"https://jira.example.com\"",
            "base_url = \"https://jira:0\"",
            &["7:12: `base_url` has no valid port"],
        ),
        (
            "base_url = \"https://jira.example.com\"",
            "base_url = \"https://jira:\"",
            &["7:12: `base_url` has no valid port"],
        ),
        (
            "base_url = \"https://jira.example.com\"",
            "base_url = \"https://ji ra\"",
            &["7:12: `base_url` contains a character that no address has"],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "token = \"s3cret\"",
            &[
                "8:9: a secret is never written into this file; use token = { env = \"NAME_OF_A_VARIABLE\" } or token = { file = \"/path/to/it\" }",
            ],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "token = 5551234",
            &[
                "8:9: `token` should say where the secret is, and is a whole number; use token = { env = \"NAME_OF_A_VARIABLE\" } or token = { file = \"/path/to/it\" }",
            ],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "token = { env = \"s3cret!\" }",
            &[
                "8:9: `env` should be the name of an environment variable; use token = { env = \"NAME_OF_A_VARIABLE\" } or token = { file = \"/path/to/it\" }",
            ],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "token = { s3cret = \"x\" }",
            &[
                "8:9: the one key of a secret is `env`, `file` or `stored`; use token = { env = \"NAME_OF_A_VARIABLE\" } or token = { file = \"/path/to/it\" }",
            ],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "token = { env = \"A\", file = \"s3cret\" }",
            &[
                "8:9: a secret has exactly one key, `env`, `file` or `stored`; use token = { env = \"NAME_OF_A_VARIABLE\" } or token = { file = \"/path/to/it\" }",
            ],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "",
            &[
                "4:1: credentials are missing: add token = { env = \"JIRA_TOKEN\" }, or `username` and `password`",
            ],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "username = \"svc\"",
            &["8:12: `password` is missing: `username` needs one"],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "password = { env = \"PW\" }",
            &["8:12: `username` is missing: `password` needs one"],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "username = \"svc\"\ntoken = { env = \"T\" }",
            &["9:9: give either `token`, or `username` and `password`, not both"],
        ),
        (
            "token = { env = \"JIRA_TOKEN\" }",
            "username = \"svc\"\npassword = \"s3cret\"",
            &[
                "9:12: a secret is never written into this file; use password = { env = \"NAME_OF_A_VARIABLE\" } or password = { file = \"/path/to/it\" }",
            ],
        ),
        (
            "connection = \"corp\"",
            "",
            &["9:1: `connection` is missing, as in connection = \"name\""],
        ),
        (
            "target = \"jira\"",
            "target = \"jira\"\nmode = \"liv\"",
            &["12:8: unknown mode `liv`; did you mean `live`? (shadow, live, paused)"],
        ),
        (
            "target = \"jira\"",
            "target = \"jira\"\nusers = 1",
            &[
                "12:9: `users` should be a table that begins with [mapping.users], not a whole number",
            ],
        ),
        (
            "",
            "[mapping.brakes]\ndeactivations = \"of\"\ndeletions = 1\nmembers = \"off\"\n",
            &[
                "13:17: unknown deactivations `of`; did you mean `off`? (off)",
                "14:13: `deletions` should be a table that begins with [mapping.brakes.deletions], not a whole number",
                "15:1: unknown key `members`; there are deactivations, deletions, membership_removals",
            ],
        ),
        (
            "",
            "[mapping.brakes]\ndeactivations = { cont = 1, share = 10, window = \"1s\", group_size = 3 }\n\
             membership_removals = { count = -1, share = \"0.1\", group_size = 0 }\n",
            &[
                "13:19: unknown key `cont`; did you mean `count`?",
                "13:37: `share` should be 0 to 1, as in 0.10 for a tenth",
                "13:50: `window` should be 1m to 7d",
                "13:56: unknown key `group_size`; there are count, share, at_least, window",
                "14:33: `count` should be 0 to 1000000",
                "14:45: `share` should be a part of 1, as in 0.10, not text",
                "14:65: `group_size` should be 1 to 1000000",
            ],
        ),
        (
            "",
            "[[mapping]]\nconnection = \"corp\"\ntarget = \"jira\"\n",
            &["12:1: there is a mapping from `corp` to `jira` in line 9 already"],
        ),
        (
            "",
            "[[connection]]\nname = \"CORP\"\nkind = \"scim\"\n",
            &["13:8: connection `CORP` is in line 2 already"],
        ),
        (
            "",
            "[[target]]\nname = \"jira\"\n",
            &[
                "12:1: `kind` is missing, as in kind = \"jira-dc\"",
                "12:1: `base_url` is missing, as in base_url = \"https://jira.example.com\"",
                "12:1: credentials are missing: add token = { env = \"JIRA_TOKEN\" }, or `username` and `password`",
                "13:8: target `jira` is in line 5 already",
            ],
        ),
        (
            "",
            "[[mappings]]\n",
            &["12:3: unknown key `mappings`; did you mean `mapping`?"],
        ),
        (
            "",
            "[server]\nlisten = 1\n",
            &["12:2: unknown key `server`; there are connection, target, mapping, alerts"],
        ),
        (
            users,
            "scope = ''\nuser_name = 'x'\n",
            &[
                "13:9: `scope` is empty; leave the key out",
                "14:1: unknown key `user_name`; did you mean `username`?",
            ],
        ),
        (
            users,
            "match_by = [\"user\", \"emial\", 1, \"\"]\n",
            &[
                "13:13: unknown match_by `user`; there are username, email",
                "13:21: unknown match_by `emial`; did you mean `email`? (username, email)",
                "13:30: the entries of `match_by` should be text in quotes, not a whole number",
                "13:33: an entry of `match_by` is empty; leave it out",
            ],
        ),
        (
            users,
            "match_by = \"username\"\nadopt = \"yes\"\n",
            &[
                "13:12: `match_by` should be a list in brackets, as in [\"…\", \"…\"], not text",
                "14:9: `adopt` should be true or false, not text",
            ],
        ),
        (
            users,
            "on_delete = \"delete\"\n",
            &["13:13: `on_delete = \"delete\"` needs \"delete\" in `operations`"],
        ),
        (
            users,
            "operations = [\"remove\"]\non_delete = \"purge\"\n",
            &[
                "13:15: unknown operations `remove`; did you mean `rename`? (create, update, rename, deactivate, reactivate, delete)",
                "14:13: unknown on_delete `purge`; there are deactivate, remove-groups, delete, keep",
            ],
        ),
        (
            groups,
            "rewrite = [{ from = \"a\" }, 1]\nfor_all = \"x\"\nfor_new = [1]\nonly = [\"\"]\n",
            &[
                "13:12: `to` is missing, as in to = \"$1\"",
                "13:28: `rewrite` should be a list of tables, each beginning with [[mapping.groups.rewrite]], not a whole number",
                "14:11: `for_all` should be a list in brackets, as in [\"…\", \"…\"], not text",
                "15:12: the entries of `for_new` should be text in quotes, not a whole number",
                "16:9: an entry of `only` is empty; leave it out",
            ],
        ),
        (
            groups,
            "manual = [{ form = \"a\", to = [\"b\"] }, { from = \"a\", matching = \"b\", to = [] }, { from = \"a\", keep_members = 0 }]\n",
            &[
                "13:11: `from` is missing, as in from = \"Engineering\"",
                "13:13: unknown key `form`; did you mean `from`?",
                "13:64: give either `from`, the name of a group, or `matching`, a pattern, not both",
                "13:80: `to` is missing, as in to = [\"developers\"]",
                "13:109: `keep_members` should be true or false, not a whole number",
            ],
        ),
        (
            groups,
            "existing_groups = \"adpot\"\ngroup_attributes = [\"userType\", \"\", 3, { split = 1 }]\n",
            &[
                "13:19: unknown existing_groups `adpot`; did you mean `adopt`? (adopt, skip)",
                "14:33: an entry of `group_attributes` is empty; leave it out",
                "14:37: the entries of `group_attributes` should be text in quotes or tables in braces, not a whole number",
                "14:40: `path` is missing, as in path = \"userType\"",
                "14:50: `split` should be text in quotes, not a whole number",
            ],
        ),
        (
            "kind = \"scim\"",
            "kind = \"scim\"\ngroup_attributes = \"userType\"",
            &[
                "4:20: `group_attributes` should be a list in brackets, as in [\"…\", { … }], not text",
            ],
        ),
        (
            users,
            "on_delete = \"deactivate\"\ndelete_after = \"30d\"\n",
            &["14:16: `delete_after` needs `on_delete = \"delete\"`"],
        ),
        (
            users,
            "on_delete = \"delete\"\noperations = [\"delete\"]\ndelete_after = \"1s\"\n",
            &["15:16: `delete_after` should be 1m to 3650d"],
        ),
        (
            groups,
            "allow = [\" \"]\nkeep_exsting = false\n\"a\\nb\" = 1\n",
            &[
                "13:10: an entry of `allow` is empty; leave it out",
                "14:1: unknown key `keep_exsting`; did you mean `keep_existing`?",
                "15:1: unknown key `a\\nb`; there are only, manual, on_the_fly, create_missing, existing_groups, allow, deny, rewrite, keep_existing, protect, for_all, for_new, group_attributes",
            ],
        ),
    ] {
        let text = if line.is_empty() || line.starts_with('[') {
            format!("{SMALL}{line}{instead}")
        } else {
            assert!(SMALL.contains(line), "{line}");
            SMALL.replacen(line, instead, 1)
        };
        let told = told(&text);
        assert_eq!(told, expected, "\n{text}");
        assert!(!told.concat().contains("s3cret"), "{told:?}");
    }
}

#[test]
fn single_tables_and_plain_values_are_told_apart_from_lists_of_tables() {
    assert_eq!(
        told("connection = 1\n[target]\nname = \"x\"\n"),
        [
            "1:14: `connection` should be a list of tables, each beginning with [[connection]], not a whole number",
            "2:1: `target` should be a list of tables, each beginning with [[target]], not a table",
        ]
    );
    assert_eq!(
        told("mapping = [1]"),
        [
            "1:12: `mapping` should be a list of tables, each beginning with [[mapping]], not a whole number"
        ]
    );
}

#[test]
fn mistakes_of_syntax_have_places_and_show_no_line() {
    for (text, place) in [
        ("[[connection]]\nname = corp\n", "2:8: "),
        ("[[connection\n", "1:13: "),
        ("a = 1\na = 2\n", "2:1: "),
        ("token = \"s3cret\n", "1:"),
        ("token = s3cret s3cret\n", "1:"),
        ("token = { env = s3cret", "1:"),
    ] {
        let told = told(text);
        assert!(told[0].starts_with(place), "{text}: {told:?}");
        assert!(!told.concat().contains("s3cret"), "{told:?}");
    }
}

#[test]
fn a_problem_names_its_file_and_key() {
    let problems = parse("[[mapping]]\n  mod = \"x\"\n").unwrap_err();
    let problem = problems.iter().find(|p| p.key == "mapping.mod").unwrap();
    assert_eq!(
        problem.in_file("usher.toml").to_string(),
        "usher.toml:2:3: unknown key `mod`; did you mean `mode`?"
    );
    let path = std::path::PathBuf::from("/etc/usher.toml");
    assert!(
        problem
            .in_file(&path)
            .to_string()
            .starts_with("/etc/usher.toml:2:3: ")
    );
}

#[test]
fn rules_are_located() {
    let file = parse(EXAMPLE).unwrap();
    let at = |key| {
        let Position { line, column } = file.locate(0, key);
        (line, column)
    };
    assert_eq!(at("users.scope"), (19, 9));
    assert_eq!(at("groups.allow"), (34, 9));
    assert_eq!(at("groups.allow[0]"), (34, 10));
    assert_eq!(at("groups.rewrite[0]"), (36, 12));
    assert_eq!(at("groups.deny[5]"), (35, 8));
    // Keys that are left out: their table, then the mapping.
    assert_eq!(at("users.none"), (18, 1));
    assert_eq!(at("none.none"), (13, 1));
    let Position { line, column } = file.locate_in_connection(0, "group_attributes[0]");
    assert_eq!((line, column), (5, 21));
    assert_eq!(
        file.locate(7, "users.scope"),
        Position { line: 1, column: 1 }
    );
    assert_eq!(
        example().locate(0, "users.scope"),
        Position { line: 1, column: 1 }
    );
    let small = parse(SMALL).unwrap();
    assert_eq!(
        small.locate(0, "users.scope"),
        Position { line: 9, column: 1 }
    );
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_mistake() {
    let text = format!("\u{feff}{}", SMALL.replace('\n', "\r\n"));
    assert_eq!(parse(&text).unwrap(), parse(SMALL).unwrap());
    assert_eq!(
        told(&text.replace("kind = \"scim\"", "kind = 1"))[0][..4],
        *"3:8:"
    );
}

#[test]
fn words_that_come_twice_count_once() {
    let text = format!(
        "{SMALL}[mapping.users]\noperations = [\"create\", \"delete\", \"create\"]\non_delete = \"delete\"\n"
    );
    let users = parse(&text).unwrap().mappings.remove(0).settings.users;
    assert_eq!(users.operations, [Operation::Create, Operation::Delete]);
}

#[test]
fn the_printed_form_is_the_usual_one() {
    let mut file = parse(SMALL).unwrap();
    file.mappings[0].settings.users.scope = Some("a eq \"b\"".to_owned());
    let text = print(&file);
    assert!(
        text.starts_with(
            "[[connection]]\nname = \"corp\"\nkind = \"scim\"\ngroup_attributes = []\n\n[[target]]\nname = \"jira\"\n\
             kind = \"jira-dc\"\nbase_url = \"https://jira.example.com\"\n\
             token = { env = \"JIRA_TOKEN\" }\nconcurrency = 4\ntimeout = \"20s\"\n\n[[mapping]]\n"
        ),
        "{text}"
    );
    assert!(text.contains("scope = 'a eq \"b\"'\n"), "{text}");
    assert_eq!(parse(&print(&example())).unwrap(), example());
    assert_eq!(print(&ConfigFile::default()), "");
}

/// Text that is accepted everywhere, with all that is awkward to quote.
fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z\"'\\\\#=\\[\\] äß\u{7f}\n\t]{0,10}x"
}

fn name() -> impl Strategy<Value = String> {
    "[a-z\"'\\\\#ä]{1,8}"
}

fn secret() -> impl Strategy<Value = SecretRef> {
    prop_oneof![
        "[A-Z_][A-Z0-9_]{0,8}".prop_map(SecretRef::Env),
        "/[a-z'\" ]{0,8}x".prop_map(|path| SecretRef::File(path.into())),
    ]
}

fn date() -> impl Strategy<Value = jiff::civil::Date> {
    (1990..2200_i16, 1..13_i8, 1..29_i8).prop_map(|(y, m, d)| jiff::civil::date(y, m, d))
}

fn target_settings() -> impl Strategy<Value = TargetSettings> {
    let auth = prop_oneof![
        secret().prop_map(TargetAuth::Token),
        (text(), secret())
            .prop_map(|(username, password)| TargetAuth::Basic { username, password }),
    ];
    (
        name(),
        "https?://[a-z]{1,5}(:[1-9][0-9]{0,3})?(/[a-z]{1,4})?",
        (auth, prop::option::of(date())),
        1..33_u32,
        prop::option::of(1..1001_u32),
        1..121_u64,
    )
        .prop_map(
            |(name, base_url, (auth, expires), concurrency, requests_per_second, timeout_s)| {
                TargetSettings {
                    name,
                    kind: TargetKind::JiraDc,
                    base_url,
                    // Only a token can be said to expire.
                    token_expires: expires.filter(|_| matches!(auth, TargetAuth::Token(_))),
                    auth,
                    concurrency,
                    requests_per_second,
                    timeout_s,
                }
            },
        )
}

fn user_rules() -> impl Strategy<Value = UserRules> {
    let all = shape::OPERATIONS
        .iter()
        .map(|(_, o)| *o)
        .collect::<Vec<_>>();
    let texts = || prop::collection::vec(text(), 0..3);
    let on_delete = prop::sample::select(vec![
        OnDelete::Deactivate,
        OnDelete::RemoveGroups,
        OnDelete::Delete,
        OnDelete::Keep,
    ]);
    (
        (prop::option::of(text()), text(), text(), text(), texts()),
        (
            any::<bool>(),
            on_delete,
            prop::sample::subsequence(all, 0..7),
            prop::option::of(60..3650 * 86_400_u64),
        ),
        prop::sample::subsequence(vec![MatchKey::Username, MatchKey::Email], 0..3),
        (prop::option::of(text()), prop::option::of(text())),
    )
        .prop_map(
            |(texts, (adopt, on_delete, mut operations, delete_after_s), match_by, leads)| {
                if on_delete == OnDelete::Delete && !operations.contains(&Operation::Delete) {
                    operations.push(Operation::Delete);
                }
                let (scope, username, display_name, email, protect) = texts;
                let delete_after_s = delete_after_s.filter(|_| on_delete == OnDelete::Delete);
                let (default_project_lead, default_component_lead) = leads;
                UserRules {
                    scope,
                    username,
                    display_name,
                    email,
                    match_by,
                    adopt,
                    operations,
                    on_delete,
                    delete_after_s,
                    protect,
                    default_project_lead,
                    default_component_lead,
                }
            },
        )
}

fn group_attributes() -> impl Strategy<Value = Vec<GroupAttribute>> {
    let attribute = (text(), "[;,| \"']{0,3}").prop_map(|(path, split)| GroupAttribute {
        path: path.trim().to_owned(),
        split,
    });
    prop::collection::vec(attribute, 0..3)
}

fn manual_rule() -> impl Strategy<Value = ManualRule> {
    let source = prop_oneof![
        text().prop_map(SourceNames::From),
        text().prop_map(SourceNames::Matching),
    ];
    let to = prop::collection::vec(text(), 0..3);
    (source, to, any::<bool>(), any::<bool>()).prop_map(
        |(source, to, keep_members, also_on_the_fly)| ManualRule {
            source,
            to,
            keep_members,
            also_on_the_fly,
        },
    )
}

fn group_rules() -> impl Strategy<Value = GroupRules> {
    let texts = || prop::collection::vec(text(), 0..3);
    let rewrite = (text(), text()).prop_map(|(from, to)| RewriteRule { from, to });
    (
        any::<[bool; 4]>(),
        (texts(), texts(), texts(), texts(), texts(), texts()),
        prop::collection::vec(manual_rule(), 0..3),
        prop::collection::vec(rewrite, 0..3),
        group_attributes(),
    )
        .prop_map(|(flags, lists, manual, rewrite, group_attributes)| {
            let [on_the_fly, create_missing, keep_existing, adopt] = flags;
            let (only, allow, deny, protect, for_all, for_new) = lists;
            GroupRules {
                only,
                manual,
                on_the_fly,
                create_missing,
                existing_groups: if adopt {
                    ExistingGroups::Adopt
                } else {
                    ExistingGroups::Skip
                },
                allow,
                deny,
                rewrite,
                keep_existing,
                protect,
                for_all,
                for_new,
                group_attributes,
            }
        })
}

fn pull_settings() -> impl Strategy<Value = PullSettings> {
    let auth = prop_oneof![
        Just(ClientAuth::Secret(SecretRef::Env("IDCS_SECRET".to_owned()))),
        prop::option::of(text()).prop_map(|key_id| ClientAuth::PrivateKey {
            key: SecretRef::File("/run/key.pem".into()),
            key_id,
        }),
    ];
    let words = (
        Just(Grant::ClientCredentials),
        prop::sample::select(vec![PullUsers::All, PullUsers::Pushed]),
    );
    let options = (
        any::<bool>(),
        prop::option::of(text()),
        any::<bool>(),
        1..100_u32,
    );
    (auth, words, options).prop_map(
        |(auth, (grant, users), (only_granted, groups, timed, number))| PullSettings {
            base_url: "https://idcs.example.com".to_owned(),
            client_id: "c1".to_owned(),
            auth,
            grant,
            app_id: only_granted.then(|| "a1".to_owned()),
            only_granted,
            users,
            groups,
            schedule: timed.then(|| "30m".to_owned()),
            full_every_s: u64::from(number),
            requests_per_second: number,
        },
    )
}

fn brake(group_size: std::ops::Range<u32>) -> impl Strategy<Value = Option<Brake>> {
    let brake = (
        0..1000_u32,
        0..10_001_u32,
        0..9_u32,
        60..604_801_u64,
        group_size,
    );
    prop::option::of(
        brake.prop_map(|(count, share, at_least, window_s, group_size)| Brake {
            count,
            share: Share::new(share),
            at_least,
            window_s,
            group_size,
        }),
    )
}

fn brakes() -> impl Strategy<Value = Brakes> {
    (brake(0..1), brake(0..1), brake(1..99)).prop_map(
        |(deactivations, deletions, membership_removals)| Brakes {
            deactivations,
            deletions,
            membership_removals,
        },
    )
}

#[test]
fn a_connection_that_is_read_is_checked_as_a_whole() {
    let with = |lines: &str| {
        let text = SMALL.replacen(
            "kind = \"scim\"",
            &format!("kind = \"oracle-idcs\"\n{lines}"),
            1,
        );
        parse(&text).map(|file| file.connections[0].pull.clone())
    };
    let told = |lines: &str| {
        let problems = with(lines).unwrap_err();
        problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let least = "base_url = \"https://idcs.example.com\"\nclient_id = \"c\"\nclient_secret = { env = \"S\" }\n";
    let pull = with(least).unwrap().unwrap();
    assert_eq!((pull.requests_per_second, pull.full_every_s), (2, 21_600));
    assert_eq!(with("").unwrap(), None);
    assert!(told(&format!("{least}only_granted = true")).contains("needs `app_id`"));
    assert!(told(&format!("{least}schedule = \"often\"")).contains("\"30m\""));
    assert!(told(&format!("{least}private_key = {{ file = \"k\" }}")).contains("not both"));
    assert!(told("schedule = \"30m\"").contains("`base_url` is missing"));
    let scim = SMALL.replacen("kind = \"scim\"", "kind = \"scim\"\nschedule = \"30m\"", 1);
    let problems = parse(&scim).unwrap_err();
    assert!(
        problems[0]
            .to_string()
            .contains("needs kind = \"oracle-idcs\""),
        "{problems:?}"
    );
}

fn config_file() -> impl Strategy<Value = ConfigFile> {
    let kind = prop::sample::select(vec![
        ConnectionKind::OracleIdcs,
        ConnectionKind::Scim,
        ConnectionKind::EntraId,
        ConnectionKind::Okta,
    ]);
    let pull = prop::option::of(pull_settings());
    let connection = (name(), kind, group_attributes(), pull).prop_map(
        |(name, kind, group_attributes, pull)| ConnectionSettings {
            group_attributes,
            pull: pull.filter(|_| kind == ConnectionKind::OracleIdcs),
            precedence: (kind == ConnectionKind::Okta).then_some(7),
            ..ConnectionSettings::new(name, kind)
        },
    );
    let mode = prop::sample::select(vec![Mode::Shadow, Mode::Live, Mode::Paused]);
    (
        connection,
        target_settings(),
        prop::option::of((
            (mode, prop::collection::vec(text(), 0..3)),
            user_rules(),
            group_rules(),
            brakes(),
        )),
    )
        .prop_map(|(connection, target, rules)| {
            let mapping = rules.map(|((mode, live_for), users, groups, brakes)| MappingEntry {
                connection: connection.name.clone(),
                target: target.name.clone(),
                settings: MappingSettings {
                    drift: if live_for.is_empty() {
                        OnDrift::Accept
                    } else {
                        OnDrift::Push
                    },
                    mode,
                    live_for,
                    users,
                    groups,
                    brakes,
                },
            });
            ConfigFile::new(
                vec![connection],
                vec![target],
                mapping.into_iter().collect(),
            )
        })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(file in config_file()) {
        let text = print(&file);
        prop_assert_eq!(parse(&text), Ok(file), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_damaged_file_makes_it_panic(at in 0..EXAMPLE.len(), length in 0..20_usize, put in "[\\[\\]{}\"'=.\n# 0a]{0,4}") {
        let end = (at + length).min(EXAMPLE.len());
        let text = format!("{}{put}{}", &EXAMPLE[..at], &EXAMPLE[end..]);
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!(problem.line <= text.split('\n').count(), "{problem}");
            }
        }
    }
}

#[test]
fn deep_nesting_is_refused_without_exhausting_the_stack() {
    assert!(!told(&format!("a = {}", "[".repeat(100_000))).is_empty());
    assert!(!told(&format!("{} = 1", vec!["a"; 10_000].join("."))).is_empty());
}

#[test]
fn alerts_are_read_and_printed_and_mistakes_are_told() {
    let all = r#"
[alerts]
no_push = "24h"
backlog = "off"

[alerts.webhook]
url = { env = "HOOK" }
token = { file = "/run/secrets/hook" }

[alerts.mail]
server = "smtp.example.com"
tls = "tls"
username = "usher"
password = { env = "SMTP" }
from = "usher@example.com"
to = ["ops@example.com", "boss@example.com"]
"#;
    let file = parse(all).unwrap();
    let alerts = file.alerts.clone().unwrap();
    assert_eq!(alerts.no_push_s, Some(86_400));
    assert_eq!(alerts.backlog_s, None);
    assert_eq!(alerts.unreachable_s, Some(600));
    assert_eq!(alerts.mail.as_ref().unwrap().port, 465);
    assert_eq!(parse(&print(&file)).unwrap(), file);
    assert!(parse("").unwrap().alerts.is_none());

    for (wrong, message) in [
        (
            "[alerts]\nno_push = \"5s\"",
            "`no_push` should be 1m to 28d",
        ),
        ("[alerts]\nnopush = \"1h\"", "did you mean `no_push`?"),
        (
            "[alerts.webhook]\nurl = \"https://s3cret\"",
            "a secret is never written into this file",
        ),
        ("[alerts.webhook]", "`url` is missing"),
        (
            "[alerts.mail]\nserver = \"x\"\nfrom = \"a@b\"\nto = []",
            "`to` is empty",
        ),
        (
            "[alerts.mail]\nserver = \"x\"\nfrom = \"ab\"\nto = [\"a@b\"]",
            "`from` should be an address",
        ),
        (
            "[alerts.mail]\nserver = \"x\"\nfrom = \"a@b\"\nto = [\"a@b\"]\nusername = \"u\"",
            "`password` is missing",
        ),
        (
            "[alerts.mail]\nfrom = \"a@b\"\nto = [\"a@b\"]",
            "`server` is missing",
        ),
        ("[alerts.mail]\ntls = \"ssl\"", "starttls, tls, none"),
    ] {
        let problems = parse(wrong).unwrap_err();
        let text = format!("{problems:?}");
        assert!(
            text.contains(message) && !text.contains("s3cret"),
            "{wrong}: {text}"
        );
    }
}
