//! The products beside Jira, which get the same people from the same pushes: a Confluence, a Bitbucket, a Crowd, and
//! Atlassian Guard, from which the Cloud products take their people.

use std::sync::Arc;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use usher::clock::Clock;
use usher_emulators::Server;
use usher_emulators::bitbucket::{Bitbucket, BitbucketOptions};
use usher_emulators::confluence::{Confluence, ConfluenceOptions};
use usher_emulators::crowd::{Crowd, CrowdOptions};
use usher_emulators::guard::{Guard, GuardOptions};

use crate::cast::{Cast, Seen, Ways};
use crate::screen::{BITBUCKET, CONFLUENCE, CROWD, GUARD, Screen};
use crate::stage::{Usher, write_private};

/// How long the API key of Guard is going to live, in days: near enough to its end that Usher warns.
const KEY_LIVES: i64 = 20;

/// All of them.
pub(crate) struct Beside {
    confluence: Confluence,
    bitbucket: Bitbucket,
    crowd: Crowd,
    guard: Guard,
}

/// How many accounts a product has, and how many of them were made twice.
pub(crate) struct Counts {
    pub(crate) product: &'static str,
    pub(crate) accounts: usize,
    pub(crate) twice: usize,
}

/// What the configuration says of a product.
struct Target {
    name: &'static str,
    kind: &'static str,
    url: String,
    /// Without it the secret is a token.
    username: Option<String>,
    secret: String,
    /// The rule for user names.
    usernames: &'static str,
    protected: &'static str,
    /// Further lines.
    more: String,
}

const LOGIN: &str = r#"userName | before("@") | lower"#;

impl Beside {
    pub(crate) fn start(screen: &Arc<Screen>) -> anyhow::Result<Self> {
        let cannot = |product| move || format!("cannot start the emulated {product}");
        let all = Self {
            confluence: Confluence::start(ConfluenceOptions::default())
                .with_context(cannot(CONFLUENCE))?,
            bitbucket: Bitbucket::start(BitbucketOptions::default())
                .with_context(cannot(BITBUCKET))?,
            crowd: Crowd::start(CrowdOptions::default()).with_context(cannot(CROWD))?,
            guard: Guard::start(GuardOptions::default()).with_context(cannot(GUARD))?,
        };
        let listener = |product| -> Box<dyn Fn(&str) + Send + Sync> {
            let screen = Arc::clone(screen);
            Box::new(move |event| screen.changed(product, event))
        };
        all.confluence.on_event(listener(CONFLUENCE));
        all.bitbucket.on_event(listener(BITBUCKET));
        all.crowd.on_event(listener(CROWD));
        all.guard.on_event(listener(GUARD));
        Ok(all)
    }

    fn servers(&self) -> [&Server; 4] {
        [&self.confluence, &self.bitbucket, &self.crowd, &self.guard]
    }

    /// Their part of the configuration; the secrets go into files beside it.
    pub(crate) fn configuration(&self, usher: &Usher) -> anyhow::Result<String> {
        let now = Timestamp::from_microsecond(Clock::System.now())?;
        let end = (now + SignedDuration::from_hours(24 * KEY_LIVES)).strftime("%Y-%m-%d");
        let (administrator, password) = BitbucketOptions::default().admin;
        let (application, application_password) = CrowdOptions::default().application;
        let targets = [
            Target {
                name: "confluence",
                kind: "confluence-dc",
                url: self.confluence.url(),
                username: None,
                secret: ConfluenceOptions::default().token,
                usernames: LOGIN,
                protected: "admin",
                more: String::new(),
            },
            Target {
                name: "bitbucket",
                kind: "bitbucket-dc",
                url: self.bitbucket.url(),
                username: Some(administrator),
                secret: password,
                usernames: LOGIN,
                protected: "admin",
                more: String::new(),
            },
            Target {
                name: "crowd",
                kind: "crowd",
                url: self.crowd.url(),
                username: Some(application),
                secret: application_password,
                usernames: LOGIN,
                protected: "admin",
                more: String::new(),
            },
            Target {
                name: "cloud",
                kind: "atlassian-guard",
                url: self.guard.url(),
                username: None,
                secret: GuardOptions::default().key,
                usernames: "userName | lower",
                protected: "admin@*",
                more: format!("token_expires = \"{end}\""),
            },
        ];
        let parts: anyhow::Result<Vec<String>> =
            targets.into_iter().map(|it| it.written(usher)).collect();
        Ok(parts?.concat())
    }

