//! Where all parts tell their numbers, and the page of `/metrics` that is made of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::exposition::{self, Format};
use super::families::{Audience, Families};

/// How long one page serves all who ask: nobody needs a token for it, so it must not cost work, nor memory, by request.
const FRESH: Duration = Duration::from_millis(200);

/// A part that tells its numbers.
pub trait Measured: Send + Sync {
    /// Adds the numbers of this moment.
    fn measure(&self, families: &mut Families);
}

impl<F: Fn(&mut Families) + Send + Sync> Measured for F {
    fn measure(&self, families: &mut Families) {
        self(families);
    }
}

/// A page, and when it was made.
type Page = (Instant, Arc<[u8]>);

/// The numbers of all parts.
#[derive(Default)]
pub struct Numbers {
    parts: parking_lot::RwLock<Vec<Arc<dyn Measured>>>,
    /// By format and audience.
    pages: [[Mutex<Option<Page>>; 2]; Format::ALL.len()],
    /// Whether names of zones are for anyone.
    names_zones: AtomicBool,
}

impl Numbers {
    /// Adds the numbers of a part, from now on.
    pub fn add(&self, part: Arc<dyn Measured>) {
        self.parts.write().push(part);
    }

    /// Shows the names of zones to anyone, or to readers alone, from now on (`telemetry.zone_names`).
    pub fn show_zone_names(&self, is_for_anyone: bool) {
        self.names_zones.store(is_for_anyone, Ordering::Relaxed);
    }

    /// All numbers of this moment.
    pub fn now(&self, audience: Audience) -> Families {
        let parts = self.parts.read().clone();
        let mut families = Families::new(audience);
        parts.iter().for_each(|part| part.measure(&mut families));
        families
    }

    /// The page in this format, as it was at most 200 ms ago.
    pub async fn page(&self, format: Format, audience: Audience) -> Arc<[u8]> {
        let audience = if self.names_zones.load(Ordering::Relaxed) { Audience::Readers } else { audience };
        let mut last = self.pages[format as usize][audience as usize].lock().await;
        if let Some((at, page)) = &*last
            && at.elapsed() < FRESH
        {
            return Arc::clone(page);
        }
        let page: Arc<[u8]> = exposition::write(&self.now(audience), format).into();
        *last = Some((Instant::now(), Arc::clone(&page)));
        page
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_at_once_shares_one_page() {
        let (numbers, asked) = (Numbers::default(), Arc::new(AtomicU64::default()));
        let counted = Arc::clone(&asked);
        numbers.add(Arc::new(move |families: &mut Families| {
            families.counter("asked", "How often", counted.fetch_add(1, Ordering::Relaxed));
        }));
        for format in Format::ALL {
            let first = numbers.page(format, Audience::Anyone).await;
            assert_eq!(numbers.page(format, Audience::Anyone).await, first);
            tokio::time::advance(FRESH).await;
            assert_ne!(numbers.page(format, Audience::Anyone).await, first);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 6);
    }
}
