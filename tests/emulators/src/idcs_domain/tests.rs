//! The awkward sides, each shown once.

use serde_json::{Value, json};

use super::*;

struct Reader {
    domain: IdcsDomain,
    token: String,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the client of a test needs no limits"
)]
fn client() -> reqwest::Client {
    reqwest::Client::new()
}

impl Reader {
    async fn start(options: DomainOptions) -> Self {
        let domain = IdcsDomain::start(options).unwrap();
        let answer: Value = client()
            .post(format!("{}/oauth2/v1/token", domain.url()))
            .basic_auth("usher-client", Some("usher-client-secret"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials&scope=urn:opc:idm:__myscopes__")
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let token = answer["access_token"].as_str().unwrap().to_owned();
        Self { domain, token }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = client()
            .get(format!("{}{path}", self.domain.url()))
            .bearer_auth(&self.token)
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }
}

fn person(number: usize) -> Person {
    let mut person = Person::new(
        &format!("user{number}@example.com"),
        "User",
        &number.to_string(),
    );
    person.recovery_email = Some(format!("home{number}@example.org"));
    person
}

#[tokio::test]
async fn lists_have_fifty_rows_unless_asked_and_at_most_a_thousand() {
    let reader = Reader::start(DomainOptions::default()).await;
    for number in 0..1100 {
        reader.domain.add_user(&person(number));
    }
    let (_, page) = reader.get("/admin/v1/Users").await;
    assert_eq!(page["Resources"].as_array().unwrap().len(), 50);
    assert_eq!(page["Resources"][0]["emails"][0]["type"], "recovery");
    assert_eq!(page["Resources"][0].get("groups"), None);
    let (_, page) = reader
        .get("/admin/v1/Users?count=5000&startIndex=1001")
        .await;
    assert_eq!(page["Resources"].as_array().unwrap().len(), 100);
    assert_eq!(page["itemsPerPage"], 1000);
    assert_eq!(page["totalResults"], 1100);
    let filter = "/admin/v1/Users?filter=userName+eq+%22USER7@example.com%22&attributes=userName";
    let (_, page) = reader.get(filter).await;
    assert_eq!(page["totalResults"], 1);
    assert_eq!(page["Resources"][0].get("emails"), None);
}

#[tokio::test]
async fn members_come_on_request_in_pages_and_never_more_than_ten_thousand() {
    let reader = Reader::start(DomainOptions::default()).await;
    let ids: Vec<String> = (0..10_001)
        .map(|it| reader.domain.add_user(&person(it)))
        .collect();
    let group = reader.domain.add_group("everyone");
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    reader.domain.add_members(&group, &ids);
    let (_, shown) = reader.get(&format!("/admin/v1/Groups/{group}")).await;
    assert_eq!(shown.get("members"), None);
    let (status, refusal) = reader
        .get(&format!("/admin/v1/Groups/{group}?attributes=members"))
        .await;
    assert_eq!(status, 400);
    assert!(refusal[ERROR_EXTENSION]["messageId"].is_string());
    let path = format!(
        "/admin/v1/Groups/{group}?attributes=displayName,members[startIndex=10001%26count=1000]"
    );
    let (_, shown) = reader.get(&path).await;
    assert_eq!(shown["members"].as_array().unwrap().len(), 1);
    assert_eq!(shown["members"][0]["value"], ids[10_000]);
}

#[tokio::test]
async fn keys_are_behind_a_token_and_tokens_are_signed_with_them() {
    let reader = Reader::start(DomainOptions::default()).await;
    let user = reader.domain.add_user(&person(1));
    let bare = client()
        .get(format!("{}/admin/v1/SigningCert/jwk", reader.domain.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(bare.status().as_u16(), 401);
    let (_, keys) = reader.get("/admin/v1/SigningCert/jwk").await;
    assert_eq!(keys["keys"][0]["kid"], KEY_ID);
    let token = reader.domain.sign(&reader.domain.access_claims(&user));
    let claims = reader.domain.key().verify(&token).unwrap();
    assert_eq!(claims["user_id"], json!(user));
    assert_eq!(claims["iss"], json!(ISSUER));
    assert_eq!(SigningKey::generate().verify(&token), None);
}

#[tokio::test]
async fn roles_decide_and_a_changed_secret_ends_tokens() {
    let reader = Reader::start(DomainOptions::default()).await;
    reader.domain.set_roles(&["Audit Administrator"]);
    assert_eq!(reader.get("/admin/v1/Users").await.0, 200);
    assert_eq!(reader.get("/admin/v1/Grants").await.0, 403);
    reader.domain.change_secret("other");
    assert_eq!(reader.get("/admin/v1/Users").await.0, 401);
}

#[tokio::test]
async fn each_trouble_strikes_the_page_it_was_ordered_for() {
    let reader = Reader::start(DomainOptions::default()).await;
    for number in 0..40 {
        reader.domain.add_user(&person(number));
    }
    let page = |start: usize| format!("/admin/v1/Users?count=10&startIndex={start}");
    for trouble in Trouble::ALL {
        reader.domain.clear_faults();
        reader.domain.spoil(List::Users, 1, trouble);
        let (status, first) = reader.get(&page(1)).await;
        assert_eq!(
            (status, first["Resources"].as_array().unwrap().len()),
            (200, 10),
            "{trouble:?}"
        );
        let (status, second) = reader.get(&page(11)).await;
        let rows = second["Resources"].as_array().map(Vec::len);
        assert!(
            status != 200 || rows != Some(10) || second["totalResults"] != 40,
            "{trouble:?} {second}"
        );
        assert_eq!(reader.get(&page(21)).await.0, 200, "{trouble:?}");
    }
    assert_eq!(reader.domain.struck(), Trouble::ALL.len());
}
