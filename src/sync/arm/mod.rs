//! JSON of Azure Resource Manager, whoever printed it: list bodies, single resources, `az … list -o json`.
//!
//! Keys are matched without case, `properties` may be flattened into their owner, and ids are lower-cased:
//! ARM's own answers differ in all three.

mod id;
mod object;
mod private_dns;
mod resource;
#[cfg(test)]
mod tests;

pub use id::ArmId;
pub use private_dns::{Item, ItemPage, ZoneLink, ZoneRecord, ZoneRecordSet};
pub use resource::{
    Connection, CustomDns, IpConfiguration, NetworkInterface, PrivateEndpoint, RecordSet, Resource, ZoneGroup,
};

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::telemetry::Quoted;

use object::{Json, Key, Object};

/// What one JSON body holds, resources of other types left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Body {
    pub resources: Vec<Resource>,
    /// The lists of the body; a single resource is not in one.
    pub pages: Vec<Page>,
}

/// One page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Where the next page is; `None` on the last.
    pub next_link: Option<String>,
    /// What its resources are lists of, those that are left out included; empty for an empty page.
    pub listings: BTreeSet<Listing>,
    /// Whether something has an id that is of no listing.
    pub has_others: bool,
}

/// All resources of one type in one subscription, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listing {
    pub subscription: Arc<str>,
    pub resource_type: Arc<str>,
}

impl Listing {
    /// Whether it is a listing that the inventory is built from.
    pub fn tells_of_endpoints(&self) -> bool {
        resource::TYPES.contains(&&*self.resource_type)
    }
}

/// Why bytes are no body of ARM.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    #[error("{message}")]
    Syntax { line: usize, column: usize, message: String },
    #[error("an HTML page instead of JSON, as a proxy or a sign-in page sends it")]
    Html,
    #[error("an error answer of Azure instead of a listing: {}: {}", Quoted(code), Quoted(message))]
    Refused { code: String, message: String },
    #[error("no Azure resource and no list of them: export with `az … list -o json` and without --query")]
    Unrecognised,
}

impl Body {
    /// Reads one body, the whole of it or nothing.
    pub fn read(bytes: &[u8]) -> Result<Body, ArmError> {
        if bytes.trim_ascii_start().starts_with(b"<") {
            return Err(ArmError::Html);
        }
        // Checked at once, UTF-8 costs little; bytes that are none are told with their place.
        let top = match std::str::from_utf8(bytes) {
            Ok(text) => serde_json::from_str::<Top<'_>>(text),
            Err(_) => serde_json::from_slice(bytes),
        };
        let top = top.map_err(ArmError::from)?;
        let mut body = top.listed;
        let Some(rest) = top.rest else { return Ok(body) };
        if let Some(error) = rest.own("error") {
            return Err(refused(error));
        }
        if body.pages.is_empty() {
            body.add_value(&Json::Object(rest), Depth::Top).map_err(|message| match message {
                Some(message) => ArmError::Syntax { line: 1, column: 1, message },
                None => ArmError::Unrecognised,
            })?;
        } else {
            let link = rest.own("nextLink");
            if link.is_some_and(|link| link.as_text().is_none()) {
                // Taken for none, it would end the listing here.
                let message = "`nextLink` is not a string".to_owned();
                return Err(ArmError::Syntax { line: 1, column: 1, message });
            }
            body.pages[0].next_link = next_link(&rest);
        }
        Ok(body)
    }

    fn add_resource(&mut self, item: &Json<'_>, page: &mut Page) -> Result<(), String> {
        let item = item.as_object().ok_or("a list of resources holds something that is none")?;
        let id = resource::id_of(item)?;
        if !page.listings.iter().any(|listing| id.is_of(listing)) {
            match id.listing() {
                Some(listing) => drop(page.listings.insert(listing)),
                None => page.has_others = true,
            }
        }
        self.resources.extend(Resource::read(&id, item)?);
        Ok(())
    }

