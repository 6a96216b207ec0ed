//! What is not believed of an answer that came whole and in time.

use std::sync::Arc;

use hashbrown::HashSet;

use super::super::arm::{ArmError, ArmId, Body, Listing, Resource};
use super::Azure;
use super::error::AzureError;

/// Azure's ids of subscriptions have 36 characters.
const SUBSCRIPTION_ID_CHARS_MAX: usize = 64;

/// The id of a subscription in lower case; it goes into paths and logs.
pub(super) fn subscription_id(text: &str, page: usize) -> Result<Arc<str>, AzureError> {
    let is_id = (1..=SUBSCRIPTION_ID_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
    match is_id {
        true => Ok(text.to_ascii_lowercase().into()),
        false => Err(AzureError::Page { page, source: ArmError::Unrecognised }),
    }
}

/// Whether a page of a listing is one, and holds nothing that belongs into another.
///
/// A proxy that mixes up its answers would have all endpoints withdrawn.
pub(super) fn check_page(
    bytes: &[u8],
    body: &Body,
    number: usize,
    subscription: &str,
    resource_type: &str,
) -> Result<(), AzureError> {
    let unrecognised = || AzureError::Page { page: number, source: ArmError::Unrecognised };
    // Exports may be bare lists, Azure's own answers are not.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(unrecognised());
    }
    // A page that is a single resource is none.
    let [page] = body.pages.as_slice() else { return Err(unrecognised()) };
    // Interfaces of scale sets lie below these.
    let of_type = |it: &Listing| match resource_type.eq_ignore_ascii_case("privateEndpoints") {
        true => &*it.resource_type == "microsoft.network/privateendpoints",
        false => it.resource_type.ends_with("/networkinterfaces"),
    };
    if let Some(other) = page.listings.iter().find(|it| *it.subscription != *subscription || !of_type(it)) {
        let id = format!("{} of subscription {}", other.resource_type, other.subscription);
        return Err(AzureError::Stranger { id });
    }
    if page.has_others { Err(unrecognised()) } else { Ok(()) }
}

/// Nothing is there twice: what moves to another page while pages are read leaves a gap that nobody sees.
pub(super) fn check_once<'b>(bodies: impl IntoIterator<Item = &'b Body>) -> Result<(), AzureError> {
    let mut seen = HashSet::new();
    for resource in bodies.into_iter().flat_map(|body| &body.resources) {
        let id: &ArmId = match resource {
            Resource::PrivateEndpoint(it) => &it.id,
            Resource::NetworkInterface(it) => &it.id,
            Resource::ZoneGroup(it) => &it.id,
        };
        if !seen.insert(id) {
            return Err(AzureError::Duplicate { id: id.as_str().to_owned() });
        }
    }
    Ok(())
}

impl Azure {
    /// An error about a page, without the token that the page may repeat: parsers quote what they do not understand.
    pub(super) async fn hushed(&self, error: AzureError) -> AzureError {
        let AzureError::Page { page, source } = error else { return error };
        let source = match self.token().await {
            Ok(token) if !source.to_string().contains(token.reveal()) => source,
            _ => ArmError::Unrecognised,
        };
        AzureError::Page { page, source }
    }
}
