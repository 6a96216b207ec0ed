//! Problems: what was wrong with a request and what to do, as RFC 9457 says it.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::ledger::etag::Unmet;
use crate::ledger::{Refusal, RefusalKind};

/// The media type of problems (RFC 9457 §6.1).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What every problem's `type` begins with; clients compare the whole.
const TYPE_PREFIX: &str = "urn:privatelink-dns:problem:";

/// An answer that says what was wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub kind: Kind,
    /// What is wrong here and what to do.
    pub detail: Cow<'static, str>,
    /// The field at fault: a JSON pointer into the body, or the name of a parameter or header.
    pub field: Option<String>,
    retry_after_secs: Option<u64>,
    more: Map<String, Value>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $status:ident $slug:literal $title:literal,)*) => {
        /// The sorts of problems; their slugs and statuses never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// All of them, for the documentation.
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            pub fn status(self) -> StatusCode {
                match self { $(Kind::$kind => StatusCode::$status,)* }
            }

            pub fn slug(self) -> &'static str {
                match self { $(Kind::$kind => $slug,)* }
            }

            pub fn title(self) -> &'static str {
                match self { $(Kind::$kind => $title,)* }
            }
        }
    };
}

kinds! {
    Malformed BAD_REQUEST "malformed-request" "The request cannot be read",
    MalformedJson BAD_REQUEST "malformed-json" "The body is no JSON",
    Unauthenticated UNAUTHORIZED "unauthenticated" "Who you are is not known",
    Forbidden FORBIDDEN "forbidden" "You may not do this",
    OutOfScope FORBIDDEN "out-of-scope" "You may not do this to this name",
    CrossSite FORBIDDEN "cross-site" "Web pages of other sites may change nothing",
    NotFound NOT_FOUND "not-found" "There is no such thing",
    NoSuchRoute NOT_FOUND "no-such-route" "There is no such route",
    MethodNotAllowed METHOD_NOT_ALLOWED "method-not-allowed" "The route does not know this method",
    NotAcceptable NOT_ACCEPTABLE "not-acceptable" "There is no such form of this",
    RequestTimeout REQUEST_TIMEOUT "request-timeout" "The request came too slowly",
    WrongHost MISDIRECTED_REQUEST "wrong-host" "The server has another name",
    Conflict CONFLICT "conflict" "This goes against what is there",
    PreconditionFailed PRECONDITION_FAILED "precondition-failed" "It has changed meanwhile",
    TooLarge PAYLOAD_TOO_LARGE "body-too-large" "The body is too large",
    UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "The body is of another media type",
    Invalid UNPROCESSABLE_ENTITY "invalid" "A value is wrong",
    UnknownField UNPROCESSABLE_ENTITY "unknown-field" "A field is not known",
    PreconditionRequired PRECONDITION_REQUIRED "precondition-required" "Say which state you change",
    Throttled TOO_MANY_REQUESTS "throttled" "Too many failed attempts",
    Internal INTERNAL_SERVER_ERROR "internal" "The server made a mistake",
    Unavailable SERVICE_UNAVAILABLE "unavailable" "This cannot be done now",
    /// It may be stored, or not.
    Unsettled SERVICE_UNAVAILABLE "unsettled" "Nobody knows whether it is stored",
    NotReady SERVICE_UNAVAILABLE "not-ready" "The server is not ready",
    Timeout SERVICE_UNAVAILABLE "timeout" "The answer took too long",
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem { kind, detail: detail.into(), field: None, retry_after_secs: None, more: Map::new() }
    }

    /// A wrong value: 422 with its field.
    pub fn invalid(field: impl Into<String>, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(Kind::Invalid, detail).at(field)
    }

    /// Names the field at fault.
    pub fn at(mut self, field: impl Into<String>) -> Problem {
        self.field = Some(field.into());
        self
    }

    /// Says when to come again.
    pub fn retry_after_secs(mut self, secs: u64) -> Problem {
        self.retry_after_secs = Some(secs);
        self
    }

    /// Adds an extension member (RFC 9457 §3.2).
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Problem {
        self.more.insert(member.to_owned(), value.into());
        self
    }

    /// What an answer of axum's own becomes: its status, and its text as the detail.
    pub(super) fn of_status(status: StatusCode, text: &str) -> Problem {
        let own = |kind: Kind, what_to_do: &'static str| match text {
            "" => Problem::new(kind, what_to_do),
            text => Problem::new(kind, format!("{text}; {what_to_do}")),
        };
        match status {
            StatusCode::NOT_FOUND => own(Kind::NoSuchRoute, "GET /api/openapi.json lists all routes"),
            StatusCode::METHOD_NOT_ALLOWED => {
                own(Kind::MethodNotAllowed, "the Allow header names those it knows")
            }
            StatusCode::PAYLOAD_TOO_LARGE => own(Kind::TooLarge, "send it in several requests"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                own(Kind::UnsupportedMediaType, "send `Content-Type: application/json`")
            }
            StatusCode::NOT_ACCEPTABLE => own(Kind::NotAcceptable, "ask for application/json"),
            StatusCode::UNPROCESSABLE_ENTITY => own(Kind::Invalid, "correct the request"),
            StatusCode::REQUEST_TIMEOUT => own(Kind::RequestTimeout, "send it again"),
            StatusCode::SERVICE_UNAVAILABLE => own(Kind::Unavailable, "come again later"),
            // Texts of errors within are for the log only.
            status if status.is_server_error() => {
                Problem::new(Kind::Internal, "the log tells more under this request id")
            }
            _ => own(Kind::Malformed, "correct the request"),
        }
    }

    /// The answer, with the id under which the log speaks of the request.
    pub(super) fn render(&self, request_id: Option<&str>) -> Response {
        let mut body = self.more.clone();
        body.insert("type".into(), self.type_urn().into());
        body.insert("title".into(), self.kind.title().into());
        body.insert("status".into(), self.kind.status().as_u16().into());
        body.insert("detail".into(), self.detail.as_ref().into());
        if let Some(field) = &self.field {
            body.insert("field".into(), field.as_str().into());
        }
        if let Some(id) = request_id {
            body.insert("request_id".into(), id.into());
        }
        let mut response = Response::new(Body::from(Value::Object(body).to_string()));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(secs) = self.retry_after_secs {
            headers.insert(RETRY_AFTER, secs.into());
        }
        if self.kind == Kind::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"privatelink-dns\""));
        }
        response
    }

    /// The stable name of its sort.
    pub fn type_urn(&self) -> String {
        format!("{TYPE_PREFIX}{}", self.kind.slug())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let Refusal { kind, at, why, others, others_total } = refusal;
        let mut problem = Problem { field: at, ..Problem::new(Kind::from(kind), why) };
        match kind {
            RefusalKind::Unavailable { retry_secs } | RefusalKind::Unsettled { retry_secs } => {
                problem = problem.retry_after_secs(retry_secs);
            }
            RefusalKind::NotServedYet { revision } => {
                problem = problem.retry_after_secs(1).with("revision", revision);
            }
            _ => {}
        }
        if others.is_empty() {
            return problem;
        }
        let tell = |problem: &Problem| {
            json!({
                "type": problem.type_urn(), "status": problem.kind.status().as_u16(),
                "field": problem.field, "detail": problem.detail,
            })
        };
        let mut errors = vec![tell(&problem)];
        errors.extend(others.into_iter().map(|other| tell(&Problem::from(other))));
        problem.with("errors", errors).with("errors_total", others_total + 1)
    }
}

