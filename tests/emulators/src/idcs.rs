//! The pushing side of an IDCS domain (a "Generic SCIM" app), as far as its requests are known.
//!
//! No capture of such a push is public, so this sends every wire form that the documentation, the
//! samples and the SDK let one expect; the names of the forms say what is special about them.
//! There are no retries: what IDCS does after a failure is unknown, and tests decide.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION};
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const SCIM_JSON: &str = "application/scim+json";
/// Page size of IDCS's list calls.
pub const PAGE_SIZE: usize = 200;

/// Somebody in the IDCS domain, as the provisioning form shows them.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// Login name.
    pub user_name: String,
    /// First name.
    pub given_name: String,
    /// Last name.
    pub family_name: String,
    /// Name shown.
    pub display_name: String,
    /// Work address.
    pub email: String,
    /// Another address, listed before the work address, as IDCS does.
    pub recovery_email: Option<String>,
    /// Whether the person may log in.
    pub active: bool,
    /// Only sent if mapped in the app.
    pub external_id: Option<String>,
    /// Department of the enterprise extension.
    pub department: Option<String>,
    /// Further members of the body, such as `title` or Oracle's extensions.
    pub more: Map<String, Value>,
}

impl Person {
    /// `Person::new("ada@example.com", "Ada", "Byron")`: the login name is the address too.
    pub fn new(user_name: &str, given_name: &str, family_name: &str) -> Self {
        Self {
            user_name: user_name.to_owned(),
            given_name: given_name.to_owned(),
            family_name: family_name.to_owned(),
            display_name: format!("{given_name} {family_name}"),
            email: user_name.to_owned(),
            recovery_email: None,
            active: true,
            external_id: None,
            department: None,
            more: Map::new(),
        }
    }

    /// The addresses as IDCS lists them.
    pub fn emails(&self) -> Value {
        let recovery = self.recovery_email.iter();
        let recovery =
            recovery.map(|it| json!({ "value": it, "type": "recovery", "primary": false }));
        let work = json!({ "value": self.email, "type": "work", "primary": true });
        recovery.chain([work]).collect()
    }

    /// The whole SCIM user.
    pub fn to_scim(&self) -> Value {
        let mut body = json!({
            "schemas": [USER],
            "userName": self.user_name,
            "name": {
                "formatted": format!("{} {}", self.given_name, self.family_name),
                "familyName": self.family_name,
                "givenName": self.given_name
            },
            "displayName": self.display_name,
            "active": self.active,
            "emails": self.emails(),
        });
        if let Some(external_id) = &self.external_id {
            body["externalId"] = json!(external_id);
        }
        if let Some(department) = &self.department {
            body["schemas"] = json!([USER, ENTERPRISE]);
            body[ENTERPRISE] = json!({ "department": department });
        }
        for (name, value) in &self.more {
            body[name.as_str()] = value.clone();
        }
        body
    }
}

/// How a new account is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateForm {
    /// Everything but a password.
    Full,
    /// With the password of the default form.
    WithPassword,
    /// Without `active`.
    WithoutActive,
    /// Without `emails`, which come later in a PATCH ([`IdcsPush::add_emails`]).
    WithoutEmails,
    /// Without both.
    Bare,
}

/// How `active` is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeactivateForm {
    /// `replace`, path `active`, a boolean.
    Plain,
    /// The value as text.
    StringBool,
    /// The value as text in an array, as Oracle's own documents write it.
    ArrayString,
    /// `REPLACE` without a path, the value in an array.
    CapitalOpPathless,
    /// PUT with nothing but `active`.
    PutOnlyActive,
}

impl DeactivateForm {
    /// All forms.
    pub const ALL: [Self; 5] = [
        Self::Plain,
        Self::StringBool,
        Self::ArrayString,
        Self::CapitalOpPathless,
        Self::PutOnlyActive,
    ];
}

/// One attribute to change.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Attribute path, such as `name.familyName`.
    pub path: String,
    /// Its new value.
    pub value: Value,
}

impl Change {
    /// A change of `path`.
    pub fn new(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self {
            path: path.into(),
            value: value.into(),
        }
    }
}

