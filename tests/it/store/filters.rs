//! Filters and pages: what the database answers is what a list in memory would.
//!
//! Documents and filters are generated; each filter is evaluated twice, by `Compiled::matches` on the folded
//! resource as a client sees it, and by SQL, and the two must agree on every resource.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use usher::clock::rfc3339;
use usher::domain::ConnectionId;
use usher::scim::filter::{self, AttrPath, CompareOp, Compiled, Filter, Literal};
use usher::scim::resource::{self, Meta};
use usher::scim::sort::{self, Key, Sort};
use usher::scim::{Dialect, Doc, ResourceType, fold, schema};
use usher::store::groups::{self, MemberType};
use usher::store::{self, After, PageQuery, Store, users};

use super::super::harness::databases;
use super::connection;

const BASE: i64 = 1_750_000_000_000_000;
const CUSTOM: &str = "urn:example:custom:2.0:User";

/// Texts that databases like to get wrong: case beyond ASCII, wildcards, quotes, what looks like something else.
const TEXTS: &[&str] = &[
    "ada",
    "ADA",
    "Ada Byron",
    "byron",
    "Straße",
    "STRASSE",
    "strasse",
    "ẞ",
    "İstanbul",
    "istanbul",
    "ıI",
    "ǅ",
    "ǆ",
    "Σίσυφος",
    "ΣΊΣΥΦΟΣ",
    "é",
    "e\u{301}",
    "😀",
    "a😀b",
    "日本",
    "%",
    "_",
    "a%b",
    "a_b",
    "axb",
    "\\",
    "a\\b",
    "\"",
    "'",
    "it's",
    "''; DROP TABLE scim_user; --",
    "$1",
    "{}",
    "[1]",
    "null",
    "true",
    "7",
    "7.0",
    " ",
    " ada",
    "a\tb\nc",
    "z",
    "~",
    "\u{7f}",
    "\u{10ffff}",
    "direct",
    "User",
    "Group",
    "work",
    "2025-06-15T15:06:40.003Z",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => select(TEXTS).prop_map(ToOwned::to_owned),
        1 => "[a-cA-C%_\\\\\"']{1,4}",
    ]
}

fn number() -> impl Strategy<Value = serde_json::Number> {
    prop_oneof![
        (-3i64..10).prop_map(Into::into),
        select(&[0.5, -0.5, 7.0, 7.25, 1e20, 0.1, 1e-7][..])
            .prop_map(|n| serde_json::Number::from_f64(n).unwrap()),
        select(
            &[
                9_007_199_254_740_992i64,
                9_007_199_254_740_993,
                i64::MAX,
                i64::MIN
            ][..]
        )
        .prop_map(Into::into),
        Just(u64::MAX.into()),
    ]
}

/// A value of an attribute that no schema knows: anything.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => text().prop_map(Value::String),
        2 => number().prop_map(Value::Number),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => Just(json!("")),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec((select(&["level", "Value", "type", "x"][..]), inner), 0..3)
                .prop_map(|pairs| Value::Object(
                    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
                )),
        ]
    })
}

fn email() -> impl Strategy<Value = Value> {
    (
        prop::option::of(text()),
        prop::option::of(select(&["work", "home", "Work"][..])),
    )
        .prop_map(|(value, kind)| {
            let mut email = json!({});
            if let Some(value) = value {
                email["value"] = json!(value);
            }
            if let Some(kind) = kind {
                email["type"] = json!(kind);
            }
            email
        })
}

/// The optional parts of a user, by name.
fn user_parts() -> impl Strategy<Value = Doc> {
    let part = prop_oneof![
        text().prop_map(|t| ("displayName".to_owned(), json!(t))),
        text().prop_map(|t| ("externalId".to_owned(), json!(t))),
        Just(("externalId".to_owned(), json!(""))),
        Just(("displayName".to_owned(), json!(""))),
        text().prop_map(|t| ("userType".to_owned(), json!(t))),
        text().prop_map(|t| ("title".to_owned(), json!(t))),
        any::<bool>().prop_map(|b| ("active".to_owned(), json!(b))),
        (text(), text()).prop_map(|(given, family)| (
            "name".to_owned(),
            json!({"givenName": given, "familyName": family, "Nick": given})
        )),
        prop::collection::vec(email(), 0..3).prop_map(|e| ("emails".to_owned(), json!(e))),
        anything().prop_map(|v| ("level".to_owned(), v)),
        anything().prop_map(|v| ("Ort".to_owned(), v)),
        (text(), text()).prop_map(|(d, m)| (
            schema::ENTERPRISE_USER.to_owned(),
            json!({"department": d, "manager": {"value": m}, "level": d})
        )),
        anything().prop_map(|v| (CUSTOM.to_owned(), json!({"Level": v}))),
    ];
    prop::collection::vec(part, 0..7).prop_map(|parts| parts.into_iter().collect())
}

