//! JSON as it is looked into: texts are borrowed from the body, and keys' case and nesting may differ from one writer
//! to the next. A page of a thousand resources costs few allocations, which is most of what a pass costs.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value; of truth values, and of numbers that count nothing, no one asks more than that they are there.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    Null,
    Scalar,
    Number(u64),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// An object asked for members without regard to case; `null` is absence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

/// A text without control characters: Azure writes none, and ids and names go to logs, terminals and clients.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_plain = text.bytes().fold(true, |plain, byte| plain & (b' '..=b'~').contains(&byte));
    match !is_plain && text.contains(char::is_control) {
        true => Cow::Owned(text.replace(char::is_control, "\u{FFFD}")),
        false => Cow::Borrowed(text),
    }
}

impl<'a> Json<'a> {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is a whole one and not below zero.
    pub fn as_number(&self) -> Option<u64> {
        match self {
            Json::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A copy that borrows nothing.
    pub fn to_owned(&self) -> Json<'static> {
        match self {
            Json::Null => Json::Null,
            Json::Scalar => Json::Scalar,
            Json::Number(number) => Json::Number(*number),
            Json::Text(text) => Json::Text(Cow::Owned(text.clone().into_owned())),
            Json::List(items) => Json::List(items.iter().map(Json::to_owned).collect()),
            Json::Object(object) => Json::Object(object.to_owned()),
        }
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Json<'a>]> {
        match self {
            Json::List(items) => Some(items),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Json::Object(object) => Some(object),
            _ => None,
        }
    }
}

impl<'a> Object<'a> {
    /// Adds a member; of two with the same key the one added last counts.
    pub fn insert(&mut self, key: Cow<'a, str>, value: Json<'a>) {
        self.0.push((key, value));
    }

    /// A copy that borrows nothing.
    pub fn to_owned(&self) -> Object<'static> {
        let members = self.0.iter();
        Object(members.map(|(key, value)| (Cow::Owned(key.clone().into_owned()), value.to_owned())).collect())
    }

    /// All members' values.
    pub fn values(&self) -> impl Iterator<Item = &Json<'a>> {
        self.0.iter().map(|(_, value)| value)
    }

    /// A member of the object itself.
    pub fn own(&self, key: &str) -> Option<&Json<'a>> {
        let last = |is: fn(&str, &str) -> bool| self.0.iter().rev().find(|(name, _)| is(name, key));
        let found = last(|name, key| name == key).or_else(|| last(str::eq_ignore_ascii_case));
        found.map(|(_, value)| value).filter(|value| **value != Json::Null)
    }

    /// A member of `properties` or, as the az command line prints it, of the object itself.
    pub fn member(&self, key: &str) -> Option<&Json<'a>> {
        let properties = self.own("properties").and_then(Json::as_object);
        properties.and_then(|properties| properties.own(key)).or_else(|| self.own(key))
    }

    /// A string; an empty one is absence.
    pub fn text(&self, key: &str) -> Result<Option<&str>, String> {
        match self.member(key) {
            None => Ok(None),
            Some(Json::Text(text)) if text.is_empty() => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(format!("`{key}` is not a string")),
        }
    }

    /// An object.
    pub fn object(&self, key: &str) -> Result<Option<&Object<'a>>, String> {
        match self.member(key) {
            None => Ok(None),
            Some(Json::Object(object)) => Ok(Some(object)),
            Some(_) => Err(format!("`{key}` is not an object")),
        }
    }

    /// The objects of a list; none when it is absent.
    pub fn objects(&self, key: &str) -> Result<Vec<&Object<'a>>, String> {
        self.items(key, Json::as_object).ok_or_else(|| format!("`{key}` is not a list of objects"))
    }

    /// The strings of a list; none when it is absent.
    pub fn texts(&self, key: &str) -> Result<Vec<&str>, String> {
        self.items(key, Json::as_text).ok_or_else(|| format!("`{key}` is not a list of strings"))
    }

    /// The items of a list that are not `null`; `None` when one of them, or the list, is something else.
    fn items<'s, T>(&'s self, key: &str, item: impl Fn(&'s Json<'a>) -> Option<T>) -> Option<Vec<T>> {
        let Some(items) = self.member(key) else { return Some(Vec::new()) };
        items.as_list()?.iter().filter(|it| **it != Json::Null).map(item).collect()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json<'a>, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any valid JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Json<'de>, E> {
        Ok(Json::Scalar)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Json<'de>, E> {
        Ok(Json::Scalar)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::Scalar)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut object = Object::default();
        while let Some(Key(key)) = map.next_key()? {
            object.insert(key, map.next_value()?);
        }
        Ok(Json::Object(object))
    }
}

/// A key, borrowed unless it is written with escapes.
pub struct Key<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key<'a>, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object<'_> {
        let Ok(Json::Object(object)) = serde_json::from_str(text) else { panic!("{text}") };
        object
    }

    #[test]
    fn of_two_members_the_last_counts_and_an_exact_key_goes_before_others() {
        assert_eq!(object(r#"{"a": "1", "a": "2", "A": "3"}"#).text("a"), Ok(Some("2")));
        assert_eq!(object(r#"{"a": "1", "A": "2"}"#).text("A"), Ok(Some("2")));
        assert_eq!(object(r#"{"ID": "1", "properties": {"id": "2"}}"#).text("id"), Ok(Some("2")));
        assert_eq!(object(r#"{"a": null, "b": 1.5, "c": -1, "d": true}"#).text("a"), Ok(None));
    }

    #[test]
    fn escapes_are_read_in_keys_and_texts() {
        assert_eq!(object(r#"{"\u0069d": "a\"\u00e9"}"#).text("id"), Ok(Some("a\"é")));
    }

    #[test]
    fn control_characters_of_both_sets_do_not_pass() {
        assert_eq!(printable("a\u{1b}b\u{7f}\u{85}é\n"), "a\u{FFFD}b\u{FFFD}\u{FFFD}é\u{FFFD}");
        assert!(matches!(printable("/subscriptions/é"), Cow::Borrowed(_)));
    }
}
