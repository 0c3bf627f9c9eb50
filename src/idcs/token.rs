//! Access tokens: obtained once, kept until 80 % of their life is over.

use std::sync::Arc;

use async_trait::async_trait;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rand::RngExt as _;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::error::Error;
use super::pace::Pace;
use super::wire;
use crate::clock::{Clock, Micros};
use crate::domain::{ClientAuth, Grant, PullSettings};
use crate::outbound::{Client, Credential, Method, Request};

const PATH: &str = "/oauth2/v1/token";
/// Everything that the application's app roles allow.
const SCOPE: &str = "urn:opc:idm:__myscopes__";
/// What helps where a refresh token is missing or spent.
const CONSENT: &str = "run `usher source authorize` with the name of the connection";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long an assertion may be used.
const ASSERTION_S: i64 = 120;

/// Where the refresh token of a connection is kept. A domain may take each one only once and hand out the next with
/// its answer, so of all processes one alone uses it at a time.
#[async_trait]
pub trait RefreshTokens: Send + Sync {
    /// Waits until nobody else uses it.
    async fn lock(&self) -> Result<(), String>;
    /// The present one, if an administrator consented.
    async fn load(&self) -> Result<Option<SecretString>, String>;
    /// Lets others use it again: the new one, if there is one.
    async fn unlock(&self, new: Option<SecretString>) -> Result<(), String>;
}

/// What the application proves itself with, as it is at this moment.
#[derive(Clone)]
pub struct Secret {
    /// The client secret, or the private key in PEM.
    pub value: SecretString,
    /// Needed for [`Grant::RefreshToken`].
    pub refresh: Option<Arc<dyn RefreshTokens>>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// A client that shows a token.
#[derive(Debug, Clone)]
pub(super) struct Authorized {
    pub(super) http: Client,
    number: u64,
}

#[derive(Debug)]
struct Kept {
    client: Authorized,
    renew_at: Micros,
}

/// The tokens of one client.
#[derive(Debug)]
pub(super) struct Tokens {
    http: Client,
    clock: Clock,
    client_id: String,
    grant: Grant,
    auth: ClientAuth,
    secret: Secret,
    kept: tokio::sync::Mutex<(Option<Kept>, u64)>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: SecretString,
    #[serde(default)]
    expires_in: Option<i64>,
    #[serde(default)]
    refresh_token: Option<SecretString>,
    #[serde(default)]
    id_token: Option<SecretString>,
}

#[derive(Deserialize, Default)]
struct Refusal {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Tokens {
    pub(super) fn new(
        settings: &PullSettings,
        secret: Secret,
        http: Client,
        clock: Clock,
    ) -> Result<Self, Error> {
        let setup = |text: String| Error::Setup { text };
        let client = match &settings.auth {
            ClientAuth::Secret(_) => http
                .with_credential(&Credential::Basic {
                    username: settings.client_id.clone(),
                    password: secret.value.clone(),
                })
                .map_err(|e| setup(e.to_string()))?,
            ClientAuth::PrivateKey { .. } => {
                // Now, so that a wrong file is a mistake of the settings and no refusal of the domain.
                key(&secret)?;
                http
            }
        };
        Ok(Self {
            http: client,
            clock,
            client_id: settings.client_id.clone(),
            grant: settings.grant,
            auth: settings.auth.clone(),
            secret,
            kept: tokio::sync::Mutex::new((None, 0)),
        })
    }

    /// A client with a token that is still good. Whoever needs one while it is being made waits for it.
    pub(super) async fn client(&self, pace: &Pace) -> Result<Authorized, Error> {
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        if let (Some(token), _) = &*kept
            && now < token.renew_at
        {
            return Ok(token.client.clone());
        }
        pace.turn().await;
        let answer = self.ask().await?;
        let bearer = Credential::Bearer(answer.access_token);
        let http = self
            .http
            .with_credential(&bearer)
            .map_err(|e| Error::Setup {
                text: e.to_string(),
            })?;
        let life_s = answer.expires_in.unwrap_or(3600).clamp(1, 365 * 24 * 3600);
        kept.1 += 1;
        let client = Authorized {
            http,
            number: kept.1,
        };
        kept.0 = Some(Kept {
            client: client.clone(),
            renew_at: now.saturating_add(life_s * 800_000),
        });
        Ok(client)
    }

    /// The domain refused this token: the next one is new, unless it is already.
    pub(super) async fn forget(&self, client: &Authorized) {
        let mut kept = self.kept.lock().await;
        if kept
            .0
            .as_ref()
            .is_some_and(|it| it.client.number == client.number)
        {
            kept.0 = None;
        }
    }

    async fn ask(&self) -> Result<Answer, Error> {
        match self.grant {
            Grant::ClientCredentials => {
                self.send(&[("grant_type", "client_credentials"), ("scope", SCOPE)])
                    .await
            }
            Grant::RefreshToken => {
                self.with_refresh(async |present| {
                    let Some(token) = present? else {
                        return Err(Error::Unauthorized {
                            text: format!(
                                "nobody has consented yet that the domain is read: {CONSENT}"
                            ),
                        });
                    };
                    self.send(&[
                        ("grant_type", "refresh_token"),
                        ("refresh_token", token.expose_secret()),
                    ])
                    .await
                })
                .await
            }
        }
    }