fn group_parts() -> impl Strategy<Value = Doc> {
    let part = prop_oneof![
        text().prop_map(|t| ("externalId".to_owned(), json!(t))),
        anything().prop_map(|v| ("level".to_owned(), v)),
        anything().prop_map(|v| ("groups".to_owned(), v)),
        anything().prop_map(|v| (
            "urn:example:custom:2.0:Group".to_owned(),
            json!({"Level": v})
        )),
    ];
    prop::collection::vec(part, 0..4).prop_map(|parts| parts.into_iter().collect())
}

fn path(urn: Option<&str>, name: &str, sub: Option<&str>) -> AttrPath {
    AttrPath {
        urn: urn.map(ToOwned::to_owned),
        name: name.to_owned(),
        sub: sub.map(ToOwned::to_owned),
    }
}

fn user_paths() -> Vec<AttrPath> {
    let mut all: Vec<AttrPath> = [
        "id",
        "ID",
        "userName",
        "displayName",
        "externalId",
        "userType",
        "title",
        "active",
        "name",
        "emails",
        "groups",
        "level",
        "ort",
        "meta",
        "members",
        "roles",
        "nothing",
    ]
    .into_iter()
    .map(|name| path(None, name, None))
    .collect();
    for (name, sub) in [
        ("id", "value"),
        ("userName", "x"),
        ("active", "value"),
        ("name", "givenName"),
        ("name", "FAMILYNAME"),
        ("name", "nick"),
        ("emails", "value"),
        ("emails", "type"),
        ("emails", "x"),
        ("groups", "value"),
        ("groups", "display"),
        ("groups", "type"),
        ("level", "level"),
        ("level", "value"),
        ("ort", "x"),
        ("meta", "created"),
        ("meta", "lastModified"),
        ("meta", "resourceType"),
    ] {
        all.push(path(None, name, Some(sub)));
    }
    let core = "urn:ietf:params:scim:schemas:core:2.0:User";
    all.push(path(Some(core), "userName", None));
    all.push(path(Some(core), "emails", Some("value")));
    all.push(path(Some(schema::ENTERPRISE_USER), "department", None));
    all.push(path(Some(schema::ENTERPRISE_USER), "level", None));
    all.push(path(
        Some(schema::ENTERPRISE_USER),
        "manager",
        Some("value"),
    ));
    all.push(path(Some(schema::ENTERPRISE_USER), "manager", None));
    all.push(path(Some(CUSTOM), "level", None));
    all.push(path(Some(CUSTOM), "level", Some("x")));
    all.push(path(Some("urn:example:custom:2.0"), "User", None));
    all
}

fn group_paths() -> Vec<AttrPath> {
    let mut all: Vec<AttrPath> = [
        "id",
        "displayName",
        "externalId",
        "members",
        "level",
        "groups",
        "meta",
        "emails",
    ]
    .into_iter()
    .map(|name| path(None, name, None))
    .collect();
    for (name, sub) in [
        ("members", "value"),
        ("members", "type"),
        ("groups", "value"),
        ("level", "level"),
        ("meta", "created"),
        ("meta", "lastModified"),
        ("meta", "resourceType"),
        ("displayName", "x"),
    ] {
        all.push(path(None, name, Some(sub)));
    }
    all.push(path(Some("urn:example:custom:2.0:Group"), "Level", None));
    all
}

