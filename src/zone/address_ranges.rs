//! Address ranges indexed for look-up: of those that hold an address the longest prefix decides.

use std::net::IpAddr;

use ipnet::IpNet;

/// A value for each address that a range names.
// Ranges nest or are apart, so they cut the addresses into spans; a binary search over the spans' starts touches a few
// cache lines, where a trie of ten thousand ranges would follow a pointer for each bit.
#[derive(Clone, Debug)]
pub struct AddressRanges<T> {
    v4: Spans<u32, T>,
    v6: Spans<u128, T>,
}

/// Spans in their order, the first from address zero; each ends where the next starts.
#[derive(Clone, Debug)]
struct Spans<A, T> {
    starts: Vec<A>,
    values: Vec<Option<T>>,
}

impl<T: Copy> AddressRanges<T> {
    /// Indexes ranges; of two alike the later counts.
    pub fn new(ranges: impl IntoIterator<Item = (IpNet, T)>) -> AddressRanges<T> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (range, value) in ranges {
            match range {
                IpNet::V4(range) => v4.push((range.network().to_bits(), range.broadcast().to_bits(), value)),
                IpNet::V6(range) => v6.push((range.network().to_bits(), range.broadcast().to_bits(), value)),
            }
        }
        AddressRanges {
            v4: Spans::new(v4, 0, |end| end.checked_add(1)),
            v6: Spans::new(v6, 0, |end| end.checked_add(1)),
        }
    }

    /// The value of the longest range that holds an address. IPv4 written as IPv6 counts as IPv4.
    pub fn get(&self, address: IpAddr) -> Option<T> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.get(address.to_bits()),
            IpAddr::V6(address) => self.v6.get(address.to_bits()),
        }
    }
}

impl<T: Copy> Default for AddressRanges<T> {
    fn default() -> AddressRanges<T> {
        AddressRanges::new([])
    }
}

impl<A: Ord + Copy, T: Copy> Spans<A, T> {
    /// `ranges` are first and last addresses.
    fn new(mut ranges: Vec<(A, A, T)>, zero: A, next: impl Fn(A) -> Option<A>) -> Spans<A, T> {
        // A range before those within it; the sort is stable.
        ranges.sort_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
        let mut spans = Spans { starts: vec![zero], values: vec![None] };
        let mut around: Vec<(A, T)> = Vec::new();
        for (first, last, value) in ranges {
            while let Some((end, _)) = around.pop_if(|(end, _)| *end < first) {
                spans.leave(next(end), &around);
            }
            spans.begin(first, Some(value));
            around.push((last, value));
        }
        while let Some((end, _)) = around.pop() {
            spans.leave(next(end), &around);
        }
        spans
    }

    /// Behind a range's end those around it count again.
    fn leave(&mut self, next: Option<A>, around: &[(A, T)]) {
        if let Some(next) = next {
            self.begin(next, around.last().map(|(_, value)| *value));
        }
    }

    fn begin(&mut self, start: A, value: Option<T>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        self.starts.push(start);
        self.values.push(value);
    }

    fn get(&self, address: A) -> Option<T> {
        self.values[self.starts.partition_point(|start| *start <= address) - 1]
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_whole_of_the_address_space_is_a_range_too() {
        let all = AddressRanges::new([("0.0.0.0/0", 1), ("::/0", 2), ("255.255.255.255/32", 3)].map(parsed));
        let get = |address: &str| all.get(address.parse().unwrap());
        assert_eq!(
            (get("0.0.0.0"), get("255.255.255.254"), get("255.255.255.255")),
            (Some(1), Some(1), Some(3))
        );
        assert_eq!((get("::"), get("ffff::"), get("::ffff:1.2.3.4")), (Some(2), Some(2), Some(1)));
        assert_eq!(AddressRanges::<u8>::default().get("10.0.0.1".parse().unwrap()), None);
    }

    fn parsed((range, value): (&str, u8)) -> (IpNet, u8) {
        (range.parse().unwrap(), value)
    }

    proptest! {
        #[test]
        fn an_address_has_the_value_of_its_longest_range(
            ranges in prop::collection::vec((0_u8..8, 0_u8..=8), 0..12),
            is_v6 in any::<bool>(),
        ) {
            // Eight bits at the end of an address are enough for ranges to nest, touch and be alike.
            let address = |last: u8| -> IpAddr {
                if is_v6 { Ipv6Addr::from(u128::from(last)).into() } else { Ipv4Addr::from(u32::from(last)).into() }
            };
            let bits = if is_v6 { 120 } else { 24 };
            let ranges: Vec<(IpNet, usize)> = ranges
                .into_iter()
                .enumerate()
                .map(|(number, (start, length))| {
                    (IpNet::new(address(start << 5 | start), bits + length).unwrap().trunc(), number)
                })
                .collect();
            let index = AddressRanges::new(ranges.iter().copied());
            for last in 0..=u8::MAX {
                let address = address(last);
                let longest = ranges
                    .iter()
                    .filter(|(range, _)| range.contains(&address))
                    .max_by_key(|(range, number)| (range.prefix_len(), *number));
                // IPv6 addresses this low are not IPv4 in disguise.
                prop_assert_eq!(index.get(address), longest.map(|(_, number)| *number));
            }
        }
    }
}
