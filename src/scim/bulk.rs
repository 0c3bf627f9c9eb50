//! Bulk requests (RFC 7644 section 3.7): read, brought into an order in which references can be resolved, and
//! answered operation by operation.
//!
//! A reference is a text `bulkId:x`, anywhere in the data or in the path. What an operation refers to is done
//! before it. Where resources refer to each other in a circle, one of them is made without the references that
//! cannot be resolved yet and completed at the end of the circle.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::resource::object;
use super::{Doc, Error, ResourceType};

/// How many operations one request may hold.
pub const MAX_OPERATIONS: usize = 1000;
/// The largest request, in bytes.
pub const MAX_PAYLOAD: usize = 1024 * 1024;
/// URNs of the messages.
const REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";
/// What a reference begins with.
const PREFIX: &str = "bulkId:";

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// After how many errors to stop.
    pub fail_on_errors: Option<u64>,
    /// In the order of the request.
    pub operations: Vec<Operation>,
}

/// One operation, or why it is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// As stated.
    pub method: String,
    /// As stated.
    pub bulk_id: Option<String>,
    /// What is to be done.
    pub wanted: Result<Wanted, Error>,
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// How.
    pub method: Method,
    /// With which resources.
    pub rt: ResourceType,
    /// With which one, or a reference to it; `None` for POST.
    pub id: Option<String>,
    /// The version that it must have.
    pub version: Option<String>,
    /// The body.
    pub data: Value,
}

/// The methods of bulk operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Makes a resource.
    Post,
    /// Replaces one.
    Put,
    /// Changes one.
    Patch,
    /// Removes one.
    Delete,
}

/// Reads a request. What is wrong with one operation is said in its answer.
pub fn parse(body: Value) -> Result<Request, Error> {
    let body = object(body)?;
    let named = get(&body, "schemas")
        .and_then(Value::as_array)
        .is_some_and(|urns| {
            urns.iter().any(|urn| {
                urn.as_str()
                    .is_some_and(|u| u.eq_ignore_ascii_case(REQUEST))
            })
        });
    if !named {
        return Err(Error::invalid_syntax(format!(
            "schemas must hold {REQUEST}"
        )));
    }
    let fail_on_errors =
        match get(&body, "failOnErrors") {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_u64().filter(|n| *n > 0).ok_or_else(|| {
                Error::invalid_value("failOnErrors must be a whole number above 0")
            })?),
        };
    let Some(Value::Array(operations)) = get(&body, "Operations") else {
        return Err(Error::invalid_syntax("Operations must be an array"));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(Error::payload_too_large(format!(
            "{} operations in one request; at most {MAX_OPERATIONS} are taken",
            operations.len()
        )));
    }
    let mut operations: Vec<Operation> = operations.iter().map(operation).collect();
    let mut seen = HashMap::new();
    for (at, operation) in operations.iter_mut().enumerate() {
        let Some(bulk_id) = creates(operation).map(ToOwned::to_owned) else {
            continue;
        };
        if *seen.entry(bulk_id.clone()).or_insert(at) != at {
            operation.wanted = Err(Error::invalid_value(format!(
                "another operation has the bulkId {bulk_id:?}"
            )));
        }
    }
    Ok(Request {
        fail_on_errors,
        operations,
    })
}

fn get<'a>(object: &'a Doc, name: &str) -> Option<&'a Value> {
    object
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn operation(value: &Value) -> Operation {
    let empty = Doc::new();
    let stated = value.as_object().unwrap_or(&empty);
    let text = |name: &str| get(stated, name).and_then(Value::as_str);
    let method = text("method").unwrap_or_default().to_ascii_uppercase();
    Operation {
        wanted: wanted(stated, &method),
        bulk_id: text("bulkId").map(ToOwned::to_owned),
        method,
    }
}

fn wanted(stated: &Doc, method: &str) -> Result<Wanted, Error> {
    let text = |name: &str| match get(stated, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Error::invalid_syntax(format!("{name} must be text"))),
    };
    let method = match method {
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        _ => {
            return Err(Error::invalid_syntax(
                "method must be POST, PUT, PATCH or DELETE",
            ));
        }
    };
    let path = text("path")?.ok_or_else(|| Error::invalid_syntax("path is missing"))?;
    let mut steps = path.trim_start_matches('/').splitn(2, '/');
    let endpoint = steps.next().unwrap_or_default();
    let rt = [ResourceType::User, ResourceType::Group]
        .into_iter()
        .find(|rt| rt.endpoint() == endpoint)
        .ok_or_else(|| {
            Error::not_found(format!(
                "there is no endpoint {path}; there are /Users and /Groups"
            ))
        })?;
    let id = steps
        .next()
        .filter(|id| !id.is_empty())
        .map(ToOwned::to_owned);
    match (method, &id) {
        (Method::Post, Some(_)) => {
            return Err(Error::method_not_allowed(format!(
                "POST is not allowed on {path}"
            )));
        }
        (Method::Post, None) if text("bulkId")?.is_none_or(str::is_empty) => {
            return Err(Error::invalid_value("a POST needs a bulkId"));
        }
        (Method::Post, None) => {}
        (_, None) => {
            return Err(Error::method_not_allowed(format!(
                "this method needs the path of one resource, as in {path}/id"
            )));
        }
        _ => {}
    }
    let data = get(stated, "data").cloned().unwrap_or_default();
    if method != Method::Delete && !data.is_object() {
        return Err(Error::invalid_syntax("data must be an object"));
    }
    Ok(Wanted {
        method,
        rt,
        id,
        version: text("version")?.map(ToOwned::to_owned),
        data,
    })
}

