//! What the last pass read: nearly all pages are as they were, and those are not read again.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;

use parking_lot::Mutex;
use siphasher::sip128::{Hasher128, SipHasher13};
use tokio::sync::Semaphore;

use super::super::arm::{ArmError, Body};
use super::super::inventory::Inventory;
use super::super::listing::Listings;
use super::AzureError;

/// Bytes of one text in a page: names and ids have a few hundred, tags and descriptions some thousand.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Pages read at one time: the other processors are there to answer.
const READ_AT_ONCE: usize = 1;

/// The pages of the last pass and the inventories made of them.
pub(super) struct Memory {
    /// Nobody who writes into Azure can make a page that is taken for another.
    key: (u64, u64),
    listings: Mutex<Generations<Vec<Arc<Seen>>>>,
    inventories: Mutex<Generations<Made>>,
    reading: Semaphore,
}

/// A page as it was read.
#[derive(Debug)]
pub(super) struct Seen {
    fingerprint: u128,
    pub body: Arc<Body>,
    pub next_link: Option<String>,
}

/// An inventory and what it was made of.
#[derive(Clone)]
struct Made {
    bodies: Vec<Arc<Body>>,
    inventory: Arc<Inventory>,
}

/// What this pass has come upon, and what the one before had: what that does not list again is forgotten.
struct Generations<T> {
    now: HashMap<Arc<str>, T>,
    before: HashMap<Arc<str>, T>,
}

impl<T> Default for Generations<T> {
    fn default() -> Generations<T> {
        Generations { now: HashMap::new(), before: HashMap::new() }
    }
}

impl<T> Generations<T> {
    fn turn(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            key: rand::random(),
            listings: Mutex::default(),
            inventories: Mutex::default(),
            reading: Semaphore::new(READ_AT_ONCE),
        }
    }
}

impl Memory {
    /// Begins a pass.
    pub(super) fn turn(&self) {
        self.listings.lock().turn();
        self.inventories.lock().turn();
    }

    /// The pages that a listing had in the pass before.
    pub(super) fn pages(&self, listing: &str) -> Arc<[Arc<Seen>]> {
        self.listings.lock().before.get(listing).map_or_else(Arc::default, |pages| pages.as_slice().into())
    }

    /// Keeps the pages of a listing for the next pass.
    pub(super) fn keep(&self, listing: &str, pages: Vec<Arc<Seen>>) {
        self.listings.lock().now.insert(listing.into(), pages);
    }

    /// Reads a page, unless it is one of those that are known.
    pub(super) async fn read(
        &self,
        known: &Arc<[Arc<Seen>]>,
        bytes: Vec<u8>,
        page: usize,
    ) -> Result<Arc<Seen>, AzureError> {
        let (known, key) = (Arc::clone(known), self.key);
        self.apart(move || read(&known, key, &bytes, page)).await?
    }

    /// The inventory that these bodies make; the same as before if that is equal.
    pub(super) async fn inventory(
        &self,
        of: &Arc<str>,
        bodies: Vec<Arc<Body>>,
    ) -> Result<Arc<Inventory>, AzureError> {
        let known = self.inventories.lock().before.get(of).cloned();
        let made = self.apart(move || inventory(known, bodies)).await?;
        let inventory = Arc::clone(&made.inventory);
        self.inventories.lock().now.insert(Arc::clone(of), made);
        Ok(inventory)
    }

    /// Does what takes long where it keeps nobody from answering.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AzureError> {
        let _permit = self.reading.acquire().await;
        tokio::task::spawn_blocking(work).await.map_err(|_| AzureError::Fault)
    }
}

fn read(known: &[Arc<Seen>], key: (u64, u64), bytes: &[u8], page: usize) -> Result<Arc<Seen>, AzureError> {
    let mut hasher = SipHasher13::new_with_keys(key.0, key.1);
    hasher.write(bytes);
    let fingerprint = hasher.finish128().as_u128();
    if let Some(seen) = known.iter().find(|seen| seen.fingerprint == fingerprint) {
        return Ok(Arc::clone(seen));
    }
    if has_long_text(bytes) {
        return Err(AzureError::LongText { page, max: TEXT_BYTES_MAX });
    }
    let mut body = Body::read(bytes).map_err(|source| AzureError::Page { page, source })?;
    // A page that is a single resource is none.
    let [listed] = body.pages.as_mut_slice() else {
        return Err(AzureError::Page { page, source: ArmError::Unrecognised });
    };
    let next_link = listed.next_link.take();
    Ok(Arc::new(Seen { fingerprint, body: Arc::new(body), next_link }))
}

