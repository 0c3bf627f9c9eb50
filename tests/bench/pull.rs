//! Reading a domain: a first full run, one without a change, an incremental one, beside a bare client that fetches
//! and parses the same pages and does nothing with them.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use usher::clock::Clock;
use usher_emulators::idcs::Person;
use usher_emulators::idcs_domain::{DomainOptions, IdcsDomain};

use crate::process;

/// How old what is in a domain is, in microseconds.
const AGE_US: i64 = 30 * 60 * 1_000_000;

/// How large a domain is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) users: usize,
    pub(crate) groups: usize,
    pub(crate) memberships: usize,
}

/// One `usher sync`.
#[derive(Debug)]
pub(crate) struct Sync {
    pub(crate) took: Duration,
    pub(crate) peak_kib: Option<u64>,
    pub(crate) counts: Value,
}

/// A domain in this process, and the database of the `usher` that reads it.
pub(crate) struct Reading {
    domain: IdcsDomain,
    database: String,
    ids: Vec<String>,
}

impl Reading {
    /// Fills a domain and applies a connection that reads it.
    pub(crate) fn new(folder: &Path, database: &str, size: Size) -> anyhow::Result<Self> {
        let domain = IdcsDomain::start(DomainOptions::default())?;
        // What is there has not changed for so long that a run of what changed lately does not see it.
        let now = Clock::System.now();
        domain.set_now(now - AGE_US);
        let ids: Vec<String> = (0..size.users)
            .map(|number| {
                let mut person = Person::new(
                    &format!("user{number}@example.com"),
                    "User",
                    &number.to_string(),
                );
                person.recovery_email = Some(format!("user{number}@home.example"));
                domain.add_user(&person)
            })
            .collect();
        let each = size.memberships / size.groups.max(1);
        for group in 0..size.groups {
            let id = domain.add_group(&format!("group-{group}"));
            let members: Vec<&str> = (0..each)
                .filter_map(|it| ids.get((group * each + it) % ids.len()))
                .map(String::as_str)
                .collect();
            domain.add_members(&id, &members);
        }
        domain.set_now(now);
        let file = folder.join("pull.toml");
        std::fs::write(
            &file,
            format!(
                "[[connection]]\nname = \"bench\"\nkind = \"oracle-idcs\"\nbase_url = \"{}\"\n\
                 client_id = \"usher-client\"\nclient_secret = {{ env = \"BENCH_SECRET\" }}\n\
                 requests_per_second = 10000\n",
                domain.url()
            ),
        )?;
        process::run(database, &["apply", file.to_str().context("not UTF-8")?])?;
        Ok(Self {
            domain,
            database: database.to_owned(),
            ids,
        })
    }

    /// Changes so many users.
    pub(crate) fn change(&self, count: usize) {
        for id in self.ids.iter().take(count) {
            self.domain.edit_user(id, |it| it.display_name.push('x'));
        }
    }

    /// Runs `usher sync` to its end, watching its memory.
    #[expect(
        clippy::disallowed_methods,
        reason = "the child is looked at now and then; nothing else runs here"
    )]
    pub(crate) fn sync(&self, full: bool) -> anyhow::Result<Sync> {
        self.domain.clear_requests();
        let mut arguments = vec!["sync", "bench", "--json"];
        if full {
            arguments.push("--full");
        }
        let started = Instant::now();
        let mut child = process::usher(&self.database, &arguments)
            .env("BENCH_SECRET", "usher-client-secret")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut peak_kib = None;
        while child.try_wait()?.is_none() {
            peak_kib = process::peak_kib(child.id()).max(peak_kib);
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = started.elapsed();
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("usher sync failed");
        }
        let report: Value = serde_json::from_slice(&output.stdout)?;
        Ok(Sync {
            took,
            peak_kib,
            counts: report["counts"].clone(),
        })
    }

    /// Fetches and parses the very pages that the last run read, one after the other.
    #[expect(
        clippy::disallowed_methods,
        reason = "a client without limits is the baseline"
    )]
    pub(crate) async fn bare(&self) -> anyhow::Result<Duration> {
        let requests = self.domain.requests();
        let started = Instant::now();
        let client = reqwest::Client::new();
        let url = self.domain.url();
        let token: Value = client
            .post(format!("{url}/oauth2/v1/token"))
            .basic_auth("usher-client", Some("usher-client-secret"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials&scope=urn:opc:idm:__myscopes__")
            .send()
            .await?
            .json()
            .await?;
        let token = token["access_token"].as_str().context("no token")?;
        for request in requests.iter().filter(|it| it.method == "GET") {
            let answer = client
                .get(format!("{url}{}", request.path))
                .query(&request.query)
                .bearer_auth(token)
                .send()
                .await?;
            answer.error_for_status()?.json::<Value>().await?;
        }
        Ok(started.elapsed())
    }
}
