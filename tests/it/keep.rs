//! Backups of a running server, the way back, and the way to PostgreSQL.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use diesel::connection::SimpleConnection;
use serde_json::{Value, json};
use usher::domain::{Action, Observed, Role};
use usher::store::Store;
use usher::targets::memory::Memory;

use super::harness::{App, Database, Process, databases, free_port, postgres, sqlite};
use super::store::{execute, lines};

const CONFIGURATION: &str = r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "http://127.0.0.1:1"
token = { env = "NONE" }

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"

[mapping.groups]
on_the_fly = true
create_missing = true
"#;

fn person(name: &str) -> Value {
    json!({"userName": name, "displayName": format!("{name} \"O'Neil\" Ünal 日本 \\ 😀"),
        "emails": [{"value": format!("{name}@example.com"), "primary": true}]})
}

async fn push(app: &App, token: &str, name: &str) -> String {
    let made = app.send(token, "POST", "/Users", Some(person(name))).await;
    assert_eq!(made.status, 201, "{}", made.json);
    made.id()
}

fn usher(database: &Database, arguments: &[&str]) -> Output {
    Process::command(database, arguments).output().unwrap()
}

/// Runs a command that must fail, and returns what it says.
fn refused(database: &Database, arguments: &[&str]) -> String {
    let output = usher(database, arguments);
    assert!(!output.status.success(), "{arguments:?} went through");
    String::from_utf8(output.stderr).unwrap()
}

