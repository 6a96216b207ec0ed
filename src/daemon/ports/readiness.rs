//! What is not as it should be, of what answers and of its sources.

use crate::admin::{Degraded, DegradedReason};
use crate::forward::Standing;
use crate::respond::Responder;
use crate::sources::{Now, SourceState};

/// What is amiss with sources, the state folder and upstreams.
pub(super) fn degraded(responder: &Responder, now: &Now) -> Vec<Degraded> {
    let mut all = Vec::new();
    for source in &now.sources {
        let known = source.known();
        all.extend(of_source(source.name(), known.read_at.is_some(), known.asked, &known.state));
        if known.held_back().is_some() {
            let detail = "it would withdraw too much, which waits for an operator";
            all.push(Degraded::new(
                DegradedReason::SourceHeldBack,
                format!("sync/{}", source.name()),
                detail,
            ));
        }
    }
    if now.trouble.is_some() {
        let detail = "what is published was not restored, or is not kept for a restart: the log says why";
        all.push(Degraded::new(DegradedReason::StateNotKept, "state_dir", detail));
    }
    let upstreams = responder.serving().forwarder.health();
    if !upstreams.is_empty() && upstreams.iter().all(|it| it.standing != Standing::Up) {
        let detail = "no upstream answers: names that are not served from memory or the cache fail";
        all.push(Degraded::new(DegradedReason::NoUpstream, "forward", detail));
    }
    all
}

fn of_source(name: &str, is_known: bool, is_asked: bool, state: &SourceState) -> Option<Degraded> {
    let (reason, detail) = match state {
        _ if !is_known => {
            (DegradedReason::SourceUnread, "it was not read completely yet: its names are not served")
        }
        // After a restart it is as it was kept until it is asked.
        SourceState::Stale { .. } if is_asked => (
            DegradedReason::SourceStale,
            "it cannot be read now, or only in part: its records stay as they were",
        ),
        _ => return None,
    };
    Some(Degraded::new(reason, format!("sync/{name}"), detail))
}