/// The bulkId under which others may refer to what an operation makes.
fn creates(operation: &Operation) -> Option<&str> {
    match &operation.wanted {
        Ok(wanted) if wanted.method == Method::Post => operation.bulk_id.as_deref(),
        _ => None,
    }
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Which operation.
    pub operation: usize,
    /// How much of it.
    pub part: Part,
}

/// How much of an operation is done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The resource, without the references that cannot be resolved yet.
    Without,
    /// A replacement of what [`Part::Without`] made, with all references.
    Complete,
}

/// The steps of a request: in its own order, but for what others refer to.
pub fn plan(request: &Request) -> Vec<Step> {
    let makers: HashMap<&str, usize> = request
        .operations
        .iter()
        .enumerate()
        .filter_map(|(at, operation)| Some((creates(operation)?, at)))
        .collect();
    let needs = request
        .operations
        .iter()
        .map(|operation| {
            let mut needs = Vec::new();
            if let Ok(wanted) = &operation.wanted {
                let mut note = |text: &str| {
                    needs.extend(text.strip_prefix(PREFIX).and_then(|id| makers.get(id)));
                };
                texts(&wanted.data, &mut note);
                if let Some(id) = &wanted.id {
                    note(id);
                }
            }
            needs
        })
        .collect::<Vec<Vec<usize>>>();
    let mut planner = Planner {
        states: vec![State::Waiting; needs.len()],
        needs,
        steps: Vec::new(),
        open: Vec::new(),
    };
    for at in 0..request.operations.len() {
        planner.visit(at);
        let open = std::mem::take(&mut planner.open);
        planner.steps.extend(open.into_iter().map(|operation| Step {
            operation,
            part: Part::Complete,
        }));
    }
    planner.steps
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Underway,
    Done,
}

struct Planner {
    /// What each operation refers to.
    needs: Vec<Vec<usize>>,
    states: Vec<State>,
    steps: Vec<Step>,
    /// Made without all their references.
    open: Vec<usize>,
}

impl Planner {
    /// Goes as deep as a chain of references is long: at most [`MAX_OPERATIONS`] small frames.
    fn visit(&mut self, at: usize) {
        if self.states[at] != State::Waiting {
            return;
        }
        self.states[at] = State::Underway;
        let mut in_circle = false;
        for need in std::mem::take(&mut self.needs[at]) {
            self.visit(need);
            in_circle |= self.states[need] == State::Underway;
        }
        if in_circle {
            self.open.push(at);
        }
        self.steps.push(Step {
            operation: at,
            part: if in_circle {
                Part::Without
            } else {
                Part::Whole
            },
        });
        self.states[at] = State::Done;
    }
}

fn texts(value: &Value, each: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(values) => values.iter().for_each(|v| texts(v, each)),
        Value::Object(object) => object.values().for_each(|v| texts(v, each)),
        _ => {}
    }
}

/// What became of the operations that others may refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made(HashMap<String, Outcome>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Pending,
    Made(String),
    Failed,
}

impl Made {
    /// Nothing yet.
    pub fn new(request: &Request) -> Self {
        let all = request.operations.iter().filter_map(creates);
        Self(all.map(|id| (id.to_owned(), Outcome::Pending)).collect())
    }

    /// Notes what became of an operation: the id of what it made.
    pub fn note(&mut self, operation: &Operation, id: Option<String>) {
        if let Some(bulk_id) = creates(operation) {
            let outcome = id.map_or(Outcome::Failed, Outcome::Made);
            self.0.insert(bulk_id.to_owned(), outcome);
        }
    }

