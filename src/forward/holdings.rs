//! How many places of a pool each asker has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::quality::RandomState;

use super::asker::Asker;
use super::pool::Pool;

/// The askers that have any, each with how many.
#[derive(Default)]
pub struct Holdings(HashMap<Asker, usize, RandomState>);

impl Holdings {
    /// Takes a place of a pool for an asker, if it may have one more.
    pub fn take(&mut self, asker: Asker, pool: Pool) -> bool {
        let entry = self.0.entry(asker);
        let own = match &entry {
            Entry::Occupied(own) => *own.get(),
            Entry::Vacant(_) => 0,
        };
        let is_granted = match asker {
            Asker::Network(_) | Asker::Server => pool.grants(own),
            Asker::Exempt(_) => pool.grants_exempt(own),
        };
        if is_granted {
            *entry.or_default() += 1;
        }
        is_granted
    }

    /// Gives a place back that was taken.
    pub fn give_back(&mut self, asker: Asker) {
        if let Entry::Occupied(mut own) = self.0.entry(asker) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }

    #[cfg(test)]
    pub fn askers(&self) -> usize {
        self.0.len()
    }
}
