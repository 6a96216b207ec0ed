//! Questions that servers of a delegation are asked: who they are, and where those are that lie elsewhere.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;

use super::responder::{Serving, told};
use crate::answer::{self, Chase, Freshness, Part, Recursion, Relayed, Step};
use crate::cache::{Lookup, Manner};
use crate::dns::{Name, NameBuf, NameRef, QueryFlags, Question, RecordType, rdata};
use crate::forward::{Asker, Cut, Delegation, NameServer, Outcome, Quest, ServerAddresses};
use crate::zone::{Snapshot, ViewId, Zone};

/// Finds addresses of name servers as a client of a view would: in zones of ours, by the rules, below delegations.
pub(super) struct OwnAnswers {
    snapshot: Arc<Snapshot>,
    serving: Arc<Serving>,
    view: ViewId,
    asker: Asker,
}

impl OwnAnswers {
    pub(super) fn new(
        snapshot: &Arc<Snapshot>,
        serving: &Arc<Serving>,
        view: ViewId,
        asker: Asker,
    ) -> Arc<OwnAnswers> {
        Arc::new(OwnAnswers { snapshot: snapshot.clone(), serving: serving.clone(), view, asker })
    }

    /// What the servers of a delegation say to a chase's current name.
    pub(super) async fn ask(
        self: Arc<Self>,
        delegation: Arc<Delegation>,
        question: Question,
        flags: QueryFlags,
        quest: Quest,
    ) -> Outcome {
        let (forwarder, asker) = (self.serving.forwarder.clone(), self.asker);
        forwarder.ask_delegated(delegation, question, flags, self, quest, asker).await
    }

    async fn addresses_of(self: Arc<Self>, server: Name, rtype: RecordType, quest: Quest) -> Vec<IpAddr> {
        let OwnAnswers { snapshot, serving, view, asker } = &*self;
        let flags = QueryFlags::default();
        let name = server.borrow().to_buf();
        let mut chase = Chase::new(snapshot, &serving.rules, *view, name, rtype, Recursion::Desired);
        let mut step = chase.run();
        while step == Step::Ask {
            let delegation = serving.delegation(&chase, snapshot);
            let manner = delegation
                .as_ref()
                .map_or_else(|| Manner::from(flags), |delegation| delegation.manner(flags));
            let question = chase.question();
            let relayed = match serving.cache.get(chase.current(), rtype, manner, Instant::now()) {
                Lookup::Fresh(hit) => Relayed {
                    reply: hit.reply,
                    age_secs: hit.age_secs,
                    freshness: Freshness::Fresh,
                    life: Some(hit.life),
                },
                Lookup::Stale { .. } | Lookup::Miss => {
                    let outcome = match delegation {
                        Some(delegation) => {
                            self.clone().ask(delegation, question, flags, quest.clone()).await
                        }
                        None => serving.forwarder.ask(question, flags, *asker).await,
                    };
                    told(outcome, &mut chase)
                }
            };
            step = chase.feed(relayed);
        }
        addresses_in(&chase, rtype)
    }
}

impl ServerAddresses for OwnAnswers {
    fn addresses(
        self: Arc<Self>,
        server: Name,
        quest: Quest,
    ) -> Pin<Box<dyn Future<Output = Vec<IpAddr>> + Send>> {
        Box::pin(async move {
            let (mut v4, v6) = tokio::join!(
                self.clone().addresses_of(server.clone(), RecordType::A, quest.clone()),
                self.clone().addresses_of(server.clone(), RecordType::AAAA, quest),
            );
            v4.extend(v6);
            v4
        })
    }
}

impl Serving {
    /// The delegation whose servers a chase asks next; none if it asks by the rules.
    pub(super) fn delegation(&self, chase: &Chase<'_>, snapshot: &Snapshot) -> Option<Arc<Delegation>> {
        let delegation = chase.delegation()?;
        Some(self.forwarder.delegation(cut_of(delegation, chase.view(), snapshot)))
    }
}

/// A delegation of a zone as the forwarder takes it.
pub(super) fn cut_of(delegation: &answer::Delegation<'_>, view: ViewId, snapshot: &Snapshot) -> Cut {
    let answer::Delegation { cut, servers, zone } = delegation;
    let names = servers.set.records().filter_map(|data| Some(NameBuf::read_plain(data, 0).ok()?.0));
    let servers: Vec<NameServer> = names
        .map(|name| NameServer { name: name.to_name(), addresses: glue(zone, name.borrow(), view) })
        .collect();
    let are_all_here = servers.iter().all(|server| !server.addresses.is_empty());
    let seen_by = snapshot.networks().name(view).filter(|_| !are_all_here).cloned();
    Cut { domain: cut.to_name(), servers, seen_by }
}

/// The addresses that a zone has of a server.
fn glue(zone: &Zone, server: NameRef<'_>, view: ViewId) -> Vec<IpAddr> {
    let Some(node) = zone.node(server).filter(|_| server.is_within(zone.apex().borrow())) else {
        return Vec::new();
    };
    let slots = [RecordType::A, RecordType::AAAA].into_iter().filter_map(|rtype| node.slot(rtype));
    slots.flat_map(|slot| slot.served(view).set.records().filter_map(rdata::address)).collect()
}

/// The addresses that an answer ends with.
fn addresses_in(chase: &Chase<'_>, rtype: RecordType) -> Vec<IpAddr> {
    let end = chase.current();
    let mut addresses = Vec::new();
    for part in chase.parts() {
        match part {
            Part::Local { owner, offer, .. } if chase.name(*owner) == end && offer.set.rtype == rtype => {
                addresses.extend(offer.set.records().filter_map(rdata::address));
            }
            Part::Upstream { relayed, records } => {
                let records = relayed.reply.answer[records.clone()].iter();
                let of_end = records.filter(|record| record.owner() == end && record.rtype == rtype);
                addresses.extend(of_end.filter_map(|record| rdata::address(&record.data)));
            }
            _ => {}
        }
    }
    addresses
}
