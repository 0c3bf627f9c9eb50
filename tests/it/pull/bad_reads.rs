//! Every kind of bad page, of every list, at every page boundary: nothing is removed.

use usher_emulators::idcs_domain::{List, Trouble};

use super::*;

/// Everything that a bad reading must not take away.
async fn state(world: &World) -> (BTreeMap<String, Vec<String>>, Vec<bool>) {
    let mirror = world.mirror().await;
    let mut granted = Vec::new();
    for name in mirror.keys() {
        let id = world.user_id(name).await;
        granted.push(
            world
                .app
                .store()
                .read(move |conn| users::is_granted(conn, &id))
                .await
                .unwrap(),
        );
    }
    (mirror, granted)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_by_any_bad_page() {
    let options = DomainOptions {
        page_cap: 20,
        group_cap: 2,
        member_cap: 50,
        ..DomainOptions::default()
    };
    let lines = "app_id = \"jira-app\"\nonly_granted = true";
    let world = World::start(&sqlite(), options, lines).await;
    let ids: Vec<String> = (0..55)
        .map(|it| world.domain.add_user(&person(&format!("u{it:02}"))))
        .collect();
    let members: Vec<&str> = ids.iter().map(String::as_str).collect();
    for name in ["jira-a", "jira-b", "jira-c", "jira-d"] {
        let group = world.domain.add_group(name);
        let some = if name == "jira-a" {
            &members[..]
        } else {
            &members[..2]
        };
        world.domain.add_members(&group, some);
    }
    for id in &ids {
        world.domain.grant("jira-app", "User", id);
    }
    assert_eq!(world.run(Extent::Full).await.state, "done");
    world.app.drain().await;
    let before = state(&world).await;
    assert_eq!(before.0.len(), 55);
    assert!(before.1.iter().all(|granted| *granted));
    world.memory.clear_writes();

    // Users and grants 3 pages, groups 3, members of the large group 2.
    let (mut cases, mut void) = (0, 0);
    for (list, pages) in [
        (List::Users, 3),
        (List::Groups, 3),
        (List::Members, 2),
        (List::Grants, 3),
    ] {
        for page in 0..pages {
            for trouble in Trouble::ALL {
                world.later(600);
                world.domain.clear_faults();
                world.domain.spoil(list, page, trouble);
                let struck = world.domain.struck();
                let outcome = world.try_run(Extent::Full).await;
                let what = format!("{list:?} page {page} {trouble:?}: {outcome:?}");
                assert!(world.domain.struck() > struck, "not read: {what}");
                if let Ok(report) = &outcome {
                    let counts = report.counts;
                    assert_eq!(
                        (counts.removed, counts.left, counts.ungranted),
                        (0, 0, 0),
                        "{what}"
                    );
                    void += usize::from(report.state == "void");
                } else {
                    void += 1;
                }
                assert_eq!(world.app.drain().await, 0, "something was marked: {what}");
                cases += 1;
            }
        }
    }
    assert_eq!(state(&world).await, before);
    assert!(world.memory.writes().is_empty());
    assert_eq!(cases, 143);
    assert!(void >= 90, "only {void} were noticed");

    // The domain recovers, and what was really removed goes.
    world.domain.clear_faults();
    world.later(600);
    world.domain.delete_user(&ids[3]);
    let report = world.run(Extent::Full).await;
    assert_eq!(
        (report.state, report.counts.removed),
        ("done", 1),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_lost_most_of_its_people_is_not_believed() {
    for database in databases() {
        let world = World::start(&database, DomainOptions::default(), "").await;
        let ids: Vec<String> = (0..30)
            .map(|it| world.domain.add_user(&person(&format!("u{it}"))))
            .collect();
        world.run(Extent::Full).await;
        for id in &ids[..20] {
            world.domain.delete_user(id);
        }
        world.later(600);
        let report = world.run(Extent::Full).await;
        assert_eq!(report.state, "void");
        let message = report.message.unwrap();
        assert!(
            message.contains("only 10 of the 30 users")
                && message.contains("usher sync corp --full --accept-shrink 67"),
            "{message}"
        );
        assert_eq!(world.mirror().await.len(), 30);
        // A person says that it is right, with the number that was shown, once.
        let connection = world.connection().await;
        let accepting = async |percent| {
            let begun = world
                .reconciler
                .begin(&connection, Extent::Full, "test", false)
                .await
                .unwrap();
            let begun = begun.accepting(Some(percent));
            world.reconciler.go_on(begun, None).await.unwrap()
        };
        assert_eq!(accepting(66).await.state, "void");
        world.domain.set_down(true);
        let connection_down = world.try_run(Extent::Full).await;
        assert!(
            connection_down.is_err(),
            "no word of a person reads a dead domain"
        );
        world.domain.set_down(false);
        assert_eq!(world.mirror().await.len(), 30);
        let report = accepting(67).await;
        assert_eq!((report.state, report.counts.removed), ("done", 20));
        assert_eq!(world.mirror().await.len(), 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_secret_and_a_lost_role_are_told_and_remove_nothing() {
    let world = World::start(&sqlite(), DomainOptions::default(), "").await;
    world.domain.add_user(&person("ada"));
    world.run(Extent::Full).await;
    world.domain.set_roles(&[]);
    let error = world.try_run(Extent::Full).await.unwrap_err().to_string();
    assert!(error.contains("Audit Administrator"), "{error}");
    world.domain.set_roles(&["Audit Administrator"]);
    world.domain.change_secret("other");
    let error = world.try_run(Extent::Full).await.unwrap_err().to_string();
    assert!(error.contains("invalid_client"), "{error}");
    assert_eq!(world.mirror().await.len(), 1);
    let all = world
        .app
        .store()
        .read(|conn| runs::list(conn, None, None, 10))
        .await
        .unwrap();
    assert_eq!(all.iter().filter(|it| it.state == "failed").count(), 2);
}
