//! Administrators whom an identity domain signs in: the way through the browser, and who is turned away on it.

use serde_json::{Value, json};
use usher::domain::Role;
use usher::login::sign_on::LIFETIME;
use usher::targets::memory::Memory;
use usher_emulators::idcs::Person;
use usher_emulators::idcs_domain::{DomainOptions, IdcsDomain};

use super::consent::{Seen, browse, configuration};
use super::harness::{App, Database, Process, databases, sqlite};

/// A domain with Ada in it, and a server that reads it.
struct World {
    domain: IdcsDomain,
    app: App,
    ada: String,
    _database: Database,
}

impl World {
    async fn start(database: &Database) -> Self {
        let domain = IdcsDomain::start(DomainOptions::default()).unwrap();
        let app = App::start(database, &Memory::new()).await;
        domain.set_now(app.clock.now());
        let ada = domain.add_user(&Person::new("Ada@Example.com", "Ada", "Test"));
        domain.register_redirect(&format!("{}/oauth/callback", app.base()));
        domain.sign_in_as(Some(&ada));
        let secret = database.folder().join("secret");
        std::fs::write(&secret, "usher-client-secret").unwrap();
        let text = configuration(
            &domain.url(),
            secret.to_str().unwrap(),
            "client-credentials",
        );
        app.apply(&text).await;
        Self {
            domain,
            app,
            ada,
            _database: database.clone(),
        }
    }

    async fn api(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let path = format!("/api/v1{path}");
        let reply = self
            .app
            .api(Role::Administrator, method, &path, Some(body))
            .await;
        (reply.status, reply.json)
    }

    async fn administrator(&self, name: &str, role: &str, login: &str) {
        let body =
            json!({"name": name, "role": role, "domain": {"connection": "corp", "login": login}});
        let (status, made) = self.api("POST", "/administrators", body).await;
        assert_eq!(status, 201, "{made}");
        assert_eq!(
            (&made["password"], &made["domain"]["connection"]),
            (&json!(false), &json!("corp"))
        );
    }

    /// Begins: the page of the domain, and the cookie that was set.
    async fn begin(&self, next: &str) -> (String, String) {
        let url = format!(
            "{}/sign-in/domain?connection=corp&next={next}",
            self.app.base()
        );
        let seen = browse(&url, &[]).await;
        assert_eq!(seen.status, 303, "{}", seen.text);
        let set = &seen.cookies[0];
        for part in [
            "HttpOnly",
            "SameSite=Lax",
            "Max-Age=600",
            "Path=/oauth/callback",
        ] {
            assert!(set.contains(part), "{part}: {set}");
        }
        (seen.location, set.split(';').next().unwrap().to_owned())
    }

    /// All the way, back from the domain.
    async fn sign_in(&self, next: &str) -> Seen {
        let (page, kept) = self.begin(next).await;
        let back = self.answer(&page).await;
        browse(&back, &[&kept]).await
    }

    /// The address that the domain sends the browser back to.
    async fn answer(&self, page: &str) -> String {
        let seen = browse(page, &[]).await;
        assert_eq!(seen.status, 302, "{}", seen.text);
        seen.location
    }
}

/// The cookie of the session that was opened.
fn session(seen: &Seen) -> String {
    assert_eq!(seen.status, 200, "{}", seen.text);
    let mut cookies = seen.cookies.iter();
    let cookie = cookies.find(|it| it.starts_with("usher=")).unwrap();
    assert!(cookie.contains("SameSite=Strict") && cookie.contains("HttpOnly"));
    cookie.split(';').next().unwrap().to_owned()
}

