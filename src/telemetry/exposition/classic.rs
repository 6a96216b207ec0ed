//! Prometheus' text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).

use std::fmt::{self, Write};

use super::super::families::{Families, Family, FamilyKind, Labels, PREFIX, Value};
use super::super::histogram::BOUNDS_SECS;

pub(super) fn write(families: &Families) -> String {
    let mut text = String::new();
    families.iter().try_for_each(|family| write_family(&mut text, family)).expect("a string takes all");
    text
}

fn write_family(out: &mut String, family: &Family) -> fmt::Result {
    let (kind, suffix) = match family.kind {
        FamilyKind::Counter => ("counter", "_total"),
        FamilyKind::Gauge => ("gauge", ""),
        FamilyKind::Histogram => ("histogram", ""),
    };
    let name = format!("{PREFIX}{}{suffix}", family.name);
    writeln!(out, "# HELP {name} {}.", family.help)?;
    writeln!(out, "# TYPE {name} {kind}")?;
    for series in &family.series {
        match &series.value {
            Value::Counter(value) => write_sample(out, &name, &series.labels, None, value)?,
            Value::Seconds(value) | Value::Gauge(value) => {
                write_sample(out, &name, &series.labels, None, value)?
            }
            Value::Histogram(durations) => {
                let mut below = 0;
                let bounds = BOUNDS_SECS.into_iter().map(bound).chain(["+Inf".to_owned()]);
                let buckets = format!("{name}_bucket");
                for (bound, count) in bounds.zip(durations.classic) {
                    below += count;
                    write_sample(out, &buckets, &series.labels, Some(&bound), &below)?;
                }
                write_sample(out, &format!("{name}_sum"), &series.labels, None, &durations.sum_secs)?;
                write_sample(out, &format!("{name}_count"), &series.labels, None, &durations.count())?;
            }
        }
    }
    Ok(())
}

fn write_sample(
    out: &mut String,
    name: &str,
    labels: &Labels,
    bound: Option<&str>,
    value: &dyn fmt::Display,
) -> fmt::Result {
    out.write_str(name)?;
    let labels = labels.iter().map(|(key, value)| (*key, value.as_str()));
    let mut before = '{';
    for (key, value) in labels.chain(bound.map(|bound| ("le", bound))) {
        write!(out, "{before}{key}=\"{}\"", Escaped(value))?;
        before = ',';
    }
    if before == ',' {
        out.write_char('}')?;
    }
    writeln!(out, " {value}")
}

/// A bound as OpenMetrics writes it: the series are the same, whichever format a server asks for.
fn bound(secs: f64) -> String {
    if secs.fract() == 0.0 { format!("{secs:.1}") } else { secs.to_string() }
}

/// A label's value with what would end it escaped.
struct Escaped<'v>(&'v str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => out.write_str("\\\\"),
            '"' => out.write_str("\\\""),
            '\n' => out.write_str("\\n"),
            other => out.write_char(other),
        })
    }
}