/// How attributes are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateForm {
    /// `replace` with a path each.
    Plain,
    /// Single values in one-element arrays.
    ArrayValues,
    /// `REPLACE` in capitals.
    CapitalOps,
    /// One operation without a path; its value is an object, nested where paths have dots.
    Pathless,
    /// Core paths with the URN of the schema in front.
    QualifiedPaths,
    /// One PATCH for each attribute.
    OneByOne,
    /// PUT with the changed attributes alone.
    PutPartial,
}

impl UpdateForm {
    /// All forms.
    pub const ALL: [Self; 7] = [
        Self::Plain,
        Self::ArrayValues,
        Self::CapitalOps,
        Self::Pathless,
        Self::QualifiedPaths,
        Self::OneByOne,
        Self::PutPartial,
    ];
}

/// How people are put into a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddForm {
    /// PATCH of the group: `add`, path `members`.
    Plain,
    /// The same with `ADD`.
    CapitalOp,
    /// `add` without a path; its value is `{"members":[...]}`.
    Pathless,
    /// PATCH of each user: `add`, path `groups` (IDCS's shortcut; read-only in the RFC).
    OnUser,
}

impl AddForm {
    /// All forms.
    pub const ALL: [Self; 4] = [Self::Plain, Self::CapitalOp, Self::Pathless, Self::OnUser];
}

/// How people are taken out of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveForm {
    /// `remove`, path `members[value eq "..."]`, an operation for each.
    Filter,
    /// `remove`, path `members`, the members as value.
    ValueArray,
    /// The same with `REMOVE`.
    CapitalOp,
    /// PATCH of each user: `remove`, path `groups`, the group as value.
    OnUser,
    /// PATCH of each user: `remove`, path `groups[value eq "..."]`.
    OnUserFilter,
}

impl RemoveForm {
    /// All forms.
    pub const ALL: [Self; 5] = [
        Self::Filter,
        Self::ValueArray,
        Self::CapitalOp,
        Self::OnUser,
        Self::OnUserFilter,
    ];
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Pushed {
    /// HTTP status; 0 when no answer came.
    pub status: u16,
    /// The body, null when it is empty or no JSON.
    pub json: Value,
    /// The body as it came.
    pub text: String,
    /// Media type of the body.
    pub content_type: String,
    /// `Location` header.
    pub location: Option<String>,
    /// `Retry-After` header.
    pub retry_after: Option<String>,
    /// Why no answer came.
    pub error: Option<String>,
    /// Time until the answer was read.
    pub took: Duration,
}

impl Pushed {
    /// Whether the status is 2xx.
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// `id` of the resource; empty if there is none.
    pub fn id(&self) -> &str {
        self.json["id"].as_str().unwrap_or_default()
    }

    /// `totalResults` of a list.
    pub fn total(&self) -> Option<u64> {
        self.json["totalResults"].as_u64()
    }

    /// `Resources` of a list.
    pub fn resources(&self) -> &[Value] {
        self.json["Resources"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn failed(error: &reqwest::Error, took: Duration) -> Self {
        Self {
            status: 0,
            json: Value::Null,
            text: String::new(),
            content_type: String::new(),
            location: None,
            retry_after: None,
            error: Some(chain(error)),
            took,
        }
    }
}

/// Where client credentials stand in a token request; which one IDCS uses is unconfirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialsIn {
    /// `client_id` and `client_secret` in the form.
    Body,
    /// An `Authorization: Basic` header.
    Header,
}

/// An IDCS domain's Generic SCIM app that pushes to one SCIM server.
#[derive(Clone)]
pub struct IdcsPush {
    base: String,
    authorization: Option<String>,
    media_type: String,
    headers: Vec<(String, String)>,
    http: reqwest::Client,
    log: Option<Log>,
}

type Log = Arc<dyn Fn(&str) + Send + Sync>;

impl IdcsPush {
    /// Template "GenericScim - Bearer Token". `base_url` is what stands before `/Users`, such as
    /// `https://scim.example.com/scim/v2`.
    pub fn new(base_url: &str, token: &str) -> Self {
        Self {
            base: base_url.trim_end_matches('/').to_owned(),
            authorization: Some(format!("Bearer {token}")),
            media_type: SCIM_JSON.to_owned(),
            headers: Vec::new(),
            http: client(),
            log: None,
        }
    }

    /// Template "GenericScim - Basic".
    pub fn basic(base_url: &str, user: &str, password: &str) -> Self {
        Self {
            authorization: Some(basic(user, password)),
            ..Self::new(base_url, "")
        }
    }

