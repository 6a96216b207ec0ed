//! The questions in flight are shared by rule, and those of a rule by client network.
//!
//! A rule whose upstreams stay silent must not take the others' places, whoever asks by it; nor may one network take those
//! of the others that ask by the same rule.

use super::asker::Asker;
use super::holdings::Holdings;
use super::pool::Pool;

/// The places of questions in flight.
pub struct Shares {
    max: usize,
    taken: usize,
    /// By the rules' numbers.
    rules: Box<[Share]>,
}

/// What one rule has.
#[derive(Default)]
struct Share {
    taken: usize,
    by_asker: Holdings,
}

/// Why there is no place for a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPlace {
    /// All are taken.
    Full,
    /// Its rule has its share.
    Rule,
    /// Its asker has its share.
    Asker,
}

impl Shares {
    /// Places for questions by so many rules.
    pub fn new(max: usize, rules: usize) -> Shares {
        Shares { max, taken: 0, rules: (0..rules).map(|_| Share::default()).collect() }
    }

    /// Takes a place for a question by a rule.
    pub fn take(&mut self, rule: usize, asker: Asker) -> Result<(), NoPlace> {
        let all = Pool { max: self.max, taken: self.taken };
        if !all.has_room() {
            return Err(NoPlace::Full);
        }
        let is_alone = self.rules.len() == 1;
        let share = &mut self.rules[rule];
        let of_rule = if is_alone { all } else { all.part(share.taken) };
        if !of_rule.has_room() {
            return Err(NoPlace::Rule);
        }
        if !share.by_asker.take(asker, of_rule) {
            return Err(NoPlace::Asker);
        }
        share.taken += 1;
        self.taken += 1;
        Ok(())
    }

    /// Gives a place back that was taken.
    pub fn give_back(&mut self, rule: usize, asker: Asker) {
        let share = &mut self.rules[rule];
        share.by_asker.give_back(asker);
        share.taken -= 1;
        self.taken -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const MAX: usize = 4096;
    const DEAD: usize = 0;
    const HEALTHY: usize = 1;

    fn network(number: usize) -> Asker {
        let address = Ipv4Addr::from_bits(0x0A00_0000 | (number as u32) << 8);
        Asker::Network(IpAddr::V4(address).into())
    }

    /// Takes all that it gets; how much that is.
    fn take_all(shares: &mut Shares, rule: usize, asker: Asker) -> usize {
        let mut taken = 0;
        while shares.take(rule, asker).is_ok() {
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_network_alone_has_nearly_all_and_gives_it_back() {
        let mut shares = Shares::new(MAX, 2);
        for _ in 0..3 {
            let taken = take_all(&mut shares, DEAD, network(1));
            assert!(taken > MAX * 2 / 3, "{taken}");
            (0..taken).for_each(|_| shares.give_back(DEAD, network(1)));
        }
        assert!(shares.taken == 0 && shares.rules[DEAD].by_asker.askers() == 0);
        // No rule is there for which something would be kept.
        let alone = take_all(&mut Shares::new(MAX, 1), DEAD, network(1));
        assert!(alone > MAX * 5 / 6, "{alone}");
    }

    #[test]
    fn a_rule_that_all_wait_for_leaves_places_to_the_others_whoever_asks() {
        let mut shares = Shares::new(MAX, 2);
        // More networks than there are places: each has few, together they have all that the rule may have.
        for number in 0..2 * MAX {
            let _ = shares.take(DEAD, network(number));
        }
        assert_eq!(shares.take(DEAD, network(3 * MAX)), Err(NoPlace::Rule));
        for number in 0..8 * Pool::FLOOR {
            assert_eq!(shares.take(HEALTHY, network(number)), Ok(()), "{number}");
        }
    }

    #[test]
    fn networks_that_take_all_of_a_rule_leave_places_to_those_that_come() {
        for heavy in [1, 5, 30] {
            let mut shares = Shares::new(MAX, 2);
            // One after the other, as questions come.
            while (0..heavy).filter(|number| shares.take(HEALTHY, network(*number)).is_ok()).count() > 0 {}
            assert!(shares.taken > MAX * 2 / 3);
            assert_eq!(shares.take(HEALTHY, network(0)), Err(NoPlace::Asker));
            let light = (0..Pool::FLOOR).all(|_| shares.take(HEALTHY, network(heavy)).is_ok());
            assert!(light, "{heavy} heavy");
        }
    }

    #[test]
    fn the_heaviest_is_refused_first_and_the_server_is_one_of_all() {
        let mut shares = Shares::new(MAX, 2);
        take_all(&mut shares, HEALTHY, network(1));
        let later = take_all(&mut shares, HEALTHY, network(2));
        assert!(later >= Pool::FLOOR);
        assert_eq!(shares.take(HEALTHY, network(1)), Err(NoPlace::Asker));
        assert!(take_all(&mut shares, HEALTHY, Asker::Server) >= Pool::FLOOR);
        // As places come back, they go to who has less.
        (0..3 * Pool::FLOOR).for_each(|_| shares.give_back(HEALTHY, network(1)));
        assert_eq!(shares.take(HEALTHY, network(1)), Err(NoPlace::Asker));
        assert_eq!(shares.take(HEALTHY, network(2)), Ok(()));
    }

    #[test]
    fn an_exempt_one_is_bound_by_the_kept_part_alone() {
        let mut shares = Shares::new(MAX, 2);
        take_all(&mut shares, HEALTHY, network(1));
        let Asker::Network(forwarder) = network(2) else { panic!("a network") };
        // All that is free but what is kept for those that have little.
        let exempt = take_all(&mut shares, HEALTHY, Asker::Exempt(forwarder));
        assert!(exempt >= Pool::FLOOR);
        assert!((0..Pool::FLOOR).all(|_| shares.take(HEALTHY, network(3)).is_ok()));
        let mut alone = Shares::new(MAX, 2);
        assert!(take_all(&mut alone, HEALTHY, Asker::Exempt(forwarder)) > MAX * 2 / 3);
        assert!((0..Pool::FLOOR).all(|_| alone.take(HEALTHY, network(3)).is_ok()));
    }
}
