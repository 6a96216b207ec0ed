//! Who may ask at all: the same on every transport, before anything else (design R7).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::zone::AddressRanges;

/// `[access]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessSettings {
    pub allow: Vec<IpNet>,
    /// Goes before `allow`.
    pub deny: Vec<IpNet>,
}

impl Default for AccessSettings {
    /// Loopback and private addresses (RFC 1918, 6598, 4193, 4291).
    fn default() -> AccessSettings {
        const PRIVATE: [&str; 8] = [
            "127.0.0.0/8",
            "::1/128",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "fc00::/7",
            "fe80::/10",
        ];
        let allow = PRIVATE.iter().map(|range| range.parse().expect("the range is well formed")).collect();
        AccessSettings { allow, deny: Vec::new() }
    }
}

impl AccessSettings {
    /// Whether nobody may ask.
    pub fn refuses_all(&self) -> bool {
        self.allow.iter().all(|range| self.deny.iter().any(|denied| denied.contains(range)))
    }
}

/// Ranges indexed for look-up.
#[derive(Clone, Default)]
pub struct Access {
    allow: AddressRanges<()>,
    /// Most deny none, and need not be looked up.
    deny: Option<AddressRanges<()>>,
}

impl Access {
    /// Indexes ranges.
    pub fn new(settings: &AccessSettings) -> Access {
        let indexed = |ranges: &[IpNet]| AddressRanges::new(ranges.iter().map(|range| (*range, ())));
        let deny = (!settings.deny.is_empty()).then(|| indexed(&settings.deny));
        Access { allow: indexed(&settings.allow), deny }
    }

    /// Whether a client may ask. IPv4 written as IPv6 counts as IPv4.
    pub fn allows(&self, client: IpAddr) -> bool {
        self.allow.get(client).is_some() && self.deny.as_ref().is_none_or(|deny| deny.get(client).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_allows_none_or_denies_all_that_is_allowed_refuses_all() {
        let of = |allow: &[&str], deny: &[&str]| {
            let ranges = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
            AccessSettings { allow: ranges(allow), deny: ranges(deny) }.refuses_all()
        };
        assert!(of(&[], &[]) && of(&["10.0.0.0/8"], &["0.0.0.0/0"]));
        assert!(!of(&["10.0.0.0/8"], &[]) && !of(&["10.0.0.0/8", "fd00::/8"], &["0.0.0.0/0"]));
    }

    #[test]
    fn private_clients_may_ask_and_deny_goes_first() {
        let mut settings = AccessSettings::default();
        settings.deny.push("10.9.0.0/16".parse().unwrap());
        let access = Access::new(&settings);
        let allows = |ip: &str| access.allows(ip.parse().unwrap());
        assert!(allows("10.1.2.3") && allows("fd00::1") && allows("::ffff:192.168.1.1"));
        assert!(
            !allows("10.9.1.1") && !allows("::ffff:10.9.1.1") && !allows("8.8.8.8") && !allows("2001:db8::1")
        );
    }
}
