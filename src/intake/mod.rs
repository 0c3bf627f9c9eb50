//! The one door into the mirror. Push, pull and login all come through here.
//!
//! Each call changes the mirror and marks the work that follows from it in one transaction: what is
//! acknowledged is on disk, and so is the knowledge that targets may be out of step. A call that changes
//! nothing writes nothing and marks nothing.

mod error;
mod members;
pub mod pull;

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Notify;

pub use self::error::Error;
use self::members::Affected;
use crate::clock::{Clock, Micros};
use crate::domain::{ConnectionId, ConnectionKind, UserId};
use crate::scim::patch::PatchOp;
use crate::scim::resource::Change;
use crate::scim::{self, Dialect, Doc, ResourceType};
use crate::store::bell::Bell;
use crate::store::work::Priority;
use crate::store::{Store, Stored, Tx, groups, users, work};

/// Who changes the mirror, and why.
#[derive(Debug, Clone)]
pub struct Source {
    /// The tenant: nothing of another one can be reached.
    pub connection: ConnectionId,
    /// How its input is to be understood.
    pub dialect: Dialect,
    /// What set it off, for the audit: the request, the run, the person.
    pub cause: String,
}

/// How the input of such a connection is to be understood.
pub fn dialect(kind: ConnectionKind) -> Dialect {
    match kind {
        ConnectionKind::OracleIdcs => Dialect::Idcs,
        ConnectionKind::Scim => Dialect::Rfc,
        ConnectionKind::EntraId => Dialect::EntraId,
        ConnectionKind::Okta => Dialect::Okta,
    }
}

/// A change of a resource that exists.
#[derive(Debug, Clone)]
pub enum Edit {
    /// RFC 7644 section 3.5.1.
    Put(Value),
    /// RFC 7644 section 3.5.2.
    Patch(Vec<PatchOp>),
}

/// A resource that is to be stored.
enum New {
    User(users::Prepared),
    Group(Doc),
}

/// What a write made of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The resource.
    pub stored: Stored<String>,
    /// Whether it may have members, or be one: a user who was just created is in no group.
    pub may_have_links: bool,
}

/// What a caller asks of the version of a resource before it is changed (RFC 9110 section 13.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// It is one of these.
    pub if_match: Option<Versions>,
    /// It is none of these.
    pub if_none_match: Option<Versions>,
}

/// Versions of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Versions {
    /// Whichever it has.
    Any,
    /// These.
    These(Vec<i64>),
}

impl Versions {
    /// Whether this version is among them.
    pub fn hold(&self, version: i64) -> bool {
        match self {
            Self::Any => true,
            Self::These(versions) => versions.contains(&version),
        }
    }
}

/// The door.
#[derive(Debug, Clone)]
pub struct Intake {
    store: Store,
    clock: Clock,
    wake: Arc<Notify>,
    bell: Bell,
}

impl Intake {
    /// `wake` is notified after each change, so that the engine need not wait for its next look.
    pub fn new(store: Store, clock: Clock, wake: Arc<Notify>) -> Self {
        Self {
            store,
            clock,
            wake,
            bell: Bell::default(),
        }
    }

