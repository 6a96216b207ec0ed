//! Our own look-ups of Azure's hosts: whom they ask, and how often.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use privatelink_dns::dns::{Message, Rcode, RecordType};
use privatelink_dns::sync::azure::{HostServer, Resolver, ResolverSettings};
use reqwest::dns::Resolve;

use super::support::odd::{Odd, reply};
use super::support::upstream::Upstream;

const ARM: &str = "management.azure.com.";
const LOGIN: &str = "login.microsoftonline.com.";

/// Longer than any answer takes here.
const PATIENCE: Duration = Duration::from_secs(10);

fn resolver(rules: &[(&str, &[SocketAddr])], timeout: Duration) -> Option<Arc<dyn Resolve>> {
    let server = |socket: &SocketAddr| HostServer { socket: *socket, peer: None };
    let rules = rules
        .iter()
        .map(|(domain, upstreams)| (domain.parse().unwrap(), upstreams.iter().map(server).collect()));
    Resolver::of(&ResolverSettings { rules: rules.collect(), timeout, ..ResolverSettings::default() })
}

/// The addresses of `host`, or why there are none.
async fn look_up(resolver: &Option<Arc<dyn Resolve>>, host: &str) -> String {
    let host = host.trim_end_matches('.').parse().unwrap();
    match resolver.as_ref().unwrap().resolve(host).await {
        Ok(addresses) => addresses.map(|it| it.to_string()).collect::<Vec<_>>().join(" "),
        Err(why) => why.to_string(),
    }
}

#[tokio::test]
async fn a_host_is_asked_for_once_within_its_ttl_by_whoever_makes_a_connection() {
    let upstream = Upstream::start(&[
        (
            "management.azure.com. A",
            &["management.azure.com. 60 CNAME arm.test.", "arm.test. 60 A 192.0.2.1"],
        ),
        ("management.azure.com. AAAA", &["management.azure.com. 60 AAAA 2001:db8::1"]),
        ("login.microsoftonline.com. A", &["login.microsoftonline.com. 0 A 192.0.2.2"]),
        ("login.microsoftonline.com. AAAA", &["login.microsoftonline.com. 0 AAAA 2001:db8::2"]),
    ]);
    let resolver = resolver(&[(".", &[upstream.address])], PATIENCE);
    // Port 0 stands for the one of the URL.
    assert_eq!(look_up(&resolver, ARM).await, "192.0.2.1:0 [2001:db8::1]:0");
    assert_eq!(upstream.asked(), 2);
    for _ in 0..3 {
        assert_eq!(look_up(&resolver, ARM).await, "192.0.2.1:0 [2001:db8::1]:0");
    }
    assert_eq!(upstream.asked(), 2);
    for asked in [4, 6] {
        assert_eq!(look_up(&resolver, LOGIN).await, "192.0.2.2:0 [2001:db8::2]:0");
        assert_eq!(upstream.asked(), asked, "nothing is kept that has no TTL");
    }
}

#[tokio::test]
async fn the_longest_domain_says_who_is_asked_and_without_one_for_all_names_the_system_is() {
    let of = |address: &'static str| {
        Odd::same(move |query| reply(query, Rcode::NOERROR, &[&format!("@ 60 A {address}")], &[], None))
    };
    let (all, login) = (of("192.0.2.1"), of("192.0.2.2"));
    let rules = [(".", &[all.address][..]), (LOGIN, &[login.address]), ("corp.example.", &[])];
    let found = resolver(&rules, PATIENCE);
    assert_eq!(look_up(&found, ARM).await, "192.0.2.1:0");
    assert_eq!(look_up(&found, LOGIN).await, "192.0.2.2:0");
    let none = look_up(&found, "arm.corp.example.").await;
    assert_eq!(none, "the upstreams have no address of arm.corp.example.");
    assert!(login.over_udp().iter().all(|it| it.question.as_ref().unwrap().name.to_string() == LOGIN));
    assert!(all.over_udp().iter().all(|it| it.question.as_ref().unwrap().name.to_string() == ARM));
    assert!(resolver(&rules[1..], PATIENCE).is_none());
}

#[tokio::test]
async fn an_upstream_that_fails_or_refers_is_followed_by_the_next_which_is_asked_first_from_then_on() {
    for rcode in [Rcode::SERVFAIL, Rcode::REFUSED, Rcode::NOERROR] {
        let referral: &[&str] = &["azure.com. 60 NS ns.azure.com."];
        let failing = Odd::same(move |query| reply(query, rcode, &[], referral, None));
        let other = Odd::same(|query| {
            let rtype = Message::read(query).unwrap().question.unwrap().rtype;
            let address = if rtype == RecordType::A { "@ 60 A 192.0.2.1" } else { "@ 60 AAAA 2001:db8::1" };
            reply(query, Rcode::NOERROR, &[address], &[], None)
        });
        let resolver = resolver(&[(".", &[failing.address, other.address])], PATIENCE);
        for _ in 0..2 {
            assert_eq!(look_up(&resolver, ARM).await, "192.0.2.1:0 [2001:db8::1]:0", "{rcode}");
            assert_eq!((failing.over_udp().len(), other.over_udp().len()), (2, 2), "{rcode}");
        }
    }
}

#[tokio::test]
async fn a_silent_upstream_is_followed_by_the_next_and_a_lonely_one_is_no_address() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    let other = Odd::same(|query| reply(query, Rcode::NOERROR, &["@ 60 A 192.0.2.1"], &[], None));
    let timeout = Duration::from_millis(200);
    assert_eq!(look_up(&resolver(&[(".", &[silent, other.address])], timeout), ARM).await, "192.0.2.1:0");
    let none = look_up(&resolver(&[(".", &[silent])], timeout), ARM).await;
    assert_eq!(none, "the upstreams have no address of management.azure.com.");
}

#[tokio::test]
async fn that_there_is_no_such_host_is_believed_and_what_does_not_fit_is_asked_for_by_tcp() {
    let soa: &[&str] = &["azure.com. 60 SOA ns host 1 60 60 60 60"];
    let first = Odd::same(move |query| reply(query, Rcode::NXDOMAIN, &[], soa, None));
    let second = Odd::same(|query| reply(query, Rcode::NOERROR, &["@ 60 A 192.0.2.1"], &[], None));
    let both = resolver(&[(".", &[first.address, second.address])], PATIENCE);
    for _ in 0..2 {
        let none = look_up(&both, ARM).await;
        assert_eq!(none, "the upstreams have no address of management.azure.com.");
        assert_eq!((first.over_udp().len(), second.over_udp().len()), (2, 0));
    }
    let records: Vec<String> = (0..100).map(|host| format!("{ARM} 60 A 192.0.2.{host}")).collect();
    let large = Upstream::answering(move |_, rtype| (rtype == RecordType::A).then(|| records.clone()));
    let found = look_up(&resolver(&[(".", &[large.address])], PATIENCE), ARM).await;
    assert_eq!(found.split(' ').count(), 100);
}
