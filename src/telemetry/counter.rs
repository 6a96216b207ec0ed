//! Counters that many threads may raise at once, and sets of them that tell their own names.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
// Processors fetch cache lines in pairs: 128 bytes keep two counters from slowing each other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero, also for statics.
    pub const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    /// Raises it by `count`.
    pub fn add(&self, count: u64) {
        if count > 0 {
            // Nothing else is ordered by a counter.
            self.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Declares counters that belong together, and `/metrics` has them all.
///
/// `struct Counters => Counts in "cache" { /// Help. hits, }` makes `Counters` with one [`Counter`] a field, and `Counts`
/// with what they had counted at one moment. `Counts::measure` writes them as `cache_hits`, with the field's
/// documentation as help.
#[macro_export]
macro_rules! counters {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $counters:ident => $counts:ident in $prefix:literal {
            $($(#[doc = $help:literal])+ $name:ident,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Default)]
        $vis struct $counters { $($(#[doc = $help])+ pub $name: $crate::telemetry::Counter,)+ }

        /// What was counted at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $vis struct $counts { $($(#[doc = $help])+ pub $name: u64,)+ }

        impl $counters {
            /// What was counted so far.
            pub fn counts(&self) -> $counts {
                let mut counts = $counts::default();
                counts.add(self);
                counts
            }
        }

        impl $counts {
            /// Adds what others have counted so far.
            pub fn add(&mut self, counters: &$counters) {
                $(self.$name += counters.$name.value();)+
            }

            /// Writes each as a family of its own.
            pub fn measure(&self, families: &mut $crate::telemetry::Families) {
                $(families.counter(
                    concat!($prefix, "_", stringify!($name)),
                    concat!($($help),+),
                    self.$name,
                );)+
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Families, Value};

    counters! {
        pub(super) struct Doors => DoorCounts in "doors" {
            /// Doors that
            /// were opened.
            opened,
            /// Doors that were shut.
            shut,
        }
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let counter = Counter::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| counter.add(2)));
            }
        });
        assert_eq!(counter.value(), 8000);
    }

    #[test]
    fn two_counters_share_no_cache_line() {
        assert_eq!(size_of::<[Counter; 2]>(), 256);
    }

    #[test]
    fn counters_that_belong_together_tell_their_names() {
        let (front, back) = (Doors::default(), Doors::default());
        front.opened.add(2);
        back.opened.add(3);
        let mut counts = front.counts();
        counts.add(&back);
        assert_eq!(counts, DoorCounts { opened: 5, shut: 0 });
        let mut families = Families::default();
        counts.measure(&mut families);
        let told = families.iter().map(|family| (family.name, family.help, &family.series[0].value));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("doors_opened", "Doors that were opened", &Value::Counter(5)),
                ("doors_shut", "Doors that were shut", &Value::Counter(0)),
            ]
        );
    }
}
