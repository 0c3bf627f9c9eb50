//! Push and pull of the same person at the same moment: one user, one account, the newest state.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn push_and_pull_at_the_same_moment_make_one_user_with_the_newest_state() {
    for database in databases() {
        let rounds: usize = if database.name == "sqlite" { 60 } else { 15 };
        let world = World::start(&database, DomainOptions::default(), "").await;
        let push = world.push().await;
        let connection = world.connection().await;
        let group = world.domain.add_group("jira-users");
        world.domain.add_user(&person("other"));
        for round in 0..rounds {
            let mut newest = person(&format!("p{round}"));
            let id = world.domain.add_user(&newest);
            // The push of a change, a run and the reading of that one user begin together. The order within is
            // chance; sometimes the person exists already.
            let known = round % 3 != 0;
            let pushed = if known {
                Some(push.create(&newest).await.id().to_owned())
            } else {
                None
            };
            newest.family_name = format!("Newest{round}");
            newest.display_name = format!("Newest {round}");
            newest.active = round % 2 == 0;
            let change = async {
                for _ in 0..round % 5 {
                    tokio::task::yield_now().await;
                }
                let now = newest.clone();
                world.domain.edit_user(&id, |it| *it = now);
                match &pushed {
                    Some(pushed) => assert!(push.put_full(pushed, &newest).await.ok()),
                    None => {
                        // A conflict says that the pull was first.
                        let status = push.create(&newest).await.status;
                        assert!([201, 409].contains(&status), "{status}");
                    }
                }
                world.domain.add_members(&group, &[&id]);
            };
            let who = Who::Id(id.clone());
            let login = world.reconciler.one_user(&connection, &who, "login", false);
            let (_, run, login) = tokio::join!(change, world.try_run(Extent::Full), login);
            run.unwrap();
            login.unwrap();
            // One more reading, as every schedule brings it: it must have nothing to correct that a push said.
            world.run(Extent::Full).await;
            let shown = world
                .app
                .send(
                    &world.app.token("corp").await,
                    "GET",
                    &format!("/Users?filter=userName%20eq%20%22{}%22", newest.user_name),
                    None,
                )
                .await
                .json;
            assert_eq!(shown["totalResults"], 1, "round {round}: {shown}");
            let user = &shown["Resources"][0];
            assert_eq!(
                user["displayName"],
                newest.display_name.as_str(),
                "round {round}"
            );
            assert_eq!(user["active"], newest.active, "round {round}");
            assert_eq!(user["groups"][0]["display"], "jira-users", "round {round}");
        }
        world.app.drain().await;
        let users = world.memory.users();
        assert_eq!(
            users
                .iter()
                .filter(|it| it.username.starts_with('p') && it.active)
                .count(),
            rounds.div_ceil(2)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_older_than_a_push_changes_nothing() {
    for database in databases() {
        let world = World::start(&database, DomainOptions::default(), "").await;
        let push = world.push().await;
        let id = world.domain.add_user(&person("ada"));
        let pushed = push.create(&person("ada")).await.id().to_owned();
        world.run(Extent::Full).await;
        for round in 0..10 {
            // The answer is made, and on its way while the push arrives.
            let slow = usher_emulators::FaultKind::Slow(std::time::Duration::from_millis(40));
            let only = usher_emulators::Only::path("/admin/v1/Users");
            world
                .domain
                .fault(usher_emulators::Fault::once(slow).only(only));
            let active = round % 2 == 1;
            let connection = world.connection().await;
            let who = Who::Id(id.clone());
            let login = world.reconciler.one_user(&connection, &who, "login", false);
            let change = async {
                while world
                    .domain
                    .requests()
                    .last()
                    .is_none_or(|it| it.fault.is_none())
                {
                    tokio::task::yield_now().await;
                }
                world.domain.set_active(&id, active);
                assert!(
                    push.set_active(&pushed, active, DeactivateForm::Plain)
                        .await
                        .ok()
                );
                world.domain.clear_requests();
            };
            let (login, ()) = tokio::join!(login, change);
            login.unwrap();
            let shown = push.get_user(&pushed).await.json;
            assert_eq!(shown["active"], active, "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_see_a_moment_of_the_schedule_together_run_once() {
    for database in databases() {
        let world = World::start(&database, DomainOptions::default(), "schedule = \"30m\"").await;
        world.domain.add_user(&person("ada"));
        let connection = world.connection().await;
        let run = || {
            world
                .reconciler
                .run(&connection, Extent::AsDue, "schedule", true, None)
        };
        for _ in 0..5 {
            let before = world.domain.requests().len();
            let (first, second, third) = tokio::join!(run(), run(), run());
            let done = [first, second, third].iter().filter(|r| r.is_ok()).count();
            assert_eq!(done, 1, "{}", database.name);
            // One that looked before the run began and comes after it has ended.
            assert!(run().await.is_err(), "{}", database.name);
            assert!(world.domain.requests().len() > before);
            world.later(30 * 60);
        }
    }
}
