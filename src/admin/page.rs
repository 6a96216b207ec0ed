//! Lists in pages: a limit, and an opaque token for the rest.

use axum::Json;
use axum::http::header::LINK;
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

/// Items of a page unless more or fewer are asked for.
const DEFAULT: u16 = 100;

/// The most items of a page: a page of record sets stays below a MiB.
const MAX: u16 = 1000;

/// The longest token; it holds a key of the list, a name and a type at most.
const TOKEN_BYTES_MAX: usize = 1024;

/// The first byte of a token, so that its form can change.
const FORM: u8 = 1;

/// The query parameter of the token.
const PARAMETER: &str = "after";

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// What to send as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next: Option<After>,
}

/// How many items a page has at most: 1 to 1000, 100 unless asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u16);

/// Where a page begins: behind the item with this key, in a list filtered in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    filter: u64,
    key: String,
}

impl<T> Page<T> {
    /// The page of items that were asked for with one more than the limit, to learn whether there is a next one.
    pub fn of(mut items: Vec<T>, limit: Limit, filter: u64, key: impl Fn(&T) -> String) -> Page<T> {
        let has_more = items.len() > limit.get();
        items.truncate(limit.get());
        let last = items.last().filter(|_| has_more);
        let next = last.map(|item| After { filter, key: key(item) });
        Page { items, next }
    }
}

impl<T: Serialize> Page<T> {
    /// The answer to a request for this URI (its `OriginalUri`), with the next page's in `Link` as well (RFC 8288).
    pub fn answer(self, uri: &Uri) -> Response {
        let link = self.link(uri);
        let mut response = Json(self).into_response();
        if let Some(link) = link {
            response.headers_mut().insert(LINK, link);
        }
        response
    }
}

impl<T> Page<T> {
    /// The `Link` of its answer, where the page is a part of something larger.
    pub fn link(&self, uri: &Uri) -> Option<HeaderValue> {
        self.next.as_ref().and_then(|next| link(uri, next))
    }
}

/// The same URI with another token.
fn link(uri: &Uri, next: &After) -> Option<HeaderValue> {
    let kept = uri.query().unwrap_or_default().split('&');
    let kept = kept.filter(|it| !it.is_empty() && it.split('=').next() != Some(PARAMETER));
    let token = format!("{PARAMETER}={}", next.to_text());
    let query: Vec<&str> = kept.chain([token.as_str()]).collect();
    // A `>` of the client's would end the link; it is percent-encoded by all who follow RFC 3986.
    let target = format!("{}?{}", uri.path(), query.join("&")).replace('<', "%3C").replace('>', "%3E");
    HeaderValue::try_from(format!("<{target}>; rel=\"next\"")).ok()
}

impl Limit {
    pub fn get(self) -> usize {
        self.0.into()
    }

    /// Items to look for: one more tells whether there is a next page.
    pub fn with_one_more(self) -> usize {
        self.get() + 1
    }
}

impl Default for Limit {
    fn default() -> Limit {
        Limit(DEFAULT)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Limit, D::Error> {
        let text = String::deserialize(input)?;
        let number: Option<u16> = text.parse().ok().filter(|it| (1..=MAX).contains(it));
        number.map(Limit).ok_or_else(|| de::Error::custom(format_args!("a page has 1 to {MAX} items")))
    }
}

impl After {
    /// The key to go on behind, if the token is of a list with the same filter.
    pub fn key(&self, filter: u64) -> Option<&str> {
        (self.filter == filter).then_some(self.key.as_str())
    }

    fn to_text(&self) -> String {
        let mut bytes = vec![FORM];
        bytes.extend_from_slice(&self.filter.to_be_bytes());
        bytes.extend_from_slice(self.key.as_bytes());
        BASE64URL_NOPAD.encode(&bytes)
    }

    fn of_text(text: &str) -> Option<After> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (&FORM, rest) = bytes.split_first().filter(|_| text.len() <= TOKEN_BYTES_MAX)? else {
            return None;
        };
        let (filter, key) = rest.split_first_chunk()?;
        Some(After { filter: u64::from_be_bytes(*filter), key: str::from_utf8(key).ok()?.to_owned() })
    }
}

impl Serialize for After {
    fn serialize<S: serde::Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<After, D::Error> {
        let text = String::deserialize(input)?;
        let wrong = || de::Error::custom("this is no token of a page before; take `next` of one as it is");
        After::of_text(&text).ok_or_else(wrong)
    }
}

/// What tells filters apart: tokens of one list are not taken for another.
// FNV-1a: a token outlives the process, so the hash must be the same in the next; nothing is protected by it.
pub fn filter_id(parts: &[Option<&str>]) -> u64 {
    let bytes = parts.iter().flat_map(|part| {
        let (mark, text) = part.map_or((0, ""), |text| (1, text));
        std::iter::once(mark).chain(text.bytes()).chain([0xff])
    });
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_begins_behind_the_last_item() {
        let limit: Limit = serde_json::from_str("\"2\"").unwrap();
        let filter = filter_id(&[Some("a"), None]);
        let page = Page::of(vec!["a", "b", "c"], limit, filter, |item| (*item).to_owned());
        assert_eq!(page.items, ["a", "b"]);
        let text = serde_json::to_string(&page.next).unwrap();
        let next: After = serde_json::from_str(&text).unwrap();
        assert_eq!(next.key(filter), Some("b"));
        assert_eq!(next.key(filter_id(&[None, Some("a")])), None);
        assert_eq!(Page::of(vec!["a", "b"], limit, 0, |item| (*item).to_owned()).next, None);
    }

    #[test]
    fn a_link_keeps_the_filters_and_replaces_the_token() {
        let uri: Uri = "/api/v1/zones?name=a&after=OLD&limit=2".parse().unwrap();
        let next = After { filter: 7, key: "b".into() };
        let link = Page { items: vec![1], next: Some(next.clone()) }.answer(&uri).headers()[LINK].clone();
        let expected = format!("</api/v1/zones?name=a&limit=2&after={}>; rel=\"next\"", next.to_text());
        assert_eq!(link, expected);
        assert!(!Page { items: vec![1], next: None }.answer(&uri).headers().contains_key(LINK));
    }

    #[test]
    fn limits_and_tokens_that_nobody_gave_are_refused() {
        for wrong in ["0", "1001", "-1", "x", "", "99999"] {
            assert!(serde_json::from_value::<Limit>(wrong.into()).is_err(), "{wrong}");
        }
        let long = BASE64URL_NOPAD.encode(&[FORM; TOKEN_BYTES_MAX]);
        for wrong in ["", "AA", "!!!", "AgAAAAAAAAAAYQ", "AQAAAAAAAAAA_w", &long] {
            assert!(serde_json::from_value::<After>(wrong.into()).is_err(), "{wrong}");
        }
    }
}
