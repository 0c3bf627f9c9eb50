//! How long a login waits: for whoever was read a moment ago, with a domain that answers in 50 ms, and with one that is
//! dead; against the real program, an emulated domain and an emulated Jira.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;
use usher_emulators::idcs::Person;
use usher_emulators::idcs_domain::{DomainOptions, IdcsDomain};
use usher_emulators::jira::{Jira, JiraOptions};

use crate::process::{self, Server};

/// How many people log in, each once a measurement.
const PEOPLE: usize = 200;
/// Longer than what was read of a person is good for.
const OLD: Duration = Duration::from_millis(5_500);

/// What was measured.
pub(crate) struct Waits {
    pub(crate) what: &'static str,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Measures; `folder` is for the database.
pub(crate) async fn measure(folder: &Path) -> anyhow::Result<Vec<Waits>> {
    let domain = IdcsDomain::start(DomainOptions::default())?;
    let jira = Jira::start(JiraOptions::default())?;
    let group = domain.add_group("jira-users");
    for number in 0..PEOPLE {
        let id = domain.add_user(&Person::new(&name(number), "User", &number.to_string()));
        domain.add_members(&group, &[&id]);
    }
    let database = process::sqlite_url(folder, "login.db");
    let (secret, token) = (folder.join("secret"), folder.join("token"));
    std::fs::write(&secret, DomainOptions::default().client_secret)?;
    std::fs::write(&token, JiraOptions::default().token)?;
    let file = folder.join("login.toml");
    std::fs::write(
        &file,
        format!(
            "[[connection]]\nname = \"bench\"\nkind = \"oracle-idcs\"\nbase_url = \"{}\"\n\
             client_id = \"usher-client\"\nclient_secret = {{ file = \"{}\" }}\nrequests_per_second = 1000\n\n\
             [[target]]\nname = \"jira\"\nkind = \"jira-dc\"\nbase_url = \"{}\"\ntoken = {{ file = \"{}\" }}\n\n\
             [[mapping]]\nconnection = \"bench\"\ntarget = \"jira\"\nmode = \"live\"\n\n\
             [mapping.groups]\non_the_fly = true\ncreate_missing = true\n",
            domain.url(),
            secret.display(),
            jira.url(),
            token.display()
        ),
    )?;
    process::run(&database, &["apply", file.to_str().context("not UTF-8")?])?;
    let hook = process::run(&database, &["token", "create", "bench", "--hook"])?;
    let usher = Server::usher(&database, folder).await?;
    process::run(&database, &["sync", "bench", "--full"])?;
    let door = Door {
        url: format!("http://{}/hooks/login", usher.address),
        hook,
    };
    for number in 0..PEOPLE {
        door.until_in(number).await?;
    }
    let mut all = vec![door.all("read less than five seconds ago").await?];
    domain.set_latency(Duration::from_millis(50));
    tokio::time::sleep(OLD).await;
    all.push(door.all("the domain answers in 50 ms").await?);
    domain.set_down(true);
    tokio::time::sleep(OLD).await;
    all.push(door.all("the domain is dead, the mirror answers").await?);
    Ok(all)
}

fn name(number: usize) -> String {
    format!("user{number}@example.com")
}

/// The hook, and what opens it.
struct Door {
    url: String,
    hook: String,
}

impl Door {
    async fn log_in(
        &self,
        client: &reqwest::Client,
        number: usize,
    ) -> anyhow::Result<(u16, Duration)> {
        let body = json!({"user": name(number), "targets": ["jira"]}).to_string();
        let began = Instant::now();
        let answer = client
            .post(&self.url)
            .header("X-Usher-Token", &self.hook)
            .body(body)
            .send()
            .await?;
        let status = answer.status().as_u16();
        answer.bytes().await?;
        Ok((status, began.elapsed()))
    }

    /// Until the person has an account.
    #[expect(
        clippy::disallowed_methods,
        reason = "a client without limits asks as a proxy would"
    )]
    async fn until_in(&self, number: usize) -> anyhow::Result<()> {
        let client = reqwest::Client::new();
        for _ in 0..100 {
            if self.log_in(&client, number).await?.0 == 200 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::bail!("{} does not get in", name(number))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a client without limits asks as a proxy would"
    )]
    async fn all(&self, what: &'static str) -> anyhow::Result<Waits> {
        let client = reqwest::Client::new();
        let mut taken = Vec::with_capacity(PEOPLE);
        for number in 0..PEOPLE {
            let (status, time) = self.log_in(&client, number).await?;
            ensure!(
                status == 200,
                "{what}: {} is answered {status}",
                name(number)
            );
            taken.push(time);
        }
        taken.sort();
        Ok(Waits {
            what,
            p50: taken[PEOPLE / 2],
            p99: taken[PEOPLE * 99 / 100],
        })
    }
}