    /// The same app with another token.
    pub fn with_token(self, token: &str) -> Self {
        Self {
            authorization: Some(format!("Bearer {token}")),
            ..self
        }
    }

    /// The same app without any credentials.
    pub fn without_credentials(self) -> Self {
        Self {
            authorization: None,
            ..self
        }
    }

    /// Changes the hidden parameters `ContentType` and `AcceptType` (default
    /// `application/scim+json`).
    pub fn with_media_type(self, media_type: &str) -> Self {
        Self {
            media_type: media_type.to_owned(),
            ..self
        }
    }

    /// Adds a Custom Header to every call.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Tells one line per request to this callback.
    pub fn with_log(self, log: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            log: Some(Arc::new(log)),
            ..self
        }
    }

    /// Template "GenericScim - Client Credentials": gets a token for later use in
    /// [`with_token`](Self::with_token).
    pub async fn client_credentials(
        &self,
        token_url: &str,
        client: (&str, &str),
        scope: &str,
        place: CredentialsIn,
    ) -> Pushed {
        let form = [("grant_type", "client_credentials"), ("scope", scope)];
        self.token(token_url, client, &form, place).await
    }

    /// Template "GenericScim - Resource Owner Password".
    pub async fn password_grant(
        &self,
        token_url: &str,
        client: (&str, &str),
        owner: (&str, &str),
        scope: &str,
        place: CredentialsIn,
    ) -> Pushed {
        let form = [
            ("grant_type", "password"),
            ("username", owner.0),
            ("password", owner.1),
            ("scope", scope),
        ];
        self.token(token_url, client, &form, place).await
    }

    // Accounts

    /// The button "Test Connectivity".
    pub async fn test_connectivity(&self) -> Pushed {
        self.get("Users?count=1").await
    }

    /// Looks somebody up by name, as IDCS might do before it creates.
    pub async fn lookup(&self, user_name: &str) -> Pushed {
        let filter = format!("userName eq {}", Value::from(user_name));
        self.list("Users", &[("filter", &filter)]).await
    }

    /// Assigns a person to the app.
    pub async fn create(&self, person: &Person) -> Pushed {
        self.create_as(person, CreateForm::Full).await
    }

    /// [`create`](Self::create) in another form.
    pub async fn create_as(&self, person: &Person, form: CreateForm) -> Pushed {
        let mut body = person.to_scim();
        let mut drop = |name| {
            if let Some(members) = body.as_object_mut() {
                members.shift_remove(name);
            }
        };
        match form {
            CreateForm::Full => {}
            CreateForm::WithPassword => body["password"] = json!("S3cret-do-not-store"),
            CreateForm::WithoutActive => drop("active"),
            CreateForm::WithoutEmails => drop("emails"),
            CreateForm::Bare => {
                drop("active");
                drop("emails");
            }
        }
        self.send(Method::POST, "Users", Some(&body)).await
    }

    /// The PATCH that brings the addresses after a POST without them.
    pub async fn add_emails(&self, id: &str, person: &Person) -> Pushed {
        self.patch_user(id, &[operation("add", "emails", person.emails())])
            .await
    }

    /// Edits values of the provisioning form. Of several requests the last answer is returned, or
    /// the first failure.
    pub async fn update(&self, id: &str, changes: &[Change], form: UpdateForm) -> Pushed {
        match form {
            UpdateForm::PutPartial => self.put_user(id, nested(changes)).await,
            UpdateForm::Pathless => {
                let operation = json!({ "op": "replace", "value": nested(changes) });
                self.patch_user(id, &[operation]).await
            }
            UpdateForm::OneByOne => {
                let mut last = None;
                for change in changes {
                    let operation = operation("replace", &change.path, change.value.clone());
                    let pushed = self.patch_user(id, &[operation]).await;
                    if !pushed.ok() {
                        return pushed;
                    }
                    last = Some(pushed);
                }
                match last {
                    Some(pushed) => pushed,
                    None => self.patch_user(id, &[]).await,
                }
            }
            UpdateForm::Plain
            | UpdateForm::ArrayValues
            | UpdateForm::CapitalOps
            | UpdateForm::QualifiedPaths => {
                let operations: Vec<Value> =
                    changes.iter().map(|change| written(change, form)).collect();
                self.patch_user(id, &operations).await
            }
        }
    }

