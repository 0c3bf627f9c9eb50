//! What the products share: how a request looks, what 401 and odd answers mean, and how the error bodies of Jira and
//! Confluence are read.

mod password;
mod who;
mod words;

use serde_json::Value;
use tokio::sync::OnceCell;

use crate::domain::Failure;
use crate::outbound::{Client, Method, Request, Response};
use crate::targets::same;

pub(super) use password::throw_away_password;
pub(super) use who::Who;
pub(super) use words::{Words, shown};

/// Checks that an account shows the name that `product` took for it.
pub(super) fn is_called(shown: &str, name: &str, product: &str) -> Result<(), Failure> {
    if same(shown, name) {
        return Ok(());
    }
    Err(Failure::Rejected {
        field: Some("name".to_owned()),
        text: format!("{product} took the new name {name} without an error, but shows {shown}"),
    })
}

/// What was read before, or else what `read` brings; a failure is not remembered.
pub(super) async fn once<T: Clone>(
    cell: &OnceCell<T>,
    read: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    cell.get_or_try_init(|| read).await.cloned()
}

/// A product's REST interface.
#[derive(Debug)]
pub(super) struct Rest {
    client: Client,
    product: &'static str,
    /// Path of the interface below the base URL.
    root: &'static str,
    /// A header that every answer of the product carries.
    mark: Option<&'static str>,
    /// What a refused credential means, in words.
    refused: &'static str,
    /// The error by which a 401 says that the account lacks a right, and not that the credential is refused.
    denial: Option<&'static str>,
}

impl Rest {
    pub(super) fn new(client: Client, product: &'static str, root: &'static str) -> Self {
        Self {
            client,
            product,
            root,
            mark: None,
            refused: "the token or password is wrong, expired or revoked",
            denial: None,
        }
    }

    /// Believes only answers that carry this header.
    pub(super) fn marked(self, header: &'static str) -> Self {
        let mark = Some(header);
        Self { mark, ..self }
    }

    /// Says something else of a refused credential.
    pub(super) fn refusing(self, refused: &'static str) -> Self {
        Self { refused, ..self }
    }

    /// Tells a 401 with this error, which is about a right, from one that refuses the credential; the caller judges it.
    pub(super) fn denying(self, exception: &'static str) -> Self {
        let denial = Some(exception);
        Self { denial, ..self }
    }

    pub(super) fn base_url(&self) -> &str {
        self.client.base_url()
    }

    pub(super) async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Response, Failure> {
        self.send(Request {
            query,
            path,
            ..Request::default()
        })
        .await
    }

    /// Reads an answer that the product does not cut into pages.
    pub(super) async fn get_long(
        &self,
        path: &str,
        query: &[(&str, &str)],
        max_body: usize,
    ) -> Result<Response, Failure> {
        self.send(Request {
            query,
            path,
            max_body: Some(max_body),
            ..Request::default()
        })
        .await
    }

    pub(super) async fn post(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: Value,
    ) -> Result<Response, Failure> {
        self.write(Method::POST, path, query, body).await
    }