impl From<RefusalKind> for Kind {
    fn from(kind: RefusalKind) -> Kind {
        match kind {
            RefusalKind::Invalid => Kind::Invalid,
            RefusalKind::Unauthenticated => Kind::Unauthenticated,
            RefusalKind::Forbidden => Kind::Forbidden,
            RefusalKind::OutOfScope => Kind::OutOfScope,
            RefusalKind::NotFound => Kind::NotFound,
            RefusalKind::Conflict => Kind::Conflict,
            RefusalKind::PreconditionFailed => Kind::PreconditionFailed,
            RefusalKind::PreconditionRequired => Kind::PreconditionRequired,
            RefusalKind::TooLarge => Kind::TooLarge,
            RefusalKind::Unavailable { .. } => Kind::Unavailable,
            RefusalKind::Unsettled { .. } => Kind::Unsettled,
            RefusalKind::NotServedYet { .. } => Kind::Timeout,
            RefusalKind::Internal => Kind::Internal,
        }
    }
}

impl From<Unmet> for Problem {
    fn from(unmet: Unmet) -> Problem {
        Refusal::from(unmet).into()
    }
}

impl IntoResponse for Problem {
    /// The shell renders it again, with the request's id.
    fn into_response(self) -> Response {
        let mut response = self.render(None);
        response.extensions_mut().insert(self);
        response
    }
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        let text =
            |about: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(about)).build();
        let types = Kind::ALL.iter().map(|kind| format!("{TYPE_PREFIX}{}", kind.slug()));
        let kind = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("The sort of problem; stable"))
            .enum_values(Some(types))
            .build();
        let status =
            ObjectBuilder::new().schema_type(Type::Integer).description(Some("The HTTP status")).build();
        ObjectBuilder::new()
            .description(Some("What was wrong and what to do (RFC 9457)"))
            .property("type", kind)
            .property("title", text("What this sort of problem is"))
            .property("status", status)
            .property("detail", text("What is wrong here and what to do"))
            .property(
                "field",
                text("The field at fault: a JSON pointer, or the name of a parameter or header"),
            )
            .property(
                "request_id",
                text("The id under which the server's log and audit speak of this request"),
            )
            .required("type")
            .required("title")
            .required("status")
            .required("detail")
            .examples([json!({
                "type": "urn:privatelink-dns:problem:invalid", "title": "A value is wrong", "status": 422,
                "detail": "`10.0.0.400` is no IPv4 address; write four numbers up to 255, as 10.0.0.4",
                "field": "/records/0", "request_id": "3f9c1c0a2b5d4e6f",
            })])
            .into()
    }
}

