//! How long things took: a histogram that Prometheus reads as a classic and as a native one.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the classic buckets, in seconds: from memory, from a near upstream, from a far one, too late.
pub const BOUNDS_SECS: [f64; 14] =
    [0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.0, 5.0];

/// Resolution of the native histogram: each bucket's bound is 2^(2^-3) times that of the one before.
pub const SCHEMA: i32 = 3;

/// Native buckets for each power of two.
const PER_OCTAVE: usize = 1 << SCHEMA;

/// 2^(k/8): where the native buckets between two powers of two begin.
const MANTISSAS: [f64; PER_OCTAVE] = [
    1.0,
    1.090_507_732_665_257_7,
    1.189_207_115_002_721,
    1.296_839_554_651_009_6,
    std::f64::consts::SQRT_2,
    1.542_210_825_407_940_7,
    1.681_792_830_507_429_2,
    1.834_008_086_409_342_4,
];

/// The native bucket of what took no longer than a microsecond, 2^-20 s.
const FIRST: i32 = -20 * PER_OCTAVE as i32;

/// Up to 2^5 s; what took longer is counted in the last.
const NATIVE: usize = 25 * PER_OCTAVE;

/// Counts durations.
#[derive(Debug)]
pub struct Histogram {
    /// The last is of those beyond all bounds.
    classic: [AtomicU64; BOUNDS_SECS.len() + 1],
    native: [AtomicU64; NATIVE],
    nanos: AtomicU64,
}

/// What a histogram, or several together, have counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Durations {
    pub sum_secs: f64,
    pub classic: [u64; BOUNDS_SECS.len() + 1],
    /// From the bucket that ends at 2^-20 s.
    native: [u64; NATIVE],
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            classic: array::from_fn(|_| AtomicU64::default()),
            native: array::from_fn(|_| AtomicU64::default()),
            nanos: AtomicU64::default(),
        }
    }
}

impl Histogram {
    /// Counts what took `took`, so many times; any thread may.
    pub fn add(&self, took: Duration, times: u64) {
        self.count(took, times, |counter, count| {
            counter.fetch_add(count, Ordering::Relaxed);
        });
    }

    /// The same where one thread alone counts: nothing is locked.
    pub fn add_alone(&self, took: Duration, times: u64) {
        self.count(took, times, add_alone);
    }

    fn count(&self, took: Duration, times: u64, add: impl Fn(&AtomicU64, u64)) {
        let secs = took.as_secs_f64();
        let bound = BOUNDS_SECS.iter().position(|bound| secs <= *bound).unwrap_or(BOUNDS_SECS.len());
        add(&self.classic[bound], times);
        add(&self.native[native_bucket(secs)], times);
        add(&self.nanos, (took.as_nanos() as u64).saturating_mul(times));
    }
}

/// Adds to a number that no other thread writes.
pub fn add_alone(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

/// Adds each count to its sum.
pub fn add_all(sums: &mut [u64], counts: &[AtomicU64]) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count.load(Ordering::Relaxed));
}

/// Leaves of each sum what came after an earlier one.
pub fn subtract_all(sums: &mut [u64], earlier: &[u64]) {
    sums.iter_mut().zip(earlier).for_each(|(sum, earlier)| *sum = sum.saturating_sub(*earlier));
}

/// The place of the native bucket: above the bound before, up to its own.
fn native_bucket(secs: f64) -> usize {
    let bits = secs.to_bits();
    let exponent = (bits >> 52) as i32 - 1023;
    let mantissa = f64::from_bits(bits & !(0x7FF << 52) | 1023 << 52);
    let within = MANTISSAS.iter().filter(|begin| **begin < mantissa).count();
    let bucket = exponent * PER_OCTAVE as i32 + within as i32;
    (bucket - FIRST).clamp(0, NATIVE as i32 - 1) as usize
}