    /// The id that a text stands for; `None` if it cannot be known yet.
    fn of(&self, text: &str) -> Result<Option<String>, Error> {
        let Some(bulk_id) = text.strip_prefix(PREFIX) else {
            return Ok(Some(text.to_owned()));
        };
        match self.0.get(bulk_id) {
            Some(Outcome::Made(id)) => Ok(Some(id.clone())),
            Some(Outcome::Pending) => Ok(None),
            Some(Outcome::Failed) => Err(Error::conflict(format!(
                "refers to the operation with bulkId {bulk_id:?}, which failed"
            ))),
            None => Err(Error::invalid_value(format!(
                "no POST of this request has the bulkId {bulk_id:?}"
            ))),
        }
    }

    /// A path's id with its reference resolved.
    pub fn id(&self, id: &str) -> Result<String, Error> {
        self.of(id)?.ok_or_else(|| unresolved(id))
    }

    /// Data with all references resolved, or for [`Part::Without`] those that can be.
    pub fn data(&self, data: &Value, part: Part) -> Result<Value, Error> {
        let resolved = self.resolve(data, part == Part::Without)?;
        Ok(resolved.unwrap_or_default())
    }

    /// `None`: a reference that is to be left out.
    fn resolve(&self, value: &Value, leave_out: bool) -> Result<Option<Value>, Error> {
        Ok(match value {
            Value::String(text) => match self.of(text)? {
                Some(id) => Some(Value::String(id)),
                None if leave_out => None,
                None => return Err(unresolved(text)),
            },
            Value::Array(values) => {
                let mut kept = Vec::new();
                for value in values {
                    if let Some(resolved) = self.resolve(value, leave_out)? {
                        // A member without its id is none.
                        if !(value.is_object() && shorter(value, &resolved)) {
                            kept.push(resolved);
                        }
                    }
                }
                Some(Value::Array(kept))
            }
            Value::Object(object) => {
                let mut kept = Doc::new();
                for (name, value) in object {
                    if let Some(value) = self.resolve(value, leave_out)? {
                        kept.insert(name.clone(), value);
                    }
                }
                Some(Value::Object(kept))
            }
            other => Some(other.clone()),
        })
    }
}

fn shorter(whole: &Value, rest: &Value) -> bool {
    let parts = |value: &Value| value.as_object().map_or(0, Doc::len);
    parts(rest) < parts(whole)
}

fn unresolved(text: &str) -> Error {
    Error::conflict(format!(
        "{text} cannot be resolved: what it refers to was not made"
    ))
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Where the resource is, unless there is none.
    pub location: Option<String>,
    /// The version that it has now.
    pub version: Option<String>,
    /// Status, or what went wrong.
    pub status: Result<u16, Error>,
}

