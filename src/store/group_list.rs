//! Groups across connections, as somebody at the seat looks for them.

use diesel::prelude::*;

use super::conn::AnyConn;
use super::error::Error;
use super::people::escaped;
use super::schema::{
    account, connection, membership, scim_group, scim_user, target, target_membership,
};
use crate::scim::fold::fold_text;

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Group {
    /// SCIM id.
    pub id: String,
    /// Name of the connection.
    pub connection: String,
    /// Its name.
    pub name: String,
    /// As it is compared and sorted.
    pub name_ci: String,
}

/// Which groups. What is empty does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Part of the name, whatever its case.
    pub text: String,
    /// Beyond this one: folded name and id.
    pub after: Option<(String, String)>,
}

/// A page of groups by name.
pub fn page(conn: &mut AnyConn, query: &Query, limit: i64) -> Result<Vec<Group>, Error> {
    let mut groups = scim_group::table
        .inner_join(connection::table)
        .order((scim_group::display_name_ci, scim_group::id))
        .limit(limit)
        .select((
            scim_group::id,
            connection::name,
            scim_group::display_name,
            scim_group::display_name_ci,
        ))
        .into_boxed();
    let text = fold_text(query.text.trim());
    if !text.is_empty() {
        let part = format!("%{}%", escaped(&text));
        groups = groups.filter(scim_group::display_name_ci.like(part).escape('\\'));
    }
    if let Some((name, id)) = query.after.clone() {
        groups = groups.filter(
            scim_group::display_name_ci
                .gt(name.clone())
                .or(scim_group::display_name_ci
                    .eq(name)
                    .and(scim_group::id.gt(id))),
        );
    }
    Ok(groups.load(conn)?)
}

/// The group with that id.
pub fn get(conn: &mut AnyConn, id: &str) -> Result<Option<Group>, Error> {
    Ok(scim_group::table
        .inner_join(connection::table)
        .filter(scim_group::id.eq(id))
        .select((
            scim_group::id,
            connection::name,
            scim_group::display_name,
            scim_group::display_name_ci,
        ))
        .first(conn)
        .optional()?)
}

/// A page of the people who are direct members: id, name and folded name, from the one after a place on.
pub fn members(
    conn: &mut AnyConn,
    group: &str,
    after: Option<(String, String)>,
    limit: i64,
) -> Result<Vec<(String, String, String)>, Error> {
    let mut people = membership::table
        .inner_join(scim_user::table.on(scim_user::id.eq(membership::member_id)))
        .filter(membership::group_id.eq(group.to_owned()))
        .order((scim_user::user_name_ci, scim_user::id))
        .limit(limit)
        .select((scim_user::id, scim_user::user_name, scim_user::user_name_ci))
        .into_boxed();
    if let Some((name, id)) = after {
        people = people.filter(
            scim_user::user_name_ci
                .gt(name.clone())
                .or(scim_user::user_name_ci.eq(name).and(scim_user::id.gt(id))),
        );
    }
    Ok(people.load(conn)?)
}

/// In which groups of each target the direct members of a group are, as far as Usher knows: target, group, how
/// many of them. What they have in common tells where the group leads.
pub fn at_targets(conn: &mut AnyConn, group: &str) -> Result<Vec<(String, String, i64)>, Error> {
    use diesel::dsl::count_star;
    Ok(membership::table
        .inner_join(account::table.on(account::user_id.eq(membership::member_id)))
        .inner_join(target_membership::table.on(target_membership::account_id.eq(account::id)))
        .inner_join(target::table.on(target::id.eq(account::target_id)))
        .filter(membership::group_id.eq(group))
        .group_by((target::name, target_membership::group_name))
        .order((
            target::name,
            count_star().desc(),
            target_membership::group_name,
        ))
        .limit(100)
        .select((target::name, target_membership::group_name, count_star()))
        .load(conn)?)
}
