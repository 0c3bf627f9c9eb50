//! The login hook: who is let in, in what time, and with which tokens; against an emulated domain and a real nginx.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use usher::targets::memory::Memory;
use usher_emulators::idcs::Person;
use usher_emulators::idcs_domain::{DomainOptions, IdcsDomain, SigningKey};

use super::harness::{App, Database, Process, Reply, databases, skip, sqlite};
use super::scim::user;

const LOGIN: &str = "/hooks/login";
const FORWARD: &str = "/hooks/forward-auth";

/// A domain, a server that reads it with its engine at work, and a target in memory.
struct World {
    domain: IdcsDomain,
    app: App,
    memory: Memory,
    hook: String,
    stop: CancellationToken,
    /// Its folder holds the secret for as long as it lives.
    _database: Database,
}

impl World {
    async fn start(database: &Database, lines: &str) -> Self {
        let world = Self::without_engine(database, lines).await;
        let (engine, stop) = (world.app.parts.engine.clone(), world.stop.clone());
        tokio::spawn(async move { engine.run(stop).await });
        world
    }

    async fn without_engine(database: &Database, lines: &str) -> Self {
        let domain = IdcsDomain::start(DomainOptions::default()).unwrap();
        let memory = Memory::new();
        let app = App::start(database, &memory).await;
        domain.set_now(app.clock.now());
        let secret = database.folder().join("secret");
        std::fs::write(&secret, "usher-client-secret").unwrap();
        let tenant = DomainOptions::default().tenant;
        app.apply(&format!(
            r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"
base_url = "{}"
client_id = "usher-client"
client_secret = {{ file = "{}" }}
requests_per_second = 1000
token_tenant = "{tenant}"
{lines}

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "http://127.0.0.1:1"
token = {{ env = "NONE" }}

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"

[mapping.groups]
on_the_fly = true
create_missing = true
"#,
            domain.url(),
            secret.display()
        ))
        .await;
        let printed = Process::run(database, &["token", "create", "corp", "--hook"]);
        Self {
            domain,
            app,
            memory,
            hook: printed.trim().to_owned(),
            stop: CancellationToken::new(),
            _database: database.clone(),
        }
    }

    fn person(&self, name: &str) -> String {
        self.domain
            .add_user(&Person::new(&format!("{name}@example.com"), name, "Test"))
    }

    /// A login with a token of the domain.
    async fn by_token(&self, token: &str) -> Reply {
        let bearer = format!("Bearer {token}");
        self.app
            .call("POST", LOGIN, &[("Authorization", &bearer)], None)
            .await
    }

    /// A login that an integration vouches for.
    async fn by_name(&self, name: &str) -> Reply {
        let body = json!({"user": format!("{name}@example.com"), "targets": ["jira"]});
        self.app
            .call("POST", LOGIN, &[("X-Usher-Token", &self.hook)], Some(body))
            .await
    }
}

