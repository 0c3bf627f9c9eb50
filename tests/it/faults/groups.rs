//! Where groups of the source lead: manual rules, rewrites, attributes, default groups, names that are taken.

use serde_json::json;
use usher::domain::Observed;

use super::{World, account, databases, person, transient};

#[tokio::test(flavor = "multi_thread")]
async fn manual_rules_rewrites_and_attributes_decide_who_is_in_which_group() {
    const GROUPS: &str = r#"
manual = [
    { from = "Engineering", to = ["developers", "jira-users"] },
    { matching = "/^res(earch)?$/", to = ["developers"] },
]
rewrite = [{ from = "^jira-idcs-(.+)$", to = "$1" }]
group_attributes = [{ path = "title", split = ";" }]
"#;
    for database in databases() {
        let world = World::with(&database, "", GROUPS).await;
        let mut ada = person("ada");
        ada["title"] = json!("jira-idcs-titled; nothing");
        let ada = world.create(ada).await;
        let joe = world.create(person("joe")).await;
        let engineering = world.group("Engineering", &[&ada]).await;
        let research = world.group("research", &[&ada, &joe]).await;
        world.group("jira-idcs-wiki", &[&joe]).await;
        world.group("sales", &[&joe]).await;
        world.settle().await;
        assert_eq!(
            world.groups_of("ada"),
            ["developers", "jira-users", "titled"]
        );
        assert_eq!(world.groups_of("joe"), ["developers", "wiki"]);

        // Two ways lead there: one is enough.
        world.leave(&research, &ada).await;
        world.set(&ada, "title", json!("jira-idcs-lady")).await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["developers", "jira-users", "lady"]);
        // A new name at the source costs nobody anything, and who joins later is treated alike.
        let rename = json!([{"op": "replace", "path": "displayName", "value": "Product"}]);
        world.patch(&format!("/Groups/{engineering}"), rename).await;
        world.join(&engineering, &joe).await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["developers", "jira-users", "lady"]);
        assert_eq!(world.groups_of("joe"), ["developers", "jira-users", "wiki"]);
        world.leave(&engineering, &ada).await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["lady"], "{}", database.name);
        world.is_in_step("", GROUPS).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_group_that_is_rewritten_keeps_its_target_group() {
    for database in databases() {
        let rewrite = "rewrite = [{ from = \"^jira-idcs-\", to = \"\" }]";
        let world = World::with(&database, "", rewrite).await;
        let ada = world.create(person("ada")).await;
        let group = world.group("jira-idcs-one", &[&ada]).await;
        world.settle().await;
        let rename = json!([{"op": "replace", "path": "displayName", "value": "jira-idcs-two"}]);
        world.patch(&format!("/Groups/{group}"), rename).await;
        world.memory.clear_writes();
        world.settle().await;
        assert_eq!(world.memory.writes(), [], "{}", database.name);
        // A changed rule is obeyed all the same.
        let other = "rewrite = [{ from = \"^jira-idcs-\", to = \"new-\" }]";
        world
            .app
            .apply(&super::configuration("live", "", other))
            .await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["new-one"], "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_account_gets_the_groups_for_the_new_and_keeps_them() {
    const GROUPS: &str = "for_new = [\"newcomers\", \"jira-both\"]";
    for database in databases() {
        let world = World::with(&database, "adopt = true", GROUPS).await;
        world.memory.seed(account("old"));
        world.create(person("old")).await;
        // Made, and the answer is lost.
        world.memory.fail_after_apply(transient());
        let ada = world.create(person("ada")).await;
        let both = world.group("jira-both", &[&ada]).await;
        world.settle().await;
        assert!(world.groups_of("old").is_empty(), "{}", database.name);
        assert_eq!(world.groups_of("ada"), ["jira-both", "newcomers"]);
        // Given once, it stays: not new any more, not in the group any more, other rules.
        world.leave(&both, &ada).await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["jira-both", "newcomers"]);
        world
            .app
            .apply(&super::configuration(
                "live",
                "adopt = true",
                "for_new = [\"later\"]",
            ))
            .await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["jira-both", "newcomers"]);
        assert!(world.groups_of("old").is_empty());
        world.create(person("eve")).await;
        world.settle().await;
        assert_eq!(world.groups_of("eve"), ["later"], "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_not_ushers_is_adopted_or_skipped() {
    for skip in [true, false] {
        for database in databases() {
            let setting = if skip { "skip" } else { "adopt" };
            let groups = format!(
                "existing_groups = \"{setting}\"\nmanual = [{{ from = \"staff\", to = [\"jira-staff\"] }}]"
            );
            let world = World::with(&database, "adopt = true", &groups).await;
            world.memory.seed(Observed {
                groups: vec!["Jira-Users".to_owned(), "jira-staff".to_owned()],
                ..account("by-hand")
            });
            let ada = world.create(person("ada")).await;
            let by_hand = world.create(person("by-hand")).await;
            let users = world.group("jira-users", &[&ada, &by_hand]).await;
            world.group("staff", &[&ada]).await;
            world.group("jira-new", &[&ada]).await;
            world.settle().await;
            let expected: &[&str] = if skip {
                &["jira-new", "jira-staff"]
            } else {
                &["jira-new", "jira-staff", "Jira-Users"]
            };
            assert_eq!(
                world.groups_of("ada"),
                expected,
                "{setting} {}",
                database.name
            );
            // Whose membership it was before shows when it is not wanted any more.
            world.leave(&users, &by_hand).await;
            world.settle().await;
            let expected: &[&str] = if skip {
                &["jira-staff", "Jira-Users"]
            } else {
                &["jira-staff"]
            };
            assert_eq!(
                world.groups_of("by-hand"),
                expected,
                "{setting} {}",
                database.name
            );
            // A group of Usher's own making is never taken for a foreign one, also after a crash.
            world.memory.fail_after_apply(transient());
            world.group("jira-lost", &[&ada]).await;
            world.settle().await;
            assert!(world.groups_of("ada").contains(&"jira-lost".to_owned()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_attribute_of_the_connection_is_looked_at_by_every_mapping() {
    for database in databases() {
        let world = World::new(&database).await;
        let mut ada = person("ada");
        ada["userType"] = json!("jira-people");
        world.create(ada).await;
        world.settle().await;
        assert!(world.groups_of("ada").is_empty());
        let text = super::configuration("live", "", "").replace(
            "kind = \"oracle-idcs\"",
            "kind = \"oracle-idcs\"\ngroup_attributes = [\"userType\"]",
        );
        let report = world.app.apply(&text).await;
        assert_eq!(report.marked, 1);
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["jira-people"], "{}", database.name);
    }
}

/// Who is below a group is read from rows; somebody who joins at the same moment must not fall between.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_a_nested_group_while_it_is_nested_further_is_marked() {
    use std::sync::{Mutex, mpsc};
    use std::time::Duration;
    use usher::store::groups::MemberType;
    use usher::store::work::{self, Priority};
    use usher::store::{self, groups, settings};

    // On SQLite one thread writes.
    let Some(database) = super::super::harness::postgres() else {
        return;
    };
    let world = World::new(&database).await;
    let ada = world.create(person("ada")).await;
    let deep = world.group("jira-deep", &[]).await;
    let middle = world.group("jira-middle", &[&deep]).await;
    let outer = world.group("jira-outer", &[]).await;
    world.settle().await;
    let store = world.app.store();
    let configuration = store.read(settings::load).await.unwrap();
    let connection = configuration.connections[0].id.clone();

    let (joined, has_joined) = mpsc::channel();
    let (marked, has_marked) = mpsc::channel::<()>();
    let has_marked = Mutex::new(has_marked);
    let joining = {
        let (store, connection) = (store.clone(), connection.clone());
        tokio::spawn(async move {
            store
                .write(move |tx| -> Result<(), store::Error> {
                    groups::lock(tx, &connection, &deep)?;
                    groups::add_member(tx, &deep, &ada, MemberType::User)?;
                    let _ = joined.send(());
                    // The other one waits for this transaction, so this one does not wait for it for long.
                    let _ = has_marked
                        .lock()
                        .unwrap()
                        .recv_timeout(Duration::from_millis(300));
                    Ok(())
                })
                .await
        })
    };
    tokio::task::spawn_blocking(move || has_joined.recv().unwrap())
        .await
        .unwrap();
    let people = store
        .write(move |tx| -> Result<usize, store::Error> {
            groups::add_member(tx, &outer, &middle, MemberType::Group)?;
            let people = work::mark_below(tx, &connection, &middle, Priority::Push, "nested", 0)?;
            let _ = marked.send(());
            Ok(people)
        })
        .await
        .unwrap();
    joining.await.unwrap().unwrap();
    assert_eq!(people, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_groups_of_a_source_are_listed_with_where_they_lead() {
    use usher::{app, config};
    for database in databases() {
        let manual = "manual = [{ from = \"Engineering\", to = [\"developers\"] }]";
        let world = World::with(&database, "", manual).await;
        let ada = world.create(person("ada")).await;
        world.group("Engineering", &[&ada]).await;
        let users = world.group("jira-users", &[&ada]).await;
        world.group("jira-outer", &[&users]).await;
        world.group("sales", &[]).await;
        world.settle().await;
        let store = world.app.store();
        let found = app::groups::list(store, "corp", None).await.unwrap();
        let lines: Vec<String> = found
            .groups
            .iter()
            .map(|group| {
                let way = &group.mappings[0].ways[0];
                let to = way.group.as_deref().unwrap_or(&way.because);
                format!("{} {} {}: {to}", group.name, group.people, group.nested)
            })
            .collect();
        assert_eq!(
            lines,
            [
                "Engineering 1 0: developers",
                "jira-outer 0 1: jira-outer",
                "jira-users 1 0: jira-users",
                "sales 0 0: not in allow",
            ]
        );
        assert!(found.targets[0].parked.is_empty());

        // Some to choose from, as they are pasted.
        let some = app::groups::list(store, "corp", Some("/^(sales|jira-o)/"))
            .await
            .unwrap();
        let pasted = config::print_manual(&some.as_manual_rules(), |_| "  # note".to_owned());
        let text = super::configuration("live", "", &pasted);
        let parsed = config::parse(&text).unwrap();
        let rules = &parsed.mappings[0].settings.groups.manual;
        assert_eq!(*rules, some.as_manual_rules());
        assert_eq!(rules.len(), 2);
        let wrong = app::groups::list(store, "crop", None).await.unwrap_err();
        assert!(wrong.to_string().contains("there are corp"), "{wrong}");

        // A group whose source is gone stays, and is parked.
        world
            .request("DELETE", &format!("/Groups/{users}"), json!(null))
            .await;
        world.settle().await;
        let found = app::groups::list(world.app.store(), "corp", None)
            .await
            .unwrap();
        assert_eq!(found.targets[0].parked, ["jira-outer", "jira-users"]);
        assert_eq!(world.memory.groups().len(), 3, "{}", database.name);
    }
}
