//! The client of an IDCS domain (an OCI IAM identity domain): tokens, users, groups, members, grants.
//!
//! Everything is read in pages, and a page that cannot be trusted is an error: whoever reads must never
//! take silence for absence. Requests keep to the pace of the connection, wait when the domain asks for it,
//! and are tried again when it stumbles.

mod check;
mod error;
mod pace;
mod token;
pub mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::RngExt as _;
use serde_json::Value;

pub use check::Step;
pub use error::Error;
pub use token::{RefreshTokens, Secret};

use self::pace::Pace;
use self::token::Tokens;
use self::wire::{DomainGroup, DomainUser, Grant, Member, Page};
use crate::clock::Clock;
use crate::domain::{Failure, PullSettings};
use crate::outbound::{self, Client, Credential, Request, Response, segment};

/// Most rows that a domain puts on one page.
pub const PAGE: usize = 1000;

/// A page of 1,000 users with long documents.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// How patient the client is.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long one request may take.
    pub timeout: Duration,
    /// How often a request is tried that the domain did not answer.
    pub attempts: u32,
    /// How often a request is tried that the domain asks to send later. It says so for a whole minute.
    pub throttled_attempts: u32,
    /// The first wait; it doubles each time.
    pub backoff: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            attempts: 4,
            throttled_attempts: 8,
            backoff: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// A client of one domain. Clones share its token and its pace.
#[derive(Debug, Clone)]
pub struct Idcs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Client,
    tokens: Tokens,
    pace: Pace,
    options: Options,
    settings: PullSettings,
    attributes: String,
    requests: AtomicU64,
}

impl Idcs {
    /// A client for the domain of `settings`; `group_attributes` are read along with each user.
    ///
    /// # Errors
    /// [`Error::Setup`] names the setting that cannot be used.
    pub fn new(
        settings: &PullSettings,
        group_attributes: &[String],
        secret: Secret,
        options: Options,
        clock: Clock,
    ) -> Result<Self, Error> {
        let limits = outbound::Options {
            timeout: options.timeout,
            max_body: MAX_BODY,
            ..outbound::Options::default()
        };
        let http = Client::new(&settings.base_url, Credential::Nothing, limits)
            .map_err(|e| Error::Setup {
                text: e.to_string(),
            })?
            .with_clock(clock.clone());
        let tokens = Tokens::new(settings, secret, http.clone(), clock)?;
        Ok(Self(Arc::new(Inner {
            http,
            tokens,
            pace: Pace::new(settings.requests_per_second),
            options,
            settings: settings.clone(),
            attributes: wire::user_attributes(group_attributes),
            requests: AtomicU64::new(0),
        })))
    }

    /// Address of the domain.
    pub fn base_url(&self) -> &str {
        self.0.http.base_url()
    }

    /// How many requests this client has sent.
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Where an administrator consents to [`Grant::RefreshToken`](crate::domain::Grant::RefreshToken): an
    /// authorization request with PKCE (RFC 7636), whose challenge is the SHA-256 of a secret kept here.
    pub fn consent_url(&self, redirect_uri: &str, state: &str, challenge: &str) -> String {
        let scope = ("scope", "urn:opc:idm:__myscopes__ offline_access");
        self.authorize_url(redirect_uri, state, challenge, &[scope])
    }

    /// Where somebody signs in: the same with OpenID Connect, whose ID token has to repeat the nonce.
    pub fn sign_in_url(
        &self,
        redirect_uri: &str,
        state: &str,
        challenge: &str,
        nonce: &str,
    ) -> String {
        let openid = [("scope", "openid"), ("nonce", nonce)];
        self.authorize_url(redirect_uri, state, challenge, &openid)
    }

    fn authorize_url(
        &self,
        redirect_uri: &str,
        state: &str,
        challenge: &str,
        more: &[(&str, &str)],
    ) -> String {
        let query = [
            ("response_type", "code"),
            ("client_id", self.0.settings.client_id.as_str()),
            ("redirect_uri", redirect_uri),
            ("state", state),
            ("code_challenge_method", "S256"),
            ("code_challenge", challenge),
        ];
        let query: Vec<String> = query
            .iter()
            .chain(more)
            .map(|(name, value)| format!("{name}={}", segment(value)))
            .collect();
        format!(
            "{}/oauth2/v1/authorize?{}",
            self.base_url(),
            query.join("&")
        )
    }

    /// Exchanges the code of a sign-in for the ID token of whoever signed in.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] if the domain does not take the code, or gives no ID token for it.
    pub async fn id_token(
        &self,
        code: &str,
        verifier: &secrecy::SecretString,
        redirect_uri: &str,
    ) -> Result<secrecy::SecretString, Error> {
        self.0.tokens.id_token(code, verifier, redirect_uri).await
    }

