//! The seat: who gets in, who may do what, and that nothing opens by accident.

use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};
use usher::auth::seat::{Actor, SignInError};
use usher::domain::Role;
use usher::http::access::{self, Access};
use usher::store::admins::{self, Change, NewAdmin, Refused};
use usher::targets::memory::Memory;

use super::harness::{App, databases, sqlite};

const PASSWORD: &str = "correct horse battery";

fn password() -> SecretString {
    SecretString::from(PASSWORD)
}

/// A browser that follows nothing.
fn browser() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(Policy::none())
        .build()
        .unwrap()
}

async fn person(app: &App, name: &str, role: Role) {
    let seat = &app.parts.state.seat;
    let new = NewAdmin {
        name: name.to_owned(),
        role,
        password: Some(seat.hash(name, &password()).await.unwrap()),
        domain: None,
    };
    let now = app.clock.now();
    app.store()
        .write(move |tx| admins::insert(tx, &new, now))
        .await
        .unwrap();
}

async fn cookie(app: &App, name: &str) -> String {
    let wanted = name.to_owned();
    let (admin, _) = app
        .store()
        .read(move |conn| admins::named(conn, &wanted))
        .await
        .unwrap()
        .unwrap();
    let seat = &app.parts.state.seat;
    let cookie = seat.open_session(&admin.id, "test").await.unwrap();
    format!("usher={}", cookie.expose_secret())
}

/// A pattern with something in the place of its parameters.
fn path(pattern: &str) -> String {
    let mut path = String::new();
    for piece in pattern.split('/').skip(1) {
        path.push('/');
        path.push_str(if piece.starts_with('{') {
            "none"
        } else {
            piece
        });
    }
    path
}

/// The table of routes, roles and who may: whole.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_exactly_the_roles_of_the_table() {
    let app = App::start(&sqlite(), &Memory::new()).await;
    let base = app.base();
    for role in Role::ALL {
        person(&app, role.as_str(), role).await;
    }
    let browser = browser();
    let mut tried = 0;
    for (method, pattern, access) in access::routes() {
        let url = format!("{base}{}", path(pattern));
        for role in [
            None,
            Some(Role::Auditor),
            Some(Role::Operator),
            Some(Role::Administrator),
        ] {
            let mut request = browser
                .request(method.parse().unwrap(), &url)
                .header("Sec-Fetch-Site", "same-origin");
            if let Some(role) = role {
                // Anew each time: one of the routes signs out.
                request = request.header("Cookie", cookie(&app, role.as_str()).await);
            }
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let to_sign_in = answer
                .headers()
                .get("location")
                .is_some_and(|to| to.to_str().unwrap().starts_with("/sign-in?"));
            let refused = status == 401 || status == 403 || to_sign_in;
            let may = match (access, role) {
                (Access::Public, _) => true,
                (Access::Needs(_), None) => false,
                (Access::Needs(needed), Some(role)) => role.includes(needed),
            };
            assert_eq!(refused, !may, "{method} {pattern} as {role:?}: {status}");
            assert_ne!(
                status, 405,
                "{method} {pattern} is in the table and not served"
            );
            assert!(status < 500, "{method} {pattern} as {role:?}: {status}");
            tried += 1;
        }
    }
    assert!(tried >= 40, "{tried}");
    // What the table does not know answers nobody.
    let administrator = cookie(&app, "administrator").await;
    let answer = browser
        .get(format!("{base}/no-such-page"))
        .header("Cookie", administrator)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_cannot_act_for_somebody_who_is_signed_in() {
    let app = App::start(&sqlite(), &Memory::new()).await;
    person(&app, "ada", Role::Administrator).await;
    let browser = browser();
    let sign_out = format!("{}/sign-out", app.base());
    let ada = cookie(&app, "ada").await;
    for (name, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://elsewhere.example"),
        ("X-Nothing", "at all"),
    ] {
        let answer = browser
            .post(&sign_out)
            .header("Cookie", &ada)
            .header(name, value)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 403, "{name}: {value}");
    }
    let answer = browser
        .post(&sign_out)
        .header("Cookie", &ada)
        .header("Origin", app.base())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 303);
    let actor = who(&app, &ada).await;
    assert_eq!(actor, None, "the session is over");
}

