//! What a server serves, in a few lines.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hashbrown::HashMap;

use super::published::{Names, OddAddresses, Published, contests, publications};
use super::words::{NOBODY_MAY_ASK, count, published};
use crate::answer::{PrivateReverse, PublicNames};
use crate::config::Config;
use crate::daemon::Parts;
use crate::dns::{Name, NameRef, RecordType};
use crate::sources::{Source, SourceState};
use crate::sync::{Desired, HeldBack, NotServed, Refusal};
use crate::telemetry::command;
use crate::zone::{Node, ZoneKind};

/// Withheld endpoints and conflicts told one by one; `doctor` tells all.
const TOLD_MAX: usize = 10;

/// Zones, sources, upstreams, and three questions to try.
pub(super) struct Summary<'p> {
    config: &'p Config,
    parts: &'p Parts,
    addresses: &'p [SocketAddr],
    tls_addresses: &'p [SocketAddr],
    /// `None` where nothing runs.
    admin_addresses: Option<&'p [SocketAddr]>,
}

impl<'p> Summary<'p> {
    pub(super) fn new(config: &'p Config, parts: &'p Parts) -> Summary<'p> {
        Summary { config, parts, addresses: &[], tls_addresses: &[], admin_addresses: None }
    }

    /// With the addresses that the admin API answers at.
    pub(super) fn administered_at(self, addresses: &'p [SocketAddr]) -> Summary<'p> {
        Summary { admin_addresses: Some(addresses), ..self }
    }

    /// With the addresses that the server listens on, for plain DNS and for DNS over TLS.
    pub(super) fn listening(self, addresses: &'p [SocketAddr], tls: &'p [SocketAddr]) -> Summary<'p> {
        Summary { addresses, tls_addresses: tls, ..self }
    }

    fn administration(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let admin = &self.config.admin;
        let scheme = if admin.api.certificate.is_some() { "https" } else { "http" };
        let addresses = self.admin_addresses.unwrap_or(&admin.api.listen);
        for address in addresses {
            writeln!(out, "admin API    {scheme}://{address}")?;
        }
        if addresses.is_empty() {
            writeln!(out, "admin API    none")?;
        }
        if admin.has_store() {
            writeln!(out, "store        {}", admin.store.shown())?;
        }
        Ok(())
    }

    fn zones(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.parts.store.snapshot();
        let of = |kind: ZoneKind| {
            let zones = snapshot.zones().filter(move |(_, zone)| zone.header().kind == kind);
            zones.map(|(_, zone)| (zone.apex(), zone.content()))
        };
        let filled = of(ZoneKind::PrivateLink).filter(|(_, content)| *content > 0);
        let (zones, sets) = filled.fold((0, 0), |(zones, sets), (_, content)| (zones + 1, sets + content));
        let empty = of(ZoneKind::PrivateLink).count() - zones;
        write!(out, "zones        {} with {}", count(zones, "private-link zone"), count(sets, "record set"))?;
        writeln!(out, ", {empty} without records (their names are asked upstream)")?;
        let mut plain: Vec<(&Name, usize)> = of(ZoneKind::Plain).collect();
        plain.sort();
        for (apex, content) in plain {
            writeln!(out, "             {apex} with {}", count(content, "record set"))?;
        }
        Ok(())
    }

    fn sources(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parts.sources.list().is_empty() {
            writeln!(out, "inventory    none ([[sync.source]] names one)")?;
        }
        for source in self.parts.sources.list() {
            self.source(source, out)?;
        }
        let OddAddresses { left_out, public } = OddAddresses::of(self.config, self.parts);
        for (what, all) in
            [("is left out by private_link.addresses", left_out), ("is no private address", public)]
        {
            for it in all.iter().take(TOLD_MAX) {
                writeln!(out, "address      {it} {what}")?;
            }
            if all.len() > TOLD_MAX {
                writeln!(out, "            {}", more(all.len()))?;
            }
        }
        let drift = self.parts.sources.drift(&self.parts.store.load());
        for drift in drift.iter().take(TOLD_MAX) {
            writeln!(out, "drift        {drift}")?;
        }
        if drift.len() > TOLD_MAX {
            writeln!(out, "            {}", more(drift.len()))?;
        }
        if let Some(trouble) = self.parts.sources.trouble() {
            writeln!(out, "state        {trouble}")?;
        }
        let contests = contests(&self.parts.store.load());
        for contest in contests.iter().take(TOLD_MAX) {
            writeln!(out, "conflict     {contest}")?;
        }
        if contests.len() > TOLD_MAX {
            writeln!(out, "            {}", more(contests.len()))?;
        }
        Ok(())
    }

    fn source(&self, source: &Source, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, known) = (source.name(), source.known());
        let kind = if source.live().is_some() { "azure" } else { "inventory" };
        let publishes = match source.listing.is_of_zones() && known.desired.zones.is_empty() {
            true => "no private DNS zones".to_owned(),
            false => published(&known),
        };
        let age = known.age().map(|age| format!(" from {age} ago")).unwrap_or_default();
        write!(out, "{kind:<12} {name}: ")?;
        match &known.state {
            _ if !known.asked => writeln!(out, "{publishes}{age}; not listed yet")?,
            SourceState::Current { .. } => writeln!(out, "{publishes}")?,
            SourceState::Stale { why, .. } => {
                writeln!(out, "{}, {publishes}{age}: {why}", known.state.word())?
            }
            SourceState::HeldBack { .. } => writeln!(out, "{}, {publishes}{age}", known.state.word())?,
        }
        held_back(name, known.held_back(), out)?;
        for remark in &known.remarks {
            writeln!(out, "             {remark}")?;
        }
        beside(&known.desired, (&known.not_served, &known.derived), out)
    }

    fn networks(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for network in &self.config.networks {
            let clients: Vec<String> = network.clients.iter().map(ToString::to_string).collect();
            writeln!(out, "network      {}: {}", network.name, clients.join(", "))?;
        }
        Ok(())
    }

    fn access(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.config.access.refuses_all() {
            true => writeln!(out, "access       {NOBODY_MAY_ASK}"),
            false => Ok(()),
        }
    }

    fn upstreams(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = &self.config.forward.rules;
        for rule in rules {
            let upstreams: Vec<String> = rule.upstreams.iter().map(ToString::to_string).collect();
            writeln!(out, "upstream     {} for {}", upstreams.join(", "), rule.domain)?;
        }
        if rules.iter().all(|rule| rule.domain != Name::root()) {
            writeln!(out, "upstream     none for other names: they are answered SERVFAIL")?;
        }
        let public = match self.config.private_link.public_names {
            PublicNames::Splice => "spliced into what upstream says",
            PublicNames::Local => "answered from the catalogue, without upstream",
        };
        writeln!(out, "public names {public}")?;
        let others = match self.parts.responder.serving().rules.private_reverse() {
            PrivateReverse::Ask => "asked upstream, else answered as RFC 6303 wants",
            PrivateReverse::Here => "answered as RFC 6303 wants, without upstream",
        };
        let endpoints = if self.config.private_link.reverse {
            "those of endpoints with their names, others "
        } else {
            ""
        };
        writeln!(out, "reverse      of private addresses: {endpoints}{others}")
    }

    /// Three questions about what is really published: a public name, a name used as it is, an IPv6 address.
    fn trials(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(address) = self.addresses.first() else { return Ok(()) };
        let server = match address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let view = self.parts.store.load().networks().view_of(server);
        let known = self.parts.sources.known();
        let names = Names::new(self.config, self.parts, &known, view);
        // An endpoint with one name is what people know best.
        let mut names_of: HashMap<&str, usize> = HashMap::new();
        for publication in publications(&known) {
            *names_of.entry(&publication.claim.endpoint).or_default() += 1;
        }
        let is_single = |private: &Name| {
            names.listed(private).iter().any(|it| names_of.get(&*it.claim.endpoint) == Some(&1))
        };
        let has = |it: &Published, ipv6| it.addresses.iter().any(|address| address.is_ipv6() == ipv6);
        let (has_ipv4, has_ipv6) = (
            |node: &Node| node.slot(RecordType::A).is_some(),
            |node: &Node| node.slot(RecordType::AAAA).is_some(),
        );
        let public = |it: &Published| !it.public.is_empty() && has(it, false);
        let is_plain_blob =
            |it: &Published| public(it) && it.zone.to_string().contains(".blob.") && is_single(&it.private);
        let is_own = |name: NameRef<'_>, node: &Node| has_ipv4(node) && names.is_used_as_it_is(name);
        let first_public = || names.first(|_, node| has_ipv4(node), public);
        let trials = [
            names
                .first(|_, node| has_ipv4(node), is_plain_blob)
                .or_else(first_public)
                .map(|it| (it.public[0].clone(), "A")),
            names.first(is_own, |it| it.is_used_as_it_is && has(it, false)).map(|it| (it.private, "A")),
            names
                .first(|_, node| has_ipv6(node), |it| has(it, true))
                .and_then(|it| Some((it.names().next()?.clone(), "AAAA"))),
        ];
        if trials.iter().any(Option::is_some) {
            writeln!(out, "Try:")?;
        }
        for (name, rtype) in trials.into_iter().flatten() {
            let name = name.to_string();
            writeln!(out, "  dig @{server} -p {} {} {rtype}", address.port(), name.trim_end_matches('.'))?;
        }
        Ok(())
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "privatelink-dns {}, config {}",
            env!("CARGO_PKG_VERSION"),
            self.config.file.display()
        )?;
        for address in self.addresses {
            writeln!(out, "listening    {address} (UDP, TCP)")?;
        }
        for address in self.tls_addresses {
            writeln!(out, "             {address} (TLS)")?;
        }
        self.administration(out)?;
        self.zones(out)?;
        self.sources(out)?;
        self.networks(out)?;
        self.access(out)?;
        self.upstreams(out)?;
        self.trials(out)
    }
}

