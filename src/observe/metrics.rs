//! What observers tell `/metrics`.

use super::Observers;
use crate::telemetry::{Families, Measured};

impl Measured for Observers {
    fn measure(&self, families: &mut Families) {
        self.counters().counts().measure(families);
        self.frames().counts().measure(families);
        self.lines().counts().measure(families);
    }
}
