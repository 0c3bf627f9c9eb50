//! The people and groups that the server is loaded with, and the requests about them.

use std::sync::{Arc, LazyLock, RwLock};

use anyhow::Context;
use serde_json::{Value, json};

use crate::http::{self, Call, Make};
use crate::process::Server;

/// How many connections load the server when nothing is measured.
const SEEDERS: usize = 16;

/// What is there so far. Numbers are given out in order, and a name follows from a number.
#[derive(Clone)]
pub(crate) struct People {
    pub(crate) token: String,
    ids: Arc<RwLock<Vec<String>>>,
}

impl People {
    pub(crate) fn new(token: String) -> Self {
        Self {
            token,
            ids: Arc::default(),
        }
    }

    /// The SCIM id of a person.
    pub(crate) fn id(&self, number: usize) -> String {
        let ids = self
            .ids
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        ids[number % ids.len()].clone()
    }

    /// How many were made with [`People::fill_up`].
    pub(crate) fn count(&self) -> usize {
        let ids = self.ids.read();
        ids.map_or(0, |ids| ids.len())
    }

    /// Pushes people until there are `count`.
    pub(crate) async fn fill_up(&self, server: &Server, count: usize) -> anyhow::Result<()> {
        let first = self.count();
        if count <= first {
            return Ok(());
        }
        let token = self.token.clone();
        let make: Make = Arc::new(move |n| create(&token, &name(first + n)));
        let made = http::gather(server.address, SEEDERS, count - first, make, id_of).await?;
        self.ids
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .extend(made);
        Ok(())
    }

    /// Makes a group of the first `size` people and returns its id.
    pub(crate) async fn group(&self, server: &Server, size: usize) -> anyhow::Result<String> {
        let members: Vec<Value> = (0..size).map(|n| json!({"value": self.id(n)})).collect();
        let body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": format!("group of {size}"),
            "members": members,
        });
        let call = Call::with_body(
            "POST",
            "/scim/v2/Groups",
            &self.token,
            &body.to_string(),
            201,
            vec![format!("\"displayName\":\"group of {size}\"")],
        );
        id_of(&http::once(server.address, &call).await?)
    }

    /// A request that reads a person.
    pub(crate) fn read(&self, number: usize) -> Call {
        let id = self.id(number);
        let holds = vec![format!("\"id\":\"{id}\",")];
        Call::get(&format!("/scim/v2/Users/{id}"), &self.token, holds)
    }

    /// A request that looks a person up by user name.
    pub(crate) fn look_up(&self, number: usize) -> Call {
        let name = name(number % self.count());
        self.find(
            &format!("userName%20eq%20%22{name}%22"),
            vec![one_found(), format!("\"userName\":\"{name}\"")],
        )
    }

    /// A request that looks a person up by two attributes.
    pub(crate) fn look_up_compound(&self, number: usize) -> Call {
        let name = name(number % self.count());
        self.find(
            &format!(
                "emails.value%20eq%20%22{name}%22%20and%20active%20eq%20true%20and%20\
                 name.familyName%20sw%20%22by%22"
            ),
            vec![one_found(), format!("\"userName\":\"{name}\"")],
        )
    }

    /// A request for a list page of 100.
    pub(crate) fn page(&self, start: usize, total: usize) -> Call {
        Call::get(
            &format!("/scim/v2/Users?startIndex={start}&count=100"),
            &self.token,
            vec![format!(
                "\"totalResults\":{total},\"startIndex\":{start},\"itemsPerPage\":100,"
            )],
        )
    }

    /// A request that changes a person's name; `turn` makes it a change each time.
    pub(crate) fn patch(&self, number: usize, turn: usize) -> Call {
        let id = self.id(number);
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [
                {"op": "replace", "path": "displayName", "value": format!("Ada {turn}")},
                {"op": "replace", "path": "name.givenName", "value": format!("Ada {turn}")},
            ],
        });
        self.patch_user(
            &id,
            &body,
            vec![
                format!("\"id\":\"{id}\","),
                format!("\"displayName\":\"Ada {turn}\""),
            ],
        )
    }

    /// A request that changes a person's display name alone, to one that ends in `turn`.
    pub(crate) fn rename(&self, number: usize, turn: usize) -> Call {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "path": "displayName", "value": format!("Ada {turn}")}],
        });
        let holds = vec![format!("\"displayName\":\"Ada {turn}\"")];
        self.patch_user(&self.id(number), &body, holds)
    }

    /// A request that adds a person to a group.
    pub(crate) fn add(&self, group: &str, number: usize) -> Call {
        let add = json!({"op": "add", "path": "members", "value": [{"value": self.id(number)}]});
        self.patch_group(group, &[add])
    }

    /// A request that takes people out of a group.
    pub(crate) fn remove(&self, group: &str, numbers: std::ops::Range<usize>) -> Call {
        let removals: Vec<Value> = numbers
            .map(|n| {
                let path = format!("members[value eq \"{}\"]", self.id(n));
                json!({"op": "remove", "path": path})
            })
            .collect();
        self.patch_group(group, &removals)
    }

    /// A request for a group without its members.
    pub(crate) fn group_alone(&self, group: &str) -> Call {
        Call::get(
            &format!("/scim/v2/Groups/{group}?excludedAttributes=members"),
            &self.token,
            vec![format!("\"id\":\"{group}\",")],
        )
    }

    fn find(&self, filter: &str, holds: Vec<String>) -> Call {
        Call::get(
            &format!("/scim/v2/Users?filter={filter}"),
            &self.token,
            holds,
        )
    }

    fn patch_user(&self, id: &str, body: &Value, holds: Vec<String>) -> Call {
        let path = format!("/scim/v2/Users/{id}");
        Call::with_body("PATCH", &path, &self.token, &body.to_string(), 200, holds)
    }

    fn patch_group(&self, group: &str, operations: &[Value]) -> Call {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": operations,
        });
        Call::with_body(
            "PATCH",
            &format!("/scim/v2/Groups/{group}"),
            &self.token,
            &body.to_string(),
            200,
            vec![format!("\"id\":\"{group}\",")],
        )
    }
}

