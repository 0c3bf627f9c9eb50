//! `/scim/v2`: the server side of RFC 7644.

mod discovery;
mod resources;

use actix_web::body::MessageBody;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};

use super::State;
use super::error::Failure;
use super::extract::{Caller, MAX_BODY};
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
                    .route(web::get().to(resources::list))
                    .route(web::post().to(resources::create))
                    .default_service(web::to(not_allowed)),
            )
            .service(
                web::resource(format!("{base}/.search"))
                    .app_data(web::Data::new(rt))
                    .route(web::post().to(resources::search))
                    .default_service(web::to(not_allowed)),
            )
            .service(
                web::resource(format!("{base}/{{id}}"))
                    .app_data(web::Data::new(rt))
                    .route(web::get().to(resources::read))
                    .route(web::put().to(resources::replace))
                    .route(web::patch().to(resources::patch))
                    .route(web::delete().to(resources::delete))
                    .default_service(web::to(not_allowed)),
            );
    }
    config.service(
        web::resource("/.search")
            .route(web::post().to(resources::search_all))
            .default_service(web::to(not_allowed)),
    );
    let read_only = |path: &str, get: actix_web::Route| {
        web::resource(path)
            .route(get)
            .default_service(web::to(not_allowed))
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
    let path = request.path();
    Err(if path.ends_with("/Bulk") || path.ends_with("/Me") {
        scim::Error::not_implemented(format!(
            "{path} is not supported (see /ServiceProviderConfig)"
        ))
        .into()
    } else {
        scim::Error::not_found(format!("there is no endpoint {path}")).into()
    })
}

async fn not_allowed(_: Caller, request: HttpRequest) -> Result<HttpResponse, Failure> {
    Err(scim::Error::method_not_allowed(format!(
        "{} is not allowed on {}",
        request.method(),
        request.path()
    ))
    .into())
}

/// The address under which the caller sees this server.
fn base_url(state: &State, request: &HttpRequest) -> String {
    match &state.public_url {
        Some(url) => format!("{url}/scim/v2"),
        None => {
            let seen = request.connection_info();
            format!("{}://{}/scim/v2", seen.scheme(), seen.host())
        }
    }
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
