//! What administrators look up and keep: the audit and its export, versions of the configuration, going back.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use usher::app::{self, By, Change};
use usher::clock::Clock;
use usher::config::{MappingEntry, print};
use usher::domain::{
    ConnectionKind, ConnectionSettings, GroupRules, MappingSettings, MatchKey, Mode, OnDelete,
    SecretRef, TargetAuth, TargetSettings, UserRules,
};
use usher::store::{audit, versions};

use super::super::harness::{Database, Process, databases, sqlite};
use super::{World, configuration, person};

const BY: By<'static> = By {
    actor: "alice",
    cause: "usher apply",
};

fn usher(database: &Database, arguments: &[&str]) -> String {
    Process::run(database, arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_is_found_followed_and_exported() {
    for database in databases() {
        let world = World::new(&database).await;
        let ada = world.create(person("ada")).await;
        let joe = world.create(person("joe")).await;
        let group = world.group("jira-users", &[&ada, &joe]).await;
        world.settle().await;
        world.set(&ada, "displayName", json!("Countess")).await;
        world.leave(&group, &joe).await;
        world.after(60).await;
        world.set(&ada, "active", json!(false)).await;
        world.settle().await;

        let lines = |arguments: &[&str]| -> Vec<Value> {
            let all = [&["audit", "--format", "jsonl"], arguments].concat();
            usher(&database, &all)
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        };
        let all = lines(&["--all"]);
        assert_eq!(all[0]["operation"], "deactivate", "{}", database.name);
        // What was there before is what an undo goes back to.
        assert_eq!(all[0]["detail"]["before"]["active"], true);
        assert_eq!(all[0]["detail"]["before"]["owner"], "created");
        let of = |operation: &str| {
            let rows = lines(&["--operation", operation]);
            assert_eq!(rows.len(), 1, "{operation} on {}", database.name);
            rows.into_iter().next().unwrap()
        };
        let update = of("update_user");
        assert_eq!(update["detail"]["before"]["display_name"], "The ada");
        assert_eq!(of("remove_member")["detail"]["before"]["owner"], "created");
        assert_eq!(of("apply")["actor"], "test");

        assert!(lines(&["--user", "ada"]).iter().all(|r| r["user"] == "ada"));
        assert_eq!(lines(&["--user", "nobody"]), [json!(null); 0]);
        assert_eq!(lines(&["--target", "jira", "--all"]).len(), all.len() - 1);
        let outcome = lines(&["--outcome", "rejected"]);
        assert_eq!(outcome.len(), 0);
        let since = update["at"].as_str().unwrap();
        let later = lines(&["--since", since, "--oldest-first"]);
        assert_eq!(later[0]["at"], since);
        assert_eq!(later.last().unwrap()["operation"], "deactivate");
        let earlier = lines(&["--until", since, "--all"]);
        assert_eq!(earlier.len() + later.len(), all.len());

        // Page by page it is the same.
        let mut pages: Vec<Value> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut arguments = vec!["audit", "--format", "jsonl", "--limit", "3"];
            if let Some(after) = &after {
                arguments.extend(["--after", after]);
            }
            let output = Process::command(&database, &arguments).output().unwrap();
            let page = String::from_utf8(output.stdout).unwrap();
            pages.extend(
                page.lines()
                    .map(|l| serde_json::from_str::<Value>(l).unwrap()),
            );
            let told = String::from_utf8(output.stderr).unwrap();
            let Some((_, rest)) = told.split_once("--after ") else {
                break;
            };
            after = rest.split(',').next().map(str::to_owned);
        }
        assert_eq!(pages, all, "{}", database.name);

        let csv = usher(&database, &["audit", "--format", "csv", "--user", "joe"]);
        let mut rows = csv.lines();
        assert!(
            rows.next()
                .unwrap()
                .starts_with("at,actor,connection,target,user")
        );
        assert!(rows.all(|row| row.contains(",corp,jira,joe,")));
        let mut wrong = Process::command(&database, &["audit", "--since", "yesterday"]);
        let output = wrong.output().unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains("2026-11-25T08:30:00Z"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acts_of_administrators_are_in_the_audit() {
    for database in databases() {
        let world = World::new(&database).await;
        let secret = usher(&database, &["token", "create", "corp", "--label", "domain"]);
        let listed: Value =
            serde_json::from_str(&usher(&database, &["token", "list", "--json"])).unwrap();
        let listed = listed.as_array().unwrap();
        let id = listed.iter().find(|t| t["label"] == "domain").unwrap()["id"].clone();
        usher(&database, &["token", "revoke", id.as_str().unwrap()]);
        usher(&database, &["retry"]);
        let rows = world
            .app
            .store()
            .read(|conn| audit::page(conn, &audit::Query::default(), 100))
            .await
            .unwrap();
        let acts: Vec<&str> = rows.iter().map(|row| row.operation.as_str()).collect();
        assert_eq!(
            acts,
            ["retry", "revoke_token", "create_token", "apply"],
            "{}",
            database.name
        );
        assert!(rows.iter().all(|row| row.actor.is_some()));
        let all = format!("{rows:?}");
        assert!(!all.contains(secret.trim()), "a secret is in the audit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_is_kept_as_long_as_asked_for() {
    for database in databases() {
        let world = World::new(&database).await;
        world.create(person("ada")).await;
        world.settle().await;
        let count = || async {
            let store = world.app.store();
            let query = audit::Query::default();
            let rows = store.read(move |conn| audit::page(conn, &query, 100)).await;
            rows.unwrap().len()
        };
        let before = count().await;
        world.after(399 * 86_400).await;
        world.app.parts.engine.purge().await;
        assert_eq!(count().await, before);
        world.create(person("joe")).await;
        world.settle().await;
        world.after(2 * 86_400).await;
        world.app.parts.engine.purge().await;
        assert_eq!(count().await, 1, "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_kept_compared_and_gone_back_to() {
    for database in databases() {
        let world = World::new(&database).await;
        world.create(person("ada")).await;
        world.settle().await;
        world
            .app
            .apply(&configuration("live", "on_delete = \"keep\"", ""))
            .await;
        // The same again is no version.
        world
            .app
            .apply(&configuration("live", "on_delete = \"keep\"", ""))
            .await;
        let history: Value =
            serde_json::from_str(&usher(&database, &["config", "history", "--json"])).unwrap();
        let numbers: Vec<i64> = history
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v["version"].as_i64().unwrap())
            .collect();
        assert_eq!(numbers, [2, 1], "{}", database.name);
        assert_eq!(history[0]["author"], "test");
        let diff = usher(&database, &["config", "diff", "1", "2"]);
        for line in ["-on_delete = \"deactivate\"", "+on_delete = \"keep\""] {
            assert!(diff.lines().any(|l| l == line), "{diff}");
        }
        assert_eq!(usher(&database, &["config", "diff", "2"]), "");

        let before = usher(&database, &["export"]);
        let back = usher(&database, &["config", "rollback", "1"]);
        assert!(back.contains("mapping corp -> jira: changed"), "{back}");
        assert!(back.contains("1 people looked at again"), "{back}");
        assert_eq!(usher(&database, &["config", "diff", "1"]), "");
        assert_ne!(usher(&database, &["export"]), before);
        let history = usher(&database, &["config", "history"]);
        assert!(history.contains("usher config rollback 1"), "{history}");
        let wrong = Process::command(&database, &["config", "rollback", "9"]).output();
        let wrong = wrong.unwrap();
        assert_eq!(wrong.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&wrong.stderr).contains("config history"));
    }
}

fn word() -> impl Strategy<Value = String> {
    "[a-z][a-z\"\\\\ é*-]{0,8}[a-z]"
}

fn mapping_settings() -> impl Strategy<Value = MappingSettings> {
    let mode = prop::sample::select(vec![Mode::Shadow, Mode::Live, Mode::Paused]);
    let policy = prop::sample::select(vec![
        OnDelete::Deactivate,
        OnDelete::RemoveGroups,
        OnDelete::Keep,
    ]);
    let keys = prop::sample::select(vec![
        vec![MatchKey::Username],
        vec![MatchKey::Email, MatchKey::Username],
    ]);
    let names = || prop::collection::vec(word(), 0..3);
    (
        (mode, policy, keys, any::<bool>(), any::<bool>()),
        (names(), names(), names(), names()),
        prop::option::of(word()),
    )
        .prop_map(
            |((mode, on_delete, match_by, adopt, flag), (protect, allow, deny, groups), lead)| {
                MappingSettings {
                    mode,
                    users: UserRules {
                        on_delete,
                        match_by,
                        adopt,
                        protect,
                        default_project_lead: lead,
                        ..UserRules::default()
                    },
                    groups: GroupRules {
                        on_the_fly: flag,
                        create_missing: adopt,
                        keep_existing: flag != adopt,
                        allow,
                        deny,
                        protect: groups,
                        ..GroupRules::default()
                    },
                    ..MappingSettings::default()
                }
            },
        )
}

/// Two sources, two targets, and rules between them.
fn file() -> impl Strategy<Value = usher::config::ConfigFile> {
    let secret = word();
    (
        prop::collection::vec(prop::option::of(mapping_settings()), 4),
        secret,
        1..33u32,
    )
        .prop_map(|(mappings, secret, concurrency)| {
            let connections = ["b", "a"].map(|name| ConnectionSettings {
                name: name.to_owned(),
                kind: ConnectionKind::OracleIdcs,
                ..connection()
            });
            let targets = ["y", "x"].map(|name| TargetSettings {
                name: name.to_owned(),
                auth: TargetAuth::Basic {
                    username: "usher".to_owned(),
                    password: SecretRef::File(secret.clone().into()),
                },
                concurrency,
                ..target()
            });
            let pairs = [("b", "y"), ("a", "y"), ("b", "x"), ("a", "x")];
            let mappings = pairs
                .into_iter()
                .zip(mappings)
                .filter_map(|((connection, target), settings)| {
                    Some(MappingEntry {
                        connection: connection.to_owned(),
                        target: target.to_owned(),
                        settings: settings?,
                    })
                })
                .collect();
            usher::config::ConfigFile::new(connections.into(), targets.into(), mappings)
        })
}

/// The smallest file, for what it does not say.
fn smallest() -> usher::config::ConfigFile {
    let text = "[[connection]]\nname = \"x\"\nkind = \"scim\"\n\
                [[target]]\nname = \"x\"\nkind = \"jira-dc\"\nbase_url = \"https://jira.example.com\"\n\
                token = { env = \"NONE\" }\n";
    usher::config::parse(text).unwrap()
}

fn connection() -> ConnectionSettings {
    smallest().connections.remove(0)
}

fn target() -> TargetSettings {
    smallest().targets.remove(0)
}

/// What is exported says what is stored: to apply it changes nothing, here and in an empty database.
#[test]
fn an_export_applied_changes_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = sqlite();
    let (store, clock) = (database.open(), Clock::manual(0));
    let place = Path::new("usher.toml");
    let apply = |text: String| {
        runtime
            .block_on(app::apply_text(&store, &clock, (place, &text), BY, false))
            .unwrap()
    };
    let export = || runtime.block_on(store.read(versions::export)).unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(proptest::test_runner::Config {
        cases: 48,
        failure_persistence: None,
        ..Default::default()
    });
    runner
        .run(&file(), |file| {
            apply(print(&file));
            let exported = export();
            let report = apply(exported.clone());
            let changed: Vec<_> = report
                .lines
                .iter()
                .filter(|(_, change)| *change != Change::Unchanged)
                .collect();
            prop_assert!(changed.is_empty(), "{changed:?}\n{exported}");
            prop_assert_eq!(report.version, None);
            prop_assert_eq!(export(), exported);
            Ok(())
        })
        .unwrap();
}