fn refused(seen: &Seen, status: u16, words: &str) {
    assert_eq!(seen.status, status, "{words}: {}", seen.text);
    assert!(seen.text.contains(words), "{words}: {}", seen.text);
    assert!(
        !seen.cookies.iter().any(|it| it.starts_with("usher=")),
        "{words}: a session was opened"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_made_for_it_is_signed_in_by_the_domain_with_the_role_here() {
    for database in databases() {
        let world = World::start(&database).await;
        let at = |path: &str| format!("{}{path}", world.app.base());
        // Nobody signs in so: no button, no way.
        assert!(
            !browse(&at("/sign-in"), &[])
                .await
                .text
                .contains("/sign-in/domain")
        );
        let seen = browse(&at("/sign-in/domain?connection=corp"), &[]).await;
        refused(&seen, 404, "use your password");
        world
            .administrator("Ada", "auditor", "ada@example.com")
            .await;
        let page = browse(&at("/sign-in?next=/held"), &[]).await.text;
        assert!(
            page.contains("href=\"/sign-in/domain?connection=corp&amp;next=%2Fheld\""),
            "{page}"
        );
        let seen = world.sign_in("/held").await;
        assert!(
            seen.text
                .contains("<meta http-equiv=\"refresh\" content=\"0;url=/held\">"),
            "{}",
            seen.text
        );
        let cookie = session(&seen);
        let page = browse(&at("/held"), &[&cookie]).await;
        assert!(page.text.contains("Ada (auditor)"), "{}", page.text);
        assert_eq!(browse(&at("/settings"), &[&cookie]).await.status, 403);
        // Nobody is led elsewhere.
        let seen = world.sign_in("//elsewhere.example").await;
        assert!(seen.text.contains("content=\"0;url=/\""), "{}", seen.text);
        // A consent of an administrator is another thing, at the same address.
        let answer = browse(&at("/oauth/callback?state=x&code=y"), &[&cookie]).await;
        refused(&answer, 400, "not known");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_else_is_turned_away_with_the_reason() {
    for database in databases() {
        let world = World::start(&database).await;
        world
            .administrator("Grace", "administrator", "grace@example.com")
            .await;
        refused(
            &world.sign_in("/").await,
            401,
            "no administrator of Usher signs in so",
        );
        world
            .administrator("Ada", "operator", "ADA@example.com")
            .await;
        session(&world.sign_in("/").await);

        // Two cannot be the same person, and a domain has to be one that is read.
        let double = json!({"name": "Eve", "role": "auditor",
            "domain": {"connection": "corp", "login": "ada@EXAMPLE.com"}});
        assert_eq!(world.api("POST", "/administrators", double).await.0, 409);
        let unknown = json!({"name": "Eve", "role": "auditor",
            "domain": {"connection": "nope", "login": "eve"}});
        let (status, problem) = world.api("POST", "/administrators", unknown).await;
        assert!(status == 400 && problem["detail"].as_str().unwrap().contains("\"nope\""));
        let (status, _) = world
            .api(
                "POST",
                "/administrators",
                json!({"name": "Eve", "role": "auditor"}),
            )
            .await;
        assert_eq!(status, 400);

        // Disabled, and with no domain any more.
        let change = async |body: Value| world.api("PATCH", "/administrators/Ada", body).await;
        assert_eq!(change(json!({"disabled": true})).await.0, 200);
        refused(&world.sign_in("/").await, 401, "disabled");
        assert_eq!(
            change(json!({"disabled": false, "domain": null})).await.1["domain"],
            Value::Null
        );
        refused(&world.sign_in("/").await, 401, "no administrator of Usher");
        let domain = json!({"domain": {"connection": "corp", "login": "ada@example.com"}});
        assert_eq!(change(domain.clone()).await.0, 200);
        session(&world.sign_in("/").await);
        // The last administrator who can sign in keeps the way in.
        let (status, problem) = world
            .api("PATCH", "/administrators/Grace", json!({"domain": null}))
            .await;
        assert!(status == 409, "{problem}");

        // The login name is given to somebody else.
        world.domain.delete_user(&world.ada);
        let other = world
            .domain
            .add_user(&Person::new("ada@example.com", "Adam", "Test"));
        world.domain.sign_in_as(Some(&other));
        refused(
            &world.sign_in("/").await,
            401,
            "somebody else in the domain",
        );
        assert_eq!(change(domain).await.0, 200);
        session(&world.sign_in("/").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_good_once_in_the_browser_that_asked_and_for_ten_minutes() {
    let world = World::start(&sqlite()).await;
    world
        .administrator("Ada", "administrator", "ada@example.com")
        .await;
    // Another browser, with nothing or with its own.
    let (page, kept) = world.begin("/").await;
    let back = world.answer(&page).await;
    refused(&browse(&back, &[]).await, 400, "not known");
    let (_, other) = world.begin("/").await;
    refused(&browse(&back, &[&other]).await, 400, "not known");
    refused(
        &browse(&back, &[&format!("{kept}x")]).await,
        400,
        "not known",
    );
    session(&browse(&back, &[&kept]).await);
    refused(&browse(&back, &[&kept]).await, 502, "invalid_grant");

    // The code of another sign-in.
    let (mine, kept) = world.begin("/").await;
    let (theirs, _) = world.begin("/").await;
    let (mine, theirs) = (world.answer(&mine).await, world.answer(&theirs).await);
    let code = |url: &str| {
        let (_, after) = url.split_once("code=").unwrap();
        after.split('&').next().unwrap().to_owned()
    };
    let mixed = mine.replace(&code(&mine), &code(&theirs));
    refused(&browse(&mixed, &[&kept]).await, 502, "invalid_grant");

    // An ID token that was made for another sign-in.
    let (page, kept) = world.begin("/").await;
    let (before, nonce) = page.split_once("nonce=").unwrap();
    let rest = nonce.split_once('&').map_or("", |(_, rest)| rest);
    let back = world.answer(&format!("{before}nonce=another&{rest}")).await;
    refused(&browse(&back, &[&kept]).await, 401, "another sign-in");

    // The domain says no, in words that can do no harm; and says nothing.
    world.domain.sign_in_as(None);
    refused(&world.sign_in("/").await, 401, "access_denied");
    let (page, kept) = world.begin("/").await;
    let (_, state) = page.split_once("state=").unwrap();
    let state = state.split('&').next().unwrap();
    let callback = format!("{}/oauth/callback?state={state}", world.app.base());
    let harm = browse(&format!("{callback}&error=%3Cscript%3Ealert(1)"), &[&kept]).await;
    refused(&harm, 401, "did not sign you in");
    assert!(!harm.text.contains("<script>alert"), "{}", harm.text);
    refused(&browse(&callback, &[&kept]).await, 400, "neither a code");

    // Too late.
    world.domain.sign_in_as(Some(&world.ada));
    let (page, kept) = world.begin("/").await;
    let back = world.answer(&page).await;
    world.app.clock.advance_ms(LIFETIME / 1000);
    refused(&browse(&back, &[&kept]).await, 400, "not known");

    // A domain that does not answer.
    world.domain.set_now(world.app.clock.now());
    let (page, kept) = world.begin("/").await;
    let back = world.answer(&page).await;
    drop(world.domain);
    let seen = browse(&back, &[&kept]).await;
    refused(&seen, 502, "the domain cannot be asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_says_who_is_signed_in_by_a_domain() {
    let database = sqlite();
    let domain = IdcsDomain::start(DomainOptions::default()).unwrap();
    let secret = database.folder().join("secret");
    std::fs::write(&secret, "usher-client-secret").unwrap();
    let file = database.folder().join("usher.toml");
    let text = configuration(
        &domain.url(),
        secret.to_str().unwrap(),
        "client-credentials",
    );
    std::fs::write(&file, text).unwrap();
    Process::run(&database, &["apply", file.to_str().unwrap()]);
    let who = ["--domain", "corp", "--login", "ada@example.com"];
    Process::run(&database, &[&["admin", "create", "ada"], &who[..]].concat());
    let listed = Process::run(&database, &["admin", "list"]);
    assert!(listed.contains("as ada@example.com in corp"), "{listed}");
    let refused = Process::command(&database, &["admin", "domain", "ada"])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("last administrator"), "{error}");
    Process::run(&database, &["admin", "create", "grace", "--generate"]);
    Process::run(&database, &["admin", "domain", "ada"]);
    Process::run(
        &database,
        &[&["admin", "domain", "grace"], &who[..]].concat(),
    );
    let listed = Process::run(&database, &["admin", "list"]);
    assert!(
        listed.contains("with password, or as ada@example.com in corp"),
        "{listed}"
    );
}
