//! The matrix that no other server passes: what upstream says of a public name, times what we hold, ask, cached, are set to.
//!
//! What is right in each cell is said by `rules` below, written from design §2 and knowing nothing of the code.

use std::sync::Arc;
use std::time::Duration;

use privatelink_dns::answer::PublicNames;
use privatelink_dns::dns::{Name, NameRef, Rcode, RecordType};
use privatelink_dns::respond::Transport;
use privatelink_dns::zone::{Change, OnMissing, Origin};

use crate::support::message::{AD, Ask, Line, Reply, same_section};
use crate::support::scripted::{Says, Scripted, Told, Upstreams, record};
use crate::support::world::{Setup, World, header, put, set};

const PUBLIC: &str = "app.blob.core.windows.net.";
const PRIVATE: &str = "app.privatelink.blob.core.windows.net.";
const STORAGE: &str = "blob.ams09prdstr02a.store.core.windows.net.";
const ZONE: &str = "privatelink.blob.core.windows.net.";

/// Upstream's TTLs, each its own so that none passes for another.
const PUBLIC_TTL: u32 = 60;
const PRIVATE_TTL: u32 = 300;
const STORAGE_TTL: u32 = 86;
const UPSTREAM_SOA_TTL: u32 = 55;
/// Ours: of records, of aliases from the catalogue, and the least of the zone's SOA.
const LOCAL_TTL: u32 = 17;
const CATALOGUE_TTL: u32 = 10;
const ZONE_SOA_TTL: u32 = 10;

const UPSTREAM_SOA: &str = "ns1.windows.net. host.windows.net. 1 900 300 604800 55";
const ZONE_SOA: &str = "azureprivatedns.net. azureprivatedns-host.microsoft.com. *";

/// Seconds between the first, the second and the third question: within the five that a failure is kept.
const STEP_SECS: u32 = 2;

/// What upstream says of the public name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Upstream {
    /// (a), and (e) where our zone does not hold the name.
    FullChain,
    /// (b)
    CnameAlone,
    /// (c)
    CnameAndNxDomain,
    /// (d)
    CnameAndServFail,
    /// (d)
    Timeout,
}

const UPSTREAMS: [Upstream; 5] = [
    Upstream::FullChain,
    Upstream::CnameAlone,
    Upstream::CnameAndNxDomain,
    Upstream::CnameAndServFail,
    Upstream::Timeout,
];

/// Whether our zone holds the name when it is asked for first; before the third question that changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    /// Approved, and withdrawn meanwhile.
    ThenWithdrawn,
    /// Another tenant's or pending, and approved meanwhile.
    ThenApproved,
}

const TYPES: [RecordType; 5] =
    [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::TXT, RecordType::ANY];

/// When a question is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Cold,
    Cached,
    CachedThenChanged,
}

const PHASES: [Phase; 3] = [Phase::Cold, Phase::Cached, Phase::CachedThenChanged];

/// All of a cell but the phase, through which a run goes.
#[derive(Clone, Copy, Debug)]
struct Run {
    upstream: Upstream,
    held: Held,
    rtype: RecordType,
    transport: Transport,
    on_missing: OnMissing,
    public_names: PublicNames,
}

/// What a cell must be answered.
#[derive(Debug, PartialEq)]
struct Right {
    rcode: Rcode,
    answer: Vec<String>,
    authority: Vec<String>,
    authenticated: bool,
    /// Whether upstream may be asked.
    asks: bool,
}