/// What value paths can stand on, with what can stand in them.
const USER_LISTS: &[(&str, &[&str])] = &[
    ("emails", &["value", "type", "primary", "x"]),
    ("groups", &["value", "display", "type"]),
    ("level", &["level", "value", "x"]),
    ("ort", &["type", "x"]),
    ("name", &["givenName", "nick"]),
    ("meta", &["created", "lastModified", "resourceType"]),
];
const GROUP_LISTS: &[(&str, &[&str])] = &[
    ("members", &["value", "type"]),
    ("level", &["level", "x"]),
    ("groups", &["value", "x"]),
    ("meta", &["created", "lastModified", "resourceType"]),
];

fn literal(ids: Vec<String>) -> impl Strategy<Value = Literal> {
    prop_oneof![
        8 => text().prop_map(Literal::String),
        3 => select(ids).prop_map(Literal::String),
        2 => (0i64..70).prop_map(|n| Literal::String(rfc3339(BASE + n * 1000))),
        3 => number().prop_map(Literal::Number),
        2 => any::<bool>().prop_map(Literal::Bool),
        1 => Just(Literal::Null),
        1 => Just(Literal::String(String::new())),
    ]
}

fn test(paths: Vec<AttrPath>, ids: Vec<String>) -> impl Strategy<Value = Filter> {
    prop_oneof![
        5 => (select(paths.clone()), select(&CompareOp::ALL[..]), literal(ids))
            .prop_map(|(path, op, value)| Filter::Compare { path, op, value }),
        1 => select(paths).prop_map(Filter::Present),
    ]
}

fn joined(leaf: BoxedStrategy<Filter>) -> BoxedStrategy<Filter> {
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::And),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::Or),
            2 => inner.prop_map(|f| Filter::Not(Box::new(f))),
        ]
    })
    .boxed()
}

fn filters(rt: ResourceType, ids: Vec<String>) -> BoxedStrategy<Filter> {
    let (paths, lists) = match rt {
        ResourceType::User => (user_paths(), USER_LISTS),
        ResourceType::Group => (group_paths(), GROUP_LISTS),
    };
    let own = ids.clone();
    let value_path = select(lists).prop_flat_map(move |(name, subs)| {
        let inside = subs.iter().map(|sub| path(None, sub, None)).collect();
        joined(test(inside, own.clone()).boxed()).prop_map(move |inner| Filter::ValuePath {
            path: path(None, name, None),
            filter: Box::new(inner),
        })
    });
    joined(prop_oneof![4 => test(paths, ids), 1 => value_path].boxed())
}

/// What is stored, as a client sees it and folded.
struct Seen {
    id: String,
    folded: Value,
    shown: Doc,
}

struct World {
    runtime: Runtime,
    store: Store,
    connection: ConnectionId,
    users: Vec<Seen>,
    groups: Vec<Seen>,
}

impl World {
    fn list(&self, rt: ResourceType, query: PageQuery) -> Result<store::Page, store::Error> {
        self.runtime.block_on(self.store.read(move |conn| match rt {
            ResourceType::User => users::list(conn, &query),
            ResourceType::Group => groups::list(conn, &query),
        }))
    }

    fn seen(&self, rt: ResourceType) -> &[Seen] {
        match rt {
            ResourceType::User => &self.users,
            ResourceType::Group => &self.groups,
        }
    }

    fn query(&self, filter: Option<Compiled>, start_index: u64, count: u64) -> PageQuery {
        PageQuery {
            connection: self.connection.clone(),
            filter,
            start_index,
            count,
            sort: None,
            after: None,
            total: None,
        }
    }
}

fn seen(rt: ResourceType, stored: &store::Stored, rows: Vec<Value>) -> Seen {
    let meta = Meta {
        id: stored.id.clone(),
        created: rfc3339(stored.created_at),
        last_modified: rfc3339(stored.modified_at),
        version: format!("W/\"{}\"", stored.version),
        location: String::new(),
    };
    let shown = resource::render(rt, &stored.doc, &meta, Some(rows));
    Seen {
        id: stored.id.clone(),
        folded: fold::fold(rt, &shown),
        shown,
    }
}