    /// Deactivates somebody.
    pub async fn deactivate(&self, id: &str, form: DeactivateForm) -> Pushed {
        self.set_active(id, false, form).await
    }

    /// Activates somebody.
    pub async fn activate(&self, id: &str, form: DeactivateForm) -> Pushed {
        self.set_active(id, true, form).await
    }

    /// Sets `active`.
    pub async fn set_active(&self, id: &str, active: bool, form: DeactivateForm) -> Pushed {
        let text = active.to_string();
        let operation = match form {
            DeactivateForm::Plain => operation("replace", "active", json!(active)),
            DeactivateForm::StringBool => operation("replace", "active", json!(text)),
            DeactivateForm::ArrayString => operation("replace", "active", json!([text])),
            DeactivateForm::CapitalOpPathless => {
                json!({ "op": "REPLACE", "value": { "active": [text] } })
            }
            DeactivateForm::PutOnlyActive => {
                return self.put_user(id, json!({ "active": active })).await;
            }
        };
        self.patch_user(id, &[operation]).await
    }

    /// Takes a person off the app: a DELETE.
    pub async fn revoke(&self, id: &str) -> Pushed {
        self.send(Method::DELETE, &format!("Users/{}", segment(id)), None)
            .await
    }

    /// PATCHes a user with these operations.
    pub async fn patch_user(&self, id: &str, operations: &[Value]) -> Pushed {
        let body = json!({ "schemas": [PATCH], "Operations": operations });
        self.send(
            Method::PATCH,
            &format!("Users/{}", segment(id)),
            Some(&body),
        )
        .await
    }

    /// PUTs the whole user.
    pub async fn put_full(&self, id: &str, person: &Person) -> Pushed {
        self.put_user(id, person.to_scim()).await
    }

    /// PUTs these attributes alone (setting `__ACCOUNT__.Update=PUT`).
    pub async fn put_partial(&self, id: &str, attributes: Value) -> Pushed {
        self.put_user(id, attributes).await
    }

    /// Reads one user.
    pub async fn get_user(&self, id: &str) -> Pushed {
        self.get(&format!("Users/{}", segment(id))).await
    }

    /// One page of the Import of accounts; `start` counts from 1.
    pub async fn import_page(&self, start: usize, count: usize) -> Pushed {
        let (start, count) = (start.to_string(), count.to_string());
        self.list("Users", &[("startIndex", &start), ("count", &count)])
            .await
    }

    /// All accounts page by page, until a page is empty or the total is reached. `Err` is the page
    /// that failed.
    pub async fn import_all(&self) -> Result<Vec<Value>, Pushed> {
        let mut all = Vec::new();
        loop {
            let page = self.import_page(all.len() + 1, PAGE_SIZE).await;
            if page.status != 200 {
                return Err(page);
            }
            all.extend_from_slice(page.resources());
            let reached = page.total().is_some_and(|total| all.len() as u64 >= total);
            if page.resources().is_empty() || reached {
                return Ok(all);
            }
        }
    }

    // Groups

    /// One page of "Refresh application data": groups.
    pub async fn import_groups_page(&self, start: usize, count: usize) -> Pushed {
        let (start, count) = (start.to_string(), count.to_string());
        self.list("Groups", &[("startIndex", &start), ("count", &count)])
            .await
    }

    /// Creates a group with these members.
    pub async fn create_group(&self, name: &str, members: &[&str]) -> Pushed {
        self.send(Method::POST, "Groups", Some(&group_body(name, members)))
            .await
    }

    /// Reads one group.
    pub async fn get_group(&self, id: &str) -> Pushed {
        self.get(&format!("Groups/{}", segment(id))).await
    }

    /// PUTs the whole group.
    pub async fn put_group(&self, id: &str, name: &str, members: &[&str]) -> Pushed {
        let body = group_body(name, members);
        self.send(Method::PUT, &format!("Groups/{}", segment(id)), Some(&body))
            .await
    }

    /// Gives a group another name.
    pub async fn rename_group(&self, id: &str, name: &str) -> Pushed {
        self.patch_group(id, &[operation("replace", "displayName", json!(name))])
            .await
    }