/// The rules R3, R4 and R5 of design §2, as a person would apply them to one question.
fn rules(run: &Run, phase: Phase) -> Right {
    let is_held = (run.held == Held::ThenWithdrawn) != (phase == Phase::CachedThenChanged);
    // What upstream said in the cold phase is cached; a timeout says nothing, and nothing of it ages.
    let age = match phase {
        Phase::Cold => 0,
        Phase::Cached => STEP_SECS,
        Phase::CachedThenChanged => 2 * STEP_SECS,
    };
    let local = run.public_names == PublicNames::Local && is_held;
    let times_out = run.upstream == Upstream::Timeout;
    // With public_names = "local" a held name is never asked upstream, so that its answer is first fetched when it is withdrawn.
    let never_asked = run.public_names == PublicNames::Local && run.held == Held::ThenWithdrawn;
    let age = if never_asked { 0 } else { age };
    // Who tells the CNAME alone is asked for what is behind it when that is first wanted: here when it is withdrawn.
    let first_wanted = run.upstream == Upstream::CnameAlone
        && run.held == Held::ThenWithdrawn
        && run.on_missing == OnMissing::AskPublic
        && phase == Phase::CachedThenChanged;
    let age_behind = if first_wanted { 0 } else { age };

    let cname = |ttl: u32| format!("{PUBLIC} {ttl} CNAME {PRIVATE}");
    let upstream_cname = cname(PUBLIC_TTL - age);
    let zone_soa = format!("{ZONE} {ZONE_SOA_TTL} SOA {ZONE_SOA}");
    let upstream_soa = format!("core.windows.net. {} SOA {UPSTREAM_SOA}", UPSTREAM_SOA_TTL - age_behind);
    let mut right = Right {
        rcode: Rcode::NOERROR,
        answer: Vec::new(),
        authority: Vec::new(),
        authenticated: false,
        asks: !local
            && (phase == Phase::Cold || first_wanted || (never_asked && phase == Phase::CachedThenChanged)),
    };
    if is_held {
        // R5: from the catalogue, if upstream is not asked or says nothing. R4: else upstream's CNAME up to the cut.
        right.answer.push(if local || times_out { cname(CATALOGUE_TTL) } else { upstream_cname });
        // R4, R2: the target from memory; a type it lacks is NODATA with the zone's SOA, not NXDOMAIN.
        match run.rtype {
            RecordType::A | RecordType::ANY => right.answer.push(format!("{PRIVATE} {LOCAL_TTL} A 10.1.2.3")),
            _ => right.authority.push(zone_soa),
        }
        return right;
    }
    if times_out {
        right.rcode = Rcode::SERVFAIL;
        return right;
    }
    if run.on_missing == OnMissing::NxDomain {
        // R4: NXDOMAIN with the CNAMEs and the zone's SOA, whatever upstream found behind them.
        right.rcode = Rcode::NXDOMAIN;
        right.answer.push(upstream_cname);
        right.authority.push(zone_soa);
        return right;
    }
    // R3, R4: upstream's own continuation, with upstream's own AD.
    match run.upstream {
        Upstream::FullChain | Upstream::CnameAlone => {
            right.answer.push(upstream_cname);
            right.answer.push(format!("{PRIVATE} {} CNAME {STORAGE}", PRIVATE_TTL - age_behind));
            match run.rtype {
                RecordType::A | RecordType::ANY => {
                    right.answer.push(format!("{STORAGE} {} A 20.60.0.1", STORAGE_TTL - age_behind));
                }
                _ => right.authority.push(upstream_soa),
            }
            right.authenticated = true;
        }
        Upstream::CnameAndNxDomain => {
            right.rcode = Rcode::NXDOMAIN;
            right.answer.push(upstream_cname);
            right.authority.push(upstream_soa);
            right.authenticated = true;
        }
        Upstream::CnameAndServFail | Upstream::Timeout => right.rcode = Rcode::SERVFAIL,
    }
    right
}

/// Tells the upstreams what they say of the public name and of the names behind it.
fn script(run: &Run, upstreams: &Upstreams) {
    let of = |text: String| record(&text, NameRef::ROOT).unwrap();
    let public = || of(format!("{PUBLIC} {PUBLIC_TTL} CNAME {PRIVATE}"));
    let soa = || of(format!("core.windows.net. {UPSTREAM_SOA_TTL} SOA {UPSTREAM_SOA}"));
    let storage = |told: &mut Told| match run.rtype {
        RecordType::A | RecordType::ANY => {
            told.answer.push(of(format!("{STORAGE} {STORAGE_TTL} A 20.60.0.1")))
        }
        _ => told.authority.push(soa()),
    };
    let rest = |told: &mut Told| {
        told.answer.push(of(format!("{PRIVATE} {PRIVATE_TTL} CNAME {STORAGE}")));
        storage(told);
    };
    let mut told = Told::new(Rcode::NOERROR);
    told.authenticated = true;
    told.answer.push(public());
    match run.upstream {
        Upstream::FullChain => rest(&mut told),
        Upstream::CnameAlone | Upstream::Timeout => {}
        Upstream::CnameAndNxDomain => {
            told.rcode = Rcode::NXDOMAIN;
            told.authority.push(soa());
        }
        Upstream::CnameAndServFail => told.rcode = Rcode::SERVFAIL,
    }
    let says = if run.upstream == Upstream::Timeout { Says::Nothing } else { Says::This(told) };
    let tell = |name: &str, says| {
        let name: Name = name.parse().unwrap();
        upstreams.tell(Scripted { rule: ".".to_owned(), name, rtype: Some(run.rtype), says });
    };
    tell(PUBLIC, says);
    // Who tells the CNAME alone can be asked for what is behind it.
    let mut behind = Told::new(Rcode::NOERROR);
    behind.authenticated = true;
    rest(&mut behind);
    tell(PRIVATE, Says::This(behind));
}

