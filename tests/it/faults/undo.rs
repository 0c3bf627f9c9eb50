//! Undo: what was taken comes back as it was, and is not taken again before somebody agrees or the source wants it so.

use serde_json::json;
use usher::converge::{self, Asking, Back, Ended, Tally};
use usher::domain::{Owner, Role};
use usher::store::audit::Query;
use usher::store::brakes::Decision;
use usher::store::work;
use usher::targets::memory::Memory;

use super::{World, account, configuration, databases, person, rejected, transient};

const ONLY_STAFF: &str = "scope = 'userType ne \"Guest\"'";
const ALL: &str =
    "operations = [\"create\", \"update\", \"rename\", \"deactivate\", \"reactivate\", \"delete\"]";

impl World {
    /// What would be given back of everything that was taken since then.
    async fn foresee(&self, query: &Query) -> (Vec<Back>, Tally) {
        let mut backs = Vec::new();
        let mut each = |back| backs.push(back);
        let tally = converge::foresee_undo(self.app.store(), query, &mut each)
            .await
            .unwrap();
        (backs, tally)
    }

    async fn undo(&self, query: &Query, confirmed: u64) -> Ended {
        let asking = Asking {
            by: "Grace".to_owned(),
            through: "usher undo".to_owned(),
        };
        let now = self.app.clock.now();
        let ended = converge::undo(self.app.store(), now, query, &asking, confirmed)
            .await
            .unwrap();
        self.settle().await;
        ended
    }

    /// Has everybody looked at again, as after a changed rule.
    async fn look_again(&self) {
        let now = self.app.clock.now();
        let everyone = move |tx: &mut usher::store::Tx<'_>| -> Result<(), usher::store::Error> {
            let configuration = usher::store::settings::load(tx.conn())?;
            for mapping in configuration.mappings {
                let (connection, target) = (&mapping.connection_id, &mapping.target_id);
                work::mark_all(tx, connection, target, "test", now)?;
            }
            Ok(())
        };
        self.app.store().write(everyone).await.unwrap();
        self.settle().await;
    }

    async fn owners(&self, name: &str) -> Vec<String> {
        super::super::store::lines(
            self.app.store(),
            &format!(
                "SELECT m.group_name || ' ' || m.owner AS line FROM target_membership m \
                 JOIN account a ON a.id = m.account_id WHERE a.username_ci = '{name}' ORDER BY 1"
            ),
        )
        .await
    }
}