/// Documents in a database, with a second tenant beside them that must never be seen.
fn world(store: Store, runner: &mut TestRunner) -> World {
    let runtime = Runtime::new().unwrap();
    let mut docs = Vec::new();
    for n in 0..60 {
        let mut doc = user_parts().new_tree(runner).unwrap().current();
        let name = text().new_tree(runner).unwrap().current();
        doc.insert("userName".to_owned(), json!(format!("{name}{n}")));
        doc.insert("schemas".to_owned(), json!([schema::USER]));
        docs.push((ResourceType::User, doc));
    }
    for n in 0..20 {
        let mut doc = group_parts().new_tree(runner).unwrap().current();
        let name = text().new_tree(runner).unwrap().current();
        doc.insert("displayName".to_owned(), json!(format!("{name}{n}")));
        doc.insert("schemas".to_owned(), json!([schema::GROUP]));
        docs.push((ResourceType::Group, doc));
    }
    let links: Vec<(usize, usize)> = prop::collection::vec((0usize..20, 0usize..90), 60)
        .new_tree(runner)
        .unwrap()
        .current();
    let (connection, stored) = runtime.block_on(async {
        let (own, other) = (
            connection(&store, "own").await,
            connection(&store, "other").await,
        );
        let mut stored = Vec::new();
        for (n, (rt, doc)) in docs.into_iter().enumerate() {
            let mut change = resource::parse_create(rt, Dialect::Rfc, Value::Object(doc)).unwrap();
            if n % 7 == 0 {
                // As a PATCH may leave it.
                change.doc.remove("active");
            }
            for tenant in [&own, &other] {
                let (tenant, doc) = (tenant.clone(), change.doc.clone());
                let is_own = tenant == own;
                let at = BASE + i64::try_from(n % 64).unwrap() * 1000;
                let made = store
                    .write(move |tx| match rt {
                        ResourceType::User => {
                            users::insert(tx, &tenant, &users::prepare(&doc)?, at)
                        }
                        ResourceType::Group => groups::insert(tx, &tenant, &doc, at),
                    })
                    .await
                    .unwrap();
                if is_own {
                    stored.push((rt, made.parsed().unwrap()));
                }
            }
        }
        (own, stored)
    });
    let mut members: HashMap<String, Vec<(String, MemberType)>> = HashMap::new();
    for (group, member) in links {
        let group = stored[60 + group].1.id.clone();
        let link = match member {
            0..60 => (stored[member].1.id.clone(), MemberType::User),
            60..80 => (stored[member].1.id.clone(), MemberType::Group),
            other => (format!("nobody{other}"), MemberType::Unknown),
        };
        let all = members.entry(group.clone()).or_default();
        if link.0 != group && !all.contains(&link) {
            all.push(link);
        }
    }
    let rows: Vec<(String, String, MemberType)> = members
        .iter()
        .flat_map(|(group, all)| all.iter().map(|(m, t)| (group.clone(), m.clone(), *t)))
        .collect();
    let to_store = rows.clone();
    runtime
        .block_on(store.write(move |tx| -> Result<(), store::Error> {
            for (group, member, kind) in &to_store {
                assert!(groups::add_member(tx, group, member, *kind)?);
            }
            Ok(())
        }))
        .unwrap();
    let name = |id: &str| {
        let found = stored.iter().find(|(_, s)| s.id == id).unwrap();
        resource::keys(found.0, &found.1.doc).name
    };
    let (mut all_users, mut all_groups) = (Vec::new(), Vec::new());
    for (rt, one) in &stored {
        match rt {
            ResourceType::User => {
                let groups = rows
                    .iter()
                    .filter(|(_, member, _)| *member == one.id)
                    .map(|(group, ..)| json!({"value": group, "display": name(group), "type": "direct"}))
                    .collect();
                all_users.push(seen(*rt, one, groups));
            }
            ResourceType::Group => {
                let members = rows
                    .iter()
                    .filter(|(group, ..)| *group == one.id)
                    .map(|(_, member, kind)| match kind {
                        MemberType::User => json!({"value": member, "type": "User"}),
                        MemberType::Group => json!({"value": member, "type": "Group"}),
                        MemberType::Unknown => json!({"value": member}),
                    })
                    .collect();
                all_groups.push(seen(*rt, one, members));
            }
        }
    }
    all_users.sort_by(|a, b| a.id.cmp(&b.id));
    all_groups.sort_by(|a, b| a.id.cmp(&b.id));
    World {
        runtime,
        store,
        connection,
        users: all_users,
        groups: all_groups,
    }
}