/// Goes through the phases of one run; what is wrong in which phase.
async fn play(run: Run) -> Vec<String> {
    let upstreams = Arc::new(Upstreams::default());
    script(&run, &upstreams);
    let world = World::new(Setup { public_names: run.public_names, ..Setup::default() }, upstreams.clone());
    let zone: Name = ZONE.parse().unwrap();
    let header = privatelink_dns::zone::ZoneHeader { on_missing: run.on_missing, ..header(&zone) };
    let address = |owner: &str, data: &str| {
        let name = Name::parse(owner, zone.borrow()).unwrap();
        put(&zone, name, set(RecordType::A, LOCAL_TTL, &[data], zone.borrow()).unwrap(), Origin::File)
    };
    // A record of another name, so that the zone is served when the one in question is not there.
    world.commit(vec![Change::SetZone(header), address("other", "10.1.2.9")]);
    let approve = || world.commit(vec![address("app", "10.1.2.3")]);
    if run.held == Held::ThenWithdrawn {
        approve();
    }
    let mut ask = Ask::new(PUBLIC, run.rtype);
    ask.flags |= AD;
    let mut wrong = Vec::new();
    for phase in PHASES {
        if phase != Phase::Cold {
            tokio::time::advance(Duration::from_secs(u64::from(STEP_SECS))).await;
        }
        if phase == Phase::CachedThenChanged {
            match run.held {
                Held::ThenApproved => approve(),
                Held::ThenWithdrawn => {
                    let name = PRIVATE.parse().unwrap();
                    let (zone, rtype, origin) = (zone.clone(), RecordType::A, Origin::File);
                    world.commit(vec![Change::Remove { zone, name, rtype, origin }]);
                }
            }
        }
        upstreams.take_asked();
        let reply = world.ask(&ask, run.transport).await;
        let asked = upstreams.take_asked();
        let right = rules(&run, phase);
        let verdict = match reply {
            Ok(Some(reply)) => compare(&right, &reply, &asked),
            Ok(None) => Err("there is no reply".to_owned()),
            Err(what) => Err(what),
        };
        if let Err(what) = verdict {
            wrong.push(format!("{run:?} {phase:?}\n{what}\n"));
        }
    }
    wrong
}

fn compare(right: &Right, reply: &Reply, asked: &[String]) -> Result<(), String> {
    let lines = |texts: &[String]| -> Vec<Line> {
        // The zone's serial counts its changes, which is not at issue here.
        let read = |text: &String| match text.split_once(" SOA azureprivatedns.net. ") {
            Some((front, _)) => Line::parse(&format!("{front} SOA *"), NameRef::ROOT).unwrap(),
            None => Line::parse(text, NameRef::ROOT).unwrap(),
        };
        texts.iter().map(read).collect()
    };
    let mut flags = Vec::new();
    if right.authenticated {
        flags.push("ad");
    }
    let same = reply.rcode == right.rcode
        && reply.flag_words() == flags
        && same_section(&lines(&right.answer), &reply.answer)
        && same_section(&lines(&right.authority), &reply.authority)
        && reply.additional.is_empty()
        // R10: a failure tells why, and an answer without one has nothing to tell.
        && (reply.rcode != Rcode::SERVFAIL || !reply.extended_errors.is_empty())
        && (right.asks || asked.is_empty())
        && (!right.asks || !asked.is_empty());
    if same { Ok(()) } else { Err(format!("right: {right:#?}\ngot: {reply}\nasked: {asked:?}")) }
}

#[test]
fn every_cell_is_answered_by_the_rules() {
    let (mut cells, mut wrong) = (0, Vec::new());
    for upstream in UPSTREAMS {
        for held in [Held::ThenWithdrawn, Held::ThenApproved] {
            for rtype in TYPES {
                for transport in [Transport::Udp, Transport::Tcp] {
                    for on_missing in [OnMissing::AskPublic, OnMissing::NxDomain] {
                        for public_names in [PublicNames::Splice, PublicNames::Local] {
                            let run = Run { upstream, held, rtype, transport, on_missing, public_names };
                            let builder = &mut tokio::runtime::Builder::new_current_thread();
                            let runtime = builder.enable_all().start_paused(true).build().unwrap();
                            wrong.extend(runtime.block_on(play(run)));
                            cells += PHASES.len();
                        }
                    }
                }
            }
        }
    }
    // 5 upstreams, 2 of held, 5 types, 3 phases, 2 transports, 2 policies, 2 ways of public names.
    assert_eq!(cells, 5 * 2 * 5 * 3 * 2 * 2 * 2);
    let few: String = wrong.iter().take(5).cloned().collect();
    assert!(wrong.is_empty(), "{} of {cells} cells are wrong; the first:\n{few}", wrong.len());
}
