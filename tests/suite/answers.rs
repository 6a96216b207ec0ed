//! The rules of answering (design §2, R1 to R10) as scripts in DNS notation, over every transport.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use privatelink_dns::answer::{PrivateReverse, PublicNames};
use privatelink_dns::dns::{NameRef, Rcode};
use privatelink_dns::respond::Transport;
use privatelink_dns::zone::{Change, Delegations, Network, OnMissing};

use crate::support::message::{Ask, CD, Line, Reply, same_section, word};
use crate::support::script::{Case, Step, cases};
use crate::support::scripted::{Says, Scripted, Told, Upstreams, record};
use crate::support::words::{extended_error, name, puts, questions, rcode, record_type, removals};
use crate::support::world::{Setup, World, default_soa, endpoint_id, header, range};

/// Each script is run over all of them.
const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

/// A test for each script; `every_script_is_run` holds the list complete.
macro_rules! scripts {
    ($($script:ident)*) => {
        const SCRIPTS: &[&str] = &[$(stringify!($script)),*];
        $(#[test]
        fn $script() {
            run(stringify!($script));
        })*
    };
}

scripts! {
    r1_zones
    r2_authoritative
    r2_chains
    r2_delegations
    r2_delegations_followed
    r2_wildcards
    r3_on_missing
    r4_splice
    r4_views
    r5_every_type
    r5_public_names_local
    r5_upstream_down
    r6_forwarding
    r6_stale
    r7_recursion_and_access
    r8_private_reverse
    r8_special_names
    r9_malformed
    r9_proofs
    r9_protocol
    r10_reasons
    bounds
    claims
}

#[test]
fn every_script_is_run() {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let scripts = files.filter(|path| path.extension().is_some_and(|extension| extension == "script"));
    let mut names: Vec<_> =
        scripts.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let mut listed = SCRIPTS.to_vec();
    names.sort();
    listed.sort_unstable();
    assert_eq!(names, listed);
}

