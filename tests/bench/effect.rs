//! How long a pushed change takes until the product has it: the real program, and an emulated Jira that answers in
//! 20 ms.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use usher_emulators::jira::{Jira, JiraOptions};

use crate::figures::at;
use crate::http;
use crate::people::People;
use crate::process::{self, Server};

/// How long Jira takes for each request.
const LATENCY: Duration = Duration::from_millis(20);
/// How long each rate lasts.
const LASTS: Duration = Duration::from_secs(10);
/// Each is changed once in a measurement, at the highest rate.
const PEOPLE: usize = 2_000;
/// How long is waited for the last change.
const PATIENCE: Duration = Duration::from_secs(120);
/// Requests at the same time while the accounts are made.
const QUICK: usize = 32;

/// What was measured.
pub(crate) struct Effect {
    pub(crate) a_second: usize,
    pub(crate) concurrency: usize,
    pub(crate) p50: Duration,
    pub(crate) p95: Duration,
    pub(crate) p99: Duration,
}

/// When the display name of each number was seen in Jira.
type Seen = Arc<Mutex<HashMap<usize, Instant>>>;

/// Measures at each of these rates, with each of these limits; `folder` is for the database.
pub(crate) async fn measure(
    folder: &Path,
    rates: &[usize],
    limits: &[usize],
) -> anyhow::Result<Vec<Effect>> {
    let jira = Jira::start(JiraOptions::default())?;
    let database = process::sqlite_url(folder, "effect.db");
    let secret = folder.join("token");
    std::fs::write(&secret, JiraOptions::default().token)?;
    let apply = |concurrency: usize| {
        let file = folder.join("effect.toml");
        std::fs::write(
            &file,
            format!(
                "[[connection]]\nname = \"bench\"\nkind = \"scim\"\n\n\
                 [[target]]\nname = \"jira\"\nkind = \"jira-dc\"\nbase_url = \"{}\"\n\
                 token = {{ file = \"{}\" }}\nconcurrency = {concurrency}\n\n\
                 [[mapping]]\nconnection = \"bench\"\ntarget = \"jira\"\nmode = \"live\"\n",
                jira.url(),
                secret.display()
            ),
        )?;
        process::run(&database, &["apply", file.to_str().context("not UTF-8")?])
    };
    apply(QUICK)?;
    let token = process::run(&database, &["token", "create", "bench"])?;
    let usher = Server::usher(&database, folder).await?;
    let people = People::new(token);
    people.fill_up(&usher, PEOPLE).await?;
    let began = Instant::now();
    while jira.users().len() <= PEOPLE {
        ensure!(began.elapsed() < PATIENCE, "the accounts are not there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    jira.set_latency(LATENCY);
    let seen = Seen::default();
    jira.on_event(Box::new({
        let seen = seen.clone();
        move |event| {
            let number = event
                .rsplit_once(' ')
                .and_then(|(_, word)| word.parse().ok());
            if let Some(number) = number {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.entry(number).or_insert_with(Instant::now);
            }
        }
    }));
    let mut all = Vec::new();
    let mut turn = 0;
    for concurrency in limits {
        apply(*concurrency)?;
        for a_second in rates {
            let mut waits = changes(&usher, &people, *a_second, &mut turn, &seen).await?;
            waits.sort();
            all.push(Effect {
                a_second: *a_second,
                concurrency: *concurrency,
                p50: at(&waits, 0.50).unwrap_or_default(),
                p95: at(&waits, 0.95).unwrap_or_default(),
                p99: at(&waits, 0.99).unwrap_or_default(),
            });
        }
    }
    Ok(all)
}

/// Pushes changes at this rate, whether or not earlier ones are through, and waits for all of them.
async fn changes(
    usher: &Server,
    people: &People,
    a_second: usize,
    turn: &mut usize,
    seen: &Seen,
) -> anyhow::Result<Vec<Duration>> {
    let count = usize::try_from(LASTS.as_secs())? * a_second;
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..count {
        *turn += 1;
        let (number, address) = (*turn, usher.address);
        let due = began + Duration::from_secs(1) * u32::try_from(n)? / u32::try_from(a_second)?;
        let call = people.rename(number, number);
        tasks.spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            let sent = Instant::now();
            http::once(address, &call).await?;
            anyhow::Ok((number, sent))
        });
    }
    let mut sent = Vec::with_capacity(count);
    while let Some(done) = tasks.join_next().await {
        sent.push(done??);
    }
    let waiting = Instant::now();
    loop {
        let seen = {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let waits: Option<Vec<Duration>> = sent
                .iter()
                .map(|(number, sent)| seen.get(number).map(|seen| *seen - *sent))
                .collect();
            waits
        };
        if let Some(waits) = seen {
            return Ok(waits);
        }
        ensure!(waiting.elapsed() < PATIENCE, "a change did not arrive");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