fn at(file: &Path) -> Database {
    let mut database = sqlite();
    database.text = format!("sqlite:{}", file.display());
    database.url = database.text.parse().unwrap();
    database
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_busy_server_is_whole_and_holds_what_was_acknowledged_before() {
    let database = sqlite();
    let app = App::start(&database, &Memory::new()).await;
    app.apply(CONFIGURATION).await;
    let token = app.token("corp").await;
    for n in 0..20 {
        push(&app, &token, &format!("before{n}")).await;
    }
    let file = database.folder().join("backup.db");
    let during = async {
        for n in 0..60 {
            push(&app, &token, &format!("during{n}")).await;
        }
    };
    let backup = tokio::task::spawn_blocking({
        let (database, file) = (database.clone(), file.clone());
        move || Process::run(&database, &["backup", text(&file)])
    });
    let ((), said) = tokio::join!(during, backup);
    assert!(said.unwrap().contains("read back and whole"));
    let names = lines(&at(&file).open(), "SELECT user_name AS line FROM scim_user").await;
    for n in 0..20 {
        assert!(names.contains(&format!("before{n}")), "{names:?}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let again = refused(&database, &["backup", text(&file)]);
    assert!(again.contains("is there already: --replace"), "{again}");
    Process::run(&database, &["backup", "--replace", text(&file)]);
    let names = lines(&at(&file).open(), "SELECT user_name AS line FROM scim_user").await;
    assert_eq!(names.len(), 80);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_touches_nobody_before_a_person_has_looked() {
    let database = sqlite();
    let memory = Memory::new();
    let backup = database.folder().join("backup.db");
    let (token, id) = {
        let app = App::start(&database, &memory).await;
        app.apply(CONFIGURATION).await;
        let token = app.token("corp").await;
        let id = push(&app, &token, "ada").await;
        app.drain().await;
        Process::run(&database, &["backup", text(&backup)]);
        // Ada leaves after the backup, and Grace comes.
        let path = format!("/Users/{id}");
        let left = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "path": "active", "value": false}]});
        app.send(&token, "PATCH", &path, Some(left)).await;
        push(&app, &token, "grace").await;
        app.drain().await;
        app.stop().await;
        (token, id)
    };
    assert!(!memory.user("ada").unwrap().active);
    let there = refused(&database, &["restore", text(&backup)]);
    assert!(there.contains("--replace moves it aside"), "{there}");
    let said = Process::run(&database, &["restore", text(&backup), "--replace"]);
    assert!(said.contains("all targets are paused"), "{said}");
    let former = database.folder().join("usher.db.before-restore");
    let names = lines(
        &at(&former).open(),
        "SELECT user_name AS line FROM scim_user",
    )
    .await;
    assert_eq!(names.len(), 2, "{names:?}");

    let app = App::start(&database, &memory).await;
    let writes = memory.writes();
    app.drain().await;
    assert!(!memory.user("ada").unwrap().active, "paused means paused");
    assert_eq!(memory.writes(), writes);
    // The source says again what it said; the administrator looks, and lets go.
    let path = format!("/Users/{id}");
    let left = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "path": "active", "value": false}]});
    assert_eq!(
        app.send(&token, "PATCH", &path, Some(left)).await.status,
        200
    );
    push(&app, &token, "grace").await;
    Process::run(&database, &["resume"]);
    app.pass(std::time::Duration::from_secs(60), 3).await;
    assert!(!memory.user("ada").unwrap().active);
    assert_eq!(memory.user("grace").unwrap().username, "grace");
    let open = "SELECT state AS line FROM work_item WHERE state <> 'held'";
    assert!(lines(app.store(), open).await.is_empty());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_whole_backup_is_refused_and_so_is_a_running_server() {
    let database = sqlite();
    drop(database.open());
    let folder = database.folder();
    let backup = folder.join("backup.db");
    Process::run(&database, &["backup", text(&backup)]);
    let whole = std::fs::read(&backup).unwrap();

    let wrong = folder.join("wrong");
    let cases: [(&str, Vec<u8>, &str); 4] = [
        ("empty", Vec::new(), "this is no SQLite database"),
        (
            "text",
            b"BEGIN; -- a dump, perhaps".to_vec(),
            "this is no SQLite database",
        ),
        ("cut", whole[..whole.len() / 2].to_vec(), "malformed"),
        ("missing", Vec::new(), "No such file"),
    ];
    for (name, bytes, words) in cases {
        std::fs::write(&wrong, bytes).unwrap();
        if name == "missing" {
            std::fs::remove_file(&wrong).unwrap();
        }
        let said = refused(&database, &["restore", text(&wrong), "--replace"]);
        assert!(said.contains(words), "{name}: {said}");
    }
    let other = rusty("other.db", &folder, "CREATE TABLE cats (name TEXT)");
    let said = refused(&database, &["restore", text(&other), "--replace"]);
    assert!(said.contains("this is no database of Usher"), "{said}");

    let running = Process::serve(&database, free_port(), &[]).await;
    let said = refused(&database, &["restore", text(&backup), "--replace"]);
    assert!(said.contains("stop the server first"), "{said}");
    assert!(!folder.join("usher.db.before-restore").exists());
    running.kill();
    Process::run(&database, &["restore", text(&backup), "--replace"]);
}

