//! What pages and API share about undoing.

use super::State;
use super::problem::Problem;
use crate::auth::seat::Actor;
use crate::converge::{self, Asking, Back, Chosen, Ended, Tally, Unclear};

/// What an undo comes to.
pub(super) struct Foreseen {
    /// In all.
    pub(super) tally: Tally,
    /// The first of them.
    pub(super) people: Vec<Back>,
}

impl From<Unclear> for Problem {
    fn from(unclear: Unclear) -> Self {
        match unclear {
            Unclear::Choice(text) => Self::new(400, text),
            Unclear::Store(error) => error.into(),
        }
    }
}

/// Says what would be given back, with the first so many people.
pub(super) async fn foresee(
    state: &State,
    chosen: &Chosen,
    shown: usize,
) -> Result<Foreseen, Problem> {
    let (query, _) = chosen.resolve(&state.store).await?;
    let mut people = Vec::new();
    let mut each = |back: Back| {
        if people.len() < shown {
            people.push(back);
        }
    };
    let tally = converge::foresee_undo(&state.store, &query, &mut each).await?;
    Ok(Foreseen { tally, people })
}

/// Gives it back, if it is about so many people.
pub(super) async fn begin(
    state: &State,
    actor: &Actor,
    chosen: &Chosen,
    confirmed: u64,
) -> Result<Tally, Problem> {
    let (query, through) = chosen.resolve(&state.store).await?;
    let asking = Asking {
        by: actor.name.clone(),
        through,
    };
    let now = state.clock.now();
    match converge::undo(&state.store, now, &query, &asking, confirmed).await? {
        Ended::Begun(tally) => {
            state.intake.wake();
            Ok(tally)
        }
        Ended::Otherwise(tally) => Err(Problem::new(
            409,
            format!(
                "it is about {} people now, not {confirmed}: nothing was done; look at it again",
                tally.people
            ),
        )),
    }
}
