//! What this server can do (RFC 7644 section 4). Asks for a credential like everything else.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use super::super::State;
use super::super::error::Failure;
use super::super::extract::Caller;
use super::resources::query_pairs;
use super::{answer, base_url};
use crate::scim::{self, discovery, list};

/// `GET /ServiceProviderConfig`
pub(super) async fn service_provider_config(
    _: Caller,
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, Failure> {
    unfiltered(&request)?;
    let config = discovery::service_provider_config(&base_url(&state, &request));
    Ok(answer(
        HttpResponse::Ok(),
        request.headers(),
        config.to_string(),
    ))
}

/// `GET /ResourceTypes`
pub(super) async fn resource_types(
    _: Caller,
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, Failure> {
    all(
        &request,
        discovery::resource_types(&base_url(&state, &request)),
    )
}

/// `GET /ResourceTypes/{id}`
pub(super) async fn resource_type(
    _: Caller,
    state: web::Data<State>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Failure> {
    one(
        &request,
        discovery::resource_types(&base_url(&state, &request)),
        &id,
    )
}

/// `GET /Schemas`
pub(super) async fn schemas(
    _: Caller,
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, Failure> {
    all(&request, discovery::schemas(&base_url(&state, &request)))
}

/// `GET /Schemas/{id}`
pub(super) async fn schema(
    _: Caller,
    state: web::Data<State>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Failure> {
    one(
        &request,
        discovery::schemas(&base_url(&state, &request)),
        &id,
    )
}

fn all(request: &HttpRequest, resources: Vec<Value>) -> Result<HttpResponse, Failure> {
    unfiltered(request)?;
    let list = list::list_response(resources.len() as u64, 1, resources);
    Ok(answer(
        HttpResponse::Ok(),
        request.headers(),
        list.to_string(),
    ))
}

fn one(request: &HttpRequest, resources: Vec<Value>, id: &str) -> Result<HttpResponse, Failure> {
    let found = resources.into_iter().find(|r| {
        r["id"]
            .as_str()
            .is_some_and(|own| own.eq_ignore_ascii_case(id))
    });
    match found {
        Some(resource) => Ok(answer(
            HttpResponse::Ok(),
            request.headers(),
            resource.to_string(),
        )),
        None => Err(scim::Error::not_found(format!("there is no {id}")).into()),
    }
}

/// RFC 7644 section 4: a filter on these endpoints is answered with 403.
fn unfiltered(request: &HttpRequest) -> Result<(), Failure> {
    if query_pairs(request)?
        .iter()
        .any(|(name, _)| name == "filter")
    {
        return Err(scim::Error::forbidden("discovery endpoints take no filter").into());
    }
    Ok(())
}
