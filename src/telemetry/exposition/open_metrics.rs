//! OpenMetrics text, by prometheus-client.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::super::families::{Families, Family, FamilyKind, PREFIX, Value};
use super::super::histogram::BOUNDS_SECS;

/// Labels of series that have no others.
type NoLabels = [(&'static str, &'static str); 0];

pub(super) fn write(families: &Families) -> String {
    let mut registry = Registry::with_prefix(PREFIX.trim_end_matches('_'));
    registry.register_collector(Box::new(Gathered(families.clone())));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes all");
    text
}

#[derive(Debug)]
struct Gathered(Families);

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.0.iter().try_for_each(|family| encode_family(&mut encoder, family))
    }
}

fn encode_family(encoder: &mut DescriptorEncoder, family: &Family) -> fmt::Result {
    let kind = match family.kind {
        FamilyKind::Counter => MetricType::Counter,
        FamilyKind::Gauge => MetricType::Gauge,
        FamilyKind::Histogram => MetricType::Histogram,
    };
    // The crate writes the unit behind the name.
    let units = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];
    let (name, unit) = units
        .into_iter()
        .find_map(|(end, unit)| Some((family.name.strip_suffix(end)?, Some(unit))))
        .unwrap_or((family.name, None));
    let help = format!("{}.", family.help);
    let mut encoder = encoder.encode_descriptor(name, &help, unit.as_ref(), kind)?;
    for series in &family.series {
        match series.labels.as_slice() {
            [] => encode_value(&mut encoder, &series.value)?,
            labels => {
                let labels: Vec<(&str, &str)> =
                    labels.iter().map(|(key, value)| (*key, value.as_str())).collect();
                encode_value(&mut encoder.encode_family(&labels)?, &series.value)?;
            }
        }
    }
    Ok(())
}

fn encode_value(encoder: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Counter(value) => encoder.encode_counter::<NoLabels, _, u64>(value, None),
        Value::Seconds(value) => encoder.encode_counter::<NoLabels, _, f64>(value, None),
        Value::Gauge(value) => encoder.encode_gauge(value),
        Value::Histogram(durations) => {
            let bounds = BOUNDS_SECS.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(durations.classic).collect();
            encoder.encode_histogram::<NoLabels>(durations.sum_secs, durations.count(), &buckets, None)
        }
    }
}