    /// Rings for other servers after each change, once it hangs.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Lets the engine of this server look at once, and rings for nobody.
    pub fn waker(&self) -> impl Fn() + Send + 'static {
        let wake = self.wake.clone();
        move || wake.notify_one()
    }

    /// Lets the engine look at once: somebody marked work.
    pub fn wake(&self) {
        self.wake.notify_one();
        self.bell.ring();
    }

    /// Takes in a new resource.
    pub async fn create(
        &self,
        source: Source,
        rt: ResourceType,
        body: Value,
    ) -> Result<Written, Error> {
        let Change { doc, members } = scim::resource::parse_create(rt, source.dialect, body)?;
        let may_have_links = !members.is_empty();
        // A user's columns are made here, and its document is dropped here: what the writing thread does costs every
        // other write time.
        let new = match rt {
            ResourceType::User => New::User(users::prepare(&doc)?),
            ResourceType::Group => New::Group(doc),
        };
        let now = self.now();
        let stored = self
            .store
            .write(move |tx| -> Result<Stored<String>, Error> {
                let mut affected = Affected::default();
                let stored = match &new {
                    New::User(user) => {
                        let stored = users::insert(tx, &source.connection, user, now)?;
                        members::edit_groups_of(
                            tx,
                            &source,
                            &stored.id,
                            &members,
                            now,
                            &mut affected,
                        )?;
                        affected.user(&stored.id);
                        stored
                    }
                    New::Group(doc) => {
                        let stored = groups::insert(tx, &source.connection, doc, now)?;
                        members::edit_members_of(tx, &source, &stored.id, &members, &mut affected)?;
                        stored
                    }
                };
                affected.mark(tx, &source, now)?;
                Ok(stored)
            })
            .await?;
        self.wake();
        Ok(Written {
            stored,
            may_have_links,
        })
    }

    /// Changes a resource.
    pub async fn modify(
        &self,
        source: Source,
        rt: ResourceType,
        id: String,
        edit: Edit,
        preconditions: Option<Preconditions>,
    ) -> Result<Written, Error> {
        let now = self.now();
        let stored = self
            .store
            .write(move |tx| -> Result<Stored<String>, Error> {
                let locked = lock(tx, &source, rt, &id, preconditions.as_ref())?;
                let change = match &edit {
                    Edit::Put(body) => {
                        scim::resource::apply_put(rt, source.dialect, &locked.doc, body.clone())?
                    }
                    Edit::Patch(ops) => scim::patch::apply(rt, source.dialect, &locked.doc, ops)?,
                };
                let mut affected = Affected::default();
                let doc_changed = change.doc != locked.doc;
                let rows_changed = match rt {
                    ResourceType::User => members::edit_groups_of(
                        tx,
                        &source,
                        &id,
                        &change.members,
                        now,
                        &mut affected,
                    )?,
                    ResourceType::Group => {
                        members::edit_members_of(tx, &source, &id, &change.members, &mut affected)?
                    }
                };
                if !doc_changed && !rows_changed {
                    tx.discard();
                    let mut stored = locked.into_text()?;
                    stored.version -= 1;
                    return Ok(stored);
                }
                let stored = match rt {
                    ResourceType::User => {
                        let before = scim::resource::keys(rt, &locked.doc).active;
                        let after = scim::resource::keys(rt, &change.doc).active;
                        if before && !after {
                            affected.leaver(&id);
                        } else {
                            affected.user(&id);
                        }
                        users::save(tx, &locked, &change.doc, now)?
                    }
                    ResourceType::Group => {
                        if doc_changed {
                            // A new name may mean another target group, or none.
                            affected.everyone_below(&id);
                        }
                        groups::save(tx, &locked, &change.doc, now)?
                    }
                };
                affected.mark(tx, &source, now)?;
                Ok(stored)
            })
            .await?;
        self.wake();
        Ok(Written {
            stored,
            may_have_links: true,
        })
    }

    /// Takes a resource out of the mirror. A user stays as a tombstone until every target has converged.
    pub async fn delete(
        &self,
        source: Source,
        rt: ResourceType,
        id: String,
        preconditions: Option<Preconditions>,
    ) -> Result<(), Error> {
        let now = self.now();
        self.store
            .write(move |tx| -> Result<(), Error> {
                let locked = lock(tx, &source, rt, &id, preconditions.as_ref())?;
                match rt {
                    ResourceType::User => {
                        users::bury(tx, &locked, now)?;
                        crate::store::source::revoke(tx, &source.connection, &id)?;
                        let user = UserId(id.clone());
                        work::mark(
                            tx,
                            &source.connection,
                            &user,
                            Priority::Leaver,
                            &source.cause,
                            now,
                        )?;
                    }
                    ResourceType::Group => {
                        work::mark_below(
                            tx,
                            &source.connection,
                            &id,
                            Priority::Leaver,
                            &source.cause,
                            now,
                        )?;
                        groups::delete(tx, &locked)?;
                    }
                }
                Ok(())
            })
            .await?;
        self.wake();
        Ok(())
    }

    /// Puts what is pending of a user ahead of everything else: somebody waits for it.
    pub async fn hurry(&self, user: &UserId) -> Result<(), Error> {
        let (user, now) = (user.clone(), self.clock.now());
        let hurried = self
            .store
            .write(move |tx| -> Result<usize, Error> {
                let hurried = work::hurry(tx, &user, now)?;
                if hurried == 0 {
                    tx.discard();
                }
                Ok(hurried)
            })
            .await?;
        if hurried > 0 {
            self.wake();
        }
        Ok(())
    }

    /// SCIM shows milliseconds, and a filter on `meta.lastModified` compares what was shown.
    fn now(&self) -> Micros {
        let now = self.clock.now();
        now - now.rem_euclid(1000)
    }
}

/// Locks a resource of the caller's tenant and checks its version.
fn lock(
    tx: &mut Tx<'_>,
    source: &Source,
    rt: ResourceType,
    id: &str,
    preconditions: Option<&Preconditions>,
) -> Result<Stored, Error> {
    let locked = match rt {
        ResourceType::User => users::lock(tx, &source.connection, id)?,
        ResourceType::Group => groups::lock(tx, &source.connection, id)?,
    };
    let Some(locked) = locked else {
        return Err(scim::Error::not_found(format!("{} {id} does not exist", rt.name())).into());
    };
    let version = locked.version - 1;
    let refused = preconditions.is_some_and(|stated| {
        let holds = |versions: &Versions| versions.hold(version);
        stated.if_match.as_ref().is_some_and(|v| !holds(v))
            || stated.if_none_match.as_ref().is_some_and(holds)
    });
    if refused {
        return Err(scim::Error::precondition_failed(format!(
            "{} {id} is at version {version}; read it again before it is changed",
            rt.name()
        ))
        .into());
    }
    Ok(locked)
}
