//! Client networks that met a limit of the listeners.

use std::time::Duration;

use crate::admin::{LimitMetReport, LimitWord};
use crate::listen::{Counting, Limit, LimitMet};
use crate::telemetry::when::rfc3339;

/// How long it is told.
const DAY: Duration = Duration::from_secs(86_400);

/// Those of the last day, the heaviest first.
pub(super) fn reports(counting: &Counting) -> Vec<LimitMetReport> {
    counting.limits_met(DAY).iter().map(report).collect()
}

fn report(met: &LimitMet) -> LimitMetReport {
    LimitMetReport {
        network: met.network.to_string(),
        limit: match met.limit {
            Limit::WaitLimit => LimitWord::WaitLimit,
            Limit::Share => LimitWord::Share,
            Limit::Pace => LimitWord::Pace,
        },
        queries: met.messages,
        last: rfc3339(met.last),
    }
}