fn inventory(known: Option<Made>, bodies: Vec<Arc<Body>>) -> Made {
    let is_known = |made: &Made| {
        made.bodies.len() == bodies.len()
            && made.bodies.iter().zip(&bodies).all(|(one, other)| Arc::ptr_eq(one, other))
    };
    if let Some(known) = known.as_ref().filter(|known| is_known(known)) {
        return known.clone();
    }
    let mut listings = Listings::default();
    for (number, body) in (1..).zip(&bodies) {
        listings.add(format!("page {number}"), Arc::clone(body));
    }
    let inventory =
        listings.into_inventory().expect("no page is owed: links are taken out when they are followed");
    // A page may differ in what is of no account: another tag, or the next page's token.
    let inventory = match known {
        Some(known) if *known.inventory == inventory => known.inventory,
        _ => Arc::new(inventory),
    };
    Made { bodies, inventory }
}

/// Whether a text in JSON is longer than any of ARM's.
fn has_long_text(json: &[u8]) -> bool {
    // A longer one fills at least one of these whole, which hardly any page does.
    let is_full = |block: &[u8]| !block.contains(&b'"');
    if !json.chunks(TEXT_BYTES_MAX / 2).any(is_full) {
        return false;
    }
    let mut rest = json;
    // Between two quotes lies a text, or what separates texts, which is shorter.
    while let Some(quote) = rest.iter().position(|byte| *byte == b'"') {
        if quote > TEXT_BYTES_MAX {
            return true;
        }
        rest = &rest[quote + 1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network";

    /// A page of endpoints, each of a name and the last byte of its address.
    fn page(items: &[(u8, u8)], tag: u8) -> String {
        let items: Vec<String> = items
            .iter()
            .map(|(name, address)| {
                format!(
                    r#"{{"id": "{BASE}/privateEndpoints/pe{name}", "tags": {{"a": "{tag}"}},
                    "customDnsConfigs": [{{"fqdn": "n{name}.example", "ipAddresses": ["10.0.0.{address}"]}}]}}"#
                )
            })
            .collect();
        format!(r#"{{"value": [{}]}}"#, items.join(","))
    }

    async fn pass(memory: &Memory, pages: &[String]) -> Arc<Inventory> {
        memory.turn();
        let known = memory.pages("listing");
        let mut seen = Vec::new();
        for (number, page) in (1..).zip(pages) {
            seen.push(memory.read(&known, page.clone().into_bytes(), number).await.unwrap());
        }
        let bodies = seen.iter().map(|seen| Arc::clone(&seen.body)).collect();
        memory.keep("listing", seen);
        memory.inventory(&"s".into(), bodies).await.unwrap()
    }

    proptest! {
        #[test]
        fn whatever_is_remembered_the_inventory_is_that_of_the_pages(
            passes in prop::collection::vec(
                prop::collection::vec((prop::collection::vec((0u8..6, 1u8..4), 0..4), 0u8..2), 0..4), 1..6),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let memory = Memory::default();
            for pages in passes {
                let pages: Vec<String> = pages.iter().map(|(items, tag)| page(items, *tag)).collect();
                let remembered = runtime.block_on(pass(&memory, &pages));
                prop_assert_eq!(&remembered, &runtime.block_on(pass(&Memory::default(), &pages)));
                let again = runtime.block_on(pass(&memory, &pages));
                prop_assert!(Arc::ptr_eq(&again, &remembered));
            }
        }
    }

    #[tokio::test]
    async fn pages_are_read_once_and_forgotten_when_they_are_not_listed() {
        let memory = Memory::default();
        let pages = [page(&[(1, 1)], 0), page(&[(2, 1)], 0)];
        let first = pass(&memory, &pages).await;
        let body = |memory: &Memory, at: usize| {
            let known = memory.listings.lock();
            Arc::clone(&known.now["listing"][at].body)
        };
        let was = body(&memory, 1);
        assert!(Arc::ptr_eq(&first, &pass(&memory, &pages).await));
        assert!(Arc::ptr_eq(&was, &body(&memory, 1)));
        // The order of pages may change, and what comes of it is the inventory of that order.
        pass(&memory, &[pages[1].clone()]).await;
        assert!(Arc::ptr_eq(&was, &body(&memory, 0)));
        memory.turn();
        memory.turn();
        assert!(memory.pages("listing").is_empty());
    }

    #[tokio::test]
    async fn a_page_that_differs_in_nothing_of_account_makes_the_same_inventory() {
        let memory = Memory::default();
        let first = pass(&memory, &[page(&[(1, 1)], 0)]).await;
        assert!(Arc::ptr_eq(&first, &pass(&memory, &[page(&[(1, 1)], 1)]).await));
    }

    #[test]
    fn long_texts_are_found_wherever_they_lie() {
        for start in [0, 1, TEXT_BYTES_MAX / 2 - 1, TEXT_BYTES_MAX / 2, TEXT_BYTES_MAX + 7] {
            let text = |length: usize| format!("{}\"{}\" ", "\"a\" ".repeat(start / 4), "x".repeat(length));
            assert!(!has_long_text(text(TEXT_BYTES_MAX).as_bytes()), "{start}");
            assert!(has_long_text(text(TEXT_BYTES_MAX + 1).as_bytes()), "{start}");
        }
    }
}
