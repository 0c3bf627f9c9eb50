//! The emulated Bitbucket is held to what is known of the real one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use usher_emulators::bitbucket::{Bitbucket, BitbucketOptions, Permission};

use crate::client::{Client, Reply, http};

struct Caller(Client);

impl Caller {
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let path = format!("/rest/api/1.0/{path}");
        self.0.try_send(method, &path, body).await.unwrap()
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn order(&self, method: Method, path: &str) -> Reply {
        self.send(method, path, None).await
    }

    fn with_basic(&self, name: &str, password: &str) -> Self {
        Self(self.0.with_basic(name, password))
    }
}

fn start_with(options: BitbucketOptions) -> (Bitbucket, Caller) {
    let (name, password) = options.admin.clone();
    let bitbucket = Bitbucket::start(options).unwrap();
    let client = Client {
        http: http(),
        url: bitbucket.url(),
        authorization: None,
    };
    (bitbucket, Caller(client.with_basic(&name, &password)))
}

fn start() -> (Bitbucket, Caller) {
    start_with(BitbucketOptions::default())
}

const ADA: &str = "admin/users?name=ada&displayName=Ada%20B&emailAddress=a%40x.org&password=secret";

fn exception(reply: &Reply) -> &str {
    reply.json["errors"][0]["exceptionName"]
        .as_str()
        .unwrap_or_default()
}

#[tokio::test]
async fn an_account_is_made_by_an_address_and_answered_with_nothing() {
    let (bitbucket, client) = start();
    let created = client.order(Method::POST, ADA).await;
    assert_eq!((created.status, created.text.as_str()), (204, ""));
    let user = bitbucket.user("ADA").unwrap();
    assert!(user.licensed && user.groups == ["stash-users"]);
    assert_eq!(client.order(Method::POST, ADA).await.status, 409);
    let found = client.get("admin/users?filter=a%40X").await.json;
    let bean = &found["values"][0];
    assert_eq!(
        (&bean["name"], &bean["emailAddress"], &bean["id"]),
        (&json!("ada"), &json!("a@x.org"), &json!(user.id))
    );
    // Nothing writes `active`, and the password is written down nowhere.
    let body = json!({"name": "ada", "active": false});
    let refused = client.send(Method::PUT, "admin/users", Some(body)).await;
    assert_eq!(refused.status, 400);
    let recorded = format!("{:?}", bitbucket.requests());
    assert!(!recorded.contains("secret"), "{recorded}");

    let missing = "admin/users?name=bob&displayName=Bob&emailAddress=b%40x.org";
    assert_eq!(client.order(Method::POST, missing).await.status, 400);
    let notified = format!("{missing}&notify=true&addToDefaultGroup=false");
    assert_eq!(client.order(Method::POST, &notified).await.status, 204);
    let bob = bitbucket.user("bob").unwrap();
    assert!(bob.notified && !bob.licensed && bob.groups.is_empty());
    assert_eq!(client.get("users/bob").await.json["slug"], "bob");
}

#[tokio::test]
async fn refusals_are_401_for_one_reason_or_the_other() {
    let (bitbucket, client) = start();
    client.order(Method::POST, ADA).await;
    let wrong = client.with_basic("admin", "x");
    let wrong = wrong.order(Method::POST, "admin/groups?name=g").await;
    let ada = client.with_basic("ada", "secret");
    let denied = ada.order(Method::POST, "admin/groups?name=g").await;
    let token = Caller(client.0.with_bearer("emulated-bitbucket-token"));
    let powerless = token.order(Method::POST, "admin/groups?name=g").await;
    for reply in [&wrong, &denied, &powerless] {
        assert_eq!(reply.status, 401);
    }
    assert!(exception(&wrong).contains(".auth."), "{}", wrong.text);
    assert!(exception(&denied).ends_with("AuthorisationException"));
    assert!(exception(&powerless).ends_with("AuthorisationException"));
    assert_eq!(
        (wrong.header("X-AUSERNAME"), denied.header("X-AUSERNAME")),
        (None, Some("ada"))
    );
    assert_eq!(token.get("admin/users").await.status, 200, "it may read");
    assert!(!bitbucket.groups().contains(&"g".to_owned()));
    let own = client.order(Method::DELETE, "admin/users?name=admin").await;
    assert_eq!(own.status, 409);
    // Whoever has no licence cannot sign in.
    bitbucket.edit_user("ada", |user| user.groups.clear());
    let out = ada.get("admin/users").await;
    assert!(out.status == 401 && exception(&out).contains(".auth."));
}

#[tokio::test]
async fn pages_go_on_where_they_say_and_nowhere_else() {
    let (bitbucket, client) = start_with(BitbucketOptions {
        page_cap: 10,
        ..BitbucketOptions::default()
    });
    for i in 0..24 {
        bitbucket.seed_user(&format!("user{i:02}"), "U", "u@x.org");
    }
    let (mut names, mut start) = (Vec::new(), 0);
    loop {
        let path = format!("admin/users?filter=user&limit=500&start={start}");
        let page = client.get(&path).await.json;
        let values = page["values"].as_array().unwrap();
        names.extend(
            values
                .iter()
                .map(|it| it["name"].as_str().unwrap().to_owned()),
        );
        if page["isLastPage"] == true {
            assert_eq!(page.get("nextPageStart"), None);
            break;
        }
        assert_eq!(page["size"], 10);
        let next = page["nextPageStart"].as_u64().unwrap();
        assert!(next > start + 10, "there are gaps");
        start = next;
    }
    assert_eq!(names.len(), 24);
    names.dedup();
    assert_eq!(names.len(), 24);
}