fn held_back(name: &str, held_back: Option<&HeldBack>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(held_back) = held_back else { return Ok(()) };
    let (show, confirm) =
        (command("sync --once --dry-run"), command(format_args!("sync --once --confirm {name}")));
    writeln!(out, "             {held_back} would go: {show} shows them, {confirm} lets them go")
}

/// What a source lists besides.
fn beside(
    desired: &Desired,
    (not_served, derived): (&[NotServed], &BTreeSet<Name>),
    out: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let shown = derived.iter().take(TOLD_MAX).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !derived.is_empty() {
        let zones = count(derived.len(), "zone");
        writeln!(out, "             {zones} that the catalogue lacks: {shown}{}", more(derived.len()))?;
    }
    let not_selected = not_served.iter().filter(|it| it.why == Refusal::NotSelected).count();
    if not_selected > 0 {
        let names = count(not_selected, "name");
        writeln!(out, "             {names} in zones that private_link.zones leaves out")?;
    }
    // Several names may want the same lines.
    let mut advised: BTreeSet<String> = BTreeSet::new();
    for refused in not_served.iter().filter(|it| it.why != Refusal::NotSelected) {
        writeln!(out, "             {} is not published: {refused}", refused.name)?;
        advised.insert(refused.advice());
    }
    for unplaced in &desired.unplaced {
        writeln!(out, "             no zone is known for {}", unplaced.fqdn)?;
        advised.insert(unplaced.advice());
    }
    for advice in advised {
        writeln!(out, "             → {}", advice.replace('\n', "\n               "))?;
    }
    if !desired.foreign.is_empty() {
        let endpoints = count(desired.foreign.len(), "private endpoint");
        writeln!(out, "             {endpoints} of subscriptions that sync.allow_subscriptions leaves out")?;
    }
    let withheld: BTreeSet<(&str, &str)> =
        desired.withheld.iter().map(|it| (&*it.endpoint_name, it.state.as_str())).collect();
    if !withheld.is_empty() {
        let told = withheld.iter().take(TOLD_MAX).map(|(name, state)| format!("{name} ({state})"));
        writeln!(out, "withheld     {}{}", told.collect::<Vec<_>>().join(", "), more(withheld.len()))?;
    }
    Ok(())
}

fn more(all: usize) -> String {
    if all > TOLD_MAX { format!(" and {} more", all - TOLD_MAX) } else { String::new() }
}
