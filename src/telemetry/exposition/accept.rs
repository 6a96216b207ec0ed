//! Which format a request's `Accept` prefers.

use super::Format;

/// The format that is named with the greatest weight; the classic one if none is.
pub(super) fn preferred(accept: &str) -> Format {
    let mut best = (0, Format::Classic);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let (media_type, parameters) = (parts.next().unwrap_or_default(), parts.collect::<Vec<_>>());
        let parameter = |key: &str| {
            let mut found = parameters.iter().filter_map(|parameter| parameter.split_once('='));
            found.find(|(name, _)| name.trim().eq_ignore_ascii_case(key)).map(|(_, value)| value.trim())
        };
        let Some(format) = format(media_type, parameter) else { continue };
        let weight = parameter("q").map_or(Some(1000), thousandths).unwrap_or(0);
        if weight > best.0 {
            best = (weight, format);
        }
    }
    best.1
}

fn format<'p>(media_type: &str, parameter: impl Fn(&str) -> Option<&'p str>) -> Option<Format> {
    let is = |key, expected: &[&str]| parameter(key).is_none_or(|value| expected.contains(&value));
    match media_type.to_ascii_lowercase().as_str() {
        "application/openmetrics-text" => is("version", &["1.0.0", "0.0.1"]).then_some(Format::OpenMetrics),
        "application/vnd.google.protobuf" => {
            let is_known =
                is("proto", &["io.prometheus.client.MetricFamily"]) && is("encoding", &["delimited"]);
            is_known.then_some(Format::Protobuf)
        }
        "text/plain" => is("version", &["0.0.4"]).then_some(Format::Classic),
        "text/*" | "*/*" => Some(Format::Classic),
        _ => None,
    }
}

/// A weight such as `0.75`.
fn thousandths(weight: &str) -> Option<u32> {
    let weight: f64 = weight.parse().ok()?;
    (0.0..=1.0).contains(&weight).then_some((weight * 1000.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_scrapers_send_gets_what_they_prefer() {
        for (accept, format) in [
            // Prometheus 2.42.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            // The same with native histograms.
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::Protobuf,
            ),
            // Prometheus 3 names escapings.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            ("*/*", Format::Classic),
            ("text/html,application/xhtml+xml", Format::Classic),
            ("text/plain; version=0.0.4", Format::Classic),
            ("application/openmetrics-text; q=0, text/plain; q=0.1", Format::Classic),
            ("application/vnd.google.protobuf;proto=other.Family;encoding=delimited", Format::Classic),
            ("application/openmetrics-text;q=nonsense", Format::Classic),
            ("", Format::Classic),
        ] {
            assert_eq!(preferred(accept), format, "{accept}");
        }
    }
}
