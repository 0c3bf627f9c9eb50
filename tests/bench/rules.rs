//! What a changed rule costs: everybody is looked at again, and only who differs reaches the target.
//!
//! In this process, with a target in memory: what is measured is the engine and the database, not a product.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use usher::app::{self, By, Parts};
use usher::clock::{Clock, Micros};
use usher::converge::{self, Asking, Ended, Options};
use usher::domain::TargetSettings;
use usher::intake::Source;
use usher::scim::{Dialect, ResourceType};
use usher::store::audit::Query;
use usher::store::{Store, settings, work};
use usher::targets::Target;
use usher::targets::memory::Memory;

use crate::process;

/// How many people are pushed at the same time.
const AT_ONCE: usize = 64;

/// One in a hundred is a contractor, one in ten a trainee.
fn user_type(n: usize) -> &'static str {
    match n {
        n if n % 100 == 0 => "Contractor",
        n if n % 10 == 1 => "Trainee",
        _ => "Employee",
    }
}

/// An installation whose people all have their accounts.
pub(crate) struct Installation {
    parts: Parts,
    clock: Clock,
    memory: Memory,
    users: usize,
}

/// What a change came to.
#[derive(Debug)]
pub(crate) struct Cost {
    /// Until it was stored and everybody marked.
    pub(crate) applied: Duration,
    /// Until nobody was left to look at.
    pub(crate) converged: Duration,
    /// Operations at the target.
    pub(crate) writes: usize,
    /// Reads of the target.
    pub(crate) reads: usize,
}

impl Installation {
    /// Pushes so many people and gives them accounts.
    pub(crate) async fn new(database: &str, users: usize) -> anyhow::Result<Self> {
        let memory = Memory::new();
        let target = memory.clone();
        let connect =
            Arc::new(move |_: &TargetSettings| Ok(Arc::new(target.clone()) as Arc<dyn Target>));
        let clock = Clock::System;
        let store = Store::open(&database.parse().map_err(anyhow::Error::new)?)?;
        let parts = app::assemble(
            store,
            clock.clone(),
            connect,
            None,
            None,
            &Options::default(),
        );
        let installation = Self {
            parts,
            clock,
            memory,
            users,
        };
        installation.apply("").await?;
        installation.push().await?;
        installation.converge().await?;
        let there = installation.memory.users().len();
        ensure!(there == users, "{there} accounts of {users}");
        Ok(installation)
    }