fn since(at: i64) -> Query {
    Query {
        since: Some(at),
        ..Query::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wrong_rule_took_comes_back_and_stays_until_released() {
    for database in databases() {
        let world = World::new(&database).await;
        let ids = world.people(4).await;
        let of_all: Vec<&str> = ids.iter().map(String::as_str).collect();
        world.group("jira-users", &of_all).await;
        world.settle().await;
        let before = world.memory.users();
        world.app.clock.advance_ms(1000);
        let begun = world.app.clock.now();
        // A slip: nobody but robots is in scope, and no group is mapped.
        let slip = configuration("live", "scope = 'userType eq \"Robot\"'", "deny = [\"*\"]");
        world.app.apply(&slip).await;
        world.settle().await;
        assert_eq!(world.inactive(), 4, "{}", database.name);

        let (backs, tally) = world.foresee(&since(begun)).await;
        let expected = Tally {
            people: 4,
            accounts: 4,
            memberships: 0,
            cannot: 0,
        };
        assert_eq!(tally, expected);
        assert!(
            backs
                .iter()
                .all(|back| back.access && back.target == "jira")
        );
        // Somebody agreed to something else: nothing is done.
        assert_eq!(
            world.undo(&since(begun), 3).await,
            Ended::Otherwise(expected)
        );
        assert_eq!((world.inactive(), world.held().await.len()), (4, 0));

        assert_eq!(world.undo(&since(begun), 4).await, Ended::Begun(expected));
        assert_eq!(world.memory.users(), before, "{}", database.name);
        // The rules still say that they should go: that is held, and said.
        let held = world.held().await;
        assert_eq!(held.len(), 4);
        assert!(held[0].reason.contains("Grace"), "{:?}", held[0]);
        assert!(held[0].reason.contains("usher apply"), "{:?}", held[0]);
        assert_eq!(world.state(&ids[0]).await.0, "held");
        world.memory.clear_writes();
        world.look_again().await;
        world.set(&ids[0], "title", json!("Countess")).await;
        world.settle().await;
        assert_eq!(world.memory.writes(), [], "{}", database.name);
        // Again it gives nothing back.
        assert_eq!(world.foresee(&since(begun)).await.1, Tally::default());

        // One may go after all, one is discarded, the rule is put right for the others.
        assert_eq!(world.decide(Decision::Release, Some(&[&ids[0]])).await, 1);
        assert_eq!(world.decide(Decision::Discard, Some(&[&ids[1]])).await, 1);
        world.settle().await;
        assert_eq!(world.inactive(), 1);
        assert!(!world.memory.user("p0").unwrap().active);
        world.app.apply(&configuration("live", "", "")).await;
        world.settle().await;
        assert_eq!(world.memory.users(), before, "{}", database.name);
        assert_eq!(world.held().await, []);
        assert_eq!(world.status().await.held, 0);
        // And from now on everything is as ever.
        world.set(&ids[2], "active", json!(false)).await;
        world.settle().await;
        assert_eq!(world.inactive(), 1);
        let acts = world.audited().await;
        assert_eq!((acts["undo"], acts["give_back"]), (1, 4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memberships_come_back_as_whose_they_were() {
    for database in databases() {
        let world = World::with(&database, "", "keep_existing = false").await;
        let ada = world.create(person("ada")).await;
        let group = world.group("jira-users", &[&ada]).await;
        world.settle().await;
        world.app.apply(&configuration("live", "", "")).await;
        let mut there = world.memory.user("ada").unwrap();
        there.groups.push("by-hand".to_owned());
        world.memory.seed(there);
        world.settle().await;
        world.app.clock.advance_ms(1000);
        let begun = world.app.clock.now();
        world.leave(&group, &ada).await;
        let strict = configuration("live", "", "keep_existing = false");
        world.app.apply(&strict).await;
        world.settle().await;
        assert!(world.groups_of("ada").is_empty(), "{}", database.name);

        let (backs, tally) = world.foresee(&since(begun)).await;
        assert_eq!((tally.people, tally.memberships, tally.accounts), (1, 2, 0));
        assert_eq!(backs[0].groups, ["by-hand", "jira-users"]);
        world.memory.fail_next(transient());
        world.undo(&since(begun), 1).await;
        assert_eq!(world.groups_of("ada"), ["by-hand", "jira-users"]);
        let owners = ["by-hand foreign", "jira-users created"];
        assert_eq!(world.owners("ada").await, owners, "{}", database.name);
        world.memory.clear_writes();
        world.look_again().await;
        assert_eq!(world.memory.writes(), []);
        assert_eq!(world.held().await.len(), 2);

        // Where foreign memberships are left alone, that one is nobody's matter any more.
        world.app.apply(&configuration("live", "", "")).await;
        world.settle().await;
        let held = world.held().await;
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].group, "jira-users");
        // The source puts her back itself.
        world.join(&group, &ada).await;
        world.settle().await;
        assert_eq!(world.held().await, []);
        assert_eq!(world.memory.writes(), []);
        assert_eq!(world.owners("ada").await, owners);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_given_back_is_said() {
    for database in databases() {
        let users = format!("{ONLY_STAFF}\n{ALL}\non_delete = \"delete\"");
        let world = World::with(&database, &users, "").await;
        let mut ids = Vec::new();
        for name in ["ada", "bob", "eve", "joe"] {
            ids.push(world.create(person(name)).await);
        }
        let group = world.group("jira-users", &[&ids[3], &ids[1]]).await;
        world.settle().await;
        world.app.clock.advance_ms(1000);
        let begun = world.app.clock.now();
        world.set(&ids[0], "userType", json!("Guest")).await;
        world.set(&ids[1], "active", json!(false)).await;
        world.leave(&group, &ids[3]).await;
        world.settle().await;
        world.app.clock.advance_ms(1000);
        let later = world.app.clock.now();
        // Back and gone again, for another reason.
        world.set(&ids[1], "active", json!(true)).await;
        world.settle().await;
        world.set(&ids[1], "active", json!(false)).await;
        world.settle().await;
        let protect = configuration("live", &users, "protect = [\"jira-users\"]");
        world.app.apply(&protect).await;
        world.settle().await;

        let query = Query {
            until: Some(later),
            ..since(begun)
        };
        let (backs, tally) = world.foresee(&query).await;
        assert_eq!((tally.people, tally.cannot), (0, 3), "{backs:?}");
        let why = |name: &str| {
            let back = backs.iter().find(|back| back.user_name == name).unwrap();
            back.cannot.join("; ")
        };
        assert!(why("ada").contains("was deleted"), "{}", why("ada"));
        assert!(why("bob").contains("taken again"), "{}", why("bob"));
        assert!(why("joe").contains("protected"), "{}", why("joe"));
        world.memory.clear_writes();
        world.undo(&query, 0).await;
        assert_eq!(world.memory.writes(), [], "{}", database.name);

        // In shadow mode nothing is written, so nothing is given back either.
        world.app.apply(&configuration("shadow", &users, "")).await;
        world.settle().await;
        let (backs, tally) = world.foresee(&since(later)).await;
        assert_eq!((tally.people, tally.cannot), (0, 1));
        assert!(backs[0].cannot[0].contains("not live"), "{backs:?}");
    }
}

/// A deletion does not get past an undo, neither at the end of the grace period nor at once.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_deleted_whom_an_undo_gave_access_back() {
    const DAY: u64 = 24 * 60 * 60;
    for database in databases() {
        let users = format!("{ONLY_STAFF}\n{ALL}\non_delete = \"delete\"");
        let grace = format!("{users}\ndelete_after = \"30d\"");
        let world = World::with(&database, &grace, "").await;
        let ids = world.people(2).await;
        world.app.clock.advance_ms(1000);
        let begun = world.app.clock.now();
        world.delete(&ids[0]).await;
        world.set(&ids[1], "userType", json!("Guest")).await;
        world.settle().await;
        assert_eq!((world.inactive(), world.status().await.grace), (2, 2));
        world.undo(&since(begun), 2).await;
        assert_eq!(world.inactive(), 0);
        world.after(90 * DAY).await;
        world.app.apply(&configuration("live", &users, "")).await;
        world.settle().await;
        world.look_again().await;
        let there = world.memory.users();
        assert_eq!(there.len(), 2, "{}", database.name);
        assert!(there.iter().all(|account| account.active));

        // Once it is released, the time begins anew.
        world.app.apply(&configuration("live", &grace, "")).await;
        world.settle().await;
        world.decide(Decision::Release, None).await;
        world.settle().await;
        assert_eq!(world.inactive(), 2, "{}", database.name);
        world.after(29 * DAY).await;
        assert_eq!(world.memory.users().len(), 2);
        world.after(2 * DAY).await;
        assert_eq!(world.memory.users().len(), 0, "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_without_inactive_accounts_gives_everything_back_too() {
    for database in databases() {
        let memory = Memory::without_inactive(&["jira-users"]);
        let world = World::on(&database, memory, "adopt = true", "").await;
        let mut mine = account("ada");
        mine.groups = vec!["jira-users".to_owned(), "theirs".to_owned()];
        world.memory.seed(mine);
        let ada = world.create(person("ada")).await;
        world.settle().await;
        world.app.clock.advance_ms(1000);
        let begun = world.app.clock.now();
        world.set(&ada, "active", json!(false)).await;
        world.settle().await;
        assert!(world.groups_of("ada").is_empty());
        let (_, tally) = world.foresee(&since(begun)).await;
        assert_eq!((tally.accounts, tally.memberships), (1, 0));
        world.undo(&since(begun), 1).await;
        assert_eq!(world.groups_of("ada"), ["jira-users", "theirs"]);
        world.memory.clear_writes();
        world.look_again().await;
        assert_eq!(world.memory.writes(), [], "{}", database.name);
        assert!(world.memory.user("ada").unwrap().active);
        assert_eq!(world.held().await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_outlives_an_outage_a_refusal_and_the_shadow_mode() {
    for database in databases() {
        let world = World::new(&database).await;
        let ids = world.people(3).await;
        world.app.clock.advance_ms(1000);
        let begun = world.app.clock.now();
        for id in &ids {
            world.set(id, "active", json!(false)).await;
        }
        world.settle().await;
        world.memory.outage(Some(transient()));
        let asking = Asking {
            by: "Grace".to_owned(),
            through: "usher undo".to_owned(),
        };
        let now = world.app.clock.now();
        let query = since(begun);
        converge::undo(world.app.store(), now, &query, &asking, 3)
            .await
            .unwrap();
        world.after(600).await;
        assert_eq!(world.inactive(), 3);
        world.memory.outage(None);
        world.memory.fail_next(rejected("not now"));
        world.after(600).await;
        world.settle().await;
        assert_eq!(world.inactive(), 1, "{}", database.name);
        let now = world.app.clock.now();
        let again = move |tx: &mut usher::store::Tx<'_>| work::retry(tx, None, None, "test", now);
        world.app.store().write(again).await.unwrap();
        world.settle().await;
        assert_eq!(world.inactive(), 0, "{}", database.name);
        world.app.apply(&configuration("shadow", "", "")).await;
        world.settle().await;
        world.app.apply(&configuration("live", "", "")).await;
        world.settle().await;
        assert_eq!(world.inactive(), 0, "{}", database.name);
        assert_eq!(world.held().await.len(), 3);
        assert!(
            world
                .held()
                .await
                .iter()
                .all(|hold| { hold.gives_back.as_deref() == Some(Owner::Created.as_str()) })
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_api_show_an_undo_and_need_the_number_of_people() {
    for database in databases() {
        let world = World::new(&database).await;
        let app = &world.app;
        let ids = world.people(3).await;
        world.settle().await;
        app.clock.advance_ms(1000);
        let begun = usher::clock::rfc3339(app.clock.now());
        for id in &ids {
            world.set(id, "active", json!(false)).await;
        }
        world.settle().await;
        assert_eq!(world.inactive(), 3);

        let post = async |role, body| app.api(role, "POST", "/api/v1/undo", Some(body)).await;
        assert_eq!(
            post(Role::Auditor, json!({"since": begun})).await.status,
            403
        );
        for (body, words) in [
            (json!({}), "a run, a time (since), or a cause"),
            (json!({"until": begun}), "a run, a time (since), or a cause"),
            (json!({"since": "yesterday"}), "since should be a date"),
            (
                json!({"since": begun, "until": begun}),
                "nothing lies between",
            ),
            (json!({"run": "none"}), "there is no run"),
            (
                json!({"since": begun, "target": "nowhere"}),
                "there are: jira",
            ),
            (json!({"since": begun, "users": ["nobody"]}), "has no user"),
        ] {
            let refused = post(Role::Operator, body).await;
            assert_eq!(refused.status, 400);
            let detail = refused.json["detail"].as_str().unwrap();
            assert!(detail.contains(words), "{detail}");
        }
        let plan = post(Role::Operator, json!({"since": begun})).await.json;
        assert_eq!(
            (&plan["begun"], &plan["people"]),
            (&json!(false), &json!(3))
        );
        assert_eq!(plan["plan"].as_array().unwrap().len(), 3);
        assert!(world.held().await.is_empty());
        let page = app
            .page(Role::Operator, &format!("/undo?since={begun}"))
            .await;
        assert!(
            page.contains("to 3 people") && page.contains("active again"),
            "{page}"
        );
        assert!(
            !app.page(Role::Auditor, &format!("/undo?since={begun}"))
                .await
                .contains("Give back")
        );
        let page = app.page(Role::Auditor, "/undo?run=none").await;
        assert!(page.contains("there is no run"), "{page}");

        let wrong = post(Role::Operator, json!({"since": begun, "confirm": 2})).await;
        assert_eq!(wrong.status, 409);
        assert!(world.held().await.is_empty());
        let which = json!({"since": begun, "confirm": 1, "users": ["p1"]});
        let one = post(Role::Operator, which).await;
        assert_eq!((one.status, &one.json["begun"]), (200, &json!(true)));
        world.settle().await;
        assert_eq!(world.inactive(), 2);
        // The page does the rest.
        let shown = app.shows(Role::Operator).await;
        let fields = [("since", begun.as_str()), ("confirm", "2")];
        let done = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap()
            .post(format!("{}/undo", app.base()))
            .header("Authorization", shown)
            .form(&fields)
            .send()
            .await
            .unwrap();
        assert_eq!(done.status(), 303);
        world.settle().await;
        assert_eq!(world.inactive(), 0, "{}", database.name);
        assert_eq!(world.held().await.len(), 3);
    }
}