    /// Everything in which they are not as IDCS wants them.
    pub(crate) fn differences(&self, cast: &Cast) -> Vec<String> {
        let mut all = cast.differences_at(
            Ways {
                product: CONFLUENCE,
                default_group: "confluence-users",
                leavers_keep_groups: true,
            },
            // It cannot rename: whoever has another login by now keeps the first one there.
            |member| {
                let user = self.confluence.user(&member.first_login)?;
                Some(Seen {
                    key: None,
                    display_name: user.display_name,
                    email: user.email,
                    active: user.active,
                    groups: user.groups,
                })
            },
        );
        all.extend(cast.differences_at(
            Ways {
                product: BITBUCKET,
                default_group: "stash-users",
                // It has no inactive accounts: it is the groups that make the difference.
                leavers_keep_groups: false,
            },
            |member| {
                let user = self.bitbucket.user(&member.login())?;
                Some(Seen {
                    key: None,
                    display_name: user.display_name,
                    email: user.email,
                    active: user.licensed,
                    groups: user.groups,
                })
            },
        ));
        all.extend(cast.differences_at(
            Ways {
                product: CROWD,
                default_group: "",
                leavers_keep_groups: true,
            },
            |member| {
                let user = self.crowd.user(&member.login())?;
                Some(Seen {
                    key: None,
                    display_name: user.display_name,
                    email: user.email,
                    active: user.active,
                    groups: user.groups,
                })
            },
        ));
        all.extend(cast.differences_at(
            Ways {
                product: GUARD,
                default_group: "",
                leavers_keep_groups: true,
            },
            |member| {
                let user = self.guard.user(&member.person.user_name)?;
                Some(Seen {
                    key: None,
                    display_name: user.display_name,
                    email: user.email,
                    active: user.active,
                    groups: user.groups,
                })
            },
        ));
        all
    }

    /// Requests that were to change something.
    pub(crate) fn writes(&self) -> usize {
        self.servers().iter().map(|server| server.writes()).sum()
    }

    /// Whether somebody who left may sign in to Bitbucket, or is in any group there.
    pub(crate) fn has_access_to_bitbucket(&self, login: &str) -> bool {
        let user = self.bitbucket.user(login);
        user.is_none_or(|user| user.licensed || !user.groups.is_empty())
    }

    pub(crate) fn counts(&self) -> [Counts; 4] {
        [
            counts(
                CONFLUENCE,
                self.confluence.users().into_iter().map(|user| user.name),
                |name| self.confluence.creations(name),
            ),
            counts(
                BITBUCKET,
                self.bitbucket.users().into_iter().map(|user| user.name),
                |name| self.bitbucket.creations(name),
            ),
            counts(
                CROWD,
                self.crowd.users().into_iter().map(|user| user.name),
                |name| self.crowd.creations(name),
            ),
            counts(
                GUARD,
                self.guard.users().into_iter().map(|user| user.name),
                |name| self.guard.creations(name),
            ),
        ]
    }
}

fn counts(
    product: &'static str,
    names: impl Iterator<Item = String>,
    made: impl Fn(&str) -> usize,
) -> Counts {
    let names: Vec<String> = names.collect();
    Counts {
        product,
        accounts: names.len(),
        twice: names.iter().filter(|name| made(name) > 1).count(),
    }
}

impl Target {
    /// As the file has it.
    fn written(&self, usher: &Usher) -> anyhow::Result<String> {
        let file = usher.file(&format!("{}-secret", self.name));
        write_private(&file, &self.secret)?;
        // As a TOML string, whatever is in the folder's name.
        let file = json!(file.display().to_string());
        let credential = match &self.username {
            Some(username) => {
                format!("username = \"{username}\"\npassword = {{ file = {file} }}")
            }
            None => format!("token = {{ file = {file} }}"),
        };
        let Self {
            name,
            kind,
            url,
            usernames,
            protected,
            more,
            ..
        } = self;
        Ok(format!(
            r#"
[[target]]
name = "{name}"
kind = "{kind}"
base_url = "{url}"
{credential}
{more}
timeout = "2s"

[[mapping]]
connection = "corp"
target = "{name}"
mode = "live"

[mapping.users]
username = '{usernames}'
protect = ["{protected}"]

[mapping.groups]
on_the_fly = true
create_missing = true
"#
        ))
    }
}
