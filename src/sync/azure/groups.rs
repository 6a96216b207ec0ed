//! Zone groups of endpoints that nothing else decides: asked for one by one, and remembered.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::arm::{Resource, ZoneGroup};
use super::super::inventory::{Endpoint, Inventory};
use super::asking::Question;
use super::error::AzureError;
use super::http::Patience;
use super::listing::{self, Ids};
use super::{ASKED_AT_ONCE, Azure};

/// Endpoints asked in one pass: what a subscription's read bucket of 250 bears, all of them in one.
const ENDPOINTS_ASKED_MAX: usize = 200;

/// Endpoints remembered: beyond these, those asked longest ago are forgotten.
const REMEMBERED_MAX: usize = 20_000;

/// An endpoint that looks the same is asked again after this: Azure adds records to a group by itself.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(900);

/// What reading them takes.
const RIGHT: &str = "Microsoft.Network/privateEndpoints/privateDnsZoneGroups/read";

/// What endpoints were told to have.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<Arc<str>, Remembered>>);

struct Remembered {
    /// As it looked when it was asked.
    endpoint: Endpoint,
    asked: Instant,
    /// The last good answer.
    groups: Option<Arc<[ZoneGroup]>>,
    /// Why the last question had no answer, and whether the next pass may have one.
    failed: Option<(Arc<str>, Again)>,
}

/// When a question that failed is asked again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    NextPass,
    /// Rights are not given every minute.
    Later,
}

impl Azure {
    /// Adds to listings what the zone groups of their undecided endpoints say.
    pub(super) async fn settle(
        self: &Arc<Self>,
        listed: &mut BTreeMap<Arc<str>, Arc<Inventory>>,
        undecided: &[(Arc<str>, Ids)],
    ) {
        let mut open: Vec<(Arc<str>, Endpoint)> = Vec::new();
        for (scope, ids) in undecided {
            let Some(inventory) = listed.get(scope) else { continue };
            let endpoints = ids.iter().filter_map(|id| inventory.endpoint(id));
            open.extend(endpoints.map(|endpoint| (Arc::clone(scope), endpoint.clone())));
        }
        let permits = Arc::new(Semaphore::new(ASKED_AT_ONCE));
        let mut asking = JoinSet::new();
        for endpoint in self.groups.due(&open) {
            let (azure, permits) = (Arc::clone(self), Arc::clone(&permits));
            asking.spawn(async move {
                let _permit = permits.acquire().await;
                let answer = azure.zone_groups(&endpoint).await;
                azure.groups.remember(endpoint, answer);
            });
        }
        // A question that failed is found without an answer below.
        while asking.join_next().await.is_some() {}
        for (scope, endpoint) in &open {
            let Some(inventory) = listed.get_mut(scope).map(Arc::make_mut) else { continue };
            let (groups, failed) = self.groups.of(endpoint);
            if let Some(groups) = &groups {
                inventory.add_groups(&endpoint.id, groups);
            }
            // What they gave before stays until they are read again.
            match (groups, failed) {
                (_, Some(why)) => inventory.miss_groups(&endpoint.id, why),
                (None, None) => inventory.miss_groups(&endpoint.id, "a later pass asks for it".into()),
                (Some(_), None) => {}
            }
        }
    }

    async fn zone_groups(&self, endpoint: &Endpoint) -> Result<Vec<ZoneGroup>, AzureError> {
        if let Some(wait) = self.rest_of(&endpoint.subscription) {
            return Err(AzureError::Throttled { status: 429, code: "still".to_owned(), wait });
        }
        let url = self.url(&format!("{}/privateDnsZoneGroups", endpoint.id), &self.settings.api_version);
        let answered = self.ask(Question::Get(&url), Patience::of_listing(&self.settings)).await;
        if let Err(AzureError::Throttled { wait, .. }) = &answered {
            self.let_rest(&endpoint.subscription, *wait);
        }
        let body = listing::read(&answered?.body, 1)?;
        let groups = body.resources.into_iter().filter_map(|resource| match resource {
            // Only its own: another's would let it publish for that.
            Resource::ZoneGroup(group) if *group.private_endpoint.as_str() == *endpoint.id => Some(group),
            _ => None,
        });
        Ok(groups.collect())
    }
}

impl Groups {
    /// Which of the endpoints are to be asked now: those never asked first, then those asked longest ago.
    fn due(&self, open: &[(Arc<str>, Endpoint)]) -> Vec<Endpoint> {
        let (remembered, now) = (self.0.lock(), Instant::now());
        let mut due: Vec<(Option<Instant>, &Endpoint)> = Vec::new();
        for (_, endpoint) in open {
            match remembered.get(&endpoint.id) {
                Some(known) if known.is_good_for(endpoint, now) => {}
                known => due.push((known.map(|known| known.asked), endpoint)),
            }
        }
        due.sort_by_key(|(asked, _)| *asked);
        due.into_iter().take(ENDPOINTS_ASKED_MAX).map(|(_, endpoint)| endpoint.clone()).collect()
    }

    fn remember(&self, endpoint: Endpoint, answer: Result<Vec<ZoneGroup>, AzureError>) {
        let mut remembered = self.0.lock();
        let before = remembered.remove(&endpoint.id);
        let (groups, failed) = match answer {
            Ok(groups) => (Some(groups.into()), None),
            Err(error) => (before.and_then(|it| it.groups), Some(failure(&error))),
        };
        if remembered.len() >= REMEMBERED_MAX {
            let oldest = remembered.iter().min_by_key(|(_, it)| it.asked).map(|(id, _)| Arc::clone(id));
            oldest.and_then(|id| remembered.remove(&id));
        }
        let id = Arc::clone(&endpoint.id);
        remembered.insert(id, Remembered { endpoint, asked: Instant::now(), groups, failed });
    }

    /// The last good answer, and why there was none since.
    fn of(&self, endpoint: &Endpoint) -> (Option<Arc<[ZoneGroup]>>, Option<Arc<str>>) {
        let remembered = self.0.lock();
        let known = remembered.get(&endpoint.id);
        let failed = known.and_then(|it| it.failed.as_ref()).map(|(why, _)| Arc::clone(why));
        (known.and_then(|it| it.groups.clone()), failed)
    }
}

impl Remembered {
    fn is_good_for(&self, endpoint: &Endpoint, now: Instant) -> bool {
        let is_due = matches!(self.failed, Some((_, Again::NextPass)));
        !is_due && self.endpoint == *endpoint && now - self.asked < ANSWER_AGE_MAX
    }
}

fn failure(error: &AzureError) -> (Arc<str>, Again) {
    match error {
        AzureError::Refused { status: 403, .. } => (format!("the role lacks {RIGHT}").into(), Again::Later),
        _ => (error.to_string().into(), Again::NextPass),
    }
}
