//! Tells administrators what they should know: once when it begins, once when it is over.
//!
//! What is found is written down before it is told, and struck off after, so that nothing is forgotten by a crash;
//! a message may come twice by one. One server of those that share a database looks and tells.

mod judge;
mod send;

use std::collections::HashMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use judge::judge;

use crate::clock::{Clock, Micros};
use crate::domain::{AlertSettings, Secrets, new_id};
use crate::metrics::Metrics;
use crate::store::alerts::{self, Row};
use crate::store::{self, Store, figures};

/// How often it is looked whether something is wrong.
const LOOK: Duration = Duration::from_secs(30);
/// How long another server waits before it takes over.
const LEASE: Micros = 90 * 1_000_000;
/// The first pause after a message that could not be sent, and the longest.
const PAUSE: (Micros, Micros) = (30 * 1_000_000, 15 * 60 * 1_000_000);

/// A way to an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// A line of the log: always there.
    Log,
    /// A POST.
    Webhook,
    /// A mail.
    Mail,
}

impl Channel {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Webhook => "webhook",
            Self::Mail => "mail",
        }
    }

    /// The ways that are set up.
    pub fn of(settings: &AlertSettings) -> Vec<Self> {
        let mut all = vec![Self::Log];
        all.extend(settings.webhook.as_ref().map(|_| Self::Webhook));
        all.extend(settings.mail.as_ref().map(|_| Self::Mail));
        all
    }
}

/// Looks and tells.
pub struct Watch {
    store: Store,
    clock: Clock,
    metrics: Metrics,
    secrets: Secrets,
    owner: String,
    /// After failures: how long to wait, and until when.
    pauses: HashMap<Channel, (Micros, Micros)>,
}

impl Watch {
    /// A watch that counts what it sends.
    pub fn new(store: Store, clock: Clock, metrics: Metrics, secrets: Secrets) -> Self {
        Self {
            store,
            clock,
            metrics,
            secrets,
            owner: new_id(),
            pauses: HashMap::new(),
        }
    }

    /// Watches until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            if let Err(error) = self.look().await {
                tracing::error!(%error, "cannot see whether something is wrong");
            }
        }
    }

    /// Looks once, and tells what is new and what is over. Returns how many messages were sent.
    pub async fn look(&mut self) -> Result<usize, store::Error> {
        let now = self.clock.now();
        let owner = self.owner.clone();
        let leads = self
            .store
            .write(move |tx| alerts::lead(tx, "alerts", &owner, now, now + LEASE))
            .await?;
        if !leads {
            return Ok(0);
        }
        let figures = self.store.read(figures::read).await?;
        let settings = figures.configuration.alerts.clone().unwrap_or_default();
        let found = judge(&figures, &settings, now);
        let channels = Channel::of(&settings);
        let names: Vec<&'static str> = channels.iter().map(|channel| channel.as_str()).collect();
        self.store
            .write(move |tx| -> Result<(), store::Error> {
                if !alerts::note(tx, &names, &found, now)? {
                    tx.discard();
                }
                Ok(())
            })
            .await?;
        let rows = self.store.read(alerts::all).await?;
        let mut sent = 0;
        for channel in channels {
            let news: Vec<Row> = rows
                .iter()
                .filter(|row| row.channel == channel.as_str())
                .filter(|row| row.told_at.is_none() || row.ended_at.is_some())
                .cloned()
                .collect();
            if !news.is_empty() && self.tell(channel, &settings, news, now).await? {
                sent += 1;
            }
        }
        Ok(sent)
    }

    async fn tell(
        &mut self,
        channel: Channel,
        settings: &AlertSettings,
        news: Vec<Row>,
        now: Micros,
    ) -> Result<bool, store::Error> {
        if self
            .pauses
            .get(&channel)
            .is_some_and(|(_, until)| *until > now)
        {
            return Ok(false);
        }
        match send::send(channel, settings, &self.secrets, &news).await {
            Ok(()) => {
                self.pauses.remove(&channel);
                self.metrics.alert(channel.as_str(), "sent");
                self.store
                    .write(move |tx| alerts::told(tx, &news, now))
                    .await?;
                Ok(true)
            }
            Err(error) => {
                let last = self.pauses.get(&channel).map_or(0, |(pause, _)| *pause);
                let pause = (last * 2).clamp(PAUSE.0, PAUSE.1);
                self.pauses.insert(channel, (pause, now + pause));
                self.metrics.alert(channel.as_str(), "failed");
                tracing::error!(
                    channel = channel.as_str(),
                    error,
                    "an alert could not be sent"
                );
                Ok(false)
            }
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// Sends a message that is about nothing through every channel that is set up, and says of each what came of it.
pub async fn test(
    settings: &AlertSettings,
    secrets: &Secrets,
    now: Micros,
) -> Vec<(Channel, Result<(), String>)> {
    let mut outcomes = Vec::new();
    for channel in Channel::of(settings) {
        outcomes.push((channel, test_of(channel, settings, secrets, now).await));
    }
    outcomes
}

async fn test_of(
    channel: Channel,
    settings: &AlertSettings,
    secrets: &Secrets,
    now: Micros,
) -> Result<(), String> {
    let row = Row {
        key: "test".to_owned(),
        channel: channel.as_str().to_owned(),
        stage: 0,
        text: "this is a test, asked for by an administrator: nothing is wrong".to_owned(),
        since: now,
        told_at: None,
        ended_at: None,
    };
    send::send(channel, settings, secrets, &[row]).await
}
