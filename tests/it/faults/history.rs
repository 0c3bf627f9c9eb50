//! Any history of pushes and faults ends where the last state of the source says.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::{World, databases, in_every_history, person, rejected, throttled, transient};

const PEOPLE: usize = 3;
const GROUPS: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    /// Made, or described anew if already there.
    Put(usize, u8),
    Active(usize, bool),
    Delete(usize),
    Member(usize, usize, bool),
    /// The next request goes wrong: before it takes effect, or after.
    Fault(u8, bool),
    Work,
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..PEOPLE;
    let step = prop_oneof![
        4 => (who.clone(), any::<u8>()).prop_map(|(who, text)| Step::Put(who, text)),
        2 => (who.clone(), any::<bool>()).prop_map(|(who, active)| Step::Active(who, active)),
        2 => who.clone().prop_map(Step::Delete),
        4 => (who, 0..GROUPS, any::<bool>()).prop_map(|(who, group, joins)| Step::Member(who, group, joins)),
        3 => (0..3u8, any::<bool>()).prop_map(|(kind, after)| Step::Fault(kind, after)),
        4 => Just(Step::Work),
        2 => (0..90u16).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

#[derive(Debug, Clone)]
struct Expected {
    id: String,
    display_name: String,
    active: bool,
    groups: BTreeSet<String>,
}

async fn live_through(history: Vec<Step>) {
    for database in databases() {
        let world = World::new(&database).await;
        let mut groups = Vec::new();
        for n in 0..GROUPS {
            groups.push(world.group(&format!("jira-{n}"), &[]).await);
        }
        let mut people: BTreeMap<usize, Expected> = BTreeMap::new();
        for step in &history {
            match step {
                Step::Put(who, text) => {
                    let display_name = format!("Person {text}");
                    if let Some(there) = people.get_mut(who) {
                        world
                            .set(&there.id, "displayName", json!(display_name))
                            .await;
                        there.display_name = display_name;
                    } else {
                        let mut body = person(&format!("p{who}"));
                        body["displayName"] = json!(display_name);
                        let expected = Expected {
                            id: world.create(body).await,
                            display_name,
                            active: true,
                            groups: BTreeSet::new(),
                        };
                        people.insert(*who, expected);
                    }
                }
                Step::Active(who, active) => {
                    if let Some(there) = people.get_mut(who) {
                        world.set(&there.id, "active", json!(active)).await;
                        there.active = *active;
                    }
                }
                Step::Delete(who) => {
                    if let Some(there) = people.remove(who) {
                        world.delete(&there.id).await;
                    }
                }
                Step::Member(who, group, joins) => {
                    if let Some(there) = people.get_mut(who) {
                        let name = format!("jira-{group}");
                        if *joins {
                            world.join(&groups[*group], &there.id).await;
                            there.groups.insert(name);
                        } else {
                            world.leave(&groups[*group], &there.id).await;
                            there.groups.remove(&name);
                        }
                    }
                }
                Step::Fault(kind, after) => {
                    let failure = match kind {
                        0 => transient(),
                        1 => throttled(3),
                        _ => rejected("not now"),
                    };
                    if *after {
                        world.memory.fail_after_apply(failure);
                    } else {
                        world.memory.fail_next(failure);
                    }
                }
                Step::Work => {
                    world.app.drain().await;
                }
                Step::Wait(seconds) => world.after(u64::from(*seconds)).await,
            }
        }
        // What is left of the faults strikes, and what was refused is asked for again.
        world.settle().await;
        for _ in 0..20 {
            let now = world.app.clock.now();
            let refused = world
                .app
                .store()
                .write(move |tx| usher::store::work::retry(tx, None, None, "test", now))
                .await
                .unwrap();
            world.settle().await;
            if refused == 0 {
                break;
            }
        }
        let status = world.status().await;
        assert_eq!((status.held, status.failed, status.waiting), (0, 0, 0));
        for who in 0..PEOPLE {
            let name = format!("p{who}");
            let account = world.memory.user(&name);
            match (people.get(&who), account) {
                (Some(wanted), Some(account)) if wanted.active => {
                    assert!(account.active, "{account:?}");
                    assert_eq!(account.display_name, wanted.display_name);
                    let seen: BTreeSet<String> = account.groups.into_iter().collect();
                    assert_eq!(seen, wanted.groups, "{name} on {}", database.name);
                }
                (Some(wanted), None) if wanted.active => panic!("{name} has no account"),
                (_, Some(account)) => assert!(!account.active, "{account:?} on {}", database.name),
                (_, None) => {}
            }
        }
        assert!(world.memory.users().len() <= PEOPLE);
        if !history.is_empty() && !people.is_empty() {
            // Faults that never struck must not strike now.
            world.memory.clear_faults();
            world.is_in_step("", "").await;
        }
    }
}

#[test]
fn every_history_ends_where_the_source_says() {
    in_every_history(24, steps(), live_through);
}
