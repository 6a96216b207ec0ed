//! What clients ask now: rates since an earlier look, and what most queries are of.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::admin::{BusiestReport, ClientCount, NameCount, PathReport, TopReport};
use crate::dns::Name;
use crate::observe::{AnswerPath, Busiest};
use crate::respond::Totals;
use crate::telemetry::Durations;

/// Rates are of as long.
const SPAN: Duration = Duration::from_secs(10);

/// Looks that are closer together are one: however many look, few totals are held.
const LOOKS_APART: Duration = Duration::from_secs(1);

/// What was counted at the looks of the last seconds.
#[derive(Default)]
pub(super) struct Looks(Mutex<VecDeque<(Instant, Totals)>>);

impl Looks {
    /// Looks at what was counted up to now.
    pub(super) fn look(&self, now: Instant, totals: Totals, busiest: Busiest) -> TopReport {
        let mut looks = self.0.lock();
        let is_old = |at: Instant| now.saturating_duration_since(at) > SPAN;
        while looks.front().is_some_and(|(at, _)| is_old(*at)) {
            looks.pop_front();
        }
        let (since, earlier) = looks.front().cloned().unwrap_or_else(|| (now, totals.clone()));
        if looks.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= LOOKS_APART) {
            looks.push_back((now, totals.clone()));
        }
        drop(looks);
        report(now.saturating_duration_since(since), &totals.since(&earlier), busiest)
    }
}

fn report(over: Duration, counted: &Totals, busiest: Busiest) -> TopReport {
    let rate = |count: u64| if over.is_zero() { 0.0 } else { count as f64 / over.as_secs_f64() };
    let mut report = TopReport { over_secs: over.as_secs_f64(), ..TopReport::default() };
    for ([transport, _], _, count) in counted.requests() {
        *report.transports.entry(transport.to_owned()).or_default() += rate(count);
    }
    report.queries_per_second = report.transports.values().sum();
    for (rcode, _, count) in counted.responses().filter(|(_, _, count)| *count > 0) {
        *report.rcodes.entry(rcode).or_default() += rate(count);
    }
    let path = |(path, durations): (AnswerPath, &Durations)| PathReport {
        path: path.word().to_owned(),
        replies_per_second: rate(durations.count()),
        median_secs: durations.quantile_secs(0.5),
        p99_secs: durations.quantile_secs(0.99),
    };
    report.paths = counted.durations().map(path).collect();
    let Busiest { length, queries, names, clients } = busiest;
    let name = |(name, queries): (Name, u64)| NameCount { name: name.to_string(), queries };
    report.busiest = BusiestReport {
        over_secs: length.as_secs_f64(),
        queries,
        names: names.into_iter().map(name).collect(),
        clients: clients
            .into_iter()
            .map(|(address, queries)| ClientCount { address: address.to_canonical(), queries })
            .collect(),
    };
    report
}