/// A SQLite file of somebody else.
fn rusty(name: &str, folder: &Path, sql: &str) -> std::path::PathBuf {
    use diesel::Connection;
    let path = folder.join(name);
    let mut conn = diesel::SqliteConnection::establish(text(&path)).unwrap();
    conn.batch_execute(sql).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_newer_than_the_program_is_refused() {
    for database in databases() {
        let store = database.open();
        let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231000000')";
        execute(&store, newer).await;
        drop(store);
        let error = Store::open(&database.url).unwrap_err().to_string();
        assert!(
            error.contains("newer Usher (schema 99991231000000)"),
            "{}: {error}",
            database.name
        );
        let said = refused(&database, &["status"]);
        assert!(
            said.contains("restore a backup from before the update"),
            "{said}"
        );
    }
}

/// Each table with its rows, in one spelling for both databases.
async fn contents(database: &Database) -> BTreeMap<String, Vec<Value>> {
    let store = database.open();
    let is_sqlite = database.name == "sqlite";
    let tables = if is_sqlite {
        "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'"
    } else {
        "SELECT tablename::text AS line FROM pg_tables WHERE schemaname = 'public'"
    };
    let mut all = BTreeMap::new();
    for table in lines(&store, tables).await {
        if table == "__diesel_schema_migrations" {
            continue;
        }
        let rows = if is_sqlite {
            let columns = format!("SELECT name AS line FROM pragma_table_info('{table}')");
            let columns = lines(&store, &columns).await;
            let pairs: Vec<String> = columns.iter().map(|c| format!("'{c}', \"{c}\"")).collect();
            format!(
                "SELECT json_object({}) AS line FROM \"{table}\"",
                pairs.join(", ")
            )
        } else {
            format!("SELECT row_to_json(t)::text AS line FROM \"{table}\" t")
        };
        let mut rows: Vec<Value> = lines(&store, &rows)
            .await
            .iter()
            .map(|row| {
                let mut row: Value = serde_json::from_str(row).unwrap();
                for value in row.as_object_mut().unwrap().values_mut() {
                    if let Value::Bool(is) = value {
                        *value = json!(i32::from(*is));
                    }
                }
                row
            })
            .collect();
        rows.sort_by_key(ToString::to_string);
        all.insert(table, rows);
    }
    all
}

/// Everything that a database keeps, as text.
pub(super) async fn dump(database: &Database) -> String {
    format!("{:?}", contents(database).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_to_postgres_loses_nothing_and_happens_once() {
    let Some(new) = postgres() else { return };
    let old = sqlite();
    let memory = Memory::new();
    let token = {
        let app = App::start(&old, &memory).await;
        app.apply(CONFIGURATION).await;
        let token = app.token("corp").await;
        let mut ids = Vec::new();
        for n in 0..1100 {
            ids.push(push(&app, &token, &format!("person{n}")).await);
        }
        let members: Vec<Value> = ids.iter().map(|id| json!({"value": id})).collect();
        let group = json!({"displayName": "everybody", "members": members});
        assert_eq!(
            app.send(&token, "POST", "/Groups", Some(group))
                .await
                .status,
            201
        );
        for _ in 0..20 {
            app.drain().await;
        }
        app.send(&token, "DELETE", &format!("/Users/{}", ids[0]), None)
            .await;
        let seat = &app.parts.state.seat;
        seat.new_token("script", Role::Auditor, "test", None)
            .await
            .unwrap();
        Process::run(&old, &["apply", text(&write(&old, CONFIGURATION))]);
        app.stop().await;
        token
    };
    let before = contents(&old).await;
    let filled = before.values().filter(|rows| !rows.is_empty()).count();
    assert!(
        filled >= 15,
        "{filled} of {} tables have rows",
        before.len()
    );
    assert!(before["membership"].len() == 1099 && before["audit"].len() > 1000);

    // A database that is in use is left alone.
    let taken = postgres().unwrap();
    App::start(&taken, &memory).await.apply(CONFIGURATION).await;
    let said = refused(&old, &["move", "--to", &taken.text]);
    assert!(
        said.contains("is not empty") && said.contains("nothing was moved"),
        "{said}"
    );
    let said = refused(
        &old,
        &["move", "--to", "postgres://usher:s3cret@127.0.0.1:1/x"],
    );
    assert!(!said.contains("s3cret"), "{said}");
    let said = refused(&old, &["move", "--to", "sqlite:other.db"]);
    assert!(said.contains("must be a PostgreSQL database"), "{said}");

    let said = Process::run(&old, &["move", "--to", &new.text]);
    assert!(said.contains("scim_user: 1100"), "{said}");
    let after = contents(&new).await;
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    for (table, rows) in &before {
        assert!(*rows == after[table], "{table} differs");
    }
    let said = refused(&old, &["move", "--to", &new.text]);
    assert!(said.contains("there is no database"), "{said}");

    // And it goes on where it was.
    let app = App::start(&new, &memory).await;
    let found = app
        .send(
            &token,
            "GET",
            "/Users?filter=userName%20eq%20%22PERSON7%22",
            None,
        )
        .await;
    assert_eq!(found.json["totalResults"], 1, "{}", found.json);
    assert_eq!(
        found.json["Resources"][0]["displayName"],
        person("person7")["displayName"]
    );
    app.drain().await;
    assert!(!memory.user("person0").unwrap().active);
    push(&app, &token, "new").await;
    app.drain().await;
    assert!(memory.user("new").is_some());
    app.stop().await;
}

fn write(database: &Database, text: &str) -> std::path::PathBuf {
    let path = database.folder().join("usher.toml");
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_left_to_its_own_tools() {
    let Some(database) = postgres() else { return };
    let said = refused(&database, &["backup", "/tmp/never"]);
    assert!(said.contains("pg_dump --format=custom"), "{said}");
    let said = refused(&database, &["restore", "/tmp/never"]);
    assert!(said.contains("pg_restore"), "{said}");
    let said = refused(&database, &["move", "--to", &database.text]);
    assert!(said.contains("only a SQLite database is moved"), "{said}");
}

/// Whoever was there is found again by name, what is there already is taken over with its memberships, and what
/// others made stays theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_is_made_again_and_nothing_is_removed_by_that() {
    let rules = CONFIGURATION.replace(
        "[mapping.groups]",
        "[mapping.users]\nadopt = true\n\n[mapping.groups]",
    );
    for (database, fresh) in databases().into_iter().zip(databases()) {
        let memory = Memory::new();
        let pushed = async |app: &App, token: &str| {
            let (ada, bob) = (push(app, token, "ada").await, push(app, token, "bob").await);
            let body = json!({"displayName": "dev", "members": [{"value": &ada}, {"value": &bob}]});
            let group = app.send(token, "POST", "/Groups", Some(body)).await;
            assert_eq!(group.status, 201);
            app.drain().await;
            (ada, bob, group.id())
        };
        let app = App::start(&database, &memory).await;
        app.apply(&rules).await;
        let token = app.token("corp").await;
        pushed(&app, &token).await;
        app.stop().await;
        memory.seed(Observed {
            username: "carol".to_owned(),
            active: true,
            groups: vec!["dev".to_owned()],
            ..Observed::default()
        });
        let before = memory.users();
        assert_eq!(before.len(), 3);
        memory.clear_writes();

        // Nothing is left but the configuration as a file, the source, and the target.
        let app = App::start(&fresh, &memory).await;
        app.apply(&rules.replace("\"live\"", "\"shadow\"")).await;
        let token = app.token("corp").await;
        let (ada, bob, group) = pushed(&app, &token).await;
        assert_eq!(memory.writes(), []);
        app.apply(&rules).await;
        app.drain().await;
        assert_eq!(memory.writes(), [], "{}", database.name);
        assert_eq!(memory.users(), before);
        let adopted = lines(
            app.store(),
            "SELECT user_name AS line FROM audit WHERE operation = 'adopt_user' AND outcome = 'done'",
        )
        .await;
        assert_eq!(adopted.len(), 2, "{adopted:?}");

        let out = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "remove", "path": format!("members[value eq \"{bob}\"]")}],
        });
        let path = format!("/Groups/{group}");
        assert_eq!(
            app.send(&token, "PATCH", &path, Some(out)).await.status,
            200
        );
        let gone = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "path": "active", "value": false}],
        });
        let path = format!("/Users/{ada}");
        assert_eq!(
            app.send(&token, "PATCH", &path, Some(gone)).await.status,
            200
        );
        app.drain().await;
        let writes = memory.writes();
        let removes = |action: &Action| matches!(action, Action::RemoveMember { username, .. } if username == "bob");
        assert!(writes.iter().any(removes), "{writes:?}");
        assert!(!memory.user("ada").unwrap().active);
        assert_eq!(memory.user("carol").unwrap().groups, ["dev"]);
    }
}