impl ToSchema for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_written_as_rfc_9457_says() {
        let problem = Problem::invalid("/ttl", "700000 is more than a week").with("errors", json!([1]));
        let response = problem.render(Some("id-1"));
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        let body = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(axum::body::to_bytes(response.into_body(), 10_000))
            .unwrap();
        let expected = json!({
            "type": "urn:privatelink-dns:problem:invalid", "title": "A value is wrong", "status": 422,
            "detail": "700000 is more than a week", "field": "/ttl", "request_id": "id-1", "errors": [1],
        });
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn who_is_not_known_is_told_how_to_say_it_and_who_is_throttled_when_to_come_again() {
        let headers = Problem::new(Kind::Unauthenticated, "send a token").render(None).headers().clone();
        assert!(headers[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer"));
        let headers =
            Problem::new(Kind::Throttled, "wait").retry_after_secs(7).render(None).headers().clone();
        assert_eq!(headers[RETRY_AFTER], "7");
    }

    #[test]
    fn a_refusal_is_told_as_the_problem_of_its_kind_with_all_that_is_wrong() {
        let faults = Refusal {
            others: vec![Refusal::new(RefusalKind::NotFound, "none")],
            others_total: 200,
            ..Refusal::invalid("/ttl", "wrong")
        };
        let tell = |slug: &str, status: u16, field: Option<&str>, detail: &str| {
            json!({
                "type": format!("{TYPE_PREFIX}{slug}"), "status": status, "field": field, "detail": detail,
            })
        };
        let errors = vec![tell("invalid", 422, Some("/ttl"), "wrong"), tell("not-found", 404, None, "none")];
        let expected = Problem::invalid("/ttl", "wrong").with("errors", errors).with("errors_total", 201);
        assert_eq!(Problem::from(faults), expected);
        let late = Refusal::new(RefusalKind::NotServedYet { revision: 5 }, "late");
        let expected = Problem::new(Kind::Timeout, "late").retry_after_secs(1).with("revision", 5);
        assert_eq!(Problem::from(late), expected);
        let away = Refusal::new(RefusalKind::Unsettled { retry_secs: 7 }, "away");
        assert_eq!(Problem::from(away), Problem::new(Kind::Unsettled, "away").retry_after_secs(7));
    }

    #[test]
    fn slugs_differ() {
        let mut slugs: Vec<_> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), Kind::ALL.len());
    }

    #[test]
    fn errors_within_are_not_told_to_the_outside() {
        let problem = Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR, "secret at 0x1234");
        assert!(!problem.detail.contains("secret"), "{}", problem.detail);
    }
}