impl World {
    /// Logs in until the person is in: a busy machine may need more than one deadline for a new account.
    async fn until_in(&self, name: &str) {
        for _ in 0..20 {
            if self.by_name(name).await.status == 200 {
                return;
            }
            self.app.clock.advance_ms(11_000);
        }
        panic!("{name} does not get in");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_brings_the_person_in_step_first() {
    for database in databases() {
        let world = World::start(&database, "login_deadline = \"20s\"").await;
        let ada = world.person("ada");
        let group = world.domain.add_group("jira-users");
        world.domain.add_members(&group, &[&ada]);
        // Nobody pushed or pulled her yet.
        let token = world.domain.sign(&world.domain.access_claims(&ada));
        let first = world.by_token(&token).await;
        assert_eq!(first.status, 200, "{} {}", database.name, first.json);
        assert_eq!(
            first.json,
            json!({"allowed": true, "reason": "in step", "user": "ada@example.com", "from": "domain",
                   "targets": [{"target": "jira", "state": "in step"}]})
        );
        let seen = world.memory.user("ada@example.com").unwrap();
        assert!(seen.active, "{seen:?}");
        // A change that no push brought, with an ID token.
        world
            .domain
            .edit_user(&ada, |it| it.display_name = "Ada Lovelace".to_owned());
        world.app.clock.advance_ms(6_000);
        let token = world.domain.sign(&world.domain.id_claims(&ada));
        assert_eq!(world.by_token(&token).await.status, 200);
        assert_eq!(
            world.memory.user("ada@example.com").unwrap().display_name,
            "Ada Lovelace"
        );
        // Who is deactivated there does not come in here.
        world.domain.set_active(&ada, false);
        world.app.clock.advance_ms(6_000);
        let out = world.by_name("ada").await;
        assert_eq!(
            (out.status, &out.json["reason"]),
            (403, &json!("deactivated")),
            "{}",
            out.json
        );
        // Neither does whom the domain does not know.
        let nobody = world.by_name("nobody").await;
        assert_eq!(
            (nobody.status, &nobody.json["from"]),
            (403, &json!("domain")),
            "{}",
            nobody.json
        );
        world.domain.delete_user(&ada);
        world.app.clock.advance_ms(6_000);
        assert_eq!(world.by_name("ada").await.status, 403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_domain_the_mirror_answers() {
    for (fallback, unknown) in [("closed", 403), ("open", 200)] {
        for database in databases() {
            let lines = format!("login_deadline = \"3s\"\nlogin_fallback = \"{fallback}\"");
            let world = World::start(&database, &lines).await;
            let (ada, bob) = (world.person("ada"), world.person("bob"));
            world.until_in("ada").await;
            world.domain.set_active(&bob, false);
            assert_eq!(world.by_name("bob").await.status, 403);
            let token = world.domain.sign(&world.domain.access_claims(&ada));
            assert_eq!(world.by_token(&token).await.status, 200);
            world.domain.set_down(true);
            world.app.clock.advance_ms(6_000);
            let known = world.by_name("ada").await;
            assert_eq!(
                (known.status, &known.json["from"]),
                (200, &json!("mirror")),
                "{}",
                known.json
            );
            // Keys that are known go on being good.
            assert_eq!(world.by_token(&token).await.status, 200);
            assert_eq!(world.by_name("bob").await.status, 403, "{fallback}");
            assert_eq!(world.by_name("nobody").await.status, unknown, "{fallback}");
        }
    }
}

/// Without an engine nothing comes into step: a product that does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_product_is_not_waited_for_longer_than_stated() {
    for (fallback, status) in [("closed", 403), ("open", 200)] {
        // Long enough for the domain to be asked on a busy machine.
        let lines = format!("login_deadline = \"3s\"\nlogin_fallback = \"{fallback}\"");
        let world = World::without_engine(&sqlite(), &lines).await;
        world.person("ada");
        let began = Instant::now();
        let late = world.by_name("ada").await;
        assert_eq!(late.status, status, "{}", late.json);
        assert_eq!(late.json["targets"][0]["state"], "pending", "{}", late.json);
        assert!(began.elapsed() >= Duration::from_millis(2_900));
        let unknown = json!({"user": "ada@example.com", "targets": ["confluence"]});
        let refused = world
            .app
            .call(
                "POST",
                LOGIN,
                &[("X-Usher-Token", &world.hook)],
                Some(unknown),
            )
            .await;
        assert_eq!(refused.status, 400, "{}", refused.json);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_foreign_tokens_are_refused() {
    for database in databases() {
        let world = World::start(
            &database,
            "push_clients = [\"pusher\"]\nlogin_deadline = \"20s\"",
        )
        .await;
        let other = IdcsDomain::start(DomainOptions::default()).unwrap();
        other.set_now(world.app.clock.now());
        let ada = world.person("ada");
        let good = world.domain.access_claims(&ada);
        let with = |name: &str, value: Value| {
            let mut changed = good.clone();
            changed[name] = value;
            changed
        };
        let without = |name: &str| {
            let mut changed = good.clone();
            changed.as_object_mut().unwrap().remove(name);
            changed
        };
        let (key, sign) = (world.domain.key(), |claims: &Value| {
            world.domain.sign(claims)
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let jwk = key.jwk();
        let hs256 = |secret: &[u8]| {
            let header = Header {
                kid: Some("SIGNING_KEY".to_owned()),
                ..Header::new(Algorithm::HS256)
            };
            jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(secret)).unwrap()
        };
        let signed = sign(&good);
        let parts: Vec<&str> = signed.split('.').collect();
        let stranger = other.add_user(&Person::new("ada@example.com", "Ada", "Test"));
        let now = good["iat"].as_i64().unwrap();
        let mut client = with("sub_type", json!("client"));
        client["sub"] = json!("pusher");
        client["client_id"] = json!("pusher");
        client.as_object_mut().unwrap().remove("user_id");
        for (what, token) in [
            ("expired", sign(&with("exp", json!(now)))),
            ("without an end", sign(&without("exp"))),
            ("not begun", sign(&with("iat", json!(now + 3600)))),
            (
                "wrong audience",
                sign(&with("aud", json!(["https://elsewhere.example"]))),
            ),
            ("no audience", sign(&without("aud"))),
            (
                "wrong issuer",
                sign(&with("iss", json!("https://evil.example/"))),
            ),
            ("wrong tenant", sign(&with("tenant", json!("idcs-ffff")))),
            (
                "two tenants",
                sign(&with("user_tenantname", json!("idcs-ffff"))),
            ),
            ("refresh token", sign(&with("tok_type", json!("RT")))),
            ("no type", sign(&without("tok_type"))),
            ("nobody", sign(&without("sub"))),
            (
                "alg none",
                format!(
                    "{}.{}.",
                    encode(&json!({"alg": "none", "kid": "SIGNING_KEY"})),
                    parts[1]
                ),
            ),
            (
                "alg none, signed",
                format!(
                    "{}.{}.{}",
                    encode(&json!({"alg": "none"})),
                    parts[1],
                    parts[2]
                ),
            ),
            (
                "HS256 with the modulus",
                hs256(jwk["n"].as_str().unwrap().as_bytes()),
            ),
            (
                "HS256 with the decoded modulus",
                hs256(&URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap()),
            ),
            (
                "HS256 with the key in JSON",
                hs256(jwk.to_string().as_bytes()),
            ),
            (
                "RS512 in the header",
                key.sign_with(&json!({"kid": "SIGNING_KEY", "alg": "RS512"}), &good),
            ),
            (
                "unknown kid",
                key.sign_with(&json!({"kid": "other", "alg": "RS256"}), &good),
            ),
            ("no kid", key.sign_with(&json!({"alg": "RS256"}), &good)),
            ("another key of that id", SigningKey::generate().sign(&good)),
            ("its own key in the header", {
                let own = SigningKey::generate();
                own.sign_with(
                    &json!({"kid": "SIGNING_KEY", "alg": "RS256", "jwk": own.jwk()}),
                    &good,
                )
            }),
            (
                "changed claims",
                format!(
                    "{}.{}.{}",
                    parts[0],
                    encode(&with("sub", json!("eve@example.com"))),
                    parts[2]
                ),
            ),
            (
                "replayed from another domain",
                other.sign(&other.access_claims(&stranger)),
            ),
            (
                "another domain that claims to be this one",
                other.sign(&good),
            ),
            ("a client", sign(&client)),
            ("nothing", "..".to_owned()),
        ] {
            let refused = world.by_token(&token).await;
            assert_eq!(
                refused.status, 401,
                "{} {what}: {}",
                database.name, refused.json
            );
            let pushed = world.app.send(&token, "GET", "/Users", None).await;
            assert_eq!(
                pushed.status,
                if what == "a client" { 200 } else { 401 },
                "{what}"
            );
        }
        assert_eq!(
            world.by_token(&signed).await.status,
            200,
            "{}",
            database.name
        );
        // A person's token opens no mirror, and neither does that of another client.
        assert_eq!(
            world.app.send(&signed, "GET", "/Users", None).await.status,
            401
        );
        client["client_id"] = json!("somebody");
        assert_eq!(
            world
                .app
                .send(&sign(&client), "GET", "/Users", None)
                .await
                .status,
            401
        );
        client["client_id"] = json!("pusher");
        let made = world
            .app
            .send(&sign(&client), "POST", "/Users", Some(user("eve")))
            .await;
        assert_eq!(made.status, 201, "{}", made.json);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_credential_opens_its_own_door() {
    let world = World::start(&sqlite(), "login_deadline = \"20s\"").await;
    world.person("ada");
    let scim = world.app.token("corp").await;
    assert_eq!(
        world
            .app
            .send(&world.hook, "GET", "/Users", None)
            .await
            .status,
        401
    );
    let call = async |headers: &[(&str, &str)]| world.app.call("GET", FORWARD, headers, None).await;
    let (hook, name) = (
        ("X-Usher-Token", world.hook.as_str()),
        ("Remote-User", "ada@example.com"),
    );
    assert_eq!(call(&[]).await.status, 401);
    assert_eq!(
        call(&[name]).await.status,
        401,
        "nobody vouches for the name"
    );
    assert_eq!(call(&[hook]).await.status, 401, "nobody is named");
    assert_eq!(call(&[("X-Usher-Token", &scim), name]).await.status, 401);
    assert_eq!(
        call(&[hook, ("Remote-User", "nobody@example.com")])
            .await
            .status,
        403
    );
    let inside = call(&[hook, name]).await;
    assert_eq!(
        (inside.status, &inside.headers["x-usher-user"]),
        (200, &"ada@example.com".parse().unwrap()),
        "{}",
        inside.json
    );
    let bad = world
        .app
        .call("POST", LOGIN, &[hook], Some(json!({"name": "ada"})))
        .await;
    assert_eq!(bad.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_logins_at_once_are_few_requests() {
    let world = World::start(&sqlite(), "login_deadline = \"20s\"").await;
    let names: Vec<String> = (0..200).map(|n| format!("u{n}")).collect();
    for name in &names {
        world.person(name);
    }
    let first = world.by_name("u0").await;
    assert_eq!(first.status, 200, "{}", first.json);
    // A thousand logins of one person.
    world.app.clock.advance_ms(6_000);
    world.domain.clear_requests();
    let all = (0..1000).map(|_| world.by_name("u0"));
    for reply in futures(all).await {
        assert_eq!(reply.status, 200, "{}", reply.json);
    }
    let requests = world.domain.requests().len();
    assert!(
        requests <= 10,
        "{requests} requests for a thousand logins of one person"
    );
    // And of two hundred people, while the domain is slow.
    world.domain.set_latency(Duration::from_millis(500));
    world.domain.clear_requests();
    let all = names.iter().map(|name| world.by_name(name));
    let replies = futures(all).await;
    let asked = replies
        .iter()
        .filter(|reply| reply.json["from"] == "domain")
        .count();
    assert!(
        (1..=64).contains(&asked),
        "{asked} people were read at once"
    );
}

async fn futures(all: impl Iterator<Item = impl Future<Output = Reply>>) -> Vec<Reply> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut replies = Vec::new();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(reply) => {
                replies.push(reply);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    replies
}

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_asks_before_it_lets_anybody_in() {
    let program = [
        "/usr/sbin/nginx",
        "/opt/homebrew/bin/nginx",
        "/usr/local/bin/nginx",
    ]
    .into_iter()
    .find(|path| std::path::Path::new(path).exists());
    let Some(program) = program else {
        return skip("nginx is not installed");
    };
    let world = World::start(&sqlite(), "login_deadline = \"20s\"").await;
    world.person("ada");
    let folder = tempfile::tempdir().unwrap();
    let (root, port) = (
        folder.path().display().to_string(),
        super::harness::free_port(),
    );
    std::fs::create_dir(folder.path().join("www")).unwrap();
    std::fs::write(folder.path().join("www/index.html"), "\"inside\"").unwrap();
    let owner = if std::fs::metadata("/proc/self")
        .is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
    {
        "user root;"
    } else {
        ""
    };
    let usher = world.app.scim.trim_end_matches("/scim/v2");
    let config = format!(
        "{owner} daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log; \
         events {{}} http {{ access_log off; client_body_temp_path {root}/a; proxy_temp_path {root}/b; \
         fastcgi_temp_path {root}/c; uwsgi_temp_path {root}/d; scgi_temp_path {root}/e; \
         server {{ listen 127.0.0.1:{port}; \
         location / {{ auth_request /usher; auth_request_set $who $upstream_http_x_usher_user; \
         add_header X-Who $who; root {root}/www; }} \
         location = /usher {{ internal; proxy_pass {usher}/hooks/forward-auth?target=jira; \
         proxy_pass_request_body off; proxy_set_header Content-Length \"\"; \
         proxy_set_header X-Usher-Token {}; proxy_set_header Remote-User $http_x_signed_in_as; }} }} }}",
        world.hook
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let child = Command::new(program).arg("-c").arg(&file).spawn().unwrap();
    let _nginx = Nginx(child);
    let url = format!("http://127.0.0.1:{port}/");
    for _ in 0..500 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let get = async |name: &str| super::harness::get(&url, &[("X-Signed-In-As", name)]).await;
    let inside = get("ada@example.com").await;
    assert_eq!((inside.status, inside.json), (200, json!("inside")));
    assert_eq!(inside.headers["x-who"], "ada@example.com");
    assert_eq!(
        super::harness::status(&url, &[("X-Signed-In-As", "nobody@example.com")]).await,
        403
    );
    assert_eq!(super::harness::status(&url, &[]).await, 401);
}
