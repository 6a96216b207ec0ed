//! Whether the servers of delegations that are followed answer for what is left to them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Finding, NAMES_AT_ONCE};
use crate::commands::delegations::followed;
use crate::config::Config;
use crate::daemon::Parts;
use crate::dns::{Message, Name, QueryFlags, Rcode, RecordType, message};
use crate::forward::Asker;
use crate::respond::{Client, Missing, Responder, Transport};
use crate::telemetry::command;

/// Asks the servers of each delegation for the SOA of its domain, as a client of a network that sees the zone.
pub(super) async fn of_servers(config: &Config, parts: &Parts) -> Vec<Finding> {
    let snapshot = parts.store.snapshot();
    let permits = Arc::new(Semaphore::new(NAMES_AT_ONCE));
    let mut questions = JoinSet::new();
    for (zone, cut) in followed(config, &snapshot) {
        let seen_by = zone.header().networks.first();
        let network = config.networks.iter().find(|network| Some(&network.name) == seen_by);
        let client = network.and_then(|network| network.clients.first()).map(ipnet::IpNet::addr);
        // The client that asks about a zone that all see must be allowed, and belong to no network.
        let client = client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let (responder, permits) = (Arc::clone(&parts.responder), Arc::clone(&permits));
        let zone = zone.apex().clone();
        questions.spawn(async move {
            let _permit = permits.acquire().await;
            let why = asked(&responder, &cut, client).await;
            (zone, cut, client, why)
        });
    }
    let mut answers = questions.join_all().await;
    answers.sort_by(|(_, one, ..), (_, other, ..)| one.cmp(other));
    let finding = |(zone, cut, client, why): (Name, Name, IpAddr, Result<(), String>)| match why {
        Ok(()) => Finding::well(format!("the servers of {cut}, which zone {zone} delegates, answer")),
        Err(why) => Finding::wrong(
            format!("zone {zone} delegates {cut}, and its servers do not answer: {why}"),
            format!(
                "see that they serve {cut} at port 53, that {zone} has their addresses, and what {} tells",
                command(format_args!("explain {cut} SOA --client {client}"))
            ),
        ),
    };
    answers.into_iter().map(finding).collect()
}

async fn asked(responder: &Arc<Responder>, cut: &Name, client: IpAddr) -> Result<(), String> {
    let client = Client::new(SocketAddr::new(client, 0), Transport::Tcp);
    let question = message::query(0, cut.borrow(), RecordType::SOA, QueryFlags::default(), true);
    let reply = Arc::clone(responder).answer(question, client, Asker::Server, Missing::UNKNOWN).await;
    let reply = reply.and_then(|reply| Message::read(&reply).ok()).ok_or("there is no answer")?;
    let has_soa = reply.answer.iter().any(|record| record.rtype == RecordType::SOA);
    match (reply.rcode, has_soa) {
        (Rcode::NOERROR, true) => Ok(()),
        (Rcode::NOERROR, false) => Err("they say that it has no SOA record".to_owned()),
        (rcode, _) => {
            let reason = reply.extended_error.map(|(_, text)| format!(", {text}")).unwrap_or_default();
            Err(format!("{rcode}{reason}"))
        }
    }
}
