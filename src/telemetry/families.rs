//! The numbers of one moment, family by family, before they are written in one of Prometheus' formats.

use super::histogram::Durations;

/// What every name begins with.
pub const PREFIX: &str = "privatelink_dns_";

/// All numbers of one moment.
#[derive(Clone, Debug, Default)]
pub struct Families {
    told: Vec<Family>,
    audience: Audience,
}

/// Who reads the numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// Whoever reaches the listener: the names of zones are not for them.
    #[default]
    Anyone,
    /// Who may read all that is served here.
    Readers,
}

/// Numbers of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without [`PREFIX`], and a counter's without `_total`; with its unit.
    pub name: &'static str,
    /// One sentence without its full stop.
    pub help: &'static str,
    pub kind: FamilyKind,
    /// None has the labels of another.
    pub series: Vec<Series>,
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub labels: Labels,
    pub value: Value,
}

/// Names and values; nothing that clients choose stands in them.
pub type Labels = Vec<(&'static str, String)>;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Counter(u64),
    /// A counter of seconds.
    Seconds(f64),
    Gauge(f64),
    /// In seconds.
    Histogram(Box<Durations>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// It only grows.
    Counter,
    Gauge,
    Histogram,
}

impl Families {
    /// None yet, for these readers.
    pub fn new(audience: Audience) -> Families {
        Families { told: Vec::new(), audience }
    }

    /// Whether names of zones may stand in labels.
    pub fn names_zones(&self) -> bool {
        self.audience == Audience::Readers
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.counters(name, help, [(Vec::new(), value)]);
    }

    /// A counter of seconds; its name ends with `_seconds`.
    pub fn counter_secs(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.put(name, help, FamilyKind::Counter, [(Vec::new(), Value::Seconds(value))].into_iter());
    }

    /// A gauge without labels; its name ends with the unit.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.gauges(name, help, [(Vec::new(), value)]);
    }

    /// Whether something is so.
    pub fn flag(&mut self, name: &'static str, help: &'static str, is_so: bool) {
        self.gauge(name, help, f64::from(u8::from(is_so)));
    }

    /// Counters by labels.
    pub fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        series: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let series = series.into_iter().map(|(labels, value)| (labels, Value::Counter(value)));
        self.put(name, help, FamilyKind::Counter, series);
    }

    /// Gauges by labels.
    pub fn gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        series: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        let series = series.into_iter().map(|(labels, value)| (labels, Value::Gauge(value)));
        self.put(name, help, FamilyKind::Gauge, series);
    }

    /// Histograms by labels; the name ends with `_seconds`.
    pub fn histograms(
        &mut self,
        name: &'static str,
        help: &'static str,
        series: impl IntoIterator<Item = (Labels, Durations)>,
    ) {
        let series =
            series.into_iter().map(|(labels, durations)| (labels, Value::Histogram(Box::new(durations))));
        self.put(name, help, FamilyKind::Histogram, series);
    }

    /// All families in the order in which they were told.
    pub fn iter(&self) -> impl Iterator<Item = &Family> {
        self.told.iter()
    }

    fn put(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: FamilyKind,
        series: impl Iterator<Item = (Labels, Value)>,
    ) {
        debug_assert!(self.told.iter().all(|family| family.name != name), "{name} is told twice");
        debug_assert!(!name.ends_with("_total"), "{name} gets its _total when it is written");
        let help = help.trim().trim_end_matches('.');
        let series: Vec<Series> = series.map(|(labels, value)| Series { labels, value }).collect();
        // A family without series would be a name that nothing stands under.
        if !series.is_empty() {
            self.told.push(Family { name, help, kind, series });
        }
    }
}

/// The labels of a series with one.
pub fn label(key: &'static str, value: impl Into<String>) -> Labels {
    vec![(key, value.into())]
}
