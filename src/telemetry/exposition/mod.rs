//! The formats in which Prometheus reads numbers.

mod accept;
mod classic;
mod open_metrics;
mod protobuf;

use super::families::Families;

/// A format that Prometheus reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text of old, for whoever names no other.
    Classic,
    /// OpenMetrics text.
    OpenMetrics,
    /// Prometheus' protobuf messages, each behind its length; it alone has native histograms.
    Protobuf,
}

impl Format {
    pub const ALL: [Format; 3] = [Format::Classic, Format::OpenMetrics, Format::Protobuf];

    /// The format that a request's `Accept` prefers (RFC 9110 §12.5.1).
    pub fn accepted(accept: Option<&str>) -> Format {
        accept.map_or(Format::Classic, accept::preferred)
    }

    /// The value of `Content-Type`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Format::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// Writes numbers in a format.
pub fn write(families: &Families, format: Format) -> Vec<u8> {
    match format {
        Format::Classic => classic::write(families).into_bytes(),
        Format::OpenMetrics => open_metrics::write(families).into_bytes(),
        Format::Protobuf => protobuf::write(families),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::histogram::{Durations, Histogram};
    use super::*;
    use crate::telemetry::families::label;

    /// A family of each kind.
    fn families() -> Families {
        let histogram = Histogram::default();
        histogram.add(Duration::from_micros(3), 2);
        histogram.add(Duration::from_millis(20), 1);
        let mut durations = Durations::default();
        durations.add(&histogram);
        let mut families = Families::default();
        families.counters(
            "doors",
            " Doors by \"kind\".",
            [(label("kind", "a\\b\"c\n"), 3), (label("kind", "z"), 0)],
        );
        families.gauge("size_bytes", " Size.", 1.5);
        families.histograms("wait_seconds", " Time.", [(label("path", "cached"), durations)]);
        families
    }

    #[test]
    fn the_classic_text_is_as_prometheus_reads_it() {
        let text = String::from_utf8(write(&families(), Format::Classic)).unwrap();
        let begin = "# HELP privatelink_dns_doors_total Doors by \"kind\".\n\
            # TYPE privatelink_dns_doors_total counter\n\
            privatelink_dns_doors_total{kind=\"a\\\\b\\\"c\\n\"} 3\n\
            privatelink_dns_doors_total{kind=\"z\"} 0\n\
            # HELP privatelink_dns_size_bytes Size.\n\
            # TYPE privatelink_dns_size_bytes gauge\n\
            privatelink_dns_size_bytes 1.5\n\
            # HELP privatelink_dns_wait_seconds Time.\n\
            # TYPE privatelink_dns_wait_seconds histogram\n\
            privatelink_dns_wait_seconds_bucket{path=\"cached\",le=\"0.00001\"} 2\n";
        assert!(text.starts_with(begin), "{text}");
        let end = "privatelink_dns_wait_seconds_bucket{path=\"cached\",le=\"5.0\"} 3\n\
            privatelink_dns_wait_seconds_bucket{path=\"cached\",le=\"+Inf\"} 3\n\
            privatelink_dns_wait_seconds_sum{path=\"cached\"} 0.020006\n\
            privatelink_dns_wait_seconds_count{path=\"cached\"} 3\n";
        assert!(text.ends_with(end), "{text}");
        assert!(!text.contains("# EOF"));
    }

    #[test]
    fn open_metrics_text_ends_as_it_must() {
        let text = String::from_utf8(write(&families(), Format::OpenMetrics)).unwrap();
        assert!(text.contains("# TYPE privatelink_dns_doors counter\n"), "{text}");
        assert!(text.contains("privatelink_dns_doors_total{kind=\"a\\\\b\\\"c\\n\"} 3\n"), "{text}");
        assert!(
            text.contains(
                "# TYPE privatelink_dns_wait_seconds histogram\n# UNIT privatelink_dns_wait_seconds seconds\n"
            ),
            "{text}"
        );
        assert!(
            text.contains("privatelink_dns_wait_seconds_bucket{le=\"+Inf\",path=\"cached\"} 3\n"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn protobuf_has_native_histograms_beside_the_classic_ones() {
        let read = protobuf::read(&write(&families(), Format::Protobuf));
        let names: Vec<&str> = read.iter().map(|family| family.name.as_str()).collect();
        assert_eq!(
            names,
            ["privatelink_dns_doors_total", "privatelink_dns_size_bytes", "privatelink_dns_wait_seconds"]
        );
        let histogram = read[2].metric[0].histogram.as_ref().unwrap();
        assert_eq!((histogram.sample_count, histogram.schema), (3, 3));
        // ⌈8 log2 3 µs⌉ and ⌈8 log2 20 ms⌉, the second far behind the first.
        let spans: Vec<_> = histogram.positive_span.iter().map(|span| (span.offset, span.length)).collect();
        assert_eq!(spans, [(-146, 1), (100, 1)]);
        assert_eq!(histogram.positive_delta, [2, -1]);
        assert_eq!(histogram.bucket.last().unwrap().cumulative_count, 3);
    }
}
