//! Push and pull of the same person at the same moment: one user, one account, the newest state.

use super::*;

/// How many people change at the same moment.
const AT_ONCE: usize = 10;
/// How often, in one world.
const ROUNDS: usize = 10;
const WORLDS: usize = 10;

/// Somebody who changes: as it will be, and where.
struct Change {
    newest: Person,
    id: String,
    group: String,
    /// Its id here, if a push made it before.
    pushed: Option<String>,
    /// So often others go first.
    yields: usize,
}

impl Change {
    /// The change in the domain and the push of it.
    async fn happen(&self, world: &World, push: &IdcsPush) {
        for _ in 0..self.yields {
            tokio::task::yield_now().await;
        }
        let now = self.newest.clone();
        world.domain.edit_user(&self.id, |it| *it = now);
        match &self.pushed {
            Some(pushed) => assert!(push.put_full(pushed, &self.newest).await.ok()),
            None => {
                // A conflict says that the pull was first.
                let status = push.create(&self.newest).await.status;
                assert!([201, 409].contains(&status), "{status}");
            }
        }
        world.domain.add_members(&self.group, &[&self.id]);
    }
}

/// 1,000 people: of each, a push of a change, a run and the reading of that one at a login begin together. The order
/// within is chance.
#[tokio::test(flavor = "multi_thread")]
async fn push_and_pull_at_the_same_moment_make_one_user_with_the_newest_state() {
    // A few small worlds: each run reads everybody.
    let mut worlds = databases();
    worlds.resize_with(WORLDS, sqlite);
    let mut interleavings = 0;
    for database in &worlds {
        let world = World::start(database, DomainOptions::default(), "").await;
        let push = world.push().await;
        let connection = world.connection().await;
        let groups: Vec<String> = (0..AT_ONCE)
            .map(|number| world.domain.add_group(&format!("jira-{number}")))
            .collect();
        world.domain.add_user(&person("other"));
        let token = world.app.token("corp").await;
        for round in 0..ROUNDS {
            let mut changes = Vec::new();
            for (number, group) in groups.iter().enumerate() {
                let mut newest = person(&format!("p{round}x{number}"));
                let id = world.domain.add_user(&newest);
                let is_known = (round + number) % 3 != 0;
                let pushed = if is_known {
                    Some(push.create(&newest).await.id().to_owned())
                } else {
                    None
                };
                newest.family_name = format!("Newest{round}");
                newest.display_name = format!("Newest {round} {number}");
                newest.active = (round + number) % 2 == 0;
                changes.push(Change {
                    newest,
                    id,
                    group: group.clone(),
                    pushed,
                    yields: (round + 3 * number) % 7,
                });
            }
            let each = async |change: &Change| {
                let who = Who::Id(change.id.clone());
                let login = world.reconciler.one_user(&connection, &who, "login", false);
                let (_, login) = tokio::join!(change.happen(&world, &push), login);
                login.unwrap();
            };
            let all: Vec<_> = changes.iter().map(each).collect();
            let (_, run) = tokio::join!(together(all), world.try_run(Extent::Full));
            run.unwrap();
            // One more reading, as every schedule brings it: it must have nothing to correct that a push said.
            world.run(Extent::Full).await;
            for Change { newest, .. } in &changes {
                let path = format!("/Users?filter=userName%20eq%20%22{}%22", newest.user_name);
                let shown = world.app.send(&token, "GET", &path, None).await.json;
                assert_eq!(shown["totalResults"], 1, "round {round}: {shown}");
                let user = &shown["Resources"][0];
                let said = newest.display_name.as_str();
                assert_eq!(user["displayName"], said, "round {round}");
                assert_eq!(user["active"], newest.active, "round {round}");
                let number = said.rsplit(' ').next().unwrap();
                let group = format!("jira-{number}");
                assert_eq!(user["groups"][0]["display"], group, "round {round}");
                interleavings += 1;
            }
        }
        world.app.drain().await;
        let users = world.memory.users();
        let people = users.iter().filter(|it| it.username.starts_with('p'));
        assert_eq!(people.filter(|it| it.active).count(), ROUNDS * AT_ONCE / 2);
    }
    assert_eq!(interleavings, 1000);
}

/// Runs all of them at the same time.
async fn together(all: Vec<impl Future<Output = ()>>) {
    let mut all: Vec<_> = all.into_iter().map(|it| Some(Box::pin(it))).collect();
    std::future::poll_fn(|context| {
        for slot in &mut all {
            if let Some(one) = slot
                && one.as_mut().poll(context).is_ready()
            {
                *slot = None;
            }
        }
        if all.iter().all(Option::is_none) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
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

/// The pages of one group are older than what is said of it while the later ones are read.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_who_is_taken_out_while_later_pages_are_read_stays_out() {
    for database in databases() {
        let options = DomainOptions {
            member_cap: 60,
            ..DomainOptions::default()
        };
        let world = World::start(&database, options, "").await;
        let push = world.push().await;
        let ids: Vec<String> = (0..300)
            .map(|n| world.domain.add_user(&person(&format!("p{n}"))))
            .collect();
        let group = world.domain.add_group("jira-large");
        let members: Vec<&str> = ids.iter().take(290).map(String::as_str).collect();
        world.domain.add_members(&group, &members);
        world.run(Extent::Full).await;
        world.later(60);
        // Somebody new, so that the members are looked at.
        world.domain.add_members(&group, &[&ids[295]]);
        let leaver = &ids[3];
        let found = push.lookup("p3@example.com").await.json;
        assert_eq!(found["totalResults"], 1, "{found}");
        let user = found["Resources"][0]["id"].as_str().unwrap().to_owned();
        let found = push.import_groups_page(1, 10).await.json;
        assert_eq!(found["totalResults"], 1, "{found}");
        let here = found["Resources"][0]["id"].as_str().unwrap().to_owned();

        let path = format!("/admin/v1/Groups/{group}");
        let slow = usher_emulators::FaultKind::Slow(std::time::Duration::from_millis(60));
        let only = usher_emulators::Only::path(path.clone());
        world.domain.clear_requests();
        world
            .domain
            .fault(usher_emulators::Fault::once(slow).only(only).times(100));
        let change = async {
            let asked = || {
                let seen = world.domain.requests();
                seen.iter().filter(|it| it.path == path).count()
            };
            while asked() < 2 {
                tokio::task::yield_now().await;
            }
            world.domain.remove_member(&group, leaver);
            let out = push
                .remove_members(&here, &[&user], RemoveForm::Filter)
                .await;
            assert!(out.ok(), "{}", out.json);
            // Much longer than clocks differ.
            world.later(30);
        };
        let (report, ()) = tokio::join!(world.run(Extent::Full), change);
        assert_eq!(report.state, "done", "{report:?}");
        world.domain.clear_faults();
        let groups = &world.mirror().await["p3@example.com"];
        assert!(groups.is_empty(), "{}: {groups:?}", database.name);
        assert_eq!(world.mirror().await["p295@example.com"], ["jira-large"]);
    }
}