/// One filter, both ways, with a page of what it finds.
fn agree(
    world: &World,
    rt: ResourceType,
    written: &Filter,
    start_index: u64,
    count: u64,
) -> Result<Option<usize>, TestCaseError> {
    let text = written.to_string();
    let parsed = filter::parse(&text)
        .map_err(|e| TestCaseError::fail(format!("{text} is not read back: {e}")))?;
    let compiled = match filter::compile(rt, &parsed) {
        Ok(compiled) => compiled,
        Err(e) => {
            prop_assert_eq!(e.scim_type(), Some("invalidFilter"), "{}", text);
            return Ok(None);
        }
    };
    let all = match world.list(rt, world.query(Some(compiled.clone()), 1, 1000)) {
        Ok(page) => page,
        // What the database cannot answer is refused, not answered wrongly.
        Err(store::Error::Filter(_)) => return Ok(None),
        Err(other) => return Err(TestCaseError::fail(format!("{text}: {other}"))),
    };
    let found: Vec<&str> = all.items.iter().map(|s| s.id.as_str()).collect();
    let naive: Vec<&str> = world
        .seen(rt)
        .iter()
        .filter(|s| compiled.matches(&s.folded))
        .map(|s| s.id.as_str())
        .collect();
    if found != naive {
        let odd = world
            .seen(rt)
            .iter()
            .find(|s| found.contains(&s.id.as_str()) != naive.contains(&s.id.as_str()));
        return Err(TestCaseError::fail(format!(
            "{text}\nin the database: {}\nin memory: {}\nfor example: {}\n{compiled:?}",
            found.len(),
            naive.len(),
            odd.map_or_else(String::new, |s| Value::Object(s.shown.clone()).to_string()),
        )));
    }
    prop_assert_eq!(all.total, naive.len() as u64, "{}", text);

    let page = world
        .list(rt, world.query(Some(compiled), start_index, count))
        .map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
    let wanted: Vec<&str> = naive
        .iter()
        .skip(usize::try_from(start_index - 1).unwrap())
        .take(usize::try_from(count).unwrap())
        .copied()
        .collect();
    let got: Vec<&str> = page.items.iter().map(|s| s.id.as_str()).collect();
    prop_assert_eq!(got, wanted, "{} from {} count {}", text, start_index, count);
    prop_assert_eq!(
        page.total,
        naive.len() as u64,
        "{} from {} count {}",
        text,
        start_index,
        count
    );
    Ok(Some(naive.len()))
}

#[test]
fn the_database_and_the_evaluator_agree() {
    for database in databases() {
        let runner = || {
            TestRunner::new(Config {
                cases: 700,
                failure_persistence: None,
                max_shrink_iters: 300,
                ..Config::default()
            })
        };
        let world = world(database.open(), &mut runner());
        for rt in [ResourceType::User, ResourceType::Group] {
            let ids: Vec<String> = world
                .users
                .iter()
                .chain(&world.groups)
                .map(|s| s.id.clone())
                .collect();
            let (answered, told_apart) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
            let all = world.seen(rt).len();
            let cases = (filters(rt, ids), 1u64..30, 0u64..25);
            let result = runner().run(&cases, |(written, start_index, count)| {
                if let Some(found) = agree(&world, rt, &written, start_index, count)? {
                    answered.set(answered.get() + 1);
                    if found > 0 && found < all {
                        told_apart.set(told_apart.get() + 1);
                    }
                }
                Ok(())
            });
            if let Err(e) = result {
                panic!("{} {}: {e}", database.name, rt.name());
            }
            // Otherwise the generator has gone stale and the test says nothing.
            assert!(answered.get() > 250, "only {} answered", answered.get());
            assert!(
                told_apart.get() > 30,
                "only {} told apart",
                told_apart.get()
            );
        }
    }
}

