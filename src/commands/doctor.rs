//! `doctor`: looks at everything from end to end, and says what to do.

mod azure;
mod followed;
mod limits;
mod source;
mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::delegations::Misfit;
use super::published::{OddAddresses, Published, contests};
use super::words::{NOBODY_MAY_ASK, count, last_segment};
use super::{ConfigFile, Outcome, small_runtime};
use crate::cache::{self, Cache, End};
use crate::config::Config;
use crate::daemon::Parts;
use crate::dns::{Message, Name, QueryFlags, Question, RecordType, message, rdata};
use crate::forward::{self, Asker, Forwarder, Protocol, RuleSettings, UpstreamAddress};
use crate::respond::{Client, Missing, Responder, Transport};
use crate::sources::{Listing, Source};
use crate::sync::Contest;
use crate::telemetry::{Age, command};
use crate::tls::Trust;

/// Names asked at once: below what upstreams are asked a second.
const NAMES_AT_ONCE: usize = 32;

/// Look at config, zone files, inventories, the store, live Azure, upstreams and every published name from end to end, and say what to do.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 = all is well, 1 = something is wrong (FAIL), 2 = the config cannot be read.

Examples:
  privatelink-dns doctor
  privatelink-dns doctor --client 10.10.1.4
  privatelink-dns doctor --offline")]
pub(super) struct Doctor {
    /// Ask for the published names as this client.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    client: IpAddr,
    /// Ask neither upstreams nor Azure.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// What one look came to, and what to do about it.
struct Finding {
    severity: Severity,
    what: String,
    advice: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Severity {
    Well,
    /// Worth knowing; the server does its work.
    Note,
    /// Something does not work.
    Wrong,
}

impl Finding {
    fn well(what: impl Into<String>) -> Finding {
        Finding { severity: Severity::Well, what: what.into(), advice: None }
    }

    fn note(what: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { severity: Severity::Note, what: what.into(), advice: Some(advice.into()) }
    }

    fn wrong(what: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { severity: Severity::Wrong, what: what.into(), advice: Some(advice.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Well => "ok  ",
            Severity::Note => "note",
            Severity::Wrong => "FAIL",
        };
        writeln!(out, "{word}  {}", self.what)?;
        match &self.advice {
            Some(advice) => writeln!(out, "      → {}", advice.replace('\n', "\n        ")),
            None => Ok(()),
        }
    }
}

impl Doctor {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<Outcome> {
        let mut config = self.config.load()?;
        // Its client has a runtime of its own.
        let of_running = limits::of_running(&self.config);
        super::ask_azure_impatiently(&mut config);
        small_runtime()?.block_on(async {
            let mut findings = vec![Finding::well(format!("config {} is good", config.file.display()))];
            let parts = match Parts::load(&config) {
                Ok(parts) => parts,
                Err(cause) => {
                    let advice = "mend the file: nothing can be served before";
                    findings.push(Finding::wrong(cause.to_string(), advice));
                    return self.tell(&findings, out);
                }
            };
            findings.extend(parts.zone_warnings.iter().map(|warning| {
                Finding::note(
                    warning.to_string(),
                    "write several strings of at most 255 bytes, each in quotes",
                )
            }));
            let files = config.zones.iter().filter(|zone| zone.file.is_some()).count();
            findings.push(Finding::well(format!("{} can be served", count(files, "zone file"))));
            for source in parts.sources.list() {
                findings.extend(match &source.listing {
                    Listing::Directory(settings) => source::of_folder(source, settings),
                    Listing::Azure(_) if self.offline => azure::of_last_state(source, &parts.sources),
                    Listing::Azure(live) => azure::of_live(source, live, &parts.sources, &parts.store).await,
                });
            }
            findings.extend(of_access(&config));
            findings.extend(of_state(&parts));
            findings.extend(of_addresses(&config, &parts));
            findings.extend(written::of_store(&config).await);
            findings.extend(of_running);
            findings.extend(of_conflicts(&parts));
            findings.extend(of_delegations(&config, &parts));
            findings.extend(of_drift(&parts));
            if !self.offline {
                findings.extend(of_upstreams(&config).await);
                findings.extend(followed::of_servers(&config, &parts).await);
            }
            findings.extend(self.of_names(&config, &parts).await);
            self.tell(&findings, out)
        })
    }

    fn tell(&self, findings: &[Finding], out: &mut impl Write) -> anyhow::Result<Outcome> {
        for finding in findings {
            write!(out, "{finding}")?;
        }
        let number = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let wrong = number(Severity::Wrong);
        writeln!(out, "{} wrong, {}", wrong, count(number(Severity::Note), "note"))?;
        Ok(if wrong == 0 { Outcome::Well } else { Outcome::Found })
    }

