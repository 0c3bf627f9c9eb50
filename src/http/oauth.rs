//! `POST /oauth2/v1/token`: access tokens for IDCS's templates "Client Credentials" and "Resource Owner Password"
//! (RFC 6749).

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::State;
use super::error::unanswered;
use super::trace::with_request_id;
use crate::auth::{self, Client, Grant, Refused};

/// The largest body, in bytes.
const MAX_BODY: usize = 16 * 1024;

type Fields = Vec<(String, String)>;

/// Routes below `/oauth2/v1`.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/token")
            .app_data(web::FormConfig::default().limit(MAX_BODY))
            .route(web::post().to(token))
            .default_service(web::to(|| async {
                HttpResponse::MethodNotAllowed()
                    .insert_header((header::ALLOW, "POST"))
                    .finish()
            })),
    );
}

async fn token(
    state: web::Data<State>,
    request: HttpRequest,
    form: Result<web::Form<Fields>, actix_web::Error>,
) -> HttpResponse {
    let asked = match form {
        Ok(form) => read(&request, &form),
        Err(_) => Err(Problem::request(
            "the body must be application/x-www-form-urlencoded and small",
        )),
    };
    let (client, grant) = match asked {
        Ok(asked) => asked,
        Err(problem) => return problem.answer(),
    };
    match state.auth.grant(&client, &grant).await {
        Ok(token) => private(&mut HttpResponse::Ok()).json(json!({
            "access_token": token.token.expose_secret(),
            "token_type": "Bearer",
            "expires_in": token.expires_in,
        })),
        Err(refused) => Problem::from(refused).answer(),
    }
}

/// The client and the grant that a request states.
fn read(request: &HttpRequest, fields: &Fields) -> Result<(Client, Grant), Problem> {
    let get = |name: &str| {
        let mut all = fields.iter().filter(|(key, _)| key == name);
        match (all.next(), all.next()) {
            (_, Some(_)) => Err(Problem::request(format!("{name} is stated more than once"))),
            (Some((_, value)), None) if !value.is_empty() => Ok(Some(value.as_str())),
            _ => Ok(None),
        }
    };
    let needed =
        |name: &str| get(name)?.ok_or_else(|| Problem::request(format!("{name} is missing")));
    let grant = match needed("grant_type")? {
        "client_credentials" => Grant::ClientCredentials,
        "password" => Grant::Password {
            username: needed("username")?.to_owned(),
            password: SecretString::from(needed("password")?),
        },
        _ => {
            return Err(Problem::new(
                400,
                "unsupported_grant_type",
                "grant_type must be client_credentials or password",
            ));
        }
    };
    let in_body = (get("client_id")?, get("client_secret")?);
    let client = match (request.headers().get(header::AUTHORIZATION), in_body) {
        (Some(_), (_, Some(_))) => {
            return Err(Problem::request(
                "the client secret belongs into the Authorization header or into the body, not into both",
            ));
        }
        (Some(value), _) => value.to_str().ok().and_then(basic).ok_or_else(|| {
            Problem::new(
                401,
                "invalid_client",
                "the Authorization header is no HTTP Basic",
            )
        })?,
        (None, (Some(id), Some(secret))) => Client {
            id: id.to_owned(),
            secret: SecretString::from(secret),
        },
        (None, _) => {
            return Err(Problem::new(
                401,
                "invalid_client",
                "client id and client secret are missing: send them as HTTP Basic or in the body",
            ));
        }
    };
    Ok((client, grant))
}

/// Client id and secret of HTTP Basic. Ours have no character that would be encoded (RFC 6749 section 2.3.1).
fn basic(header: &str) -> Option<Client> {
    let (scheme, rest) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some(Client {
        id: id.to_owned(),
        secret: SecretString::from(secret),
    })
}

/// An error of RFC 6749 section 5.2.
struct Problem {
    status: u16,
    error: &'static str,
    description: String,
    retry_after_s: Option<u32>,
}

impl Problem {
    fn new(status: u16, error: &'static str, description: impl Into<String>) -> Self {
        Self {
            status,
            error,
            description: description.into(),
            retry_after_s: None,
        }
    }

    fn request(description: impl Into<String>) -> Self {
        Self::new(400, "invalid_request", description)
    }

    fn answer(self) -> HttpResponse {
        let status = actix_web::http::StatusCode::from_u16(self.status)
            .unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        if self.status == 401 {
            response.insert_header((
                header::WWW_AUTHENTICATE,
                "Basic realm=\"usher\", charset=\"UTF-8\"",
            ));
        }
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        let description = with_request_id(&self.description);
        private(&mut response).json(json!({"error": self.error, "error_description": description}))
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let words = refused.to_string();
        match refused {
            Refused::Client => Self::new(401, "invalid_client", words),
            Refused::Grant => Self::new(400, "invalid_grant", words),
            Refused::TooMany { after_s } => Self {
                retry_after_s: Some(after_s),
                ..Self::new(429, "temporarily_unavailable", words)
            },
            Refused::Failed(auth::Error::Store(error)) => {
                let (words, after_s) = unanswered(&error);
                Self {
                    retry_after_s: Some(after_s),
                    ..Self::new(503, "temporarily_unavailable", words)
                }
            }
            Refused::Failed(_) => Self::new(503, "temporarily_unavailable", words),
        }
    }
}

/// RFC 6749 section 5.1: nobody keeps a copy.
fn private(response: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    response
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::PRAGMA, "no-cache"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    #[test]
    fn a_token_that_cannot_be_made_now_says_when_to_ask_again() {
        for (error, after_s) in [(store::Error::Full, "60"), (store::Error::Panicked, "1")] {
            let refused = Refused::Failed(auth::Error::Store(error));
            let response = Problem::from(refused).answer();
            assert_eq!(response.status(), 503);
            assert_eq!(
                response.headers().get(header::RETRY_AFTER).unwrap(),
                after_s
            );
        }
    }
}