    /// Deletes a group.
    pub async fn delete_group(&self, id: &str) -> Pushed {
        self.send(Method::DELETE, &format!("Groups/{}", segment(id)), None)
            .await
    }

    /// Puts people into a group. With [`AddForm::OnUser`] the last answer is returned, or the
    /// first failure.
    pub async fn add_members(&self, group: &str, users: &[&str], form: AddForm) -> Pushed {
        let members = members(users);
        let operation = match form {
            AddForm::Plain => operation("add", "members", members),
            AddForm::CapitalOp => operation("ADD", "members", members),
            AddForm::Pathless => json!({ "op": "add", "value": { "members": members } }),
            AddForm::OnUser => {
                return self
                    .on_users(users, &operation("add", "groups", groups(group)))
                    .await;
            }
        };
        self.patch_group(group, &[operation]).await
    }

    /// Takes people out of a group. With the forms on users the last answer is returned, or the
    /// first failure.
    pub async fn remove_members(&self, group: &str, users: &[&str], form: RemoveForm) -> Pushed {
        let operations = match form {
            RemoveForm::Filter => users.iter().map(|user| remove("members", user)).collect(),
            RemoveForm::ValueArray => vec![operation("remove", "members", members(users))],
            RemoveForm::CapitalOp => vec![operation("REMOVE", "members", members(users))],
            RemoveForm::OnUser => {
                return self
                    .on_users(users, &operation("remove", "groups", groups(group)))
                    .await;
            }
            RemoveForm::OnUserFilter => {
                return self.on_users(users, &remove("groups", group)).await;
            }
        };
        self.patch_group(group, &operations).await
    }

    /// PATCHes a group with these operations.
    pub async fn patch_group(&self, id: &str, operations: &[Value]) -> Pushed {
        let body = json!({ "schemas": [PATCH], "Operations": operations });
        self.send(
            Method::PATCH,
            &format!("Groups/{}", segment(id)),
            Some(&body),
        )
        .await
    }

    // The wire

    /// GETs a path below the base URL, with its query.
    pub async fn get(&self, path: &str) -> Pushed {
        self.send(Method::GET, path, None).await
    }

    /// Sends any request below the base URL, for what no method is made for.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Pushed {
        let url = format!("{}/{path}", self.base);
        let mut request = self
            .http
            .request(method.clone(), url)
            .header(ACCEPT, self.media_type.as_str());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, self.media_type.as_str())
                .body(body.to_string());
        }
        let pushed = finish(request).await;
        self.tell(&method, path, body, &pushed);
        pushed
    }

    async fn put_user(&self, id: &str, mut body: Value) -> Pushed {
        if body.get("schemas").is_none()
            && let Some(members) = body.as_object_mut()
        {
            members.shift_insert(0, "schemas".to_owned(), json!([USER]));
        }
        self.send(Method::PUT, &format!("Users/{}", segment(id)), Some(&body))
            .await
    }

    async fn on_users(&self, users: &[&str], operation: &Value) -> Pushed {
        let mut last = None;
        for user in users {
            let pushed = self.patch_user(user, std::slice::from_ref(operation)).await;
            if !pushed.ok() {
                return pushed;
            }
            last = Some(pushed);
        }
        match last {
            Some(pushed) => pushed,
            None => self.test_connectivity().await,
        }
    }

    async fn list(&self, path: &str, query: &[(&str, &str)]) -> Pushed {
        self.get(&format!("{path}?{}", form(query))).await
    }

    async fn token(
        &self,
        token_url: &str,
        (id, secret): (&str, &str),
        fields: &[(&str, &str)],
        place: CredentialsIn,
    ) -> Pushed {
        let mut fields = fields.to_vec();
        let mut request = self
            .http
            .post(token_url)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        match place {
            CredentialsIn::Body => fields.extend([("client_id", id), ("client_secret", secret)]),
            CredentialsIn::Header => request = request.header(AUTHORIZATION, basic(id, secret)),
        }
        let pushed = finish(request.body(form(&fields))).await;
        self.tell(&Method::POST, "token", None, &pushed);
        pushed
    }

    fn tell(&self, method: &Method, path: &str, body: Option<&Value>, pushed: &Pushed) {
        let Some(log) = &self.log else { return };
        let about = body.map(summary).unwrap_or_default();
        let outcome = match &pushed.error {
            Some(error) => format!("no answer: {error}"),
            None => pushed.status.to_string(),
        };
        log(&format!(
            "IDCS {method} /{path}{about} -> {outcome} ({} ms)",
            pushed.took.as_millis()
        ));
    }
}

fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    match builder.build() {
        Ok(client) => client,
        Err(error) => panic!("no HTTP client for the IDCS emulator: {error}"),
    }
}

async fn finish(request: reqwest::RequestBuilder) -> Pushed {
    let started = Instant::now();
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Pushed::failed(&error, started.elapsed()),
    };
    let header = |name| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let status = response.status().as_u16();
    let location = header(LOCATION);
    let retry_after = header(reqwest::header::RETRY_AFTER);
    let content_type = header(CONTENT_TYPE).unwrap_or_default();
    match response.text().await {
        Ok(text) => Pushed {
            status,
            json: serde_json::from_str(&text).unwrap_or_default(),
            text,
            content_type,
            location,
            retry_after,
            error: None,
            took: started.elapsed(),
        },
        Err(error) => Pushed::failed(&error, started.elapsed()),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Who or what a body is about, in a few words and without secrets.
fn summary(body: &Value) -> String {
    let name = body["userName"]
        .as_str()
        .or_else(|| body["displayName"].as_str());
    let operations = body["Operations"].as_array();
    let paths = operations.map(|operations| {
        let of_one = |it: &Value| {
            let path = it["path"].as_str().unwrap_or("(no path)");
            format!("{} {path}", it["op"].as_str().unwrap_or_default())
        };
        operations.iter().map(of_one).collect::<Vec<_>>().join(", ")
    });
    match (name, paths) {
        (Some(name), _) => format!(" {name}"),
        (None, Some(paths)) => format!(" [{paths}]"),
        (None, None) => String::new(),
    }
}

fn operation(op: &str, path: &str, value: Value) -> Value {
    json!({ "op": op, "path": path, "value": value })
}

fn remove(path: &str, id: &str) -> Value {
    json!({ "op": "remove", "path": format!("{path}[value eq {}]", Value::from(id)) })
}

fn written(change: &Change, form: UpdateForm) -> Value {
    let Change { path, value } = change;
    match form {
        UpdateForm::ArrayValues if !value.is_array() => operation("replace", path, json!([value])),
        UpdateForm::CapitalOps => operation("REPLACE", path, value.clone()),
        UpdateForm::QualifiedPaths if !path.starts_with("urn:") => {
            operation("replace", &format!("{USER}:{path}"), value.clone())
        }
        _ => operation("replace", path, value.clone()),
    }
}

/// The changes as one object: `name.familyName` becomes `{"name":{"familyName":...}}`, an attribute
/// of an extension stands below the extension's URN.
fn nested(changes: &[Change]) -> Value {
    let mut object = json!({});
    for Change { path, value } in changes {
        let (urn, attribute) = match path.rsplit_once(':') {
            Some((urn, attribute)) if path.starts_with("urn:") => (Some(urn), attribute),
            _ => (None, path.as_str()),
        };
        let mut place = &mut object;
        if let Some(urn) = urn {
            place = &mut place[urn];
        }
        for part in attribute.split('.') {
            place = &mut place[part];
        }
        *place = value.clone();
    }
    object
}

fn members(users: &[&str]) -> Value {
    users
        .iter()
        .map(|user| json!({ "value": user, "type": "User" }))
        .collect()
}

fn groups(group: &str) -> Value {
    json!([{ "value": group }])
}

fn group_body(name: &str, users: &[&str]) -> Value {
    json!({ "schemas": [GROUP], "displayName": name, "members": members(users) })
}

fn basic(user: &str, password: &str) -> String {
    let pair = format!("{user}:{password}");
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}

/// `application/x-www-form-urlencoded`, in which a query can be written as well.
fn form(fields: &[(&str, &str)]) -> String {
    let Ok(mut url) = Url::parse("http://localhost/") else {
        return String::new();
    };
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

/// An id as one part of a path, whatever it is made of.
fn segment(id: &str) -> String {
    let Ok(mut url) = Url::parse("http://localhost/") else {
        return String::new();
    };
    if let Ok(mut path) = url.path_segments_mut() {
        path.clear().push(id);
    }
    url.path().trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests;
