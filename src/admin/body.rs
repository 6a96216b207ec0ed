//! Bodies of requests: their media type, their size, their time, and JSON with the field at fault.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{Extensions, HeaderMap};
use http_body_util::{BodyExt, LengthLimitError};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use super::budget::Share;
use super::problem::{Kind, Problem};
use super::shell::Bounds;
use crate::telemetry::Quoted;

/// A body of JSON without unknown fields, if `T` denies them.
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Json<T>, Problem> {
        let body = read(request, &["application/json"]).await?;
        parse(&body).map(Json)
    }
}

/// The whole body, if it is of one of these media types. It is never larger than the shell allows.
pub async fn read(request: Request, media_types: &[&str]) -> Result<Bytes, Problem> {
    check_media_type(request.headers(), media_types)?;
    check_coding(request.headers())?;
    let bounds = request.extensions().get::<Bounds>().cloned().unwrap_or_default();
    match tokio::time::timeout(bounds.body_time, collect(request.into_body(), &bounds)).await {
        Ok(collected) => collected,
        Err(_) => Err(Problem::new(
            Kind::RequestTimeout,
            format!("the body was not there after {}; send it again", seconds(bounds.body_time)),
        )),
    }
}

/// The memory that a request takes for its body; more may be taken of it for what is read out of that.
pub(super) fn memory(extensions: &Extensions) -> Arc<Share> {
    extensions.get::<Bounds>().cloned().unwrap_or_default().memory
}

/// A whole body, and the memory that it takes as long as somebody has it.
struct Held {
    body: Vec<u8>,
    _memory: Arc<Share>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Reads a body to its end. What it takes grows with what comes, since its announced length may be a lie.
async fn collect(mut coming: Body, bounds: &Bounds) -> Result<Bytes, Problem> {
    let mut body = Vec::new();
    while let Some(frame) = coming.frame().await {
        let frame = frame.map_err(|error| match is_too_large(&error) {
            true => too_large(bounds.body_bytes),
            false => Problem::new(Kind::Malformed, "the body ended early; send it again"),
        })?;
        if let Ok(data) = frame.into_data() {
            bounds.memory.take(data.len())?;
            body.extend_from_slice(&data);
        }
    }
    Ok(Bytes::from_owner(Held { body, _memory: Arc::clone(&bounds.memory) }))
}

/// What a body that is too large is answered with.
pub(super) fn too_large(max: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("a body here has at most {max} bytes; send it in several requests"))
}

fn seconds(time: Duration) -> String {
    format!("{} seconds", time.as_secs_f32())
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn check_media_type(headers: &HeaderMap, wanted: &[&str]) -> Result<(), Problem> {
    let sent = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let mut parts = sent.split(';');
    let essence = parts.next().unwrap_or_default().trim();
    let charset = parts
        .filter_map(|it| it.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("charset"));
    let is_utf8 = charset.is_none_or(|(_, value)| value.trim_matches('"').eq_ignore_ascii_case("utf-8"));
    if is_utf8 && wanted.iter().any(|it| it.eq_ignore_ascii_case(essence)) {
        return Ok(());
    }
    let sent = if sent.is_empty() { "no Content-Type".to_owned() } else { format!("`{}`", Quoted(sent)) };
    let detail = format!("the request has {sent}; send `Content-Type: {}` in UTF-8", wanted.join("` or `"));
    Err(Problem::new(Kind::UnsupportedMediaType, detail).at("Content-Type"))
}

/// Bodies come as they are: what unpacks to more than it is would pass each bound (RFC 9110 §8.4).
fn check_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    match codings.all(|it| it.as_bytes().eq_ignore_ascii_case(b"identity")) {
        true => Ok(()),
        false => Err(Problem::new(Kind::UnsupportedMediaType, "send the body without Content-Encoding")
            .at("Content-Encoding")),
    }
}

/// Reads JSON; what is no JSON is 400, what is but does not fit is 422 with its field.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let malformed =
        |why: &serde_json::Error| Problem::new(Kind::MalformedJson, format!("{why}; send valid JSON"));
    let mut input = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut input).map_err(|error| {
        let why = error.inner();
        match why.classify() {
            Category::Data => wrong_value(&why.to_string(), &pointer(error.path())),
            _ => malformed(why),
        }
    })?;
    input.end().map_err(|why| malformed(&why))?;
    Ok(value)
}

/// Characters of a field that are told; names of our own are shorter.
const FIELD_CHARS_MAX: usize = 500;

fn wrong_value(why: &str, at: &str) -> Problem {
    let mut problem = wrong_value_whole(why, at);
    // What a client sends comes back in part only.
    problem.detail = Quoted(&problem.detail).to_string().into();
    problem.field = problem.field.map(|field| field.chars().take(FIELD_CHARS_MAX).collect());
    problem
}

fn wrong_value_whole(why: &str, at: &str) -> Problem {
    match unknown_field(why) {
        Some(name) => {
            let name = name.replace('~', "~0").replace('/', "~1");
            let field =
                if at.ends_with(&format!("/{name}")) { at.to_owned() } else { format!("{at}/{name}") };
            Problem::new(Kind::UnknownField, why.to_owned()).at(field)
        }
        None => Problem::invalid(at, why.to_owned()),
    }
}

/// The name in serde's "unknown field `x`, expected …".
pub(super) fn unknown_field(why: &str) -> Option<&str> {
    let (name, _) = why.strip_prefix("unknown field `")?.split_once("`, ")?;
    Some(name)
}

/// A place in JSON (RFC 6901).
fn pointer(path: &Path) -> String {
    let parts = path.iter().map(|segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Body {
        edits: Vec<Edit>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Edit {
        ttl: u32,
    }

    fn refused(body: &str) -> (u16, Kind, Option<String>) {
        let problem = parse::<Body>(body.as_bytes()).unwrap_err();
        (problem.kind.status().as_u16(), problem.kind, problem.field)
    }

    #[test]
    fn the_field_at_fault_is_named() {
        assert_eq!(parse(br#"{"edits": [{"ttl": 1}]}"#), Ok(Body { edits: vec![Edit { ttl: 1 }] }));
        let field = |text: &str| Some(text.to_owned());
        assert_eq!(refused(r#"{"edits": [{"ttl": -1}]}"#), (422, Kind::Invalid, field("/edits/0/ttl")));
        assert_eq!(
            refused(r#"{"edits": [{"ttl": 1, "tl": 1}]}"#),
            (422, Kind::UnknownField, field("/edits/0/tl"))
        );
        assert_eq!(refused(r#"{"a/b": 1}"#), (422, Kind::UnknownField, field("/a~1b")));
        assert_eq!(refused(r#"{"edits": [{"ttl": 1}, {}]}"#), (422, Kind::Invalid, field("/edits/1")));
        assert_eq!(refused(r#"{"edits": [], "edits": []}"#).0, 422);
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        for body in ["", "{", r#"{"edits": []} x"#, r#"{"edits": [{"ttl": 1},]}"#, "\u{feff}{}"] {
            assert_eq!(refused(body).1, Kind::MalformedJson, "{body}");
        }
        assert_eq!(refused(r#"{"edits": []}{}"#).1, Kind::MalformedJson);
    }

    #[test]
    fn media_types_are_compared_without_their_parameters() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            check_media_type(&headers, &["application/json"]).is_ok()
        };
        assert!(check("application/json") && check("Application/JSON; charset=\"UTF-8\""));
        assert!(
            !check("text/plain") && !check("application/json; charset=latin1") && !check("application/jsonx")
        );
        assert!(check_media_type(&HeaderMap::new(), &["application/json"]).is_err());
    }
}
