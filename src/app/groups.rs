//! `usher groups`: the groups that a source has pushed, and what each mapping makes of them.

use anyhow::{anyhow, bail};
use serde::Serialize;

use crate::clock::rfc3339;
use crate::converge;
use crate::domain::{ConnectionId, ManualRule, SourceNames};
use crate::mapping::{Patterns, Rules};
use crate::store::groups::MemberType;
use crate::store::{self, AnyConn, Store, group_work, groups, ledger, settings};

/// How many groups are read at a time.
const PAGE: i64 = 500;

/// The groups of one connection.
#[derive(Debug, Clone, Serialize)]
pub struct Groups {
    /// Name of the connection.
    pub connection: String,
    /// By name.
    pub groups: Vec<Group>,
    /// One for each target that a mapping leads to.
    pub targets: Vec<TargetGroups>,
}

/// A group of the source.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// SCIM id.
    pub id: String,
    /// Its present name.
    pub name: String,
    /// Direct members who are people.
    pub people: i64,
    /// Direct members that are groups.
    pub nested: i64,
    /// What each mapping makes of it.
    pub mappings: Vec<Leads>,
}

/// What one mapping makes of a group.
#[derive(Debug, Clone, Serialize)]
pub struct Leads {
    /// Name of the target.
    pub target: String,
    /// The name that the rules know the group by, if it had another one when it was first used.
    pub known_as: Option<String>,
    /// Where it leads, and by which rule; or why it leads nowhere.
    pub ways: Vec<Way>,
}

/// One rule's word about a group.
#[derive(Debug, Clone, Serialize)]
pub struct Way {
    /// The target group. `None`: it leads nowhere.
    pub group: Option<String>,
    /// Which rule says so.
    pub because: String,
}

/// What is to be said about groups of a target.
#[derive(Debug, Clone, Serialize)]
pub struct TargetGroups {
    /// Name of the target.
    pub target: String,
    /// Groups that Usher uses no more. They stay, without its members.
    pub parked: Vec<String>,
    /// Groups whose members are compared with the source, with what the last look found.
    pub compared: Vec<Compared>,
}

/// A group whose members are compared with the source.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// Its name.
    pub group: String,
    /// What the last look found.
    pub note: Option<String>,
    /// When the next one is due.
    pub due_at: String,
}

/// Reads them. `pattern`: only groups whose name matches, as in the configuration file.
pub async fn list(
    store: &Store,
    connection: &str,
    pattern: Option<&str>,
) -> anyhow::Result<Groups> {
    let wanted = pattern
        .map(|pattern| Patterns::compile(&[pattern.to_owned()]))
        .transpose()
        .map_err(|(_, text)| anyhow!("{text}"))?;
    let name = connection.to_owned();
    let read = store
        .read(move |conn| read(conn, &name, wanted.as_ref()))
        .await?;
    match read {
        Ok(groups) => Ok(groups),
        Err(names) if names.is_empty() => {
            bail!("there is no connection yet; make one with `usher apply`")
        }
        Err(names) => bail!(
            "there is no connection {connection:?}; there are {}",
            names.join(", ")
        ),
    }
}

/// `Err`: there is no such connection, but these.
fn read(
    conn: &mut AnyConn,
    name: &str,
    wanted: Option<&Patterns>,
) -> Result<Result<Groups, Vec<String>>, store::Error> {
    let configuration = settings::load(conn)?;
    let Some(connection) = configuration
        .connections
        .iter()
        .find(|connection| connection.settings.name == name)
    else {
        let names = configuration.connections.iter();
        return Ok(Err(names.map(|c| c.settings.name.clone()).collect()));
    };
    let mut mappings = Vec::new();
    for mapping in &configuration.mappings {
        if mapping.connection_id != connection.id {
            continue;
        }
        let rules = Rules::of(mapping, &configuration.connections)
            .map_err(|e| store::Error::Corrupt(e.to_string()))?;
        let target = configuration
            .targets
            .iter()
            .find(|t| t.id == mapping.target_id);
        mappings.extend(target.map(|target| (target, rules)));
    }
    let mut groups = own_groups(conn, &connection.id, wanted)?;
    for (target, rules) in &mappings {
        let mut after = String::new();
        loop {
            let page = converge::source_groups(conn, &connection.id, &target.id, &after, PAGE)?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            for source in page {
                let Some(group) = groups.iter_mut().find(|group| group.id == source.id) else {
                    continue;
                };
                let ways = rules.group_ways(&source).into_iter();
                group.mappings.push(Leads {
                    target: target.settings.name.clone(),
                    ways: ways
                        .map(|way| Way {
                            group: way.target,
                            because: way.because,
                        })
                        .collect(),
                    known_as: source.alias.filter(|alias| *alias != source.name),
                });
            }
        }
    }
    groups.sort_by_cached_key(|group| group.name.to_lowercase());
    let notes = group_work::notes(conn)?;
    let mut targets = Vec::new();
    for (target, _) in &mappings {
        let of_target = notes
            .iter()
            .filter(|note| note.target_id == target.id.as_str());
        targets.push(TargetGroups {
            target: target.settings.name.clone(),
            parked: ledger::parked_groups(conn, &target.id)?,
            compared: of_target
                .map(|note| Compared {
                    group: note.name.clone(),
                    note: note.note.clone(),
                    due_at: rfc3339(note.due_at),
                })
                .collect(),
        });
    }
    Ok(Ok(Groups {
        connection: name.to_owned(),
        groups,
        targets,
    }))
}

fn own_groups(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    wanted: Option<&Patterns>,
) -> Result<Vec<Group>, store::Error> {
    let mut found: Vec<Group> = Vec::new();
    let mut after = String::new();
    loop {
        let page = groups::names(conn, connection, &after, PAGE)?;
        let Some((last, _)) = page.last() else {
            break;
        };
        after.clone_from(last);
        let page: Vec<(String, String)> = page
            .into_iter()
            .filter(|(_, name)| wanted.is_none_or(|wanted| wanted.matching(name).is_some()))
            .collect();
        let ids: Vec<String> = page.iter().map(|(id, _)| id.clone()).collect();
        let counts = groups::member_counts(conn, &ids)?;
        let count = |id: &str, of| {
            counts
                .iter()
                .find(|(group, kind, _)| group == id && *kind == of)
                .map_or(0, |(.., count)| *count)
        };
        found.extend(page.into_iter().map(|(id, name)| Group {
            people: count(&id, MemberType::User),
            nested: count(&id, MemberType::Group),
            id,
            name,
            mappings: Vec::new(),
        }));
    }
    Ok(found)
}

impl Groups {
    /// The groups as manual rules, each leading to a group of its own name, to choose from and to edit.
    pub fn as_manual_rules(&self) -> Vec<ManualRule> {
        let rules = self.groups.iter().map(|group| ManualRule {
            source: SourceNames::From(group.name.clone()),
            to: vec![group.name.clone()],
            keep_members: true,
            also_on_the_fly: false,
        });
        rules.collect()
    }

    /// How many people are direct members of the group of that name.
    pub fn people_of(&self, name: &str) -> i64 {
        let found = self.groups.iter().find(|group| group.name == name);
        found.map_or(0, |group| group.people)
    }
}
