//! What the sources tell `/metrics`.

use super::known::SourceState;
use super::{Shared, Source};
use crate::telemetry::{Families, Labels, Measured, label};

/// Subscriptions of one source with a series of their own; who cannot list thousands has one cause for all.
const SUBSCRIPTIONS_SHOWN_MAX: usize = 100;

impl Measured for Shared {
    fn measure(&self, families: &mut Families) {
        let now = self.now();
        let known: Vec<_> = now.sources.iter().map(|source| (source, source.known())).collect();
        let of = |source: &Source| label("source", source.name());
        let states = known.iter().flat_map(|(source, known)| {
            let current = known.state.word();
            SourceState::WORDS.map(|word| {
                let labels = vec![("source", source.name().to_owned()), ("state", word.to_owned())];
                (labels, f64::from(u8::from(word == current)))
            })
        });
        families.gauges("source_state", "1 at the state of a source, 0 at the others", states);
        let ages = known.iter().filter_map(|(source, known)| {
            let age = known.read_at?.elapsed().unwrap_or_default();
            Some((of(source), age.as_secs_f64()))
        });
        families.gauges("source_age_seconds", "Time since a source was last listed whole", ages);
        let names = known.iter().map(|(source, known)| (of(source), known.names() as f64));
        families.gauges("source_names", "Names that a source publishes", names);
        let not_served = known.iter().map(|(source, known)| (of(source), known.not_served.len() as f64));
        families.gauges(
            "source_names_not_served",
            "Names of a source that no zone is served for",
            not_served,
        );
        let held_back = known
            .iter()
            .map(|(source, known)| (of(source), known.held_back().map_or(0, |it| it.would_withdraw) as f64));
        let about = "Names whose withdrawal waits for an operator";
        families.gauges("source_held_back_names", about, held_back);
        let failing = known.iter().map(|(source, known)| (of(source), known.failing.len() as f64));
        families.gauges(
            "source_failing",
            "Subscriptions and zones of a source that cannot be listed",
            failing,
        );
        let by_subscription = |source: &Source, subscription: &str| -> Labels {
            vec![("source", source.name().to_owned()), ("subscription", subscription.to_owned())]
        };
        let failing = known.iter().flat_map(|(source, known)| {
            let shown = known.failing.keys().take(SUBSCRIPTIONS_SHOWN_MAX);
            shown.map(|subscription| (by_subscription(source, subscription), 1.0))
        });
        let about = "1 for each subscription or zone that cannot be listed";
        families.gauges("sync_failing", about, failing);
        let held_back = known.iter().flat_map(|(source, known)| {
            let parts = known.held_back().into_iter().flat_map(|it| &it.parts).take(SUBSCRIPTIONS_SHOWN_MAX);
            parts.map(|it| (by_subscription(source, &it.subscription), it.would_withdraw as f64))
        });
        let about = "Record sets of a subscription whose withdrawal waits for an operator";
        families.gauges("sync_held_back_record_sets", about, held_back);
        families.gauge("sync_conflicts", "Names that private endpoints contest", now.log.conflicts() as f64);
        let about = "Record sets of private DNS zones that contradict the endpoints";
        families.gauge("sync_drift", about, now.log.drift(0).0 as f64);
        let about = "1 if this instance lists Azure, 0 if it follows another that does";
        families.flag("sync_listing", about, self.roles().is_listing());
        let about = "1 if the last good state cannot be read or kept";
        families.flag("state_unusable", about, now.trouble.is_some());
    }
}