impl Default for Durations {
    fn default() -> Durations {
        Durations { sum_secs: 0.0, classic: Default::default(), native: [0; NATIVE] }
    }
}

impl Durations {
    /// Adds what a histogram has counted so far.
    pub fn add(&mut self, histogram: &Histogram) {
        add_all(&mut self.classic, &histogram.classic);
        add_all(&mut self.native, &histogram.native);
        self.sum_secs += histogram.nanos.load(Ordering::Relaxed) as f64 / 1e9;
    }

    /// What was counted after `earlier`, which are of the same histograms.
    pub fn since(mut self, earlier: &Durations) -> Durations {
        subtract_all(&mut self.classic, &earlier.classic);
        subtract_all(&mut self.native, &earlier.native);
        self.sum_secs -= earlier.sum_secs;
        self
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.classic.iter().sum()
    }

    /// The native buckets that are not empty, by their number in the schema, upwards.
    pub fn native(&self) -> impl Iterator<Item = (i32, u64)> {
        let buckets = self.native.iter().enumerate().filter(|(_, count)| **count > 0);
        buckets.map(|(place, count)| (FIRST + place as i32, *count))
    }

    /// The duration that this part of all took at most, in seconds; none if there were none.
    ///
    /// It is right to a native bucket, a tenth.
    pub fn quantile_secs(&self, part: f64) -> Option<f64> {
        let wanted = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let (bucket, _) = self.native().find(|(_, count)| {
            seen += count;
            seen >= wanted
        })?;
        Some((f64::from(bucket) / PER_OCTAVE as f64).exp2())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durations(of: &[(u64, u64)]) -> Durations {
        let histogram = Histogram::default();
        of.iter().for_each(|(nanos, times)| histogram.add(Duration::from_nanos(*nanos), *times));
        let mut durations = Durations::default();
        durations.add(&histogram);
        durations
    }

    #[test]
    fn a_duration_is_counted_in_both_kinds_of_buckets() {
        // 10 µs lie on a bound, which is its bucket's own; 2^-10 s too.
        let durations = durations(&[(10_000, 2), (976_562, 1), (1_500_000_000, 1), (90_000_000_000, 1)]);
        assert_eq!(durations.count(), 5);
        assert_eq!((durations.classic[0], durations.classic[4], durations.classic[12]), (2, 1, 1));
        assert_eq!(durations.classic[BOUNDS_SECS.len()], 1);
        assert!((durations.sum_secs - 91.500_996_562).abs() < 1e-9);
        let log = |secs: f64| (secs.log2() * 8.0).ceil() as i32;
        let expected = [(log(1e-5), 2), (log(976_562e-9), 1), (log(1.5), 1), (FIRST + NATIVE as i32 - 1, 1)];
        assert_eq!(durations.native().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn each_native_bucket_ends_at_its_bound() {
        for bucket in FIRST..FIRST + NATIVE as i32 {
            let bound = (f64::from(bucket) / 8.0).exp2();
            let place = (bucket - FIRST) as usize;
            assert_eq!(native_bucket(bound * 0.999), place, "below {bound}");
            assert_eq!(native_bucket(bound * 1.001), (place + 1).min(NATIVE - 1), "above {bound}");
        }
        assert_eq!((native_bucket(0.0), native_bucket(1.0)), (0, 160));
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let (durations, early) =
            (durations(&[(1_000_000, 98), (400_000_000, 2)]), durations(&[(1_000_000, 98)]));
        let (half, most) = (durations.quantile_secs(0.5).unwrap(), durations.quantile_secs(0.99).unwrap());
        assert!((0.001..0.0011).contains(&half), "{half}");
        assert!((0.4..0.44).contains(&most), "{most}");
        assert_eq!(Durations::default().quantile_secs(0.5), None);
        let late = durations.clone().since(&early);
        assert_eq!((late.count(), late.quantile_secs(0.01)), (2, durations.quantile_secs(0.99)));
    }
}
