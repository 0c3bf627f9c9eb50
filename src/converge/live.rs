//! The configuration as the engine uses it: compiled rules and connected targets, renewed when it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::domain::{ConnectionId, Mode, TargetId, TargetSettings};
use crate::mapping::Rules;
use crate::store::settings::Configuration;
use crate::targets::Target;

/// Connects to a target. Injected, so that the engine does not know where secrets come from; the error is
/// shown to administrators.
pub type Connect = Arc<dyn Fn(&TargetSettings) -> Result<Arc<dyn Target>, String> + Send + Sync>;

/// A target with the rules that lead to it.
pub(super) struct LiveTarget {
    /// Identifier.
    pub id: TargetId,
    /// Settings.
    pub settings: TargetSettings,
    /// The connected client, or why there is none.
    pub client: Result<Arc<dyn Target>, String>,
    /// Compiled rules by connection.
    pub rules: BTreeMap<ConnectionId, Rules>,
    /// Whether all of them compiled.
    pub complete: bool,
    /// How many items are at the target at the same time, where they are worked on in batches.
    pub slots: Arc<Semaphore>,
}

impl LiveTarget {
    /// Product and name, for counting.
    pub(super) fn labels(&self) -> (&str, &str) {
        (self.settings.kind.as_str(), &self.settings.name)
    }

    /// Whether one request puts several people into a group.
    pub(super) fn takes_many(&self) -> bool {
        let client = self.client.as_ref();
        client.is_ok_and(|client| client.capabilities().members_a_request > 1)
    }

    /// The connections whose items may be claimed: all but the paused ones.
    pub(super) fn claimable(&self) -> Vec<String> {
        self.rules
            .iter()
            .filter(|(_, rules)| rules.settings().mode != Mode::Paused)
            .map(|(id, _)| id.0.clone())
            .collect()
    }
}

/// Everything, as of one generation of the configuration.
pub(super) struct Live {
    pub(super) generation: i64,
    pub(super) targets: Vec<Arc<LiveTarget>>,
}

impl Live {
    /// Compiles and connects. Rules that do not compile cannot be stored (see `app::apply`), so a failure
    /// here is one mapping's: it is logged, and that mapping rests.
    pub(super) fn build(configuration: Configuration, connect: &Connect) -> Self {
        let mut targets = Vec::new();
        for target in configuration.targets {
            let mut rules = BTreeMap::new();
            let mut complete = true;
            for mapping in configuration
                .mappings
                .iter()
                .filter(|m| m.target_id == target.id)
            {
                match Rules::of(mapping, &configuration.connections) {
                    Ok(compiled) => {
                        rules.insert(mapping.connection_id.clone(), compiled);
                    }
                    Err(e) => {
                        complete = false;
                        tracing::error!(
                            target_name = %target.settings.name,
                            key = %e.key,
                            error = %e.text,
                            "the rules of a mapping do not compile; it rests"
                        );
                    }
                }
            }
            let client = connect(&target.settings);
            if let Err(error) = &client {
                tracing::error!(target_name = %target.settings.name, %error, "cannot connect to a target");
            }
            let slots = usize::try_from(target.settings.concurrency).unwrap_or(1);
            targets.push(Arc::new(LiveTarget {
                slots: Arc::new(Semaphore::new(slots.max(1))),
                id: target.id,
                settings: target.settings,
                client,
                rules,
                complete,
            }));
        }
        Self {
            generation: configuration.generation,
            targets,
        }
    }
}
