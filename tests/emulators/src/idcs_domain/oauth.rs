//! `/oauth2/v1`: client credentials, refresh tokens, authorization codes with PKCE.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::keys::s256;
use super::state::State;
use crate::server::{Answer, Request};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn refused(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(
        status,
        &json!({ "error": error, "error_description": description, "ecid": "emulated" }),
    )
}

pub(super) fn token(state: &mut State, request: &Request) -> Answer {
    let form = form(&request.body);
    let field = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    if !is_client(state, request, &field) {
        return refused(401, "invalid_client", "Client authentication failed.");
    }
    let with_refresh = match field("grant_type") {
        Some("client_credentials") => {
            if !field("scope")
                .unwrap_or_default()
                .contains("urn:opc:idm:__myscopes__")
            {
                return refused(400, "invalid_scope", "The scope is missing or not known.");
            }
            false
        }
        Some("refresh_token") => {
            if !state
                .refresh_tokens
                .remove(field("refresh_token").unwrap_or_default())
            {
                return refused(400, "invalid_grant", "The refresh token is not valid.");
            }
            true
        }
        Some("authorization_code") => {
            let Some((_, challenge)) = state.codes.remove(field("code").unwrap_or_default()) else {
                return refused(400, "invalid_grant", "The code is not valid.");
            };
            if s256(field("code_verifier").unwrap_or_default()) != challenge {
                return refused(400, "invalid_grant", "The code verifier does not match.");
            }
            true
        }
        _ => {
            return refused(
                400,
                "unsupported_grant_type",
                "The grant type is not supported.",
            );
        }
    };
    let now = state.now() / 1_000_000;
    let life = i64::try_from(state.options.expires_in).unwrap_or(3600);
    let number = state.tokens_made;
    let claims = json!({
        "tok_type": "AT", "iss": super::ISSUER, "tenant_iss": state.url, "aud": [state.url],
        "sub": state.options.client_id, "sub_type": "client", "client_id": state.options.client_id,
        "tenant": state.options.tenant, "clientAppRoles": state.options.roles,
        "iat": now, "exp": now + life, "jti": number.to_string(),
    });
    let token = state.key.sign(&claims);
    state.tokens_made += 1;
    state.tokens.insert(token.clone(), now + life);
    let mut answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": life });
    if with_refresh {
        let refresh = state.new_id();
        state.refresh_tokens.insert(refresh.clone());
        answer["refresh_token"] = json!(refresh);
    }
    Answer::json(200, &answer)
}

fn is_client<'a>(
    state: &State,
    request: &Request,
    field: &impl Fn(&str) -> Option<&'a str>,
) -> bool {
    let options = &state.options;
    if field("client_assertion_type") == Some(ASSERTION) {
        let claims = state
            .client_key
            .as_ref()
            .and_then(|key| key.verify(field("client_assertion")?));
        return claims.is_some_and(|claims| {
            let end = claims["exp"].as_i64().unwrap_or(0);
            claims["iss"] == json!(options.client_id)
                && claims["sub"] == json!(options.client_id)
                && claims["jti"].is_string()
                && end > state.now() / 1_000_000
        });
    }
    let basic = request
        .header("authorization")
        .and_then(|it| it.strip_prefix("Basic "))
        .and_then(|it| STANDARD.decode(it).ok())
        .and_then(|it| String::from_utf8(it).ok());
    let given = match &basic {
        Some(pair) => pair.split_once(':'),
        None => field("client_id").zip(field("client_secret")),
    };
    given == Some((options.client_id.as_str(), options.client_secret.as_str()))
}

/// Consents at once for whoever is signed in.
pub(super) fn authorize(state: &mut State, request: &Request) -> Answer {
    let param = |name: &str| request.param(name).unwrap_or_default().to_owned();
    let Some(user) = state.signed_in.clone() else {
        return refused(401, "access_denied", "Nobody is signed in.");
    };
    if param("client_id") != state.options.client_id || param("response_type") != "code" {
        return refused(
            400,
            "invalid_request",
            "The client or the response type is not known.",
        );
    }
    if param("code_challenge_method") != "S256" || param("code_challenge").is_empty() {
        return refused(400, "invalid_request", "PKCE with S256 is required.");
    }
    let code = state.new_id();
    state
        .codes
        .insert(code.clone(), (user, param("code_challenge")));
    let target = format!(
        "{}?code={code}&state={}",
        param("redirect_uri"),
        param("state")
    );
    Answer::empty(302).with_header("Location", target)
}

/// The fields of a form.
fn form(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    actix_web::web::Query::<Vec<(String, String)>>::from_query(&text)
        .map(actix_web::web::Query::into_inner)
        .unwrap_or_default()
}