    async fn push(&self) -> anyhow::Result<()> {
        let stored = self.parts.store.read(settings::load).await?;
        let connection = stored.connections.first().context("no connection")?;
        let mut tasks = tokio::task::JoinSet::new();
        for first in 0..AT_ONCE {
            let (intake, users) = (self.parts.intake.clone(), self.users);
            let source = Source {
                connection: connection.id.clone(),
                dialect: Dialect::Rfc,
                cause: "bench".to_owned(),
            };
            tasks.spawn(async move {
                for n in (first..users).step_by(AT_ONCE) {
                    let body = json!({
                        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
                        "userName": format!("user{n}"),
                        "displayName": format!("User {n}"),
                        "userType": user_type(n),
                        "emails": [{"value": format!("user{n}@example.com"), "primary": true}],
                    });
                    let made = intake
                        .create(source.clone(), ResourceType::User, body)
                        .await;
                    made?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Works as a server does until nobody is left, those included who were put off for a moment.
    async fn converge(&self) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (engine, stop) = (self.parts.engine.clone(), stop.clone());
            async move { engine.run(stop).await }
        });
        loop {
            let status = self.parts.store.read(work::status).await?;
            ensure!(status.iter().all(|target| target.failed == 0));
            if status.iter().all(|target| target.pending == 0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        stop.cancel();
        running.await?;
        Ok(())
    }

    async fn apply(&self, users: &str) -> anyhow::Result<usize> {
        let text = format!(
            "[[connection]]\nname = \"bench\"\nkind = \"scim\"\n\
             [[target]]\nname = \"jira\"\nkind = \"jira-dc\"\nbase_url = \"http://127.0.0.1:1\"\n\
             token = {{ env = \"NONE\" }}\n\
             [[mapping]]\nconnection = \"bench\"\ntarget = \"jira\"\nmode = \"live\"\n\
             [mapping.users]\n{users}\n[mapping.brakes]\ndeactivations = \"off\"\n"
        );
        let by = By {
            actor: "bench",
            cause: "usher apply",
        };
        let place = (Path::new("usher.toml"), text.as_str());
        let report = app::apply_text(&self.parts.store, &self.clock, place, by, false).await?;
        Ok(report.marked)
    }

    /// Applies other rules for users and works until all are looked at.
    pub(crate) async fn change(&self, users: &str) -> anyhow::Result<Cost> {
        self.memory.clear_writes();
        let reads = self.memory.reads();
        let begun = Instant::now();
        let marked = self.apply(users).await?;
        let applied = begun.elapsed();
        ensure!(marked == self.users, "{marked} marked of {}", self.users);
        let begun = Instant::now();
        self.converge().await?;
        Ok(Cost {
            applied,
            converged: begun.elapsed(),
            writes: self.memory.writes().len(),
            reads: self.memory.reads() - reads,
        })
    }

    /// Gives back what was taken since then.
    async fn undo(&self, since: Micros) -> anyhow::Result<Undone> {
        let store = &self.parts.store;
        let query = Query {
            since: Some(since),
            ..Query::default()
        };
        let begun = Instant::now();
        let tally = converge::foresee_undo(store, &query, &mut |_| {}).await?;
        let foreseen = begun.elapsed();
        let asking = Asking {
            by: "bench".to_owned(),
            through: "bench".to_owned(),
        };
        let begun = Instant::now();
        let now = self.clock.now();
        let ended = converge::undo(store, now, &query, &asking, tally.people).await?;
        ensure!(ended == Ended::Begun(tally), "{ended:?}");
        let begun = begun.elapsed();
        self.memory.clear_writes();
        self.converge().await?;
        ensure!(self.memory.writes().len() as u64 == tally.accounts);
        Ok(Undone {
            people: tally.people,
            foreseen,
            begun,
        })
    }
}

/// What giving back came to.
#[derive(Debug)]
pub(crate) struct Undone {
    /// How many people got their access back.
    pub(crate) people: u64,
    /// Until it was said who they are.
    pub(crate) foreseen: Duration,
    /// Until it was stored.
    pub(crate) begun: Duration,
}

/// What [`measure`] found.
#[derive(Debug)]
pub(crate) struct Costs {
    /// Of a change that concerns nobody.
    pub(crate) nobody: Cost,
    /// Of one that concerns one in a hundred.
    pub(crate) some: Cost,
    /// Of undoing a change that took access from one in ten.
    pub(crate) undone: Undone,
    /// By how much memory grew meanwhile at the most, in KiB. With the target in it.
    pub(crate) grown_kib: Option<u64>,
}

/// Measures a change that concerns nobody, one that concerns one in a hundred, and one that is undone.
pub(crate) async fn measure(folder: &Path, users: usize) -> anyhow::Result<Costs> {
    let database = process::sqlite_url(folder, &format!("rules-{users}.db"));
    let installation = Installation::new(&database, users).await?;
    // From here on the peak is counted anew, where the system can do that.
    let is_reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = process::peak_kib(std::process::id());
    let nobody = installation
        .change("scope = 'userType ne \"Robot\"'")
        .await?;
    ensure!(nobody.writes == 0, "{nobody:?}");
    let some = installation
        .change("scope = 'userType ne \"Contractor\"'")
        .await?;
    ensure!(some.writes == users.div_ceil(100), "{some:?}");
    let since = installation.clock.now();
    let wrong = installation
        .change("scope = 'userType eq \"Employee\"'")
        .await?;
    ensure!(wrong.writes == users / 10, "{wrong:?}");
    let undone = installation.undo(since).await?;
    ensure!(undone.people == users as u64 / 10, "{undone:?}");
    let after = process::peak_kib(std::process::id());
    let grown = before
        .zip(after)
        .map(|(before, after)| after.saturating_sub(before));
    Ok(Costs {
        nobody,
        some,
        undone,
        grown_kib: grown.filter(|_| is_reset),
    })
}
