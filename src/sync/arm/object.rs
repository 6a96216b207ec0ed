//! Looking into a JSON object whose keys' case and nesting differ from one writer to the next.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// A JSON object asked for members without regard to case; `null` is absence.
pub trait Object {
    /// A member of the object itself.
    fn own(&self, key: &str) -> Option<&Value>;

    /// A member of `properties` or, as the az command line prints it, of the object itself.
    fn member(&self, key: &str) -> Option<&Value>;

    /// A string; an empty one is absence.
    fn text(&self, key: &str) -> Result<Option<&str>, String>;

    /// An object.
    fn object(&self, key: &str) -> Result<Option<&Map<String, Value>>, String>;

    /// The objects of a list; none when it is absent.
    fn objects(&self, key: &str) -> Result<Vec<&Map<String, Value>>, String>;

    /// The strings of a list; none when it is absent.
    fn texts(&self, key: &str) -> Result<Vec<&str>, String>;
}

/// A text without control characters: Azure writes none, and ids and names go to logs, terminals and clients.
pub fn printable(text: &str) -> Cow<'_, str> {
    match text.contains(char::is_control) {
        true => Cow::Owned(text.replace(char::is_control, "\u{FFFD}")),
        false => Cow::Borrowed(text),
    }
}

impl Object for Map<String, Value> {
    fn own(&self, key: &str) -> Option<&Value> {
        let exact = self.get(key);
        let found = exact
            .or_else(|| self.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value));
        found.filter(|value| !value.is_null())
    }

    fn member(&self, key: &str) -> Option<&Value> {
        let properties = self.own("properties").and_then(Value::as_object);
        properties.and_then(|properties| properties.own(key)).or_else(|| self.own(key))
    }

    fn text(&self, key: &str) -> Result<Option<&str>, String> {
        match self.member(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("`{key}` is not a string")),
        }
    }

    fn object(&self, key: &str) -> Result<Option<&Map<String, Value>>, String> {
        match self.member(key) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(format!("`{key}` is not an object")),
        }
    }

    fn objects(&self, key: &str) -> Result<Vec<&Map<String, Value>>, String> {
        let wrong = || format!("`{key}` is not a list of objects");
        let items = match self.member(key) {
            None => return Ok(Vec::new()),
            Some(items) => items.as_array().ok_or_else(wrong)?,
        };
        let items = items.iter().filter(|item| !item.is_null());
        items.map(|item| item.as_object().ok_or_else(wrong)).collect()
    }

    fn texts(&self, key: &str) -> Result<Vec<&str>, String> {
        let wrong = || format!("`{key}` is not a list of strings");
        let items = match self.member(key) {
            None => return Ok(Vec::new()),
            Some(items) => items.as_array().ok_or_else(wrong)?,
        };
        let items = items.iter().filter(|item| !item.is_null());
        items.map(|item| item.as_str().ok_or_else(wrong)).collect()
    }
}