    /// Asks for tokens while nobody else uses the refresh token, and keeps the new one.
    async fn with_refresh(
        &self,
        ask: impl AsyncFnOnce(Result<Option<SecretString>, Error>) -> Result<Answer, Error>,
    ) -> Result<Answer, Error> {
        let setup = |text: String| Error::Setup { text };
        let stored = self
            .secret
            .refresh
            .as_ref()
            .ok_or_else(|| setup("grant: there is no place for a refresh token".to_owned()))?;
        stored.lock().await.map_err(setup)?;
        let answer = ask(stored.load().await.map_err(setup)).await;
        let new = match &answer {
            Ok(answer) => answer.refresh_token.clone(),
            Err(_) => None,
        };
        stored.unlock(new).await.map_err(setup)?;
        answer
    }

    async fn send(&self, form: &[(&str, &str)]) -> Result<Answer, Error> {
        let mut form = form.to_vec();
        let assertion;
        if let ClientAuth::PrivateKey { key_id, .. } = &self.auth {
            assertion = self.assertion(key_id.clone())?;
            form.push(("client_assertion_type", ASSERTION));
            form.push(("client_assertion", assertion.expose_secret()));
        }
        let request = Request {
            method: Method::POST,
            path: PATH,
            form: &form,
            ..Request::default()
        };
        let answer = self.http.send(request).await?;
        if !answer.is_success() {
            let refusal: Refusal = answer.json().unwrap_or_default();
            let is_spent = self.grant == Grant::RefreshToken && refusal.error == "invalid_grant";
            let words = [refusal.error, refusal.error_description].join(" ");
            let words = words.trim();
            if is_spent {
                return Err(Error::Unauthorized {
                    text: format!(
                        "the domain does not take the consent of an administrator any more ({} {words}): {CONSENT}",
                        answer.status
                    ),
                });
            }
            return Err(Error::Unauthorized {
                text: format!(
                    "the domain refuses the client id and its secret or key ({} {words}): compare them with the \
                     confidential application, and see that it is active and has the grant",
                    answer.status
                ),
            });
        }
        answer.json().map_err(|_| wire::unreadable(&answer))
    }

    /// Exchanges the code of an authorization request for a refresh token, which is kept.
    pub(super) async fn exchange(
        &self,
        code: &str,
        verifier: &SecretString,
        redirect_uri: &str,
    ) -> Result<(), Error> {
        let form = of_code(code, verifier, redirect_uri);
        self.with_refresh(async |_| {
            let answer = self.send(&form).await?;
            if answer.refresh_token.is_none() {
                return Err(Error::Unauthorized {
                    text: "the domain gave no refresh token: allow the grant type Refresh Token in the \
                           confidential application"
                        .to_owned(),
                });
            }
            Ok(answer)
        })
        .await?;
        // What was obtained before by another consent is somebody else's.
        self.kept.lock().await.0 = None;
        Ok(())
    }

    /// Exchanges the code of a sign-in for an ID token. What else comes with it is dropped: nobody acts in the name of
    /// whoever signed in.
    pub(super) async fn id_token(
        &self,
        code: &str,
        verifier: &SecretString,
        redirect_uri: &str,
    ) -> Result<SecretString, Error> {
        let answer = self.send(&of_code(code, verifier, redirect_uri)).await?;
        answer.id_token.ok_or_else(|| Error::Unauthorized {
            text: "the domain gave no ID token: allow the grant type Authorization Code in the confidential \
                   application"
                .to_owned(),
        })
    }

    /// RFC 7523 section 2.2.
    fn assertion(&self, key_id: Option<String>) -> Result<SecretString, Error> {
        let now = self.clock.now() / 1_000_000;
        let random: u128 = rand::rng().random();
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": "https://identity.oraclecloud.com/",
            "jti": format!("{random:032x}"),
            "iat": now,
            "exp": now + ASSERTION_S,
        });
        let mut header = Header::new(Algorithm::RS256);
        header.kid = key_id;
        jsonwebtoken::encode(&header, &claims, &key(&self.secret)?)
            .map(SecretString::from)
            .map_err(|e| Error::Setup {
                text: format!("private_key: cannot sign with it: {e}"),
            })
    }
}

/// RFC 6749 section 4.1.3, with PKCE (RFC 7636 section 4.5).
fn of_code<'a>(
    code: &'a str,
    verifier: &'a SecretString,
    redirect_uri: &'a str,
) -> [(&'a str, &'a str); 4] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", verifier.expose_secret()),
    ]
}

fn key(secret: &Secret) -> Result<EncodingKey, Error> {
    EncodingKey::from_rsa_pem(secret.value.expose_secret().as_bytes()).map_err(|_| Error::Setup {
        text: "private_key: is no RSA private key in PEM".to_owned(),
    })
}
