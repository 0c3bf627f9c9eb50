//! What pages and API share about alerts.

use super::State;
use super::problem::Problem;
use crate::alerts;
use crate::configure;
use crate::domain::AlertSettings;
use crate::store::settings;

/// Of what administrators are told, and how: as it was stated, or as it is where nobody did.
pub(super) async fn stored(state: &State) -> Result<AlertSettings, Problem> {
    let configuration = state.store.read(settings::load).await?;
    Ok(configuration.alerts.unwrap_or_default())
}

/// Sends a test message through every channel. Says of each how it went.
pub(super) async fn test(
    state: &State,
) -> Result<Vec<(&'static str, Result<(), String>)>, Problem> {
    let settings = stored(state).await?;
    let secrets = configure::secrets(state.vault.clone());
    let outcomes = alerts::test(&settings, &secrets, state.clock.now()).await;
    Ok(outcomes
        .into_iter()
        .map(|(channel, outcome)| (channel.as_str(), outcome))
        .collect())
}
