//! The emulated products behind one face, for what is to hold at all of them at once.

use std::collections::{BTreeMap, BTreeSet};

use usher::domain::{TargetKind, TargetSettings};
use usher::outbound::Credential;
use usher_emulators::Server;
use usher_emulators::bitbucket::{Bitbucket, BitbucketOptions};
use usher_emulators::confluence::{Confluence, ConfluenceOptions};
use usher_emulators::crowd::{Crowd, CrowdOptions};
use usher_emulators::guard::{Guard, GuardOptions};
use usher_emulators::jira::{Jira, JiraOptions};

/// The group that gives the licence for Bitbucket, in which it puts everybody new.
const LICENSED: &str = "stash-users";

/// An emulated product.
pub enum Product {
    Jira(Jira),
    Confluence(Confluence),
    Bitbucket(Bitbucket),
    Crowd(Crowd),
    Guard(Guard),
}

/// An account at any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Whether it may sign in.
    pub active: bool,
    pub display_name: String,
    pub email: String,
    /// Without those that the product puts everybody in.
    pub groups: BTreeSet<String>,
}

impl Product {
    /// One of each kind. New people are in no groups but those that they are put into, and the one that gives the
    /// licence for Bitbucket.
    pub fn one_of_each() -> Vec<Self> {
        let jira = Jira::start(JiraOptions {
            default_group: None,
            ..JiraOptions::default()
        });
        let confluence = Confluence::start(ConfluenceOptions {
            default_group: None,
            ..ConfluenceOptions::default()
        });
        let guard = Guard::start(GuardOptions {
            verified_domains: vec!["example.com".into(), "example.org".into()],
            ..GuardOptions::default()
        });
        vec![
            Self::Jira(jira.unwrap()),
            Self::Confluence(confluence.unwrap()),
            Self::Bitbucket(Bitbucket::start(BitbucketOptions::default()).unwrap()),
            Self::Crowd(Crowd::start(CrowdOptions::default()).unwrap()),
            Self::Guard(guard.unwrap()),
        ]
    }

    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Jira(_) => TargetKind::JiraDc,
            Self::Confluence(_) => TargetKind::ConfluenceDc,
            Self::Bitbucket(_) => TargetKind::BitbucketDc,
            Self::Crowd(_) => TargetKind::Crowd,
            Self::Guard(_) => TargetKind::AtlassianGuard,
        }
    }

    /// What its target is called.
    pub fn name(&self) -> &'static str {
        self.kind().as_str()
    }

    pub fn url(&self) -> String {
        match self {
            Self::Jira(it) => it.url(),
            Self::Confluence(it) => it.url(),
            Self::Bitbucket(it) => it.url(),
            Self::Crowd(it) => it.url(),
            Self::Guard(it) => it.url(),
        }
    }

    pub fn server(&self) -> &Server {
        match self {
            Self::Jira(it) => it,
            Self::Confluence(it) => it,
            Self::Bitbucket(it) => it,
            Self::Crowd(it) => it,
            Self::Guard(it) => it,
        }
    }

    /// By name, without the one that Usher signs in with.
    pub fn accounts(&self) -> BTreeMap<String, Account> {
        let mut all = BTreeMap::new();
        let mut note = |name, active, display_name, email, groups: Vec<String>| {
            let groups = groups.into_iter().filter(|name| name != LICENSED).collect();
            let account = Account {
                active,
                display_name,
                email,
                groups,
            };
            all.insert(name, account);
        };
        match self {
            Self::Jira(it) => {
                for u in it.users() {
                    note(u.name, u.active, u.display_name, u.email, u.groups);
                }
            }
            Self::Confluence(it) => {
                for u in it.users() {
                    note(u.name, u.active, u.display_name, u.email, u.groups);
                }
            }
            Self::Bitbucket(it) => {
                for u in it.users() {
                    note(u.name, u.licensed, u.display_name, u.email, u.groups);
                }
            }
            Self::Crowd(it) => {
                for u in it.users() {
                    note(u.name, u.active, u.display_name, u.email, u.groups);
                }
            }
            Self::Guard(it) => {
                for u in it.users() {
                    note(u.name, u.active, u.display_name, u.email, u.groups);
                }
            }
        }
        all.remove("admin");
        all
    }

    /// The parts of a configuration for a live target of its kind, mapped from the connection `corp`: `target` are
    /// further lines of the one, `mapping` the tables of the other.
    pub fn configuration(&self, target: &str, mapping: &str) -> String {
        let (name, url) = (self.name(), self.url());
        let secret = format!("{{ env = \"{}\" }}", self.variable());
        let credential = match sign_in(self.kind()) {
            (Some(username), _) => format!("username = \"{username}\"\npassword = {secret}"),
            (None, _) => format!("token = {secret}"),
        };
        format!(
            r#"
[[target]]
name = "{name}"
kind = "{name}"
base_url = "{url}"
{credential}
{target}

[[mapping]]
connection = "corp"
target = "{name}"
mode = "live"
{mapping}
"#
        )
    }

    /// The environment variable that the configuration names, and what is in it.
    pub fn environment(&self) -> (String, String) {
        (self.variable(), sign_in(self.kind()).1)
    }

    fn variable(&self) -> String {
        format!("SECRET_{}", self.name().to_uppercase().replace('-', "_"))
    }
}

/// What Usher signs in with at the emulated product of that target.
pub fn credential(settings: &TargetSettings) -> Credential {
    match sign_in(settings.kind) {
        (Some(username), secret) => Credential::Basic {
            username,
            password: secret.into(),
        },
        (None, secret) => Credential::Bearer(secret.into()),
    }
}

/// A user name, unless it is a token, and the secret.
fn sign_in(kind: TargetKind) -> (Option<String>, String) {
    let named = |(name, password)| (Some(name), password);
    match kind {
        TargetKind::JiraDc => (None, JiraOptions::default().token),
        TargetKind::ConfluenceDc => (None, ConfluenceOptions::default().token),
        TargetKind::BitbucketDc => named(BitbucketOptions::default().admin),
        TargetKind::Crowd => named(CrowdOptions::default().application),
        TargetKind::AtlassianGuard => (None, GuardOptions::default().key),
    }
}