    /// Asks for every published name as the client would, and expects the private addresses.
    async fn of_names(&self, config: &Config, parts: &Parts) -> Vec<Finding> {
        let snapshot = parts.store.snapshot();
        let view = snapshot.networks().view_of(self.client);
        let permits = Arc::new(Semaphore::new(NAMES_AT_ONCE));
        let mut questions = JoinSet::new();
        for published in Published::all(config, parts, view) {
            for name in published.names() {
                // A wildcard stands for the names below it.
                let asked = match name.borrow().is_wildcard() {
                    true => name.borrow().parent().and_then(|parent| parent.child(b"doctor").ok()),
                    false => Some(name.borrow().to_buf()),
                };
                let Some(asked) = asked.map(|asked| asked.to_name()) else { continue };
                let expected = published.addresses.clone();
                let (responder, permits) = (Arc::clone(&parts.responder), Arc::clone(&permits));
                let client = self.client;
                questions.spawn(async move {
                    let _permit = permits.acquire().await;
                    let answered = answered(&responder, &asked, &expected, client).await;
                    answered.err().map(|why| (asked, expected, why))
                });
            }
        }
        let asked = questions.len();
        let mut failed = BTreeMap::new();
        for (name, expected, why) in questions.join_all().await.into_iter().flatten() {
            failed.insert(name, (expected, why));
        }
        if failed.is_empty() {
            let names = count(asked, "published name");
            return vec![Finding::well(format!(
                "{names} answered with their private addresses to {}",
                self.client
            ))];
        }
        let findings = failed.into_iter().map(|(name, (expected, why))| {
            let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
            let what = format!("{name} should be {}, but {why}", expected.join(" "));
            let explain = command(format_args!("explain {name} --client {}", self.client));
            let advice = format!("{explain} tells each step");
            Finding::wrong(what, advice)
        });
        findings.collect()
    }
}

fn of_access(config: &Config) -> Option<Finding> {
    let advice =
        "name the ranges of your clients in access.allow, and see that access.deny leaves some of them";
    config.access.refuses_all().then(|| Finding::wrong(NOBODY_MAY_ASK, advice))
}

/// Whether a restart would know what is published.
fn of_state(parts: &Parts) -> Vec<Finding> {
    let (sources, folder) = (parts.sources.list(), parts.sources.state_folder().path().display());
    if sources.is_empty() {
        return Vec::new();
    }
    if let Some(trouble) = parts.sources.trouble() {
        return vec![Finding::wrong(
            trouble,
            "after a restart with unreadable inventories nothing of them would be served; see that state_dir can \
             be read and written by the server, and run this as its user",
        )];
    }
    let kept = |source: &Arc<Source>| Some(format!("{} of {} ago", source.name(), Age::of(source.kept()?)));
    let kept: Vec<String> = sources.iter().filter_map(kept).collect();
    if kept.is_empty() {
        return vec![Finding::note(
            format!("no last good state of any inventory is kept in {folder}"),
            "a server that can write to state_dir keeps it; without it a restart with unreadable inventories serves \
             nothing of them",
        )];
    }
    vec![Finding::well(format!("the last good state is kept in {folder}: {}", kept.join(", ")))]
}

fn of_addresses(config: &Config, parts: &Parts) -> Vec<Finding> {
    let OddAddresses { left_out, public } = OddAddresses::of(config, parts);
    let left_out = left_out.into_iter().map(|it| {
        let advice = "if it is right, add its range to private_link.addresses; else look at the endpoint";
        Finding::note(format!("{it} is not published: private_link.addresses leaves it out"), advice)
    });
    let public = public.into_iter().map(|it| {
        let advice = "if your networks use such addresses, leave it so; else private_link.addresses names those that may \
                      be published";
        Finding::note(format!("{it} is published, and is no private address"), advice)
    });
    left_out.chain(public).collect()
}

fn of_conflicts(parts: &Parts) -> Vec<Finding> {
    let failing = parts.sources.known();
    let of = |contest: &Contest| {
        let mut advice =
            "whose resource has the name is served; else a client in the virtual networks of a [[network]] is served \
            that network's, others what private_link.prefer says, else the oldest"
                .to_owned();
        let is_stale =
            |subscription: &Arc<str>| failing.iter().any(|known| known.failing.contains_key(subscription));
        if let Some((endpoint, subscription)) =
            contest.endpoints.iter().find(|(_, subscription)| is_stale(subscription))
        {
            let endpoint = last_segment(endpoint);
            advice += &format!(
                "; {endpoint} is of subscription {subscription}, which cannot be listed: it may be gone"
            );
        }
        Finding::note(format!("more than one private endpoint claims {contest}"), advice)
    };
    contests(&parts.store.load()).iter().map(of).collect()
}

fn of_delegations(config: &Config, parts: &Parts) -> Vec<Finding> {
    let misfits = Misfit::all(config, &parts.store.snapshot());
    misfits.iter().map(|misfit| Finding::note(misfit.to_string(), misfit.advice())).collect()
}

fn of_drift(parts: &Parts) -> Vec<Finding> {
    let drift = parts.sources.drift(&parts.store.load());
    drift.iter().map(|drift| Finding::note(format!("drift: {drift}"), drift.advice())).collect()
}

/// Asks each upstream for the name servers of the root.
async fn of_upstreams(config: &Config) -> Vec<Finding> {
    let mut upstreams: Vec<UpstreamAddress> = Vec::new();
    for upstream in config.forward.rules.iter().flat_map(|rule| &rule.upstreams) {
        if !upstreams.contains(upstream) {
            upstreams.push(upstream.clone());
        }
    }
    let mut looks = JoinSet::new();
    for (number, upstream) in upstreams.into_iter().enumerate() {
        let trust = config.forward.trust.clone();
        looks.spawn(async move { (number, of_upstream(upstream, trust).await) });
    }
    let mut findings = looks.join_all().await;
    findings.sort_by_key(|(number, _)| *number);
    let mut findings: Vec<Finding> = findings.into_iter().map(|(_, finding)| finding).collect();
    if config.forward.rules.iter().all(|rule| rule.domain != Name::root()) {
        let what = "names that no zone holds and no rule forwards are answered SERVFAIL";
        findings
            .push(Finding::note(what, "name a resolver in forward.upstreams if clients ask for other names"));
    }
    findings
}

async fn of_upstream(upstream: UpstreamAddress, trust: Trust) -> Finding {
    let upstreams = vec![upstream.clone()];
    let rule = RuleSettings { domain: Name::root(), upstreams, queries_per_second_max: None };
    let settings = forward::Settings { rules: vec![rule], trust, ..forward::Settings::default() };
    let cache = Cache::new(cache::Settings { size_bytes: 0, ..cache::Settings::default() });
    let forwarder = Forwarder::new(settings, Arc::new(cache));
    let question = Question { name: Name::root(), rtype: RecordType::NS };
    let begun = Instant::now();
    let outcome = forwarder.ask(question, QueryFlags::default(), Asker::Server).await;
    let millis = begun.elapsed().as_millis();
    let link = forwarder.health().into_iter().find_map(|upstream| upstream.link);
    if outcome.upstream.is_some() && outcome.reply.end != End::Failed {
        let more = link.map(|link| format!(": {link}")).unwrap_or_default();
        return Finding::well(format!(
            "upstream {upstream} answers {} in {millis} ms{more}",
            outcome.reply.rcode
        ));
    }
    let why = outcome.reply.extended_error.as_ref().map(|error| error.text.to_string()).unwrap_or_default();
    let shown = link.and_then(|link| link.certificate);
    let shown = shown.map(|shown| format!("; it shows a certificate {shown}, key {}", shown.pin));
    let what = format!(
        "upstream {upstream} does not answer ({} after {millis} ms): {why}{}",
        outcome.reply.rcode,
        shown.unwrap_or_default()
    );
    let port = upstream.socket().port();
    let advice = match upstream.protocol() {
        _ if upstream.is_azure() => {
            "168.63.129.16 can only be reached from within a virtual network, and over UDP and TCP; elsewhere name another \
             resolver in forward.upstreams. Network security groups can block it by the tag AzurePlatformDNS"
                .to_owned()
        }
        Protocol::Udp => "see that it runs, that a firewall lets UDP and TCP port 53 through, and that it allows this host to \
                          ask"
            .to_owned(),
        Protocol::Tcp => {
            format!(
                "see that it runs, that a firewall lets TCP port {port} through, and that it allows this host to ask"
            )
        }
        Protocol::Tls => format!(
            "see that it speaks DNS over TLS at TCP port {port}, that a firewall lets that through, that its certificate is \
             valid and for the name behind #, and that forward.ca_file has the authority behind it if the system has not"
        ),
    };
    Finding::wrong(what, advice)
}

/// Asks as a client does; tells why the answer is not the private addresses.
async fn answered(
    responder: &Arc<Responder>,
    name: &Name,
    expected: &[IpAddr],
    client: IpAddr,
) -> Result<(), String> {
    let client = Client::new(SocketAddr::new(client, 0), Transport::Tcp);
    for expected in expected {
        let rtype = if expected.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        let question = message::query(0, name.borrow(), rtype, QueryFlags::default(), true);
        let reply = Arc::clone(responder).answer(question, client, Asker::Server, Missing::UNKNOWN).await;
        let reply = reply.and_then(|reply| Message::read(&reply).ok()).ok_or("there is no answer")?;
        let records = reply.answer.iter().filter(|record| record.rtype == rtype);
        let addresses: Vec<IpAddr> = records.filter_map(|record| rdata::address(&record.data)).collect();
        if !addresses.contains(expected) {
            let why = reply.extended_error.map(|(_, text)| format!(": {text}")).unwrap_or_default();
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            return Err(match addresses.is_empty() {
                true => format!("the answer is {} without an address{why}", reply.rcode),
                false => format!("the answer is {}{why}", addresses.join(" ")),
            });
        }
    }
    Ok(())
}
