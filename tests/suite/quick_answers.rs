//! What is answered the quick ways is byte for byte what the long way answers, whatever is asked and whatever changes
//! between the questions. `World::send` asks each question both ways, and again when its answer may be kept finished.

use std::sync::Arc;
use std::time::Duration;

use privatelink_dns::dns::{Name, NameRef, RecordType};
use privatelink_dns::respond::Transport;
use privatelink_dns::zone::{Change, Network, OnMissing, ZoneHeader};
use proptest::prelude::*;

use crate::support::message::{AD, Ask, AskEdns, CD, RD};
use crate::support::scripted::{Upstreams, record};
use crate::support::words::{name, puts, removals};
use crate::support::world::{Setup, World, default_soa, header, range};

const BLOB: &str = "privatelink.blob.core.windows.net.";

/// Names that meet every kind of answer, in zones and beside them.
const NAMES: &[&str] = &[
    "acct.privatelink.blob.core.windows.net",
    "six.privatelink.blob.core.windows.net",
    "two.privatelink.blob.core.windows.net",
    "alias.privatelink.blob.core.windows.net",
    "gone.privatelink.blob.core.windows.net",
    "pending.privatelink.blob.core.windows.net",
    "a.b.deep.privatelink.blob.core.windows.net",
    "deep.privatelink.blob.core.windows.net",
    "privatelink.blob.core.windows.net",
    "acct.blob.core.windows.net",
    "gone.blob.core.windows.net",
    "pending.blob.core.windows.net",
    "corp.test",
    "host.corp.test",
    "host.CORP.test.corp.test",
    "gone.corp.test",
    "x.wild.corp.test",
    "y.x.wild.corp.test",
    "out.corp.test",
    "in.corp.test",
    "x.sub.corp.test",
    "ns.sub.corp.test",
    "x.old.corp.test",
    "big.corp.test",
    "soa.named.test",
    "gone.named.test",
    "ns.named.test",
    "host.seen.test",
    "gone.seen.test",
    "public.example",
    "none.example",
    "chain.example",
    "signed.example",
    "short.example",
    "localhost",
    "a.test.invalid",
    "1.2.3.10.in-addr.arpa",
    "",
    "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.corp.test",
];

const TYPES: &[RecordType] = &[
    RecordType::A,
    RecordType::A,
    RecordType::A,
    RecordType::AAAA,
    RecordType::SOA,
    RecordType::NS,
    RecordType::CNAME,
    RecordType::ANY,
    RecordType::TXT,
    RecordType::DS,
    RecordType::RRSIG,
    RecordType::AXFR,
    RecordType::OPT,
];

const CORP: &[&str] = &[
    "@ 60 NS ns.other.",
    "host 60 A 10.1.0.1",
    "host.corp.test 60 A 10.1.0.2",
    "*.wild 60 A 10.1.0.3",
    "out 60 CNAME public.example.",
    "in 60 CNAME host",
    "sub 60 NS ns.sub",
    "ns.sub 60 A 10.1.0.4",
    "old 60 DNAME wild",
];

/// What happens between and with questions.
#[derive(Clone, Debug)]
enum Step {
    Ask(Question),
    /// Puts an address at a name of the blob zone, or takes it away.
    Change {
        name: usize,
        address: Option<u8>,
    },
    /// A zone's other way with what it does not hold.
    OnMissing(OnMissing),
    Advance {
        secs: u64,
    },
    Purge {
        name: usize,
    },
}

#[derive(Clone, Debug)]
struct Question {
    name: usize,
    rtype: usize,
    /// Bits of letters that are written in capitals.
    capitals: u64,
    flags: u16,
    edns: Option<(u16, bool)>,
    client: u8,
}

fn step() -> impl Strategy<Value = Step> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(rd, ad, cd)| u16::from(rd) * RD | u16::from(ad) * AD | u16::from(cd) * CD);
    let flags = prop_oneof![3 => Just(RD), 1 => flags];
    let sizes = prop_oneof![Just(1232_u16), Just(512), Just(4096), 500..600_u16];
    let question = (
        0..NAMES.len(),
        0..TYPES.len(),
        prop_oneof![Just(0_u64), any::<u64>()],
        flags,
        prop::option::of((sizes, any::<bool>())),
        0..3_u8,
    );
    let question = question.prop_map(|(name, rtype, capitals, flags, edns, client)| {
        Step::Ask(Question { name, rtype, capitals, flags, edns, client })
    });
    let change = (0..6_usize, prop::option::of(1..4_u8));
    prop_oneof![
        20 => question,
        2 => change.prop_map(|(name, address)| Step::Change { name, address }),
        1 => prop_oneof![Just(OnMissing::AskPublic), Just(OnMissing::NxDomain)].prop_map(Step::OnMissing),
        2 => prop_oneof![Just(1_u64), 0..20_u64, 50..70_u64].prop_map(|secs| Step::Advance { secs }),
        1 => (0..NAMES.len()).prop_map(|name| Step::Purge { name }),
    ]
}

fn lines(lines: &[&str]) -> Vec<(usize, String)> {
    lines.iter().map(|line| (0, (*line).to_owned())).collect()
}

fn parsed(text: &str) -> Name {
    name(&format!("{text}.").replace("..", ".")).unwrap()
}