#[tokio::test]
async fn many_are_added_or_none_and_never_beyond_the_licence() {
    let (bitbucket, client) = start();
    for name in ["ada", "bob", "cleo"] {
        bitbucket.seed_user(name, name, "x@x.org");
    }
    let add = async |users: Value| {
        let body = json!({"group": "stash-users", "users": users});
        client.post("admin/groups/add-users", body).await
    };
    let none = add(json!(["ada", "nobody"])).await;
    assert_eq!(none.status, 404);
    assert!(exception(&none).ends_with("NoSuchUserException"));
    assert!(bitbucket.members("stash-users").is_empty());
    bitbucket.set_licences(Some(2));
    assert_eq!(add(json!(["ada", "bob"])).await.status, 403);
    assert_eq!(add(json!(["ada"])).await.status, 200);
    assert_eq!(
        add(json!(["ada"])).await.status,
        200,
        "once more is no error"
    );
    let permit = "admin/permissions/users?name=bob&permission=LICENSED_USER";
    assert_eq!(client.order(Method::PUT, permit).await.status, 403);
    bitbucket.set_licences(None);
    assert_eq!(client.order(Method::PUT, permit).await.status, 204);
    let licensed = client.get("users?permission=LICENSED_USER").await.json;
    assert_eq!(licensed["size"], 3);

    let body = json!({"context": "ada", "itemName": "stash-users"});
    let removed = client.post("admin/users/remove-group", body.clone()).await;
    assert_eq!(removed.status, 200);
    let body = json!({"user": "ada", "groups": ["stash-users", "no-such-group"]});
    assert_eq!(
        client.post("admin/users/add-groups", body).await.status,
        404
    );
    assert!(bitbucket.user("ada").unwrap().groups.is_empty());
}

#[tokio::test]
async fn a_deleted_account_leaves_its_permissions_for_seven_days() {
    let (bitbucket, client) = start();
    for (days, kept) in [(6, Some(Permission::ProjectCreate)), (2, None)] {
        if kept.is_some() {
            client.order(Method::POST, ADA).await;
            bitbucket.permit("ada", kept);
        }
        assert_eq!(
            client
                .order(Method::DELETE, "admin/users?name=ada")
                .await
                .status,
            200
        );
        if kept.is_none() {
            bitbucket.advance(Duration::from_secs(5 * 24 * 3600));
        }
        bitbucket.advance(Duration::from_secs(days * 24 * 3600));
        client.order(Method::POST, ADA).await;
        assert_eq!(bitbucket.user("ada").unwrap().permission, kept);
    }
    assert_eq!(bitbucket.creations("ada"), 3);
}

#[tokio::test]
async fn nobody_lowers_themselves_or_touches_who_ranks_higher() {
    let (bitbucket, client) = start();
    bitbucket.seed_user("svc", "S", "s@x.org");
    bitbucket.permit("svc", Some(Permission::Admin));
    bitbucket.set_password("svc", "pw");
    bitbucket.permit_group("roots", Some(Permission::SysAdmin));
    let svc = client.with_basic("svc", "pw");
    let body = json!({"name": "admin", "displayName": "x"});
    assert_eq!(
        svc.send(Method::PUT, "admin/users", Some(body))
            .await
            .status,
        401
    );
    for (method, path, status) in [
        (Method::DELETE, "admin/users?name=admin", 403),
        (Method::DELETE, "admin/permissions/users?name=admin", 409),
        (Method::DELETE, "admin/permissions/users?name=svc", 409),
        (
            Method::PUT,
            "admin/permissions/users?name=svc&permission=SYS_ADMIN",
            401,
        ),
        (Method::DELETE, "admin/groups?name=roots", 403),
    ] {
        assert_eq!(svc.order(method, path).await.status, status, "{path}");
    }
    let body = json!({"user": "svc", "groups": ["roots"]});
    assert_eq!(svc.post("admin/users/add-groups", body).await.status, 403);
    let grants = svc.get("admin/permissions/groups").await.json;
    let names: Vec<&Value> = grants["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["group"]["name"])
        .collect();
    assert_eq!(names, ["roots", "stash-users"]);
}

#[tokio::test]
async fn it_is_kept_and_told_like_the_others() {
    let (bitbucket, client) = start();
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&told);
    bitbucket.on_event(Box::new(move |line| {
        kept.lock().unwrap().push(line.to_owned())
    }));
    bitbucket.seed_user("ada", "Ada", "a@b.org");
    bitbucket.edit_user("ada", |user| {
        user.name = "augusta".into();
        user.groups = vec!["ops".into()];
    });
    let permit = "admin/permissions/users?name=augusta&permission=LICENSED_USER";
    client.order(Method::PUT, permit).await;
    assert_eq!(
        *told.lock().unwrap(),
        [
            "account ada renamed to augusta (by hand)",
            "group ops created (by hand)",
            "augusta added to ops (by hand)",
            "account augusta is permitted LICENSED_USER",
        ]
    );
    let file = std::env::temp_dir().join(format!("usher-bitbucket-{}.json", std::process::id()));
    bitbucket.snapshot(&file).unwrap();
    bitbucket.remove_user("augusta");
    bitbucket.restore(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(bitbucket.user("AUGUSTA").unwrap().groups, ["ops"]);
    let state = client
        .0
        .try_send(Method::GET, "/__emulator/state", None)
        .await
        .unwrap()
        .json;
    assert_eq!(state["groups"]["ops"], json!(["augusta"]));
}
