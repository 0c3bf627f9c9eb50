//! `/scim/v2`: the server side of RFC 7644.

mod bulk;
mod discovery;
mod lists;
mod resources;

use actix_web::body::MessageBody;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError, web};

use super::State;
use super::error::Failure;
use super::extract::{Caller, MAX_BODY};
use crate::scim::bulk::MAX_PAYLOAD;
use crate::scim::{self, ResourceType};

/// Routes below `/scim/v2`.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.app_data(web::PayloadConfig::new(MAX_BODY));
    for rt in [ResourceType::User, ResourceType::Group] {
        let base = format!("/{}", rt.endpoint());
        config
            .service(
                web::resource(base.clone())
                    .app_data(web::Data::new(rt))
                    .route(web::get().to(lists::list))
                    .route(web::post().to(resources::create))
                    .default_service(only("GET, POST")),
            )
            .service(
                web::resource(format!("{base}/.search"))
                    .app_data(web::Data::new(rt))
                    .route(web::post().to(lists::search))
                    .default_service(only("POST")),
            )
            .service(
                web::resource(format!("{base}/{{id}}"))
                    .app_data(web::Data::new(rt))
                    .route(web::get().to(resources::read))
                    .route(web::put().to(resources::replace))
                    .route(web::patch().to(resources::patch))
                    .route(web::delete().to(resources::delete))
                    .default_service(only("GET, PUT, PATCH, DELETE")),
            );
    }
    for root in ["", "/"] {
        config.service(
            web::resource(root)
                .route(web::get().to(lists::list_all))
                .default_service(only("GET")),
        );
    }
    config
        .service(
            web::resource("/.search")
                .route(web::post().to(lists::search_all))
                .default_service(only("POST")),
        )
        .service(
            web::resource("/Bulk")
                .app_data(web::PayloadConfig::new(MAX_PAYLOAD))
                .route(web::post().to(bulk::bulk))
                .default_service(only("POST")),
        )
        .service(web::resource("/Me").default_service(web::to(me)))
        .service(web::resource("/Me/{rest:.*}").default_service(web::to(me)));
    let read_only = |path: &str, get: actix_web::Route| {
        web::resource(path).route(get).default_service(only("GET"))
    };
    config
        .service(read_only(
            "/ServiceProviderConfig",
            web::get().to(discovery::service_provider_config),
        ))
        .service(read_only(
            "/ResourceTypes",
            web::get().to(discovery::resource_types),
        ))
        .service(read_only(
            "/ResourceTypes/{id}",
            web::get().to(discovery::resource_type),
        ))
        .service(read_only("/Schemas", web::get().to(discovery::schemas)))
        .service(read_only("/Schemas/{id}", web::get().to(discovery::schema)))
        .default_service(web::to(unknown));
}

/// Anything else below `/scim/v2`. Asks for a credential first: a stranger learns nothing.
async fn unknown(_: Caller, request: HttpRequest) -> Result<HttpResponse, Failure> {
    Err(scim::Error::not_found(format!("there is no endpoint {}", request.path())).into())
}

/// RFC 7644 section 3.11: `/Me` stands for the authenticated subject. Here that is an identity provider, which
/// is no user of its own mirror.
async fn me(_: Caller) -> Result<HttpResponse, Failure> {
    Err(scim::Error::not_implemented(
        "/Me is not supported: the credential is that of an identity provider and stands for no user",
    )
    .into())
}

/// Refuses every method but these.
fn only(allowed: &'static str) -> actix_web::Route {
    web::to(move |_: Caller, request: HttpRequest| async move {
        let refused = Failure::from(scim::Error::method_not_allowed(format!(
            "{} is not allowed on {}, only {allowed}",
            request.method(),
            request.path()
        )));
        let mut response = refused.error_response();
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static(allowed));
        response
    })
}

/// The address under which the caller sees this server.
fn base_url(state: &State, request: &HttpRequest) -> String {
    format!("{}/scim/v2", state.seen_as(request))
}

/// An answer in the media type that the caller accepts: `application/scim+json` unless it asks for plain
/// `application/json` alone (RFC 7644 section 3.1).
fn answer(
    mut response: HttpResponseBuilder,
    request: &HeaderMap,
    body: impl MessageBody + 'static,
) -> HttpResponse {
    let accept = request
        .get(header::ACCEPT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let plain = accept.contains("application/json") && !accept.contains("application/scim+json");
    response
        .insert_header((
            header::CONTENT_TYPE,
            if plain {
                "application/json"
            } else {
                "application/scim+json"
            },
        ))
        .body(body)
}
