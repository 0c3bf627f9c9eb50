//! What pages and API share about groups of the sources.

use schemars::JsonSchema;
use serde::Serialize;

use super::State;
use super::problem::Problem;
use crate::store::group_list::{self, Query};
use crate::store::groups::{self, MemberType};
use crate::store::{self};

/// A group in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Listed {
    /// SCIM id.
    pub(super) id: String,
    /// Name of the connection.
    pub(super) connection: String,
    /// Its name.
    pub(super) name: String,
    /// Direct members who are people.
    pub(super) people: i64,
    /// Direct members that are groups.
    pub(super) nested: i64,
}

/// A member.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Member {
    /// SCIM id.
    pub(super) id: String,
    /// User name.
    pub(super) user_name: String,
}

/// A group of a product that members are in.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AtTarget {
    /// Name of the target.
    pub(super) target: String,
    /// Its group.
    pub(super) group: String,
    /// How many of the direct members are in it, as far as Usher knows.
    pub(super) people: i64,
}

/// A group with a page of its members.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Whole {
    /// SCIM id.
    pub(super) id: String,
    /// Name of the connection.
    pub(super) connection: String,
    /// Its name.
    pub(super) name: String,
    /// Direct members who are people, by user name.
    pub(super) members: Vec<Member>,
    /// The `cursor` of the next page of members; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
    /// Groups of the products that they are in.
    pub(super) at_targets: Vec<AtTarget>,
}

/// Looks for groups. Returns them, and where the next page begins.
pub(super) async fn search(
    state: &State,
    text: String,
    after: Option<(String, String)>,
    limit: usize,
) -> Result<(Vec<Listed>, Option<String>), Problem> {
    let (mut found, counts) = state
        .store
        .read(move |conn| -> Result<_, store::Error> {
            // One more tells whether there is a next page.
            let found = group_list::page(conn, &Query { text, after }, limit as i64 + 1)?;
            let ids: Vec<String> = found.iter().map(|group| group.id.clone()).collect();
            Ok((found, groups::member_counts(conn, &ids)?))
        })
        .await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found
        .last()
        .filter(|_| more)
        .map(|last| format!("{} {}", last.name_ci, last.id));
    let count = |id: &str, of| {
        let mut counts = counts.iter();
        counts
            .find(|(group, kind, _)| group == id && *kind == of)
            .map_or(0, |(.., count)| *count)
    };
    let listed = found.into_iter().map(|group| Listed {
        people: count(&group.id, MemberType::User),
        nested: count(&group.id, MemberType::Group),
        id: group.id,
        connection: group.connection,
        name: group.name,
    });
    Ok((listed.collect(), next))
}

/// One group with a page of its members.
pub(super) async fn get(
    state: &State,
    id: String,
    after: Option<(String, String)>,
    limit: usize,
) -> Result<Whole, Problem> {
    let found = state
        .store
        .read(move |conn| -> Result<_, store::Error> {
            let Some(group) = group_list::get(conn, &id)? else {
                return Ok(None);
            };
            let members = group_list::members(conn, &id, after, limit as i64 + 1)?;
            Ok(Some((group, members, group_list::at_targets(conn, &id)?)))
        })
        .await?;
    let (group, mut members, at_targets) = found
        .ok_or_else(|| Problem::new(404, "there is no such group (any more); search again"))?;
    let more = members.len() > limit;
    members.truncate(limit);
    Ok(Whole {
        id: group.id,
        connection: group.connection,
        name: group.name,
        next: members
            .last()
            .filter(|_| more)
            .map(|(id, _, folded)| format!("{folded} {id}")),
        members: members
            .into_iter()
            .map(|(id, user_name, _)| Member { id, user_name })
            .collect(),
        at_targets: at_targets
            .into_iter()
            .map(|(target, group, people)| AtTarget {
                target,
                group,
                people,
            })
            .collect(),
    })
}