    pub(super) async fn put(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: Value,
    ) -> Result<Response, Failure> {
        self.write(Method::PUT, path, query, body).await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Result<Response, Failure> {
        self.write(Method::PATCH, path, &[], body).await
    }

    async fn write(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Value,
    ) -> Result<Response, Failure> {
        self.send(Request {
            method,
            query,
            path,
            body: Some(body),
            ..Request::default()
        })
        .await
    }

    /// A write whose path says everything.
    pub(super) async fn put_nothing(&self, path: &str) -> Result<Response, Failure> {
        self.order(Method::PUT, path, &[]).await
    }

    /// A write whose address says everything.
    pub(super) async fn order(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Response, Failure> {
        self.send(Request {
            method,
            query,
            path,
            ..Request::default()
        })
        .await
    }

    pub(super) async fn delete(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Response, Failure> {
        self.order(Method::DELETE, path, query).await
    }

    /// Sends a request to `path` below the root. Redirects, pages for people and refused credentials are failures here
    /// already.
    async fn send(&self, request: Request<'_>) -> Result<Response, Failure> {
        let path = format!("{}{}", self.root, request.path);
        // The products refuse form posts without it (XSRF check); their own clients send it with everything.
        let headers = [("X-Atlassian-Token", "no-check")];
        let response = self
            .client
            .send(Request {
                path: &path,
                headers: &headers,
                ..request
            })
            .await?;
        match response.status {
            300..=399 => Err(self.redirected(&response)),
            _ if self
                .mark
                .is_some_and(|mark| response.header(mark).is_none()) =>
            {
                Err(self.not_the_product(&response))
            }
            401 if !self.is_denial(&response) => Err(self.unauthorized(&response)),
            // A login page in front answers writes with 200 too, and nothing is done.
            200..=299 if !response.body.is_empty() => response.json::<Value>().map(|_| response),
            _ => Ok(response),
        }
    }

    fn is_denial(&self, response: &Response) -> bool {
        self.denial.is_some()
            && Words::of(response).is_some_and(|w| w.exception.as_deref() == self.denial)
    }

    /// The failure that a refusal is, once the caller has taken out the statuses it understands better. 403 counts
    /// as lacking rights.
    pub(super) fn failure(&self, response: &Response) -> Failure {
        let what = response.what();
        let status = response.status;
        match (status, Words::of(response)) {
            (401 | 403, Some(words)) => Failure::Unauthorized {
                text: format!(
                    "{what}: {} refuses Usher's account ({status}): {}",
                    self.product, words.text
                ),
            },
            (403, None) => Failure::Unauthorized {
                text: format!(
                    "{what}: refused ({status}) without {}'s own words: the account may lack the right, or a proxy \
                     is in front",
                    self.product
                ),
            },
            (404, None) => self.not_the_product(response),
            (404, Some(words)) => Failure::Gone { text: words.text },
            (_, Some(words)) => Failure::Rejected {
                field: words.field,
                text: words.text,
            },
            (_, None) => Failure::Rejected {
                field: None,
                text: format!("{what}: answered {status} without saying why"),
            },
        }
    }

    /// A 404 says that something is not there only if the product itself wrote it.
    ///
    /// # Errors
    /// [`Failure::Transient`] if a proxy, another server or another path answered.
    pub(super) fn absent(&self, response: &Response) -> Result<(), Failure> {
        if Words::of(response).is_some() {
            Ok(())
        } else {
            Err(self.not_the_product(response))
        }
    }

    /// The failure that an answer of something else is.
    pub(super) fn not_the_product(&self, response: &Response) -> Failure {
        let lacking = match self.mark {
            Some(mark) if response.header(mark).is_none() => format!(" (no {mark} header)"),
            _ => String::new(),
        };
        let text = format!(
            "{}: answered {} in another form than {} does{lacking}: is base_url ({}) its address, context path \
             included, is it up, and does no proxy answer in its place?",
            response.what(),
            response.status,
            self.product,
            self.base_url()
        );
        Failure::Transient { text }
    }

    /// Transient, not a refused credential: load balancers redirect to a page while a product is maintained.
    fn redirected(&self, response: &Response) -> Failure {
        // Without query: login pages get the address asked for in it.
        let to = response.header("location").unwrap_or("nowhere");
        let to = to.split(['?', '#', ';']).next().unwrap_or(to);
        let text = format!(
            "{}: answered with a redirect to {to}: is base_url ({}) right, https included, or does a login page stand \
             in front?",
            response.what(),
            self.base_url()
        );
        Failure::Transient { text }
    }

    fn unauthorized(&self, response: &Response) -> Failure {
        let reason = |name| response.header(name).unwrap_or_default();
        let seraph = reason("X-Seraph-LoginReason");
        let captcha = seraph.contains("AUTHENTICATION_DENIED")
            || reason("X-Authentication-Denied-Reason").contains("CAPTCHA");
        let why = if captcha {
            ": it asks for a CAPTCHA after failed sign-ins; sign in with that account in a browser once".to_owned()
        } else if seraph.contains("AUTHENTICATED_FAILED") {
            " (AUTHENTICATED_FAILED): the token or password is wrong or expired, or after several failed sign-ins a \
             CAPTCHA is asked for; sign in with that account in a browser once"
                .to_owned()
        } else {
            format!(": {}", self.refused)
        };
        let text = format!(
            "{}: {} refuses the credential (401){why}",
            response.what(),
            self.product
        );
        Failure::Unauthorized { text }
    }
}