/// A script that expects the wrong thing must fail, else none of the others means anything.
#[test]
fn a_wrong_expectation_is_noticed() {
    const RIGHT: &str = "case x\nzone corp.test.\n  a 60 A 10.0.0.1\nask a.corp.test. A\nexpect NOERROR aa\n  a.corp.test. 60 A 10.0.0.1\nasked 0";
    let outcome = |text: &str| run_case(&cases(text).unwrap()[0], Transport::Udp);
    assert_eq!(outcome(RIGHT), Ok(()));
    let wrongs = [
        ("NOERROR aa", "NOERROR"),
        ("NOERROR aa", "NXDOMAIN aa"),
        ("NOERROR aa", "NOERROR aa ad"),
        ("  a.corp.test. 60 A 10.0.0.1\nasked", "  a.corp.test. 61 A 10.0.0.1\nasked"),
        ("  a.corp.test. 60 A 10.0.0.1\nasked", "  a.corp.test. 60 A 10.0.0.2\nasked"),
        ("  a.corp.test. 60 A 10.0.0.1\nasked", "  b.corp.test. 60 A 10.0.0.1\nasked"),
        ("  a.corp.test. 60 A 10.0.0.1\nasked", "asked"),
        ("asked 0", "asked 1"),
        ("NOERROR aa\n", "NOERROR aa\n  ede 0 \"why\"\n"),
    ];
    for (right, wrong) in wrongs {
        assert!(outcome(&RIGHT.replace(right, wrong)).is_err(), "{wrong} was not noticed");
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answers")
}

fn run(script: &str) {
    let path = folder().join(format!("{script}.script"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases = cases(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(!cases.is_empty(), "{} has no case", path.display());
    let mut failures = Vec::new();
    for case in &cases {
        for transport in TRANSPORTS {
            if let Err(Failure { line, what }) = run_case(case, transport) {
                let place = format!("tests/answers/{script}.script:{line}");
                failures.push(format!("{place}: {} ({transport:?})\n{what}\n", case.name));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "\n\n{}\n{} of {} runs fail",
        failures.join("\n"),
        failures.len(),
        cases.len() * TRANSPORTS.len()
    );
}

/// What is not as a script says.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    line: usize,
    what: String,
}

fn run_case(case: &Case, transport: Transport) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut play = Play::new(transport);
        for step in &case.steps {
            play.step(step).await.map_err(|what| Failure { line: step.line, what })?;
        }
        play.forget_reply().map_err(|what| Failure { line: case.line, what })
    })
}

/// One case while it runs.
struct Play {
    transport: Transport,
    setup: Setup,
    upstreams: Arc<Upstreams>,
    world: Option<World>,
    /// What came of the last `ask` or `raw`, until an `expect` takes it: one reply for each type that was asked for.
    got: Vec<Got>,
    /// The cookie that came with the last reply.
    cookie: Vec<u8>,
}

struct Got {
    transport: Transport,
    sent: Sent,
    reply: Option<Reply>,
}

enum Sent {
    Ask(Ask),
    Raw(Vec<u8>),
}

impl Play {
    fn new(transport: Transport) -> Play {
        Play {
            transport,
            setup: Setup::default(),
            upstreams: Arc::default(),
            world: None,
            got: Vec::new(),
            cookie: Vec::new(),
        }
    }

    /// The world, made when it is first needed: what sets it up comes before.
    fn world(&mut self) -> &mut World {
        let (setup, upstreams) = (&mut self.setup, &self.upstreams);
        self.world.get_or_insert_with(|| World::new(std::mem::take(setup), upstreams.clone()))
    }

    fn setup(&mut self) -> Result<&mut Setup, String> {
        if self.world.is_some() {
            return Err("this must come before zones and questions".to_owned());
        }
        Ok(&mut self.setup)
    }

    fn forget_reply(&mut self) -> Result<(), String> {
        match std::mem::take(&mut self.got).is_empty() {
            true => Ok(()),
            false => Err("a question has no `expect`".to_owned()),
        }
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        let rest = step.rest.as_str();
        let mut words = rest.split_whitespace();
        match step.word.as_str() {
            "network" => {
                let (name, rest) = word(rest)?;
                let (ranges, networks) = rest
                    .split_whitespace()
                    .partition::<Vec<_>, _>(|word| word.parse::<ipnet::IpNet>().is_ok());
                let clients = ranges.into_iter().map(range).collect::<Result<_, _>>()?;
                let virtual_networks = networks.into_iter().map(Arc::from).collect();
                self.setup()?.networks.push(Network { name: name.into(), clients, virtual_networks });
            }
            "prefer" => self.setup()?.preferred.push(endpoint_id(rest)),
            "option" => self.option(rest)?,
            "rule" => {
                let domain = name(rest)?;
                self.setup()?.rules.push(domain.clone());
                self.hold(&domain.to_string(), &step.block)?;
            }
            "upstream" => {
                let own = (!rest.is_empty()).then(|| (step.line, rest.to_owned()));
                self.hold(".", &own.into_iter().chain(step.block.iter().cloned()).collect::<Vec<_>>())?;
            }
            "server" => self.hold(rest, &step.block)?,
            "reply" => self.reply(rest, &step.block)?,
            "down" => self.upstreams.set_down(words.next().unwrap_or("."), true),
            "loops" => self.upstreams.set_looping(words.next().unwrap_or(".")),
            "up" => self.upstreams.set_down(words.next().unwrap_or("."), false),
            "zone" => self.zone(rest, &step.block)?,
            "drop" => {
                let apex = name(rest)?;
                self.world().commit(vec![Change::DropZone(apex)]);
            }
            "add" => {
                let changes = puts(&name(rest)?, &step.block)?;
                self.world().commit(changes);
            }
            "remove" => {
                let changes = removals(&name(rest)?, &step.block)?;
                self.world().commit(changes);
            }
            "withheld" => {
                let (private, rest) = word(rest)?;
                let (endpoint, state) = word(rest)?;
                self.world().withhold(name(private)?, endpoint, state);
            }
            "published" => {
                let private = name(rest)?;
                self.world().unwithhold(&private);
            }
            "advance" => {
                let secs =
                    rest.strip_suffix('s').and_then(|secs| secs.parse().ok()).ok_or("`advance 61s`")?;
                tokio::time::advance(Duration::from_secs(secs)).await;
            }
            "ask" => {
                self.forget_reply()?;
                let (transport, cookie) = (self.transport, self.cookie.clone());
                for ask in questions(rest, &cookie)? {
                    let reply = self.world().ask(&ask, transport).await?;
                    self.cookie = reply.as_ref().and_then(|reply| reply.cookie.clone()).unwrap_or_default();
                    self.got.push(Got {
                        transport: ask.transport.unwrap_or(transport),
                        sent: Sent::Ask(ask),
                        reply,
                    });
                }
            }
            "raw" => {
                self.forget_reply()?;
                let hex: String = words.chain(step.block.iter().map(|(_, line)| line.as_str())).collect();
                let hex = hex.replace(' ', "");
                let bytes = data_encoding::HEXLOWER_PERMISSIVE
                    .decode(hex.as_bytes())
                    .map_err(|error| error.to_string())?;
                let transport = self.transport;
                let reply = self.world().send(&bytes, [10, 10, 0, 5].into(), transport).await?;
                self.got.push(Got { transport, sent: Sent::Raw(bytes), reply });
            }
            "expect" => {
                let got = std::mem::take(&mut self.got);
                if got.is_empty() {
                    return Err("there was no question".to_owned());
                }
                got.iter().try_for_each(|got| expect(rest, &step.block, got))?;
            }
            "asked" => self.asked(rest, &step.block)?,
            other => return Err(format!("`{other}` is no word of scripts")),
        }
        Ok(())
    }

    fn option(&mut self, rest: &str) -> Result<(), String> {
        let (key, value) = word(rest)?;
        if key == "upstream_names" && value == "capitals" {
            self.upstreams.shout();
            return Ok(());
        }
        let setup = self.setup()?;
        match (key, value) {
            ("public_names", "local") => setup.public_names = PublicNames::Local,
            ("public_names", "splice") => setup.public_names = PublicNames::Splice,
            ("private_reverse", "ask") => setup.private_reverse = PrivateReverse::Ask,
            ("private_reverse", "here") => setup.private_reverse = PrivateReverse::Here,
            ("reverse", "on") => setup.reverse = true,
            ("serve_stale_secs", secs) => {
                setup.cache.serve_stale_secs = secs.parse().map_err(|_| "no number of seconds")?;
            }
            ("allow", ranges) => {
                setup.access.allow = ranges.split_whitespace().map(range).collect::<Result<_, _>>()?;
            }
            ("deny", ranges) => {
                setup.access.deny = ranges.split_whitespace().map(range).collect::<Result<_, _>>()?;
            }
            _ => return Err(format!("`{rest}` is no option")),
        }
        Ok(())
    }

    fn hold(&mut self, rule: &str, lines: &[(usize, String)]) -> Result<(), String> {
        for (_, line) in lines {
            self.upstreams.hold(rule, record(line, NameRef::ROOT)?);
        }
        Ok(())
    }

    /// `reply NAME TYPE RCODE|nothing|loops [ad] [of RULE]`, sections in the block.
    fn reply(&mut self, rest: &str, block: &[(usize, String)]) -> Result<(), String> {
        let (rest, rule) = rest.split_once(" of ").map_or((rest, "."), |(rest, rule)| (rest, rule.trim()));
        let mut words = rest.split_whitespace();
        let mut next = || words.next().ok_or("`reply NAME TYPE RCODE`");
        let (asked, rtype, says) = (name(next()?)?, next()?, next()?);
        let rtype = if rtype == "*" { None } else { Some(record_type(rtype)?) };
        let says = if says == "nothing" {
            Says::Nothing
        } else if says == "loops" {
            Says::WhatWeSay
        } else {
            let mut told = Told::new(rcode(says)?);
            let flags: Vec<&str> = words.collect();
            (told.authenticated, told.authoritative) = (flags.contains(&"ad"), flags.contains(&"aa"));
            for (_, line) in block {
                let (first, rest) = word(line)?;
                match first {
                    "authority" => told.authority.push(record(rest, NameRef::ROOT)?),
                    "additional" => told.additional.push(record(rest, NameRef::ROOT)?),
                    "ede" => told.extended_error = Some(extended_error(rest)?),
                    _ => told.answer.push(record(line, NameRef::ROOT)?),
                }
            }
            Says::This(told)
        };
        self.upstreams.tell(Scripted { rule: rule.to_owned(), name: asked, rtype, says });
        Ok(())
    }

    /// `zone APEX [on_missing ask-public|nxdomain] [follows] [networks NAME…]`, records in the block.
    fn zone(&mut self, rest: &str, block: &[(usize, String)]) -> Result<(), String> {
        let mut words = rest.split_whitespace();
        let apex = name(words.next().ok_or("a zone has a name")?)?;
        let mut header = header(&apex);
        while let Some(word) = words.next() {
            match word {
                "on_missing" => {
                    header.on_missing = match words.next() {
                        Some("ask-public") => OnMissing::AskPublic,
                        Some("nxdomain") => OnMissing::NxDomain,
                        _ => return Err("on_missing is ask-public or nxdomain".to_owned()),
                    }
                }
                "follows" => header.delegations = Delegations::Follow,
                "networks" => header.networks = words.by_ref().map(Arc::from).collect(),
                other => return Err(format!("`{other}` is no setting of zones")),
            }
        }
        let is_new = self.world().store.snapshot().zone(apex.borrow()).is_none();
        let mut changes = vec![Change::SetZone(header.clone())];
        if is_new && header.kind == privatelink_dns::zone::ZoneKind::Plain {
            changes.push(default_soa(&apex));
        }
        changes.extend(puts(&apex, block)?);
        self.world().commit(changes);
        Ok(())
    }

    fn asked(&mut self, rest: &str, block: &[(usize, String)]) -> Result<(), String> {
        let asked = self.upstreams.take_asked();
        if rest == "some" && !asked.is_empty() {
            return Ok(());
        }
        let expected: usize = rest.parse().map_err(|_| "`asked` wants a number")?;
        let listed: Vec<&str> = block.iter().map(|(_, line)| line.as_str()).collect();
        if asked.len() != expected || (!listed.is_empty() && asked != listed) {
            return Err(format!("upstream was asked {} times: {asked:#?}", asked.len()));
        }
        Ok(())
    }
}

/// `RCODE [aa] [tc] [ad] [noquestion] [noopt]` and sections, or `drop`.
fn expect(rest: &str, block: &[(usize, String)], got: &Got) -> Result<(), String> {
    let Some(reply) = &got.reply else {
        return if rest == "drop" { Ok(()) } else { Err("there is no reply".to_owned()) };
    };
    let written = || {
        let lines = std::iter::once(rest).chain(block.iter().map(|(_, line)| line.as_str()));
        format!("expected {}\ngot      {reply}", lines.collect::<Vec<_>>().join("\n         "))
    };
    let mut words: Vec<&str> = rest.split_whitespace().collect();
    let mut take = |wanted: &str| {
        let before = words.len();
        words.retain(|word| *word != wanted);
        before > words.len()
    };
    let (no_question, no_opt, cookie) = (take("noquestion"), take("noopt"), take("cookie"));
    let brief = take("brief");
    let sent = match &got.sent {
        Sent::Ask(ask) => ask.to_bytes(),
        Sent::Raw(bytes) => bytes.clone(),
    };
    // A question whose sender may be forged is not worth sending for the size of its reply.
    let is_brief = brief || reply.rcode == Rcode::FORMERR && got.transport == Transport::Udp;
    if is_brief && reply.size_bytes > sent.len() + 6 {
        return Err(format!("{}\nof {} bytes to {}", written(), reply.size_bytes, sent.len()));
    }
    if reply.question.is_empty() != no_question || !sent[12.min(sent.len())..].starts_with(&reply.question) {
        return Err(format!("{}\nwith the question {:02x?}", written(), reply.question));
    }
    if let Sent::Ask(ask) = &got.sent {
        if reply.has_opt != (ask.edns.is_some() && !no_opt) {
            return Err(format!("{}\nwith OPT: {}", written(), reply.has_opt));
        }
        // systemd-resolved 257 leaves a server for good that fails without a word.
        if reply.has_opt && reply.rcode == Rcode::SERVFAIL && reply.extended_errors.is_empty() {
            return Err(format!("{}\nwithout a reason", written()));
        }
        // RFC 3225 §3: DO is copied.
        let dnssec_ok = ask.edns.as_ref().is_some_and(|edns| edns.dnssec_ok);
        if reply.has_opt && reply.dnssec_ok != dnssec_ok {
            return Err(format!("{}\nwith DO: {}", written(), reply.dnssec_ok));
        }
        // RFC 4035 §3.2.2: CD is copied into answers.
        let is_answer = matches!(reply.rcode, Rcode::NOERROR | Rcode::NXDOMAIN);
        if is_answer && reply.flags & CD != ask.flags & CD {
            return Err(format!("{}\nwith the flags {:04x}", written(), reply.flags));
        }
        let client_cookie =
            ask.edns.as_ref().map_or(&[][..], |edns| &edns.cookie[..edns.cookie.len().min(8)]);
        let is_right = match &reply.cookie {
            Some(bytes) => cookie && bytes.len() == 24 && bytes.starts_with(client_cookie),
            None => !cookie,
        };
        if !is_right {
            return Err(format!("{}\nwith the cookie {:02x?}", written(), reply.cookie));
        }
    }
    let (code, flags) = words.split_first().ok_or("a reply has a code")?;
    let mut flags = flags.to_vec();
    let mut got_flags = reply.flag_words();
    flags.sort_unstable();
    got_flags.sort_unstable();
    let (mut answer, mut authority, mut additional, mut reasons) = (vec![], vec![], vec![], vec![]);
    for (_, line) in block {
        let (first, rest) = word(line)?;
        match first {
            "authority" => authority.push(Line::parse(rest, NameRef::ROOT)?),
            "additional" => additional.push(Line::parse(rest, NameRef::ROOT)?),
            "ede" => reasons.push(extended_error(rest)?),
            _ => answer.push(Line::parse(line, NameRef::ROOT)?),
        }
    }
    let same_reasons = reasons.len() == reply.extended_errors.len()
        && reasons
            .iter()
            .zip(&reply.extended_errors)
            .all(|(expected, got)| expected.0 == got.0 && is_like(&expected.1, &got.1));
    let same = rcode(code)? == reply.rcode
        && flags == got_flags
        && same_section(&answer, &reply.answer)
        && same_section(&authority, &reply.authority)
        && same_section(&additional, &reply.additional)
        && same_reasons;
    if same { Ok(()) } else { Err(written()) }
}

/// Whether a text is as expected, where `*` stands for anything.
fn is_like(expected: &str, got: &str) -> bool {
    match expected.split_once('*') {
        None => expected == got,
        Some((front, back)) => {
            got.len() >= front.len() + back.len() && got.starts_with(front) && got.ends_with(back)
        }
    }
}