fn world() -> World {
    let upstreams: Arc<Upstreams> = Arc::default();
    for text in [
        "acct.blob.core.windows.net. 60 CNAME acct.privatelink.blob.core.windows.net.",
        "acct.privatelink.blob.core.windows.net. 60 CNAME cluster.store.core.windows.net.",
        "cluster.store.core.windows.net. 60 A 20.60.1.1",
        "gone.blob.core.windows.net. 60 CNAME gone.privatelink.blob.core.windows.net.",
        "gone.privatelink.blob.core.windows.net. 30 A 20.60.1.2",
        "pending.blob.core.windows.net. 60 CNAME pending.privatelink.blob.core.windows.net.",
        "public.example. 60 A 192.0.2.1",
        "public.example. 60 A 192.0.2.2",
        "chain.example. 60 CNAME b.example.",
        "b.example. 30 CNAME in.corp.test.",
        "short.example. 2 A 192.0.2.3",
        "signed.example. 60 A 192.0.2.4",
        "signed.example. 60 RRSIG \\# 23 000108020000003c0000000200000001000100aabbccdd",
    ] {
        upstreams.hold(".", record(text, NameRef::ROOT).unwrap());
    }
    let network = |name: &str, clients: &str| Network {
        name: name.into(),
        clients: vec![range(clients).unwrap()],
        virtual_networks: Vec::new(),
    };
    let setup = Setup {
        networks: vec![network("one", "10.10.1.0/24"), network("two", "10.10.2.0/24")],
        ..Setup::default()
    };
    let mut world = World::new(setup, upstreams);
    let blob = parsed(BLOB);
    let mut changes = vec![Change::SetZone(header(&blob))];
    let records = [
        "acct 10 A 10.0.0.4",
        "six 10 AAAA fd00::1",
        "two 10 A 10.0.0.5",
        "two 10 A 10.0.0.6",
        "alias 10 CNAME acct",
    ];
    changes.extend(puts(&blob, &lines(&records)).unwrap());
    changes.extend(puts(&blob, &lines(&["a.b.deep 10 A 10.0.0.7"])).unwrap());
    let big: Vec<String> = (0..40).map(|last| format!("big 60 A 10.2.0.{last}")).collect();
    let big: Vec<&str> = big.iter().map(String::as_str).collect();
    for (apex, records) in [("corp.test.", CORP), ("seen.test.", &["host 60 A 10.1.0.9"])] {
        let apex = parsed(apex);
        changes.extend([Change::SetZone(header(&apex)), default_soa(&apex)]);
        changes.extend(puts(&apex, &lines(records)).unwrap());
    }
    changes.extend(puts(&parsed("corp.test."), &lines(&big)).unwrap());
    let seen = ZoneHeader { networks: vec!["one".into()], ..header(&parsed("seen.test.")) };
    changes.push(Change::SetZone(seen));
    // A zone whose SOA record names something in it.
    let named = parsed("named.test.");
    changes.push(Change::SetZone(header(&named)));
    let records = ["@ 60 SOA ns host 1 2 3 4 50", "ns 60 A 10.3.0.1"];
    changes.extend(puts(&named, &lines(&records)).unwrap());
    world.commit(changes);
    world.withhold(parsed("pending.privatelink.blob.core.windows.net."), "pe-pending", "Pending");
    world
}

async fn play(world: &World, step: &Step) -> Result<(), String> {
    let blob = parsed(BLOB);
    match step {
        Step::Ask(question) => {
            let mut letter = 0;
            let written = NAMES[question.name].chars().map(|character| {
                letter = (letter + 1) % 64;
                if question.capitals >> letter & 1 == 1 { character.to_ascii_uppercase() } else { character }
            });
            let mut ask = Ask::new(&written.collect::<String>(), TYPES[question.rtype]);
            ask.flags = question.flags;
            ask.from = [10, 10, question.client, 5].into();
            ask.edns = question.edns.map(|(payload_bytes, dnssec_ok)| AskEdns {
                payload_bytes,
                version: 0,
                dnssec_ok,
                cookie: Vec::new(),
            });
            world.send(&ask.to_bytes(), ask.from, Transport::Udp).await?;
        }
        Step::Change { name, address } => {
            let first = NAMES[*name].split('.').next().unwrap_or_default();
            world.commit(match address {
                Some(last) if first != "alias" => {
                    puts(&blob, &lines(&[&format!("{first} 10 A 10.9.0.{last}")])).unwrap()
                }
                _ => removals(&blob, &lines(&[&format!("{first} A")])).unwrap_or_default(),
            });
        }
        Step::OnMissing(on_missing) => {
            let header = ZoneHeader { on_missing: *on_missing, ..header(&blob) };
            world.commit(vec![Change::SetZone(header)]);
        }
        Step::Advance { secs } => tokio::time::advance(Duration::from_secs(*secs)).await,
        Step::Purge { name } => world.purge(&parsed(NAMES[*name])),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn quick_answers_are_those_of_the_long_way(steps in prop::collection::vec(step(), 100..300)) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = world();
            for (number, step) in steps.iter().enumerate() {
                if let Err(what) = play(&world, step).await {
                    return Err(TestCaseError::fail(format!("step {number}, {step:?}: {what}")));
                }
            }
            Ok(())
        })?;
    }
}