/// A request that creates a person. Its body is made once for all: it is to cost the client next to nothing, for
/// the processors are the server's.
pub(crate) fn create(token: &str, name: &str) -> Call {
    const NAME: &str = "%name%";
    static BODY: LazyLock<String> = LazyLock::new(|| user(NAME).to_string());
    let holds = vec![format!("\"userName\":\"{name}\"")];
    let body = BODY.replace(NAME, name);
    Call::with_body("POST", "/scim/v2/Users", token, &body, 201, holds)
}

/// A user as identity providers push them.
pub(crate) fn user(name: &str) -> Value {
    json!({
        "schemas": [
            "urn:ietf:params:scim:schemas:core:2.0:User",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        ],
        "externalId": format!("ext-{name}"),
        "userName": name,
        "name": {"givenName": "Ada", "familyName": "Byron", "formatted": "Ada Byron"},
        "displayName": "Ada Byron",
        "title": "Analyst of Engines",
        "preferredLanguage": "en",
        "active": true,
        "emails": [{"value": name, "type": "work", "primary": true}],
        "phoneNumbers": [{"value": "+44 20 7946 0000", "type": "work"}],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
            "employeeNumber": "181512",
            "department": "Analytical Engines",
            "costCenter": "4711",
        },
    })
}

/// The id in an answer that begins with one resource.
pub(crate) fn id_of(body: &[u8]) -> anyhow::Result<String> {
    let body: Value = serde_json::from_slice(body)?;
    let id = body["id"].as_str().context("an answer without an id")?;
    Ok(id.to_owned())
}

fn name(number: usize) -> String {
    format!("user{number:06}@example.com")
}

fn one_found() -> String {
    "\"totalResults\":1,".to_owned()
}