    fn add_list(&mut self, items: &[Json<'_>], next_link: Option<String>) -> Result<(), String> {
        let mut page = Page { next_link, ..Page::default() };
        for item in items {
            self.add_resource(item, &mut page)?;
        }
        self.pages.push(page);
        Ok(())
    }

    /// Adds a resource, a list, or an object whose members are such; `Err(None)` when it is none of these.
    fn add_value(&mut self, value: &Json<'_>, depth: Depth) -> Result<(), Option<String>> {
        match value {
            Json::List(items) => Ok(self.add_list(items, None)?),
            Json::Object(object) if object.own("id").is_some() => {
                Ok(self.add_resource(value, &mut Page::default())?)
            }
            Json::Object(object) => match (object.own("value"), depth) {
                (Some(Json::List(items)), _) => Ok(self.add_list(items, next_link(object))?),
                (_, Depth::Top) if object.values().any(is_resources) => {
                    let members = object.values().filter(|value| is_resources(value));
                    members.into_iter().try_for_each(|value| match value {
                        Json::List(items) => Ok(self.add_list(items, next_link(object))?),
                        value => self.add_value(value, Depth::Member),
                    })
                }
                _ => Err(None),
            },
            _ => Err(None),
        }
    }
}

/// How far a value lies below the body's own.
#[derive(Clone, Copy)]
enum Depth {
    Top,
    Member,
}

/// Whether a member of an object without id may be a resource or a list of them.
fn is_resources(value: &Json<'_>) -> bool {
    match value {
        Json::Object(object) => {
            object.own("id").is_some() || object.own("value").is_some_and(|it| it.as_list().is_some())
        }
        Json::List(items) => items.iter().any(|item| item.as_object().is_some()),
        _ => false,
    }
}

/// Where more is to be had: `nextLink` of ARM, the skip token of Resource Graph and of `az graph query`.
fn next_link(object: &Object<'_>) -> Option<String> {
    let link = ["nextLink", "$skipToken", "skip_token"].into_iter().find_map(|key| object.own(key));
    link.and_then(Json::as_text).filter(|link| !link.is_empty()).map(str::to_owned)
}

fn refused(error: &Json<'_>) -> ArmError {
    let text = |key| {
        let value = error.as_object().and_then(|error| error.own(key));
        value.and_then(Json::as_text).unwrap_or_default().to_owned()
    };
    let code = Some(text("code")).filter(|code| !code.is_empty());
    ArmError::Refused {
        code: code.or_else(|| error.as_text().map(str::to_owned)).unwrap_or_else(|| "unknown".to_owned()),
        message: text("message"),
    }
}

impl From<serde_json::Error> for ArmError {
    fn from(error: serde_json::Error) -> ArmError {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        // The place is told by fields; serde_json writes it into its message too.
        let message = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
        ArmError::Syntax { line, column, message: message.to_owned() }
    }
}

impl ArmError {
    /// Line and column, counted from 1; the start when the body as a whole is wrong.
    pub fn place(&self) -> (usize, usize) {
        match self {
            ArmError::Syntax { line, column, .. } => (*line, *column),
            ArmError::Html | ArmError::Refused { .. } | ArmError::Unrecognised => (1, 1),
        }
    }
}

/// A body as it is parsed: list items become resources one by one, so that a large list is never held as JSON.
#[derive(Default)]
struct Top<'a> {
    listed: Body,
    rest: Option<Object<'a>>,
}

impl<'de: 'a, 'a> de::Deserialize<'de> for Top<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Top<'a>, D::Error> {
        deserializer.deserialize_any(TopVisitor)
    }
}

struct TopVisitor;

impl<'de> Visitor<'de> for TopVisitor {
    type Value = Top<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a resource of Azure or a list of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Top<'de>, A::Error> {
        let listed = ItemsVisitor.visit_seq(seq)?;
        Ok(Top { listed, rest: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Top<'de>, A::Error> {
        let mut top = Top::default();
        let mut rest = Object::default();
        while let Some(Key(key)) = map.next_key()? {
            if key.eq_ignore_ascii_case("value") && top.listed.pages.is_empty() {
                top.listed = map.next_value::<Items>()?.0;
            } else if key.eq_ignore_ascii_case("value") {
                return Err(de::Error::duplicate_field("value"));
            } else {
                rest.insert(key, map.next_value()?);
            }
        }
        top.rest = Some(rest);
        Ok(top)
    }
}

/// The items of one list; no list at all when the value is something else.
struct Items(Body);

impl<'de> de::Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Items, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor).map(Items)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Body;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of resources")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Body, A::Error> {
        let (mut body, mut page) = (Body::default(), Page::default());
        while let Some(item) = seq.next_element::<Json<'de>>()? {
            body.add_resource(&item, &mut page).map_err(de::Error::custom)?;
        }
        body.pages.push(page);
        Ok(body)
    }
}
