//! What a forger has to guess, measured over many queries: id, port and case, and how many share a port.

use std::collections::HashSet;

use rand::seq::SliceRandom;

use super::super::super::sockets::QUERIES_AT_ONCE_MAX;
use super::*;

/// Questions that begin together.
const BURST: usize = 64;

/// Queries that wait for their reply on average.
const WAITING: usize = 96;

/// The ports that sockets take: from `sockets.rs`.
const PORTS: std::ops::RangeInclusive<usize> = 16_384..=65_535;

/// Deviations of a normal distribution that do not happen.
const DEVIATIONS_MAX: f64 = 8.0;

/// What was seen of the queries.
struct Seen {
    queries: usize,
    ids: Vec<u32>,
    /// By the upper bits of the distance to the id before.
    steps: [u32; 256],
    ports: Vec<u32>,
    /// Of each letter, how often it was upper case, and how often as the letter before it.
    upper: Vec<u32>,
    same: Vec<u32>,
    at_once_max: usize,
    life_max: usize,
    open_ports: usize,
    last_id: u16,
}

impl Seen {
    fn note(&mut self, query: &[u8], port: u16) {
        let id = u16::from_be_bytes([query[0], query[1]]);
        self.ids[usize::from(id)] += 1;
        self.steps[usize::from(id.wrapping_sub(self.last_id) >> 8)] += 1;
        self.last_id = id;
        self.ports[usize::from(port)] += 1;
        let tail = &query[12..query.len() - 11 - 5];
        let letters = tail[tail.len() - NAME.len()..].iter().filter(|byte| byte.is_ascii_alphabetic());
        let mut last = None;
        for (at, letter) in letters.enumerate() {
            if self.upper.len() <= at {
                self.upper.push(0);
                self.same.push(0);
            }
            let is_upper = letter.is_ascii_uppercase();
            self.upper[at] += u32::from(is_upper);
            self.same[at] += u32::from(last == Some(is_upper));
            last = Some(is_upper);
        }
        self.queries += 1;
    }

    fn assert_random(&self, sockets: u64) {
        let n = self.queries as f64;
        assert!(self.at_once_max <= QUERIES_AT_ONCE_MAX && self.life_max <= QUERIES_PER_PORT);
        assert!(chi_square_deviation(&self.ids, n).abs() < DEVIATIONS_MAX);
        assert!(chi_square_deviation(&self.steps, n).abs() < DEVIATIONS_MAX);
        for count in self.upper.iter().chain(&self.same[1..]) {
            let deviation = (f64::from(*count) - n / 2.0) / (n / 4.0).sqrt();
            assert!(deviation.abs() < DEVIATIONS_MAX, "{count} of {n}");
        }
        let (used, all) = (self.ports.iter().filter(|count| **count > 0).count(), PORTS.count() as f64);
        let expected = all * (1.0 - (-(sockets as f64) / all).exp());
        assert!((used as f64 - expected).abs() < DEVIATIONS_MAX * expected.sqrt(), "{used}, not {expected}");
        let outside = self.ports.iter().enumerate().filter(|(port, _)| !PORTS.contains(port));
        assert!(outside.map(|(_, count)| count).sum::<u32>() == 0);
        let rounds = self.queries / BURST;
        println!(
            "{} queries from {sockets} sockets: ids {:.2} bits at least, chi-square {:+.1} deviations, steps {:+.1}; \
             {used} ports, {:.2} bits at least, {} open on average; {} letters; at most {} at once and {} in all a port",
            self.queries,
            min_entropy(&self.ids, n),
            chi_square_deviation(&self.ids, n),
            chi_square_deviation(&self.steps, n),
            min_entropy(&self.ports, n),
            self.open_ports / rounds,
            self.upper.len(),
            self.at_once_max,
            self.life_max,
        );
    }
}

/// How far counts are from equal ones, in standard deviations.
fn chi_square_deviation(counts: &[u32], n: f64) -> f64 {
    let (bins, expected) = (counts.len() as f64, n / counts.len() as f64);
    let sum: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
    (sum - (bins - 1.0)) / (2.0 * (bins - 1.0)).sqrt()
}

/// Bits of the best single guess.
fn min_entropy(counts: &[u32], n: f64) -> f64 {
    let most = counts.iter().max().copied().unwrap_or_default();
    -(f64::from(most) / n).log2()
}

async fn measure(queries: usize) {
    let mut bed = Bed::new();
    let mut seen = Seen {
        queries: 0,
        ids: vec![0; 65_536],
        steps: [0; 256],
        ports: vec![0; 65_536],
        upper: Vec::new(),
        same: Vec::new(),
        at_once_max: 0,
        life_max: 0,
        open_ports: 0,
        last_id: 0,
    };
    let mut waiting = Vec::new();
    let mut answered = HashSet::new();
    for round in 0..queries / BURST {
        for index in 0..BURST {
            bed.begin(&format!("{round}-{index}.{NAME}"), round * BURST + index).unwrap();
        }
        bed.lane.send(Instant::now());
        for port in bed.lane.ports.iter().flatten() {
            seen.at_once_max = seen.at_once_max.max(port.live);
            seen.life_max = seen.life_max.max(port.sent.len());
            seen.open_ports += 1;
        }
        for _ in 0..BURST {
            let (query, port) = bed.seen();
            seen.note(&query, port.port());
            waiting.push((query, port));
        }
        waiting.shuffle(&mut rand::rng());
        let before = answered.len();
        let replies: Vec<_> = waiting.drain(WAITING.min(waiting.len())..).collect();
        for (query, port) in &replies {
            bed.say(&answer(query), *port);
        }
        while answered.len() < before + replies.len() {
            answered.insert(bed.next_returned().await.pending);
        }
    }
    assert_eq!(seen.queries, queries / BURST * BURST);
    seen.assert_random(bed.counted(|it| &it.sockets_opened));
}

#[tokio::test]
async fn id_port_and_case_of_each_query_are_random_and_few_share_a_port() {
    measure(50_000).await;
}

#[tokio::test]
#[ignore = "it takes a minute: cargo test --release --lib entropy -- --ignored --nocapture"]
async fn so_they_are_over_a_million_queries() {
    measure(1_000_000).await;
}
