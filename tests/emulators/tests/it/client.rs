//! A plain client of the emulated Jira.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use usher_emulators::jira::{Jira, JiraOptions};

pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) authorization: Option<String>,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) json: Value,
    pub(crate) text: String,
    pub(crate) headers: reqwest::header::HeaderMap,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The single general message of a refusal.
    pub(crate) fn message(&self) -> &str {
        self.json["errorMessages"][0].as_str().unwrap_or_default()
    }
}

pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap()
}

pub(crate) fn start() -> (Jira, Client) {
    start_with(JiraOptions::default())
}

pub(crate) fn start_with(options: JiraOptions) -> (Jira, Client) {
    let authorization = Some(format!("Bearer {}", options.token));
    let jira = Jira::start(options).unwrap();
    let client = Client {
        http: http(),
        url: jira.url(),
        authorization,
    };
    (jira, client)
}

impl Client {
    pub(crate) fn with_bearer(&self, token: &str) -> Self {
        self.with(Some(format!("Bearer {token}")))
    }

    pub(crate) fn with_basic(&self, user: &str, password: &str) -> Self {
        use base64::Engine as _;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.with(Some(format!("Basic {pair}")))
    }

    pub(crate) fn with(&self, authorization: Option<String>) -> Self {
        Self {
            http: self.http.clone(),
            url: self.url.clone(),
            authorization,
        }
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_string()),
            None => request,
        }
    }

    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<Reply> {
        read(self.request(method, path, body)).await
    }

    async fn rest(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        self.try_send(method, &format!("/rest/api/2/{path}"), body)
            .await
            .unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.rest(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.rest(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Reply {
        self.rest(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.rest(Method::DELETE, path, None).await
    }
}

pub(crate) async fn read(request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    Ok(Reply {
        status,
        json: serde_json::from_str(&text).unwrap_or_default(),
        text,
        headers,
    })
}