async fn who(app: &App, cookie: &str) -> Option<Actor> {
    let value = SecretString::from(cookie.split_once('=').unwrap().1);
    app.parts.state.seat.by_cookie(&value).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_sign_ins_make_a_name_wait() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        person(&app, "Ada", Role::Administrator).await;
        let seat = &app.parts.state.seat;
        let wrong = || SecretString::from("not the password");
        for _ in 0..5 {
            let refused = seat.sign_in("ada", wrong(), "192.0.2.1", "").await;
            assert_eq!(
                refused.unwrap_err(),
                SignInError::Wrong,
                "{}",
                database.name
            );
        }
        let locked = seat.sign_in("ada", password(), "192.0.2.2", "").await;
        assert!(
            matches!(locked, Err(SignInError::Locked { .. })),
            "{locked:?}"
        );
        app.clock.advance_ms(61_000);
        seat.sign_in("ADA", password(), "192.0.2.2", "")
            .await
            .unwrap();
        // The count starts anew; somebody who does not exist is told nothing else.
        let nobody = seat.sign_in("nobody", wrong(), "192.0.2.3", "").await;
        assert_eq!(nobody.unwrap_err(), SignInError::Wrong);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_when_unused_when_old_and_when_somebody_is_disabled() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        person(&app, "ada", Role::Administrator).await;
        person(&app, "grace", Role::Operator).await;
        let hour = 3_600_000;
        let unused = cookie(&app, "grace").await;
        app.clock.advance_ms(2 * hour + 1);
        assert_eq!(who(&app, &unused).await, None, "{}", database.name);
        let used = cookie(&app, "grace").await;
        for _ in 0..11 {
            app.clock.advance_ms(hour);
            assert!(who(&app, &used).await.is_some());
        }
        app.clock.advance_ms(hour);
        assert_eq!(who(&app, &used).await, None, "twelve hours are the most");
        let present = cookie(&app, "grace").await;
        let ended = app
            .store()
            .write(|tx| -> Result<(), Refused> {
                let (grace, _) = admins::named(tx.conn(), "grace")?.unwrap();
                let change = Change {
                    disabled: Some(true),
                    ..Change::default()
                };
                admins::change(tx, &grace.id, &change)
            })
            .await;
        assert_eq!(ended, Ok(()));
        assert_eq!(who(&app, &present).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_cannot_be_lost() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        person(&app, "ada", Role::Administrator).await;
        person(&app, "grace", Role::Operator).await;
        let outcome = app
            .store()
            .write(|tx| -> Result<(), Refused> {
                let (ada, _) = admins::named(tx.conn(), "ada")?.unwrap();
                admins::remove(tx, &ada.id)
            })
            .await;
        assert_eq!(outcome, Err(Refused::Last), "{}", database.name);
        for change in [
            Change {
                role: Some(Role::Auditor),
                ..Change::default()
            },
            Change {
                disabled: Some(true),
                ..Change::default()
            },
        ] {
            let outcome = app
                .store()
                .write(move |tx| -> Result<(), Refused> {
                    let (ada, _) = admins::named(tx.conn(), "ada")?.unwrap();
                    admins::change(tx, &ada.id, &change)
                })
                .await;
            assert_eq!(outcome, Err(Refused::Last), "{}", database.name);
        }
        let all = app.store().read(admins::list).await.unwrap();
        let roles: Vec<Role> = all.iter().map(|admin| admin.role).collect();
        assert_eq!(roles, [Role::Administrator, Role::Operator]);
    }
}

/// Ten browsers with the same code: one administrator.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_administrator_is_made_once() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let seat = app.parts.state.seat.clone();
        let code = seat.setup_code().await.unwrap().expect("nobody is there");
        let wrong = SecretString::from("usher_wrong");
        assert!(seat.set_up(&wrong, "eve", &password()).await.is_err());
        let short = SecretString::from("short");
        assert!(seat.set_up(&code, "ada", &short).await.is_err());
        let tries = (0..10).map(|n| {
            let (seat, code) = (seat.clone(), code.clone());
            tokio::spawn(async move { seat.set_up(&code, &format!("ada{n}"), &password()).await })
        });
        let mut made = 0;
        for attempt in tries.collect::<Vec<_>>() {
            made += usize::from(attempt.await.unwrap().is_ok());
        }
        assert_eq!(made, 1, "{}", database.name);
        assert_eq!(app.store().read(admins::list).await.unwrap().len(), 1);
        assert!(seat.setup_code().await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_programs_have_a_role_and_an_end() {
    let app = App::start(&sqlite(), &Memory::new()).await;
    let seat = &app.parts.state.seat;
    let at = app.clock.now() + 60_000_000;
    let (token, secret) = seat
        .new_token("nightly", Role::Auditor, "ada", Some(at))
        .await
        .unwrap();
    let actor = seat.by_token(&secret).await.unwrap().unwrap();
    assert_eq!(actor.role, Role::Auditor);
    assert_eq!(token.label, "nightly");
    app.clock.advance_ms(60_000);
    assert_eq!(seat.by_token(&secret).await.unwrap(), None);
}

/// `usher openapi > openapi/admin.json` writes it anew.
#[test]
fn the_document_of_the_api_is_the_one_of_this_code() {
    let committed: serde_json::Value =
        serde_json::from_str(include_str!("../../openapi/admin.json")).unwrap();
    assert!(
        committed == usher::http::document(),
        "openapi/admin.json is not what `usher openapi` prints"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_load_nothing_from_elsewhere_and_may_not_be_framed() {
    let app = App::start(&sqlite(), &Memory::new()).await;
    person(&app, "ada", Role::Administrator).await;
    let ada = cookie(&app, "ada").await;
    for (method, pattern, _) in
        access::routes().filter(|(m, p, _)| *m == "GET" && !p.starts_with("/api/"))
    {
        let answer = browser()
            .request(
                method.parse().unwrap(),
                format!("{}{}", app.base(), path(pattern)),
            )
            .header("Cookie", &ada)
            .send()
            .await
            .unwrap();
        if answer.status().is_redirection() {
            continue;
        }
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{pattern}"
        );
        assert!(!policy.contains("unsafe"), "{pattern}");
        let text = answer.text().await.unwrap();
        assert!(text.len() < 150_000, "{pattern}: {} bytes", text.len());
        for part in [
            "style=\"",
            "onclick=",
            "<script>",
            "src=\"http",
            "href=\"http",
        ] {
            assert!(!text.contains(part), "{pattern} has {part}");
        }
    }
}
