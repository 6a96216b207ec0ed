//! The lines of config by which an operator has names published that the catalogue lacks.

use std::fmt;

use super::carried::carried_zone;
use super::placing::{Hint, is_marker};
use crate::dns::NameRef;

/// A Private Link service behind a customer's own load balancer.
const CUSTOMERS_SERVICE: &str = "Microsoft.Network/privateLinkServices";

/// One `[[private_link.service]]`, ready to be pasted into a config.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceLines {
    resource_type: String,
    group_id: Option<String>,
    zone: String,
    /// The public suffix, of names that do not tell their zone.
    public: Option<String>,
}

impl ServiceLines {
    /// For a name that an endpoint lists. A public name is taken for a record's label and a suffix, as nearly all are.
    /// `None` where no line could have it published: a wildcard, an apex, or letters that no suffix has. And where none
    /// should: directly below a top-level domain, and for a service of a customer's own, which may have any name.
    pub fn of_name(fqdn: NameRef<'_>, hint: Hint<'_>) -> Option<ServiceLines> {
        let is_record = !fqdn.is_wildcard() && !fqdn.first_label().is_some_and(is_marker);
        let is_customers = hint.resource_type.is_some_and(|it| it.eq_ignore_ascii_case(CUSTOMERS_SERVICE));
        let suffix = fqdn.parent().filter(|it| it.label_count() > 1 && is_record && !is_customers)?;
        let marked = suffix.ancestors().filter(|end| end.first_label().is_some_and(is_marker)).last();
        let (zone, public) = match carried_zone(suffix).or(marked) {
            Some(zone) => (plain(zone)?, None),
            None => (format!("privatelink.{}", plain(suffix)?), Some(plain(suffix)?)),
        };
        Some(ServiceLines { public, ..ServiceLines::new(zone, hint) })
    }

    /// For a zone that a zone group names; `None` for a single label.
    pub fn of_zone(zone: NameRef<'_>, hint: Hint<'_>) -> Option<ServiceLines> {
        let zone = plain(zone).filter(|_| zone.label_count() > 1)?;
        Some(ServiceLines::new(zone, hint))
    }

    fn new(zone: String, hint: Hint<'_>) -> ServiceLines {
        ServiceLines {
            resource_type: hint.resource_type.unwrap_or("unknown").to_owned(),
            group_id: hint.group_id.map(str::to_owned),
            zone,
            public: None,
        }
    }
}

/// A name as templates have it.
fn plain(name: NameRef<'_>) -> Option<String> {
    let text = name.to_string();
    let text = text.trim_end_matches('.');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (!text.is_empty() && text.bytes().all(is_plain)).then(|| text.to_owned())
}

impl fmt::Display for ServiceLines {
    /// Three lines, without an end of line behind the last.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let resource_type = quoted(&self.resource_type);
        writeln!(out, "[[private_link.service]]")?;
        writeln!(out, "service = {resource_type}")?;
        writeln!(out, "type = {resource_type}")?;
        write!(out, "zones = [{{ ")?;
        if let Some(group_id) = &self.group_id {
            write!(out, "groups = [{}], ", quoted(group_id))?;
        }
        write!(out, "zone = {}", quoted(&self.zone))?;
        if let Some(public) = &self.public {
            write!(out, ", public = [{}]", quoted(public))?;
        }
        write!(out, " }}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Name;
    use crate::privatelink::{Block, Catalogue, Cloud};

    #[derive(serde::Deserialize)]
    struct File {
        private_link: Table,
    }

    #[derive(serde::Deserialize)]
    struct Table {
        service: Vec<Block>,
    }

    fn pasted(lines: &ServiceLines) -> Catalogue {
        let file: File = toml::from_str(&lines.to_string()).unwrap();
        Catalogue::builtin(Cloud::Public).with_services(file.private_link.service).unwrap()
    }

    #[test]
    fn the_lines_have_the_name_placed() {
        let hint =
            Hint { resource_type: Some("microsoft.new/\"odd\""), group_id: Some("hs\\m"), beside: &[] };
        for (fqdn, record) in [
            ("hsm1.newservice.azure.net", "hsm1.privatelink.newservice.azure.net."),
            ("a.b.newservice.azure.net", "a.privatelink.b.newservice.azure.net."),
            ("www.partner.example", "www.privatelink.partner.example."),
            ("x.privatelink.example", "x.privatelink.example."),
            ("rdweb.privatelink-global.new.example.com", "rdweb.privatelink-global.new.example.com."),
        ] {
            for hint in [hint, Hint::default()] {
                let name: Name = fqdn.parse().unwrap();
                let before = Catalogue::builtin(Cloud::Public).place(name.borrow(), hint);
                assert_eq!(before, None, "{fqdn}");
                let catalogue = pasted(&ServiceLines::of_name(name.borrow(), hint).unwrap());
                let place = catalogue.place(name.borrow(), hint).unwrap();
                assert_eq!(place.record.to_string(), record);
                assert!(catalogue.selects(&["all".to_owned()], place.zone.borrow()));
            }
        }
        let zone: Name = "corp.partner.example".parse().unwrap();
        let catalogue = pasted(&ServiceLines::of_zone(zone.borrow(), hint).unwrap());
        assert!(catalogue.is_private_link_zone(zone.borrow()).is_some());
    }

    #[test]
    fn a_name_that_no_line_could_have_published_has_none() {
        for name in [
            "host",
            "host.com",
            "*.newservice.azure.net",
            "privatelink.newservice.azure.net",
            "a.b{c}.example",
            "a.\\032.example",
        ] {
            let name: Name = name.parse().unwrap();
            assert_eq!(ServiceLines::of_name(name.borrow(), Hint::default()), None, "{name}");
        }
        let name: Name = "login.microsoftonline.com".parse().unwrap();
        let hint = Hint { resource_type: Some("microsoft.network/privatelinkservices"), ..Hint::default() };
        assert_eq!(ServiceLines::of_name(name.borrow(), hint), None);
        let zone: Name = "privatelink".parse().unwrap();
        assert_eq!(ServiceLines::of_zone(zone.borrow(), Hint::default()), None);
    }
}
