//! How everything stands, in one reading: for metrics and alerts.

use std::collections::BTreeMap;

use diesel::dsl::max;
use diesel::prelude::*;
use jiff::civil::Date;

use super::admins::{self, ApiToken};
use super::brakes::{self, Tripped};
use super::conn::{AnyConn, Tx};
use super::error::Error;
use super::pause;
use super::schema::{connection, run};
use super::settings::{self, Configuration};
use super::tokens::{self, Credential};
use super::work::{self, Depth, TargetStatus};
use crate::clock::Micros;
use crate::domain::ConnectionId;

/// How a connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionFigures {
    /// Identifier.
    pub id: ConnectionId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: Micros,
    /// The last write over SCIM, to the minute.
    pub pushed_at: Option<Micros>,
    /// The last run that has ended, those about one user aside.
    pub last_run: Option<LastRun>,
    /// When a run last ended with each result.
    pub ended: BTreeMap<String, Micros>,
}

/// A run that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct LastRun {
    /// Identifier.
    pub id: String,
    /// `done`, `void` or `failed`.
    pub state: String,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// Why it is void or failed.
    pub message: Option<String>,
    /// What it did (JSON).
    pub counts: String,
}

/// How everything stands.
#[derive(Debug, Clone)]
pub struct Figures {
    /// The configuration.
    pub configuration: Configuration,
    /// Each target.
    pub targets: Vec<TargetStatus>,
    /// For how many people nothing is written because somebody stopped it.
    pub paused_people: i64,
    /// Each queue by state.
    pub depths: Vec<Depth>,
    /// Each connection.
    pub connections: Vec<ConnectionFigures>,
    /// What identity providers show.
    pub credentials: Vec<Credential>,
    /// What programs show.
    pub api_tokens: Vec<ApiToken>,
    /// Targets and the ends of their tokens, where they are stated.
    pub token_ends: Vec<(String, Date)>,
    /// Brakes that tripped.
    pub tripped: Vec<Tripped>,
}

/// Reads them.
pub fn read(conn: &mut AnyConn) -> Result<Figures, Error> {
    let depths = work::depths(conn)?;
    let targets = work::status_with(conn, &depths)?;
    let configuration = settings::load(conn)?;
    Ok(Figures {
        paused_people: pause::paused_users(conn)?,
        targets,
        depths,
        connections: connections(conn)?,
        credentials: tokens::list(conn)?,
        api_tokens: admins::tokens(conn)?,
        token_ends: configuration
            .targets
            .iter()
            .filter_map(|t| Some((t.settings.name.clone(), t.settings.token_expires?)))
            .collect(),
        tripped: brakes::tripped(conn)?,
        configuration,
    })
}

fn connections(conn: &mut AnyConn) -> Result<Vec<ConnectionFigures>, Error> {
    let all: Vec<(String, String, i64, Option<i64>)> = connection::table
        .order(connection::name)
        .select((
            connection::id,
            connection::name,
            connection::created_at,
            connection::pushed_at,
        ))
        .load(conn)?;
    all.into_iter()
        .map(|(id, name, created_at, pushed_at)| {
            let last_run = run::table
                .filter(run::connection_id.eq(&id))
                .filter(run::kind.ne("user"))
                .filter(run::state.ne("running"))
                .order(run::number.desc())
                .select((
                    run::id,
                    run::state,
                    run::ended_at,
                    run::message,
                    run::counts,
                ))
                .first(conn)
                .optional()?;
            let ended: Vec<(String, Option<i64>)> = run::table
                .filter(run::connection_id.eq(&id))
                .filter(run::kind.ne("user"))
                .filter(run::ended_at.is_not_null())
                .group_by(run::state)
                .select((run::state, max(run::ended_at)))
                .load(conn)?;
            Ok(ConnectionFigures {
                id: ConnectionId(id),
                name,
                created_at,
                pushed_at,
                last_run,
                ended: ended
                    .into_iter()
                    .filter_map(|(state, at)| Some((state, at?)))
                    .collect(),
            })
        })
        .collect()
}

/// Notes that an identity provider wrote over SCIM.
pub fn note_push(tx: &mut Tx<'_>, id: &ConnectionId, now: Micros) -> Result<(), Error> {
    diesel::update(connection::table.find(id.as_str()))
        .set(connection::pushed_at.eq(now))
        .execute(tx.conn())?;
    Ok(())
}