/// The answer to a request: one entry for each operation that was tried, in the order of the request.
pub fn response(request: &Request, answers: &[Option<Answer>]) -> Value {
    let operations: Vec<Value> = request
        .operations
        .iter()
        .zip(answers)
        .filter_map(|(operation, answer)| {
            let answer = answer.as_ref()?;
            let mut shown = json!({"method": operation.method});
            if let Some(bulk_id) = &operation.bulk_id {
                shown["bulkId"] = json!(bulk_id);
            }
            if let Some(location) = &answer.location {
                shown["location"] = json!(location);
            }
            if let Some(version) = &answer.version {
                shown["version"] = json!(version);
            }
            match &answer.status {
                Ok(status) => shown["status"] = json!(status.to_string()),
                Err(error) => {
                    shown["status"] = json!(error.status().to_string());
                    shown["response"] = error.to_body();
                }
            }
            Some(shown)
        })
        .collect();
    json!({"schemas": [RESPONSE], "Operations": operations})
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(operations: Value) -> Request {
        parse(json!({"schemas": [REQUEST], "Operations": operations})).unwrap()
    }

    /// A POST of a group with these members.
    fn group(name: &str, members: &[&str]) -> Value {
        let members: Vec<Value> = members
            .iter()
            .map(|m| json!({"value": m, "type": "Group"}))
            .collect();
        json!({"method": "POST", "path": "/Groups", "bulkId": name,
               "data": {"displayName": name, "members": members}})
    }

    fn steps(request: &Request) -> Vec<(usize, Part)> {
        plan(request)
            .into_iter()
            .map(|s| (s.operation, s.part))
            .collect()
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        let all = request(json!([
            group("a", &["bulkId:c"]),
            {"method": "PATCH", "path": "/Groups/bulkId:d", "data": {}},
            group("c", &[]),
            group("d", &["bulkId:c", "x"]),
        ]));
        let whole = [2, 0, 3, 1].map(|at| (at, Part::Whole));
        assert_eq!(steps(&all), whole);
    }

    #[test]
    fn a_circle_is_closed_at_its_end() {
        let all = request(json!([
            group("a", &["bulkId:b", "x"]),
            group("b", &["bulkId:a"]),
            group("c", &[])
        ]));
        assert_eq!(
            steps(&all),
            [
                (1, Part::Without),
                (0, Part::Whole),
                (1, Part::Complete),
                (2, Part::Whole)
            ]
        );
        let made = Made::new(&all);
        let data = &all.operations[1].wanted.as_ref().unwrap().data;
        assert_eq!(
            made.data(data, Part::Without).unwrap(),
            json!({"displayName": "b", "members": []})
        );
        assert_eq!(made.data(data, Part::Whole).unwrap_err().status(), 409);
    }

    #[test]
    fn references_that_lead_nowhere_are_errors() {
        let all = request(json!([
            group("a", &["bulkId:nobody"]),
            group("b", &["bulkId:a"])
        ]));
        let mut made = Made::new(&all);
        let data = |at: usize| &all.operations[at].wanted.as_ref().unwrap().data;
        assert_eq!(made.data(data(0), Part::Whole).unwrap_err().status(), 400);
        made.note(&all.operations[0], None);
        assert_eq!(made.data(data(1), Part::Whole).unwrap_err().status(), 409);
        assert_eq!(made.id("bulkId:a").unwrap_err().status(), 409);
        made.note(&all.operations[0], Some("1".to_owned()));
        assert_eq!(made.id("bulkId:a"), Ok("1".to_owned()));
    }

    #[test]
    fn a_wrong_operation_is_wrong_by_itself() {
        let all = request(json!([
            7,
            {"method": "GET", "path": "/Users/1"},
            {"method": "POST", "path": "/Users", "data": {}},
            {"method": "POST", "path": "/Users/1", "bulkId": "x", "data": {}},
            {"method": "PUT", "path": "/Users", "data": {}},
            {"method": "PUT", "path": "/Users/1"},
            {"method": "DELETE", "path": "/Me"},
            {"method": "POST", "path": "/Users", "bulkId": "a", "data": {}},
            {"method": "post", "path": "/Users", "bulkId": "a", "data": {}},
            {"method": "delete", "path": "/Users/1"},
        ]));
        let good: Vec<usize> = (0..10)
            .filter(|at| all.operations[*at].wanted.is_ok())
            .collect();
        assert_eq!(good, [7, 9]);
        for body in [
            json!({}),
            json!({"schemas": [REQUEST]}),
            json!({"schemas": [REQUEST], "Operations": {}}),
            json!({"schemas": [REQUEST], "Operations": [], "failOnErrors": 0}),
        ] {
            assert_eq!(parse(body).unwrap_err().status(), 400);
        }
        let many =
            json!({"schemas": [REQUEST], "Operations": vec![Value::Null; MAX_OPERATIONS + 1]});
        assert_eq!(parse(many).unwrap_err().status(), 413);
    }

    proptest! {
        /// Groups that refer to each other at random: every step finds what it needs, each is made once, only
        /// those in circles are made in two steps, and in the end no reference is left.
        #[test]
        fn every_reference_is_resolved(links in prop::collection::vec(prop::collection::vec(0usize..12, 0..4), 1..12)) {
            let count = links.len();
            let operations: Vec<Value> = links
                .iter()
                .enumerate()
                .map(|(at, to)| {
                    let members: Vec<String> = to.iter().map(|to| format!("bulkId:g{}", to % count)).collect();
                    group(&format!("g{at}"), &members.iter().map(String::as_str).collect::<Vec<_>>())
                })
                .collect();
            let all = request(Value::Array(operations));
            let mut made = Made::new(&all);
            let mut last: Vec<Option<Value>> = vec![None; count];
            for step in plan(&all) {
                let operation = &all.operations[step.operation];
                let data = &operation.wanted.as_ref().unwrap().data;
                let resolved = made.data(data, step.part).unwrap();
                prop_assert!(!resolved.to_string().contains(PREFIX));
                prop_assert_eq!(last[step.operation].is_some(), step.part == Part::Complete);
                if step.part != Part::Without {
                    prop_assert_eq!(
                        resolved["members"].as_array().unwrap().len(),
                        links[step.operation].len()
                    );
                } else {
                    // Whoever is in no circle is made at once.
                    let mut reached = vec![false; count];
                    let mut next = vec![step.operation];
                    while let Some(at) = next.pop() {
                        for to in &links[at] {
                            if !std::mem::replace(&mut reached[to % count], true) {
                                next.push(to % count);
                            }
                        }
                    }
                    prop_assert!(reached[step.operation]);
                }
                last[step.operation] = Some(resolved);
                if step.part != Part::Complete {
                    made.note(operation, Some(format!("id{}", step.operation)));
                }
            }
            for (at, shown) in last.iter().enumerate() {
                let shown = shown.as_ref().unwrap();
                let wanted: Vec<Value> = links[at]
                    .iter()
                    .map(|to| json!({"value": format!("id{}", to % count), "type": "Group"}))
                    .collect();
                prop_assert_eq!(&shown["members"], &Value::Array(wanted));
            }
        }
    }
}
