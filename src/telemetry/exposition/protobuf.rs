//! Prometheus' protobuf format, `io.prometheus.client.MetricFamily` messages with their lengths.
//!
//! prometheus-client has it behind a feature that compiles the schema, with protoc or some twenty-five crates more; of
//! the schema (prometheus/client_model, metrics.proto) this needs little.

use prost::Message;

use super::super::families::{Families, Family, FamilyKind, PREFIX, Value};
use super::super::histogram::{BOUNDS_SECS, Durations, SCHEMA};

#[derive(Clone, PartialEq, Message)]
pub(super) struct MetricFamily {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(enumeration = "MetricType", tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    pub metric: Vec<Metric>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 4,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "7")]
    pub histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// Counters and gauges look alike.
#[derive(Clone, Copy, PartialEq, Message)]
struct Number {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Histogram {
    #[prost(uint64, tag = "1")]
    pub sample_count: u64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(message, repeated, tag = "3")]
    pub bucket: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    pub schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(message, repeated, tag = "12")]
    pub positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "13")]
    pub positive_delta: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Bucket {
    #[prost(uint64, tag = "1")]
    pub cumulative_count: u64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
}

/// Native buckets in a row.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct BucketSpan {
    /// The number of the first span's first bucket; of others how many buckets lie before them.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

pub(super) fn write(families: &Families) -> Vec<u8> {
    let mut bytes = Vec::new();
    for family in families.iter() {
        family_of(family).encode_length_delimited(&mut bytes).expect("a vector takes all");
    }
    bytes
}

/// What was written.
#[cfg(test)]
pub(super) fn read(mut bytes: &[u8]) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    while !bytes.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut bytes).unwrap());
    }
    families
}

fn family_of(family: &Family) -> MetricFamily {
    let (kind, suffix) = match family.kind {
        FamilyKind::Counter => (MetricType::Counter, "_total"),
        FamilyKind::Gauge => (MetricType::Gauge, ""),
        FamilyKind::Histogram => (MetricType::Histogram, ""),
    };
    let metric = family.series.iter().map(|series| {
        let labels = series.labels.iter();
        let label = labels.map(|(name, value)| LabelPair { name: (*name).to_owned(), value: value.clone() });
        let mut metric = Metric { label: label.collect(), ..Metric::default() };
        match &series.value {
            Value::Counter(value) => metric.counter = Some(Number { value: *value as f64 }),
            Value::Seconds(value) => metric.counter = Some(Number { value: *value }),
            Value::Gauge(value) => metric.gauge = Some(Number { value: *value }),
            Value::Histogram(durations) => metric.histogram = Some(histogram_of(durations)),
        }
        metric
    });
    MetricFamily {
        name: format!("{PREFIX}{}{suffix}", family.name),
        help: format!("{}.", family.help),
        kind: kind.into(),
        metric: metric.collect(),
    }
}

fn histogram_of(durations: &Durations) -> Histogram {
    let mut cumulative_count = 0;
    let bucket = BOUNDS_SECS.into_iter().chain([f64::INFINITY]).zip(durations.classic);
    let bucket = bucket.map(|(upper_bound, count)| {
        cumulative_count += count;
        Bucket { cumulative_count, upper_bound }
    });
    let bucket = bucket.collect();
    let (mut positive_span, mut positive_delta): (Vec<BucketSpan>, Vec<i64>) = Default::default();
    let (mut next, mut before) = (0, 0);
    for (number, count) in durations.native() {
        match positive_span.last_mut() {
            Some(span) if number == next => span.length += 1,
            _ => positive_span.push(BucketSpan { offset: number - next, length: 1 }),
        }
        positive_delta.push(count as i64 - before);
        (next, before) = (number + 1, count as i64);
    }
    if positive_span.is_empty() {
        // Without any span Prometheus would take it for a classic histogram.
        positive_span.push(BucketSpan { offset: 0, length: 0 });
    }
    Histogram {
        sample_count: durations.count(),
        sample_sum: durations.sum_secs,
        bucket,
        schema: SCHEMA,
        // Nothing is counted as zero.
        zero_threshold: f64::MIN_POSITIVE,
        positive_span,
        positive_delta,
    }
}
