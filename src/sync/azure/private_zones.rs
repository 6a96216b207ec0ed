//! Private DNS zones of a scope: the list of them, and of each zone all record sets and links.
//!
//! The unit of completeness is the zone. Neither its `etag` nor `numberOfRecordSets` tells whether a record set changed,
//! so every zone is listed in every pass.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::arm::{Item, ItemPage};
use super::super::private_dns::{PrivateZone, PrivateZoneError, ZoneReader};
use super::super::scope::Scope;
use super::Azure;
use super::asking::{Pages, TEXT_BYTES_MAX};
use super::error::AzureError;
use super::http::Patience;
use super::listing::Listed;
use super::memory::has_long_text;

/// Zones of one subscription read at one time: as many requests a second as come back of its reads (facts §4).
const ZONES_AT_ONCE: usize = 4;

/// Zones of one subscription: Azure's own limit.
const ZONES_MAX: usize = 1000;

/// Time for one zone: 250 pages of record sets, which Azure's limit stretches over three minutes.
const ZONE_TIMEOUT: Duration = Duration::from_secs(600);

/// Lists of one zone in a minute; Azure allows a hundred, and others may list too.
const LISTS_A_MINUTE: usize = 80;

impl Azure {
    /// The private DNS zones of one scope.
    pub(super) async fn private_zones(self: &Arc<Self>, scope: &Scope) -> Result<Listed, AzureError> {
        let path = format!("{}/providers/Microsoft.Network/privateDnsZones", scope.path());
        let mut zones: Vec<Item> = Vec::new();
        let mut ids: BTreeSet<Arc<str>> = BTreeSet::new();
        self.items(&path, &mut Pace::default(), |item| {
            let id = item.id.shared();
            if !scope.holds(&item.id) {
                return Err(PrivateZoneError::Stranger { id });
            }
            if zones.len() >= ZONES_MAX {
                return Err(PrivateZoneError::TooMany { max: ZONES_MAX, what: "zones" });
            }
            if !ids.insert(Arc::clone(&id)) {
                return Err(PrivateZoneError::Duplicate { id });
            }
            zones.push(item);
            Ok(())
        })
        .await?;
        let permits = Arc::new(Semaphore::new(ZONES_AT_ONCE));
        let mut reading = JoinSet::new();
        for zone in zones {
            let (azure, permits, subscription) =
                (Arc::clone(self), Arc::clone(&permits), Arc::clone(&scope.subscription));
            reading.spawn(async move {
                let _permit = permits.acquire().await;
                let id = zone.id.shared();
                // Once Azure wants to be left alone, asking for the next zone would begin the wait anew.
                if let Err(error) = azure.check_rest(&subscription) {
                    return (id, Err(error));
                }
                let read = tokio::time::timeout(ZONE_TIMEOUT, azure.private_zone(&zone)).await;
                let read = read.unwrap_or(Err(AzureError::Slow { max: ZONE_TIMEOUT }));
                if let Err(AzureError::Throttled { wait, .. }) = &read {
                    azure.let_rest(&subscription, *wait);
                }
                (id, read)
            });
        }
        let mut listed = Listed::default();
        while let Some(joined) = reading.join_next().await {
            match joined {
                Ok((id, Ok(zone))) => {
                    ids.remove(&id);
                    listed.zones.push(Arc::new(zone));
                }
                Ok((id, Err(error))) => {
                    ids.remove(&id);
                    listed.unread.insert(id, error);
                }
                // It is found missing below.
                Err(_) => {}
            }
        }
        listed.unread.extend(ids.into_iter().map(|id| (id, AzureError::Fault)));
        Ok(listed)
    }

    /// One zone, all of it.
    async fn private_zone(&self, zone: &Item) -> Result<PrivateZone, AzureError> {
        let mut reader = ZoneReader::new(zone, &self.settings.name.as_str().into())?;
        let mut pace = Pace::default();
        let id = zone.id.as_str();
        self.items(&format!("{id}/virtualNetworkLinks"), &mut pace, |item| reader.link(&item)).await?;
        self.items(&format!("{id}/ALL"), &mut pace, |item| reader.record_set(&item)).await?;
        Ok(reader.finish())
    }

    /// All items of a listing, page by page.
    async fn items(
        &self,
        path: &str,
        pace: &mut Pace,
        mut take: impl FnMut(Item) -> Result<(), PrivateZoneError>,
    ) -> Result<(), AzureError> {
        let first: Url = self.url(path, &self.settings.api_version);
        let mut pages = Pages::of(first);
        while pages.goes_on() {
            pace.wait().await;
            let Some(bytes) = self.next_page(&mut pages, Patience::of_listing(&self.settings)).await? else {
                break;
            };
            let number = pages.number();
            if has_long_text(&bytes) {
                return Err(AzureError::LongText { page: number, max: TEXT_BYTES_MAX });
            }
            let page = ItemPage::read(&bytes).map_err(|source| AzureError::Page { page: number, source })?;
            pages.follow(page.next_link, self)?;
            self.progress.page(0);
            page.items.into_iter().try_for_each(&mut take)?;
        }
        Ok(())
    }
}

/// When the last lists of a zone were asked for.
#[derive(Default)]
struct Pace(VecDeque<Instant>);

impl Pace {
    /// Waits until one more is within [`LISTS_A_MINUTE`].
    async fn wait(&mut self) {
        if self.0.len() >= LISTS_A_MINUTE
            && let Some(first) = self.0.pop_front()
        {
            tokio::time::sleep_until(first + Duration::from_secs(60)).await;
        }
        self.0.push_back(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_zone_of_many_pages_is_listed_within_azures_limit() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let mut asked = Vec::new();
        for _ in 0..250 {
            pace.wait().await;
            asked.push(began.elapsed());
        }
        assert_eq!([79, 80, 160, 249].map(|at: usize| asked[at].as_secs()), [0, 60, 120, 180]);
    }
}
