//! The products beside Jira: a Confluence and a Crowd that get the same people from the same pushes.

use std::sync::Arc;

use anyhow::Context;
use usher_emulators::confluence::{Confluence, ConfluenceOptions, ConfluenceUser};
use usher_emulators::crowd::{Crowd, CrowdOptions, CrowdUser};

use crate::cast::{Cast, Seen};
use crate::screen::Screen;
use crate::stage::{Usher, write_private};

/// Where Confluence puts every new account by itself.
const CONFLUENCE_DEFAULT: &str = "confluence-users";

/// Both of them.
pub(crate) struct Beside {
    confluence: Confluence,
    crowd: Crowd,
}

impl Beside {
    pub(crate) fn start(screen: &Arc<Screen>) -> anyhow::Result<Self> {
        let confluence = Confluence::start(ConfluenceOptions::default())
            .context("cannot start the emulated Confluence")?;
        let crowd =
            Crowd::start(CrowdOptions::default()).context("cannot start the emulated Crowd")?;
        let listener = Arc::clone(screen);
        confluence.on_event(Box::new(move |event| listener.changed("Confluence", event)));
        let listener = Arc::clone(screen);
        crowd.on_event(Box::new(move |event| listener.changed("Crowd", event)));
        Ok(Self { confluence, crowd })
    }

    /// Their part of the configuration; the secrets go into files beside it.
    pub(crate) fn configuration(&self, usher: &Usher) -> anyhow::Result<String> {
        let (application, password) = CrowdOptions::default().application;
        let secrets = [
            ("confluence-token", ConfluenceOptions::default().token),
            ("crowd-password", password),
        ];
        let mut files = Vec::new();
        for (name, secret) in &secrets {
            let file = usher.file(name);
            write_private(&file, secret)?;
            // As a TOML string, whatever is in the folder's name.
            files.push(serde_json::json!(file.display().to_string()));
        }
        let targets = [
            (
                "confluence",
                "confluence-dc",
                self.confluence.url(),
                format!("token = {{ file = {} }}", files[0]),
            ),
            (
                "crowd",
                "crowd",
                self.crowd.url(),
                format!(
                    "username = \"{application}\"\npassword = {{ file = {} }}",
                    files[1]
                ),
            ),
        ];
        let parts = targets.map(|(name, kind, url, credential)| {
            format!(
                r#"
[[target]]
name = "{name}"
kind = "{kind}"
base_url = "{url}"
{credential}
timeout = "2s"

[[mapping]]
connection = "corp"
target = "{name}"
mode = "live"

[mapping.users]
username = 'userName | before("@") | lower'
protect = ["admin"]

[mapping.groups]
on_the_fly = true
create_missing = true
"#
            )
        });
        Ok(parts.concat())
    }

    /// Everything in which they are not as IDCS wants them.
    pub(crate) fn differences(&self, cast: &Cast) -> Vec<String> {
        let mut differences = cast.differences_at(
            "Confluence",
            |member| {
                // It cannot rename: whoever has another login by now keeps the first one there.
                let user = self.confluence.user(&member.first_login);
                user.map(
                    |ConfluenceUser {
                         display_name,
                         email,
                         active,
                         groups,
                         ..
                     }| Seen {
                        key: None,
                        display_name,
                        email,
                        active,
                        groups,
                    },
                )
            },
            CONFLUENCE_DEFAULT,
        );
        differences.extend(cast.differences_at(
            "Crowd",
            |member| {
                let user = self.crowd.user(&member.login());
                user.map(
                    |CrowdUser {
                         display_name,
                         email,
                         active,
                         groups,
                         ..
                     }| Seen {
                        key: None,
                        display_name,
                        email,
                        active,
                        groups,
                    },
                )
            },
            "",
        ));
        differences
    }

    /// Requests that were to change something.
    pub(crate) fn writes(&self) -> usize {
        self.confluence.writes() + self.crowd.writes()
    }

    /// How many accounts they have, and how many were made twice.
    pub(crate) fn counts(&self) -> [(&'static str, usize, usize); 2] {
        let confluence: Vec<String> = self
            .confluence
            .users()
            .into_iter()
            .map(|u| u.name)
            .collect();
        let crowd: Vec<String> = self.crowd.users().into_iter().map(|u| u.name).collect();
        let twice = |names: &[String], made: &dyn Fn(&str) -> usize| {
            names.iter().filter(|name| made(name) > 1).count()
        };
        [
            (
                "accounts in Confluence",
                confluence.len(),
                twice(&confluence, &|name| self.confluence.creations(name)),
            ),
            (
                "accounts in Crowd",
                crowd.len(),
                twice(&crowd, &|name| self.crowd.creations(name)),
            ),
        ]
    }
}
