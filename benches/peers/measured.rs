//! What was measured of one server in one pass.

use std::time::Duration;

use crate::blast::Flood;

/// What one server did in one pass.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub flood: Flood,
    pub p50: Duration,
    pub p99: Duration,
    /// Of the paced questions.
    pub paced_lost: u64,
    /// When upstream is asked directly.
    pub direct_p50: Option<Duration>,
}

impl Measured {
    /// CPU time an answer, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.an_answer(self.flood.cpu.all())
    }

    pub fn user_us(&self) -> f64 {
        self.an_answer(self.flood.cpu.user)
    }

    pub fn system_us(&self) -> f64 {
        self.an_answer(self.flood.cpu.system)
    }

    pub fn a_second(&self) -> f64 {
        self.flood.answered as f64 / self.flood.took.as_secs_f64()
    }

    /// How much of its core the server used, and how much others did.
    pub fn shares(&self) -> (f64, f64) {
        let share = |time: Duration| time.as_secs_f64() / self.flood.took.as_secs_f64();
        (share(self.flood.cpu.all()), share(self.flood.foreign))
    }

    pub fn lost(&self) -> u64 {
        self.flood.whole.lost + self.paced_lost
    }

    /// What the server adds to upstream's own time at the median, in microseconds.
    pub fn added_us(&self) -> Option<f64> {
        self.direct_p50.map(|direct| us(self.p50) - us(direct))
    }

    fn an_answer(&self, time: Duration) -> f64 {
        us(time) / self.flood.answered.max(1) as f64
    }

    pub fn line(&self) -> String {
        let (busy, foreign) = self.shares();
        let whole = self.flood.whole;
        let direct = self.direct_p50.map(|p50| format!(" (direct: {:.0})", us(p50))).unwrap_or_default();
        format!(
            "{:.2} µs ({:.2} user + {:.2} system), {:.0}/s, {:.0} % busy, {:.0} % others; of {} asked {} answered, {} lost, {} wrong, {} stray; p50 {:.0} µs{direct}, p99 {:.0} µs, {} lost",
            self.cpu_us(),
            self.user_us(),
            self.system_us(),
            self.a_second(),
            busy * 100.0,
            foreign * 100.0,
            whole.sent,
            whole.answered,
            whole.lost,
            whole.wrong,
            whole.stray,
            us(self.p50),
            us(self.p99),
            self.paced_lost,
        )
    }
}

/// A time in microseconds.
pub fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