    /// Exchanges the code that came back for a refresh token, which is kept where [`Secret::refresh`] says.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] if the domain does not take the code, or gives no refresh token for it.
    pub async fn exchange(
        &self,
        code: &str,
        verifier: &secrecy::SecretString,
        redirect_uri: &str,
    ) -> Result<(), Error> {
        self.0.tokens.exchange(code, verifier, redirect_uri).await
    }

    /// One page of users, from `start` (1-based). `filter` is in the domain's own filter language.
    pub async fn users(
        &self,
        filter: Option<&str>,
        start: usize,
    ) -> Result<Page<DomainUser>, Error> {
        let attributes = &self.0.attributes;
        self.list(
            "/admin/v1/Users",
            attributes,
            filter,
            start,
            PAGE,
            wire::user,
        )
        .await
    }

    /// The users that changed after an instant (RFC 3339), with the groups that each is in.
    pub async fn users_since(&self, since: &str, start: usize) -> Result<Page<DomainUser>, Error> {
        let filter = format!("meta.lastModified gt {}", wire::quoted(since));
        let attributes = format!("{},groups", self.0.attributes);
        self.list(
            "/admin/v1/Users",
            &attributes,
            Some(&filter),
            start,
            PAGE,
            wire::user,
        )
        .await
    }

