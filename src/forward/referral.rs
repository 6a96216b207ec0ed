//! What a name server says that does not have a name itself: whom its domain is left to.

use std::net::IpAddr;

use crate::dns::{Flags, Message, Name, Rcode, RecordType, rdata};

/// Name servers of one domain that are looked at; the root has thirteen.
pub(super) const SERVERS_MAX: usize = 13;

/// A name server, and where it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NameServer {
    pub name: Name,
    /// As the parent gives them; none if it does not.
    pub addresses: Vec<IpAddr>,
}

/// A domain that is left to other servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Referral {
    pub domain: Name,
    pub servers: Vec<NameServer>,
    /// Seconds that it may be kept.
    pub ttl_secs: u32,
}

impl Referral {
    /// Reads the referral of a server of `parent` on the way down to `name`. One that leads up or aside is none: such a
    /// server does not have the domain.
    // RFC 2308 §2.2; an authoritative server without an SOA says "no data" nevertheless, as many load balancers do.
    pub fn read(message: &Message, parent: &Name, name: &Name) -> Option<Referral> {
        let has_soa = message.authority.iter().any(|record| record.rtype == RecordType::SOA);
        if message.rcode != Rcode::NOERROR
            || message.flags.has(Flags::AA)
            || !message.answer.is_empty()
            || has_soa
        {
            return None;
        }
        let is_below = |domain: &Name| domain != parent && domain.is_within(parent) && name.is_within(domain);
        let mut servers = message.authority.iter().filter(|record| record.rtype == RecordType::NS);
        let first = servers.find(|record| is_below(&record.owner))?;
        let (domain, mut ttl_secs) = (first.owner.clone(), first.ttl.secs());
        let mut referral = Referral { domain, servers: Vec::new(), ttl_secs };
        for record in message.authority.iter().filter(|record| record.rtype == RecordType::NS) {
            let Some(server) = record.target().filter(|_| record.owner == referral.domain) else { continue };
            if referral.servers.len() == SERVERS_MAX {
                break;
            }
            ttl_secs = ttl_secs.min(record.ttl.secs());
            // The server speaks for what lies within its own domain.
            let glue = message
                .additional
                .iter()
                .filter(|glue| glue.owner() == server.borrow() && server.borrow().is_within(parent.borrow()));
            let glue = glue.filter(|glue| matches!(glue.rtype, RecordType::A | RecordType::AAAA));
            let addresses = glue.filter_map(|glue| rdata::address(&glue.data)).collect();
            referral.servers.push(NameServer { name: server.to_name(), addresses });
        }
        referral.ttl_secs = ttl_secs;
        Some(referral)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::record;
    use super::*;
    use crate::dns::{NameRef, message};

    fn read(flags: Flags, authority: &[&str], additional: &[&str]) -> Option<Referral> {
        let query = message::query(0, NameRef::ROOT, RecordType::A, Default::default(), false);
        let mut message = Message::read(&query).unwrap();
        message.flags = flags;
        message.authority = authority.iter().map(|text| record(text)).collect();
        message.additional = additional.iter().map(|text| record(text)).collect();
        Referral::read(&message, &"sub.x.".parse().unwrap(), &"a.deep.sub.x.".parse().unwrap())
    }

    #[test]
    fn a_referral_leads_down_to_the_name_and_brings_what_glue_its_server_speaks_for() {
        let servers =
            ["deep.sub.x. 60 NS ns.deep.sub.x.", "deep.sub.x. 30 NS ns.y.", "y. 5 NS ns.deep.sub.x."];
        let glue = ["ns.deep.sub.x. 60 A 10.0.0.1", "ns.deep.sub.x. 60 AAAA fd00::1", "ns.y. 60 A 6.6.6.6"];
        let referral = read(Flags::QR, &servers, &glue).unwrap();
        let addresses: Vec<Vec<String>> = referral
            .servers
            .iter()
            .map(|server| server.addresses.iter().map(IpAddr::to_string).collect())
            .collect();
        assert_eq!((referral.domain.to_string().as_str(), referral.ttl_secs), ("deep.sub.x.", 30));
        assert_eq!(addresses, [vec!["10.0.0.1".to_owned(), "fd00::1".to_owned()], vec![]]);
    }

    #[test]
    fn what_leads_up_or_aside_or_is_no_referral_is_none() {
        for server in ["sub.x. 60 NS ns.x.", "x. 60 NS ns.x.", ". 60 NS ns.x.", "b.sub.x. 60 NS ns.x."] {
            assert_eq!(read(Flags::QR, &[server], &[]), None, "{server}");
        }
        let server = "deep.sub.x. 60 NS ns.x.";
        assert!(read(Flags::QR, &[server], &[]).is_some());
        assert_eq!(read(Flags::QR, &[server, "sub.x. 60 SOA a. b. 1 2 3 4 5"], &[]), None);
        assert_eq!(read(Flags::QR.with(Flags::AA, true), &[server], &[]), None);
    }

    #[test]
    fn no_more_servers_are_looked_at_than_the_root_has() {
        let servers: Vec<String> = (0..50).map(|n| format!("deep.sub.x. 60 NS n{n}.y.")).collect();
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        assert_eq!(read(Flags::QR, &servers, &[]).unwrap().servers.len(), SERVERS_MAX);
    }
}
