//! `/Bulk`: many operations in one request, each by itself as if it had been sent alone.

use actix_web::{HttpRequest, HttpResponse, web};

use super::super::State;
use super::super::error::Failure;
use super::super::extract::{Body, Caller, tags};
use super::resources::{Answer, etag, location, possible};
use super::{answer, base_url};
use crate::intake::{Edit, Preconditions};
use crate::scim::bulk::{self, MAX_PAYLOAD, Made, Method, Part, Wanted};
use crate::scim::{self, patch};

/// `POST /Bulk`
///
/// One operation after the other: the next one may look up what this one changed.
pub(super) async fn bulk(
    caller: Caller,
    state: web::Data<State>,
    request: HttpRequest,
    body: Body<MAX_PAYLOAD>,
) -> Answer {
    let wanted = bulk::parse(body.0)?;
    let bulk = Bulk {
        caller: &caller,
        state: &state,
        base: base_url(&state, &request),
    };
    let mut made = Made::new(&wanted);
    let mut answers: Vec<Option<bulk::Answer>> = vec![None; wanted.operations.len()];
    let mut errors = 0;
    for step in bulk::plan(&wanted) {
        let operation = &wanted.operations[step.operation];
        let before = answers[step.operation].take();
        if before.as_ref().is_some_and(|b| b.status.is_err()) {
            answers[step.operation] = before;
            continue;
        }
        if wanted.fail_on_errors.is_some_and(|limit| errors >= limit) {
            // What was begun is answered for; what was not begun is not.
            answers[step.operation] = before.map(|b| stopped(b, step.part));
            continue;
        }
        let done = match &operation.wanted {
            Ok(wanted) => bulk.step(wanted, step.part, &made, before).await,
            Err(error) => Done::failed(error.clone(), None),
        };
        errors += u64::from(done.answer.status.is_err());
        if step.part != Part::Complete {
            made.note(operation, done.id);
        }
        answers[step.operation] = Some(done.answer);
    }
    let response = bulk::response(&wanted, &answers);
    Ok(answer(
        HttpResponse::Ok(),
        request.headers(),
        response.to_string(),
    ))
}

/// The answer for a resource whose circle was not closed because the request ended early.
fn stopped(made: bulk::Answer, part: Part) -> bulk::Answer {
    match part {
        Part::Complete => bulk::Answer {
            status: Err(scim::Error::conflict(
                "made without its references: the request ended at failOnErrors before they could be added",
            )),
            ..made
        },
        Part::Whole | Part::Without => made,
    }
}

struct Bulk<'a> {
    caller: &'a Caller,
    state: &'a State,
    base: String,
}

/// What a step did.
struct Done {
    answer: bulk::Answer,
    /// What it made.
    id: Option<String>,
}

impl Done {
    fn failed(error: scim::Error, location: Option<String>) -> Self {
        Self {
            answer: bulk::Answer {
                location,
                version: None,
                status: Err(error),
            },
            id: None,
        }
    }
}

impl Bulk<'_> {
    /// `before` is what came of the first half of an operation in a circle.
    async fn step(
        &self,
        wanted: &Wanted,
        part: Part,
        made: &Made,
        before: Option<bulk::Answer>,
    ) -> Done {
        let known = match (&before, &wanted.id) {
            (Some(before), _) => before.location.clone(),
            (None, Some(id)) => made
                .id(id)
                .ok()
                .map(|id| location(wanted.rt, &id, &self.base)),
            (None, None) => None,
        };
        match self.carry_out(wanted, part, made, known.as_deref()).await {
            Ok(done) => done,
            Err(failure) => Done::failed(failure.into_scim(), known),
        }
    }

    async fn carry_out(
        &self,
        wanted: &Wanted,
        part: Part,
        made: &Made,
        known: Option<&str>,
    ) -> Result<Done, Failure> {
        let (rt, intake, source) = (wanted.rt, &self.state.intake, self.caller.source());
        let data = made.data(&wanted.data, part);
        let id = match (part, &wanted.id) {
            // The second half goes to what the first half made.
            (Part::Complete, _) => known
                .and_then(|location| location.rsplit('/').next())
                .map(ToOwned::to_owned),
            (_, Some(id)) => Some(possible(rt, made.id(id)?)?),
            (_, None) => None,
        };
        let preconditions = wanted.version.as_deref().map(|version| Preconditions {
            if_match: Some(tags(version)),
            if_none_match: None,
        });
        let (written, status) = match (wanted.method, id) {
            (Method::Delete, Some(id)) => {
                intake.delete(source, rt, id, preconditions).await?;
                return Ok(Done {
                    answer: bulk::Answer {
                        location: known.map(ToOwned::to_owned),
                        version: None,
                        status: Ok(204),
                    },
                    id: None,
                });
            }
            (Method::Post, None) => (intake.create(source, rt, data?).await?, 201),
            // A POST in its second half.
            (Method::Post, Some(id)) => {
                let edit = Edit::Put(data?);
                (intake.modify(source, rt, id, edit, None).await?, 201)
            }
            (Method::Put, Some(id)) => {
                let edit = Edit::Put(data?);
                (
                    intake.modify(source, rt, id, edit, preconditions).await?,
                    200,
                )
            }
            (Method::Patch, Some(id)) => {
                let edit = Edit::Patch(patch::parse(self.caller.dialect(), data?)?);
                (
                    intake.modify(source, rt, id, edit, preconditions).await?,
                    200,
                )
            }
            (Method::Put | Method::Patch | Method::Delete, None) => {
                return Err(scim::Error::invalid_syntax("the path names no resource").into());
            }
        };
        Ok(Done {
            answer: bulk::Answer {
                location: Some(location(rt, &written.stored.id, &self.base)),
                version: Some(etag(&written.stored)),
                status: Ok(status),
            },
            id: Some(written.stored.id),
        })
    }
}
