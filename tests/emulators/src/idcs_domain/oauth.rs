//! `/oauth2/v1`: client credentials, refresh tokens, authorization codes with PKCE.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::keys::s256;
use super::state::{Code, State};
use crate::server::{Answer, Request};

/// How long a code is good, in microseconds.
const CODE_LIFE: i64 = 180 * 1_000_000;
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
    let (mut user, mut is_offline, mut openid) = (None, false, None);
    match field("grant_type") {
        Some("client_credentials") => {
            if !field("scope")
                .unwrap_or_default()
                .contains("urn:opc:idm:__myscopes__")
            {
                return refused(400, "invalid_scope", "The scope is missing or not known.");
            }
        }
        Some("refresh_token") => {
            // Each is good once: the answer has the next one.
            let shown = field("refresh_token").unwrap_or_default();
            let Some(whose) = state.refresh_tokens.remove(shown) else {
                return refused(400, "invalid_grant", "The refresh token is not valid.");
            };
            (user, is_offline) = (Some(whose), true);
        }
        Some("authorization_code") => {
            let now = state.now();
            let Some(code) = state
                .codes
                .remove(field("code").unwrap_or_default())
                .filter(|code| now < code.ends_at)
            else {
                return refused(400, "invalid_grant", "The code is not valid.");
            };
            if s256(field("code_verifier").unwrap_or_default()) != code.challenge {
                return refused(400, "invalid_grant", "The code verifier does not match.");
            }
            if field("redirect_uri") != Some(code.redirect_uri.as_str()) {
                return refused(400, "invalid_grant", "The redirect URI does not match.");
            }
            (user, is_offline) = (Some(code.user), code.is_offline);
            openid = code.openid;
        }
        _ => {
            return refused(
                400,
                "unsupported_grant_type",
                "The grant type is not supported.",
            );
        }
    }
    let now = state.now() / 1_000_000;
    let life = i64::try_from(state.options.expires_in).unwrap_or(3600);
    let number = state.tokens_made;
    let claims = json!({
        "tok_type": "AT", "iss": super::ISSUER, "tenant_iss": state.url, "aud": [state.url],
        "sub": user.as_ref().unwrap_or(&state.options.client_id),
        "sub_type": if user.is_some() { "user" } else { "client" },
        "client_id": state.options.client_id,
        "tenant": state.options.tenant, "clientAppRoles": state.options.roles,
        "iat": now, "exp": now + life, "jti": number.to_string(),
    });
    let token = state.key.sign(&claims);
    state.tokens_made += 1;
    state.tokens.insert(token.clone(), now + life);
    let mut answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": life });
    if let Some((user, nonce)) = user.as_ref().zip(openid) {
        let mut claims = state.user_claims(user, "IT");
        claims["nonce"] = json!(nonce);
        answer["id_token"] = json!(state.key.sign(&claims));
    }
    if let Some(user) = user.filter(|_| is_offline) {
        let refresh = state.new_id();
        state.refresh_tokens.insert(refresh.clone(), user);
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

/// Consents at once for whoever is signed in; denies if nobody is.
pub(super) fn authorize(state: &mut State, request: &Request) -> Answer {
    let param = |name: &str| request.param(name).unwrap_or_default().to_owned();
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
    let back = param("redirect_uri");
    if !state.redirect_uris.is_empty() && !state.redirect_uris.contains(&back) {
        return refused(
            400,
            "invalid_request",
            "The redirect URI is not registered.",
        );
    }
    let Some(user) = state.signed_in.clone() else {
        let target = format!(
            "{back}?error=access_denied&error_description=The+user+denied+it.&state={}",
            param("state")
        );
        return Answer::empty(302).with_header("Location", target);
    };
    let scope = param("scope");
    let has_scope = |wanted: &str| scope.split(' ').any(|it| it == wanted);
    let code = state.new_id();
    let ends_at = state.now() + CODE_LIFE;
    state.codes.insert(
        code.clone(),
        Code {
            user,
            challenge: param("code_challenge"),
            redirect_uri: back.clone(),
            is_offline: has_scope("offline_access"),
            openid: has_scope("openid").then(|| param("nonce")),
            ends_at,
        },
    );
    let target = format!("{back}?code={code}&state={}", param("state"));
    Answer::empty(302).with_header("Location", target)
}

/// The fields of a form.
fn form(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    actix_web::web::Query::<Vec<(String, String)>>::from_query(&text)
        .map(actix_web::web::Query::into_inner)
        .unwrap_or_default()
}