    /// One user with the groups it is in; `None` if the domain says that there is none.
    pub async fn user(&self, id: &str) -> Result<Option<DomainUser>, Error> {
        let path = format!("/admin/v1/Users/{}", segment(id));
        let attributes = format!("{},groups", self.0.attributes);
        let found = self.get(&path, &[("attributes", &attributes)]).await;
        let answer = match found {
            Err(Error::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let user = wire::user(wire::object(&answer)?).ok_or_else(|| wire::unreadable(&answer))?;
        // Another one than was asked for is no answer.
        if user.id == id {
            Ok(Some(user))
        } else {
            Err(wire::unreadable(&answer))
        }
    }

    /// The id of the user with this login name, if there is one.
    pub async fn user_named(&self, name: &str) -> Result<Option<String>, Error> {
        let filter = format!("userName eq {}", wire::quoted(name));
        let page = self
            .list(
                "/admin/v1/Users",
                "userName",
                Some(&filter),
                1,
                2,
                wire::user,
            )
            .await?;
        Ok(page.rows.into_iter().next().map(|user| user.id))
    }

    /// One page of the groups that the connection reads.
    pub async fn groups(&self, start: usize) -> Result<Page<DomainGroup>, Error> {
        self.groups_where(None, start).await
    }

    /// The group with this id, if the connection reads it.
    pub async fn group(&self, id: &str) -> Result<Option<DomainGroup>, Error> {
        let filter = format!("id eq {}", wire::quoted(id));
        let page = self.groups_where(Some(&filter), 1).await?;
        let found = page.rows.into_iter().find(|group| group.id == id);
        if found.is_none() && page.total > 0 {
            return Err(Error::Unreadable {
                text: format!("the domain counts a group {id} and does not show it"),
            });
        }
        Ok(found)
    }

    /// Whether the domain has a group, whatever the connection reads.
    pub async fn has_group(&self, id: &str) -> Result<bool, Error> {
        let path = format!("/admin/v1/Groups/{}", segment(id));
        match self.get(&path, &[("attributes", "displayName")]).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// One page of the groups that state this user as a direct member.
    pub async fn groups_with(&self, user: &str, start: usize) -> Result<Page<DomainGroup>, Error> {
        let filter = format!("members.value eq {}", wire::quoted(user));
        self.groups_where(Some(&filter), start).await
    }

    async fn groups_where(
        &self,
        filter: Option<&str>,
        start: usize,
    ) -> Result<Page<DomainGroup>, Error> {
        let both;
        let filter = match (filter, self.0.settings.groups.as_deref()) {
            (Some(one), Some(other)) => {
                both = format!("{one} and ({other})");
                Some(both.as_str())
            }
            (one, other) => one.or(other),
        };
        let attributes = "displayName,externalId,meta";
        self.list(
            "/admin/v1/Groups",
            attributes,
            filter,
            start,
            PAGE,
            wire::group,
        )
        .await
    }

    /// One page of the members of a group. There is no total: what comes after a short page can only be
    /// known by asking once more.
    pub async fn members(&self, group: &str, start: usize) -> Result<Vec<Member>, Error> {
        let path = format!("/admin/v1/Groups/{}", segment(group));
        let attributes = format!("displayName,members[startIndex={start}&count={PAGE}]");
        let answer = self.get(&path, &[("attributes", &attributes)]).await?;
        wire::members(&answer, group)
    }

    /// One page of the grants of an application, to everybody or to one grantee.
    pub async fn grants(
        &self,
        app: &str,
        grantee: Option<&str>,
        start: usize,
    ) -> Result<Page<Grant>, Error> {
        let mut filter = format!("app.value eq {}", wire::quoted(app));
        if let Some(grantee) = grantee {
            filter = format!("{filter} and grantee.value eq {}", wire::quoted(grantee));
        }
        self.list(
            "/admin/v1/Grants",
            "grantee,app,grantMechanism,isFulfilled",
            Some(&filter),
            start,
            PAGE,
            wire::grant,
        )
        .await
    }

    /// An application, as the domain shows it.
    pub async fn app(&self, id: &str) -> Result<Value, Error> {
        let path = format!("/admin/v1/Apps/{}", segment(id));
        let attributes = [("attributes", "displayName,active,allowAccessControl")];
        let answer = self.get(&path, &attributes).await?;
        answer.value().ok_or_else(|| wire::unreadable(&answer))
    }

    /// The keys that the domain signs tokens with (RFC 7517). It shows them to whoever has a token.
    pub async fn keys(&self) -> Result<Value, Error> {
        let answer = self.get("/admin/v1/SigningCert/jwk", &[]).await?;
        answer
            .value()
            .filter(|it| it.get("keys").is_some_and(Value::is_array))
            .ok_or_else(|| wire::unreadable(&answer))
    }

    async fn list<T>(
        &self,
        path: &str,
        attributes: &str,
        filter: Option<&str>,
        start: usize,
        count: usize,
        row: fn(crate::scim::Doc) -> Option<T>,
    ) -> Result<Page<T>, Error> {
        let (start, count) = (start.to_string(), count.to_string());
        let mut query = vec![
            ("attributes", attributes),
            ("startIndex", &start),
            ("count", &count),
        ];
        if let Some(filter) = filter {
            query.push(("filter", filter));
        }
        let answer = self.get(path, &query).await?;
        wire::page(&answer, row)
    }

    /// Sends a GET: at the connection's pace, again when the domain asks to slow down or does not answer, and
    /// once more with a new token when it refuses the one it was shown.
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Response, Error> {
        let inner = &*self.0;
        let (mut failed, mut throttled, mut renewed) = (0, 0, false);
        loop {
            let client = match self
                .patiently(
                    inner.tokens.client(&inner.pace).await,
                    &mut failed,
                    &mut throttled,
                )
                .await?
            {
                Some(client) => client,
                None => continue,
            };
            inner.pace.turn().await;
            inner.requests.fetch_add(1, Ordering::Relaxed);
            let request = Request {
                path,
                query,
                ..Request::default()
            };
            let sent = client.http.send(request).await;
            let Some(answer) = self
                .patiently(sent.map_err(Into::into), &mut failed, &mut throttled)
                .await?
            else {
                continue;
            };
            match answer.status {
                401 if !renewed => {
                    renewed = true;
                    inner.tokens.forget(&client).await;
                }
                _ => return wire::judge(answer),
            }
        }
    }

    /// Waits where trying again makes sense and is allowed; `None`: now try again.
    async fn patiently<T>(
        &self,
        outcome: Result<T, Error>,
        failed: &mut u32,
        throttled: &mut u32,
    ) -> Result<Option<T>, Error> {
        let options = &self.0.options;
        let (error, count, most, after) = match outcome {
            Ok(value) => return Ok(Some(value)),
            Err(
                error @ Error::Unavailable {
                    throttled: None, ..
                },
            ) => (error, failed, options.attempts, None),
            Err(error) => match error {
                Error::Unavailable {
                    throttled: Some(after),
                    ..
                } => (error, throttled, options.throttled_attempts, after),
                other => return Err(other),
            },
        };
        *count += 1;
        if *count >= most {
            return Err(error);
        }
        let wait = options.backoff.saturating_mul(1 << (*count - 1).min(10));
        let wait = wait.mul_f64(rand::rng().random_range(0.5..1.0));
        let wait = after.unwrap_or(wait).min(options.longest_wait);
        tracing::debug!(error = %error, wait_ms = wait.as_millis(), "the domain is asked again");
        tokio::time::sleep(wait).await;
        Ok(None)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Transient { text } | Failure::Unreachable { text } => Self::Unavailable {
                text,
                throttled: None,
            },
            Failure::Throttled { after, text } => Self::Unavailable {
                text,
                throttled: Some(after),
            },
            Failure::Unauthorized { text } => Self::Unauthorized { text },
            Failure::Gone { text } => Self::NotFound { text },
            Failure::Rejected { text, .. } => Self::Refused {
                text,
                message_id: None,
            },
        }
    }
}

#[cfg(test)]
mod tests;