/// Those that random search would find too seldom.
#[test]
fn awkward_filters_agree() {
    for database in databases() {
        let mut runner = TestRunner::deterministic();
        let world = world(database.open(), &mut runner);
        let users = [
            r#"meta.resourceType eq "User""#,
            r#"meta.resourceType eq "user""#,
            r#"not (meta.resourceType eq "User")"#,
            r#"meta[lastModified gt "2025-06-15T15:06:40.020Z"]"#,
            r#"meta[resourceType eq "User" and created le "2025-06-15T15:06:40.005Z"]"#,
            r#"not (meta[created lt "2025-06-15T15:06:40.030Z"])"#,
            "externalId pr",
            "externalId eq \"\"",
            "displayName pr",
            "not (displayName pr)",
            "displayName ne \"ada\"",
            "active eq false",
            "active ne true",
            "active pr",
            r#"emails[value co "a" and not (type eq "work")]"#,
            r#"not (emails[type pr])"#,
            r#"groups[display co "a" or value pr]"#,
            r#"groups.type eq "direct""#,
            r#"groups.type ne "direct""#,
            r#"groups ne "x""#,
            r#"not (groups pr)"#,
            r#"userName sw "%""#,
            r#"userName co "_""#,
            r#"userName co "\\""#,
            r#"userName co "\"""#,
            r#"userName eq "İSTANBUL8""#,
            "level eq 9007199254740992",
            "level gt 9007199254740991",
            "level ge 9223372036854775807",
            "level lt 18446744073709551615",
            "level eq 7.0",
            "level gt 0.05",
        ];
        let groups = [
            r#"members.type eq "User""#,
            r#"members.type eq "unknown""#,
            r#"members.type ne "User""#,
            "members[not (type pr)]",
            r#"members[type ne "User"]"#,
            r#"members.value sw "nobody""#,
            r#"members[value sw "nobody" and type pr]"#,
            r#"meta.resourceType eq "Group""#,
        ];
        let all = users
            .iter()
            .map(|f| (ResourceType::User, f))
            .chain(groups.iter().map(|f| (ResourceType::Group, f)));
        let mut wrong = Vec::new();
        for (rt, text) in all {
            let written = filter::parse(text).unwrap();
            match agree(&world, rt, &written, 2, 3) {
                Ok(Some(_)) => {}
                Ok(None) => wrong.push(format!("{text} is refused")),
                Err(e) => wrong.push(e.to_string()),
            }
        }
        assert!(wrong.is_empty(), "{}:\n{}", database.name, wrong.join("\n"));
    }
}

/// Attributes that depend on the address of the request are refused, not answered wrongly.
#[test]
fn what_cannot_be_answered_is_refused() {
    for database in databases() {
        let mut runner = TestRunner::deterministic();
        let world = world(database.open(), &mut runner);
        for (rt, text) in [
            (ResourceType::User, "meta.location pr"),
            (ResourceType::User, "meta.version eq \"W/\\\"1\\\"\""),
            (ResourceType::User, "meta[version pr]"),
            (ResourceType::User, "schemas eq \"x\""),
            (ResourceType::User, "groups.$ref pr"),
            (ResourceType::Group, "members.$ref pr"),
            (ResourceType::Group, "members.display pr"),
        ] {
            let compiled = filter::compile(rt, &filter::parse(text).unwrap()).unwrap();
            let answer = world.list(rt, world.query(Some(compiled), 1, 10));
            assert!(
                matches!(answer, Err(store::Error::Filter(_))),
                "{} {text}: {answer:?}",
                database.name
            );
        }
        // Single values have no elements to select.
        for text in [
            "id[value pr]",
            "userName[not (value pr)]",
            "active[value pr]",
        ] {
            let refused = filter::compile(ResourceType::User, &filter::parse(text).unwrap());
            assert_eq!(
                refused.unwrap_err().scim_type(),
                Some("invalidFilter"),
                "{text}"
            );
        }
    }
}

#[test]
fn every_walk_meets_each_resource_once() {
    for database in databases() {
        let mut runner = TestRunner::deterministic();
        let world = world(database.open(), &mut runner);
        let wanted: Vec<&str> = world.users.iter().map(|s| s.id.as_str()).collect();
        for count in [1, 7, 59, 60, 61, 1000] {
            // By index, and from the end of the page before.
            for by_hint in [false, true] {
                let mut met = Vec::new();
                let mut after = None;
                loop {
                    let mut query = world.query(None, met.len() as u64 + 1, count);
                    query.after = after.clone().map(After::id);
                    let page = world.list(ResourceType::User, query).unwrap();
                    assert_eq!(page.total, 60, "{} count {count}", database.name);
                    if page.items.is_empty() {
                        break;
                    }
                    met.extend(page.items.iter().map(|s| s.id.clone()));
                    if by_hint {
                        after = met.last().cloned();
                    }
                }
                assert_eq!(met, wanted, "{} count {count}", database.name);
            }
        }
        let none = world
            .list(ResourceType::User, world.query(None, 1, 0))
            .unwrap();
        assert_eq!((none.total, none.items.len()), (60, 0));
        let past = world
            .list(ResourceType::User, world.query(None, u64::MAX, 10))
            .unwrap();
        assert_eq!((past.total, past.items.len()), (60, 0));
    }
}

