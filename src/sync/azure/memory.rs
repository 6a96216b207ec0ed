//! What the last pass read: nearly all pages are as they were, and those are not read again.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;

use parking_lot::Mutex;
use siphasher::sip128::{Hasher128, SipHasher13};
use tokio::sync::Semaphore;

use super::super::arm::{ArmError, Body};
use super::asking::TEXT_BYTES_MAX;
use super::error::AzureError;
use super::listing::{self, Assembled};

/// Pages read at one time: the other processors are there to answer.
const READ_AT_ONCE: usize = 1;

/// The pages of the last pass and what was made of them.
pub(super) struct Memory {
    /// Nobody who writes into Azure can make a page that is taken for another.
    key: (u64, u64),
    listings: Mutex<Generations<Vec<Arc<Seen>>>>,
    made: Mutex<Generations<Made>>,
    reading: Semaphore,
}

/// A page as it was read.
#[derive(Debug)]
pub(super) struct Seen {
    fingerprint: u128,
    pub body: Arc<Body>,
    pub next_link: Option<String>,
}

/// The listing of a scope and what it was made of.
#[derive(Clone)]
struct Made {
    bodies: Vec<Arc<Body>>,
    assembled: Assembled,
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
            made: Mutex::default(),
            reading: Semaphore::new(READ_AT_ONCE),
        }
    }
}

impl Memory {
    /// Begins a pass.
    pub(super) fn turn(&self) {
        self.listings.lock().turn();
        self.made.lock().turn();
    }

    /// The pages that a listing had in the pass before.
    pub(super) fn pages(&self, listing: &str) -> Arc<[Arc<Seen>]> {
        self.listings.lock().before.get(listing).map_or_else(Arc::default, |pages| pages.as_slice().into())
    }

    /// Keeps the pages of a listing for the next pass.
    pub(super) fn keep(&self, listing: &str, pages: Vec<Arc<Seen>>) {
        self.listings.lock().now.insert(listing.into(), pages);
    }

    /// Reads and checks a page, unless it is one of those that are known, which have passed the same check.
    pub(super) async fn read(
        &self,
        known: &Arc<[Arc<Seen>]>,
        bytes: Vec<u8>,
        page: usize,
        check: impl FnOnce(&[u8], &Body) -> Result<(), AzureError> + Send + 'static,
    ) -> Result<Arc<Seen>, AzureError> {
        let (known, key) = (Arc::clone(known), self.key);
        self.apart(move || read(&known, key, &bytes, page, check)).await?
    }

    /// What these bodies make; if they are those of the last pass, that is not made anew.
    pub(super) async fn assembled(
        &self,
        of: Arc<str>,
        bodies: Vec<Arc<Body>>,
        make: impl FnOnce(&[Arc<Body>]) -> Result<Assembled, AzureError> + Send + 'static,
    ) -> Result<Assembled, AzureError> {
        let known = self.made.lock().before.get(&of).filter(|made| made.is_of(&bodies)).cloned();
        let made = match known {
            Some(made) => made,
            None => {
                let made = self.apart(move || make(&bodies).map(|assembled| Made { bodies, assembled }));
                made.await??
            }
        };
        let assembled = made.assembled.clone();
        self.made.lock().now.insert(of, made);
        Ok(assembled)
    }

    /// Does what takes long where it keeps nobody from answering.
    pub(super) async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AzureError> {
        let _permit = self.reading.acquire().await;
        tokio::task::spawn_blocking(work).await.map_err(|_| AzureError::Fault)
    }
}

fn read(
    known: &[Arc<Seen>],
    key: (u64, u64),
    bytes: &[u8],
    page: usize,
    check: impl FnOnce(&[u8], &Body) -> Result<(), AzureError>,
) -> Result<Arc<Seen>, AzureError> {
    let mut hasher = SipHasher13::new_with_keys(key.0, key.1);
    hasher.write(bytes);
    let fingerprint = hasher.finish128().as_u128();
    if let Some(seen) = known.iter().find(|seen| seen.fingerprint == fingerprint) {
        return Ok(Arc::clone(seen));
    }
    let mut body = listing::read(bytes, page)?;
    check(bytes, &body)?;
    // A page that is a single resource is none.
    let [listed] = body.pages.as_mut_slice() else {
        return Err(AzureError::Page { page, source: ArmError::Unrecognised });
    };
    let next_link = listed.next_link.take();
    Ok(Arc::new(Seen { fingerprint, body: Arc::new(body), next_link }))
}

impl Made {
    fn is_of(&self, bodies: &[Arc<Body>]) -> bool {
        self.bodies.len() == bodies.len()
            && self.bodies.iter().zip(bodies).all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

/// Whether a text in JSON is longer than any of ARM's.
pub(super) fn has_long_text(json: &[u8]) -> bool {
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

    use super::super::super::inventory::Inventory;
    use super::super::super::scope::Scope;
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

    async fn pass(memory: &Memory, pages: &[String]) -> Result<Arc<Inventory>, String> {
        memory.turn();
        let known = memory.pages("listing");
        let mut seen = Vec::new();
        for (number, page) in (1..).zip(pages) {
            seen.push(memory.read(&known, page.clone().into_bytes(), number, |_, _| Ok(())).await.unwrap());
        }
        let bodies = seen.iter().map(|seen| Arc::clone(&seen.body)).collect();
        memory.keep("listing", seen);
        let make = |bodies: &[Arc<Body>]| listing::assemble(&Scope::subscription("s"), bodies, None);
        let listed = memory.assembled("s".into(), bodies, make).await;
        listed.map(|listed| listed.inventory).map_err(|error| error.to_string())
    }

    proptest! {
        #[test]
        fn whatever_is_remembered_the_inventory_is_that_of_the_pages(
            passes in prop::collection::vec(
                prop::collection::vec((prop::collection::vec((0u8..30, 1u8..4), 0..4), 0u8..2), 0..4), 1..6),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let memory = Memory::default();
            for pages in passes {
                let pages: Vec<String> = pages.iter().map(|(items, tag)| page(items, *tag)).collect();
                let remembered = runtime.block_on(pass(&memory, &pages));
                prop_assert_eq!(&remembered, &runtime.block_on(pass(&Memory::default(), &pages)));
                prop_assert_eq!(remembered, runtime.block_on(pass(&memory, &pages)));
            }
        }
    }

    #[tokio::test]
    async fn pages_are_read_once_and_forgotten_when_they_are_not_listed() {
        let memory = Memory::default();
        let pages = [page(&[(1, 1)], 0), page(&[(2, 1)], 0)];
        let first = pass(&memory, &pages).await.unwrap();
        let body = |memory: &Memory, at: usize| {
            let known = memory.listings.lock();
            Arc::clone(&known.now["listing"][at].body)
        };
        let was = body(&memory, 1);
        assert!(Arc::ptr_eq(&first, &pass(&memory, &pages).await.unwrap()));
        assert!(Arc::ptr_eq(&was, &body(&memory, 1)));
        // The order of pages may change, and what comes of it is the inventory of that order.
        pass(&memory, &[pages[1].clone()]).await.unwrap();
        assert!(Arc::ptr_eq(&was, &body(&memory, 0)));
        memory.turn();
        memory.turn();
        assert!(memory.pages("listing").is_empty());
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
