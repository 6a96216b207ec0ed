use super::*;

/// Every other one is too long to lie in place.
fn front(number: usize) -> Vec<u8> {
    let text = format!("{number}{}", ["", "-a-name-of-many-letters"][number % 2]);
    [&[text.len() as u8], text.as_bytes()].concat()
}

#[test]
fn entries_are_found_after_splits_and_removals() {
    let mut trie = NameTrie::default();
    for number in 0..20_000 {
        *trie.entry(&front(number), || 0).0 = number;
    }
    assert_eq!(trie.len(), 20_000);
    assert_eq!(trie.iter().count(), 20_000);
    assert!((0..20_000).all(|number| trie.get(&front(number)) == Some(&number)));
    for number in (0..20_000).step_by(2) {
        assert_eq!(trie.remove(&front(number)), Some(number));
    }
    assert_eq!(trie.remove(&front(0)), None);
    assert_eq!((trie.len(), trie.get(&front(1))), (10_000, Some(&1)));
}

#[test]
fn pages_meet_every_entry_once_while_others_come_and_go() {
    let mut trie = NameTrie::default();
    (0..5_000).for_each(|number| *trie.entry(&front(number), || 0).0 = number);
    let (mut met, mut last, mut extra) = (Vec::new(), None::<Vec<u8>>, 5_000);
    loop {
        let page: Vec<(Vec<u8>, usize)> = trie
            .iter_behind(last.as_deref())
            .take(37)
            .map(|(name, number)| (name.to_vec(), *number))
            .collect();
        let Some((name_of_last, _)) = page.last() else { break };
        last = Some(name_of_last.clone());
        met.extend(page.into_iter().map(|(_, number)| number).filter(|number| *number < 5_000));
        // Leaves split, and the name that a page ends with goes.
        for _ in 0..if extra < 15_000 { 500 } else { 0 } {
            *trie.entry(&front(extra), || 0).0 = extra;
            extra += 1;
        }
        trie.remove(last.as_ref().unwrap());
    }
    met.sort_unstable();
    assert_eq!(met, (0..5_000).collect::<Vec<_>>());
}

#[test]
fn a_change_leaves_the_older_version_and_shares_the_rest() {
    let mut old = NameTrie::default();
    for number in 0..50_000 {
        old.entry(&front(number), || Arc::new(number));
    }
    let mut new = old.clone();
    *new.entry(&front(7), || unreachable!()).0 = Arc::new(8);
    assert_eq!((**old.get(&front(7)).unwrap(), **new.get(&front(7)).unwrap()), (7, 8));
    let (Part::Branch(old), Part::Branch(new)) = (&old.root, &new.root) else {
        panic!("50,000 names are more than a leaf")
    };
    let shared = old.parts.iter().zip(&new.parts).filter(|parts| match parts {
        (Part::Leaf(old), Part::Leaf(new)) => Arc::ptr_eq(old, new),
        (Part::Branch(old), Part::Branch(new)) => Arc::ptr_eq(old, new),
        _ => false,
    });
    assert_eq!((old.parts.len(), shared.count()), (64, 63));
}

#[test]
fn leaves_are_more_than_half_full() {
    let mut trie = NameTrie::default();
    (0..100_000).for_each(|number| *trie.entry(&front(number), || 0).0 = number);
    let (mut stack, mut leaves) = (vec![&trie.root], 0);
    while let Some(part) = stack.pop() {
        match part {
            Part::Leaf(_) => leaves += 1,
            Part::Branch(branch) => stack.extend(&branch.parts),
        }
    }
    assert!(leaves < 100_000 / 32, "{leaves} leaves");
}

#[test]
fn tags_are_found_wherever_they_are() {
    let mut tags = [0; LEAF_ENTRIES_MAX];
    for at in 0..LEAF_ENTRIES_MAX {
        // Of which the high byte, the low byte or none is alike.
        tags[at] = [0xAB00, 0x00CD, 0xABCD, 0xFFFF, 0x8000][at % 5];
    }
    for tag in [0xABCD, 0xAB00, 0x00CD, 0xFFFF, 0x8000, 0x7FFF, 0] {
        let expected = (0..LEAF_ENTRIES_MAX).filter(|at| tags[*at] == tag).map(|at| 1 << at).sum::<u64>();
        assert_eq!(equal_to(&tags, tag), expected, "{tag:x}");
    }
}

#[test]
fn a_way_leads_to_its_name_and_to_no_other() {
    let mut trie = NameTrie::default();
    (0..10_000).for_each(|number| *trie.entry(&front(number), || 0).0 = number);
    for number in 0..10_100 {
        let front = front(number);
        let mut way = trie.way(&front);
        let steps = std::iter::repeat_with(|| way.go()).take_while(|went| *went).count();
        assert!((2..=4).contains(&steps), "{steps}");
        let found = way.get_entry(&front).map(|(_, value)| *value);
        assert_eq!(found, Some(number).filter(|number| *number < 10_000));
    }
}

#[test]
fn names_of_one_hash_are_all_found() {
    // As many as no leaf has tags for, under a hash of our own.
    let mut leaf = Leaf::default();
    (0..100).for_each(|number| *leaf.entry(7, &front(number), || 0).0 = number);
    assert!((0..100).all(|number| !leaf.entry(7, &front(number), || 0).1));
    let found = |leaf: &Leaf<usize>, number| {
        leaf.position(leaf.tagged(tag(7)), &front(number)).map(|at| leaf.entries[at].1)
    };
    assert!((0..100).all(|number| found(&leaf, number) == Some(number)));
    assert_eq!((leaf.remove(7, &front(99)), found(&leaf, 99)), (Some(99), None));
}