/// What can be sorted by, for each type.
const USER_SORTS: &[&str] = &[
    "id",
    "userName",
    "externalId",
    "displayName",
    "userType",
    "title",
    "active",
    "name.familyName",
    "NAME.givenName",
    "emails",
    "emails.type",
    "roles",
    "meta.created",
    "meta.lastModified",
    "urn:ietf:params:scim:schemas:core:2.0:User:title",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
];
const GROUP_SORTS: &[&str] = &["id", "displayName", "externalId", "meta.created"];

/// The ids in the order that a sorting means.
fn in_order(all: &[Seen], sort: &Sort, keep: &dyn Fn(&Seen) -> bool) -> Vec<String> {
    let mut keyed: Vec<(Key, &str)> = all
        .iter()
        .filter(|s| keep(s))
        .map(|s| (sort.key(&s.folded), s.id.as_str()))
        .collect();
    keyed.sort_by(|(a, a_id), (b, b_id)| {
        let by_key = if sort.descending { b.cmp(a) } else { a.cmp(b) };
        by_key.then(a_id.cmp(b_id))
    });
    keyed.into_iter().map(|(_, id)| id.to_owned()).collect()
}

/// Sorted in the database and in memory, by index and from the end of the page before, filtered and not.
#[test]
fn the_database_sorts_as_memory_does() {
    for database in databases() {
        let mut runner = TestRunner::deterministic();
        let world = world(database.open(), &mut runner);
        let mut told_apart = 0;
        for (rt, attributes) in [
            (ResourceType::User, USER_SORTS),
            (ResourceType::Group, GROUP_SORTS),
        ] {
            let filter = filter::compile(rt, &filter::parse("displayName pr").unwrap()).unwrap();
            for by in attributes {
                for order in ["ascending", "descending"] {
                    let query = sort::parse(Some(by), Some(order)).unwrap().unwrap();
                    let sort = sort::compile(rt, &query).unwrap();
                    let wanted = in_order(world.seen(rt), &sort, &|_| true);
                    let what = format!("{} {} by {by} {order}", database.name, rt.name());
                    told_apart += usize::from(!wanted.is_sorted());
                    for by_index in [false, true] {
                        let mut met: Vec<String> = Vec::new();
                        let mut after = None;
                        loop {
                            let mut query = world.query(None, 1, 7);
                            query.sort = Some(sort.clone());
                            if by_index {
                                query.start_index = met.len() as u64 + 1;
                            } else {
                                query.after = after.take();
                            }
                            let page = world.list(rt, query).unwrap();
                            assert_eq!(page.total, wanted.len() as u64, "{what}");
                            let Some(last) = page.items.last() else { break };
                            after = Some(After {
                                id: last.id.clone(),
                                key: page.keys.last().cloned().unwrap(),
                            });
                            met.extend(page.items.iter().map(|s| s.id.clone()));
                        }
                        assert_eq!(met, wanted, "{what}, by index: {by_index}");
                    }
                    let mut query = world.query(Some(filter.clone()), 3, 20);
                    query.sort = Some(sort.clone());
                    let page = world.list(rt, query).unwrap();
                    let some = in_order(world.seen(rt), &sort, &|s| filter.matches(&s.folded));
                    let got: Vec<&str> = page.items.iter().map(|s| s.id.as_str()).collect();
                    let end = some.len().min(22);
                    assert_eq!(got, some[2.min(end)..end], "{what}, filtered");
                    assert_eq!(page.total, some.len() as u64, "{what}, filtered");
                }
            }
        }
        assert!(
            told_apart > 20,
            "only {told_apart} orders differ from that of ids"
        );
    }
}
