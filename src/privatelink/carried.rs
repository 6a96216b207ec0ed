//! Zones that names tell by themselves, whatever the catalogue knows: those behind the label `privatelink`.

use super::placing::Placement;
use crate::dns::NameRef;

/// The label by which Azure marks private zones.
const LABEL: &[u8] = b"privatelink";

/// Labels behind it: with one, the zone would be a domain that anybody can register, such as `privatelink.example`.
const LABELS_BEHIND_MIN: usize = 2;

/// Top-level domains below which nothing is Azure's (RFC 6761, RFC 6762, RFC 7686, RFC 8375, RFC 9476).
const SPECIAL: [&[u8]; 8] =
    [b"arpa", b"local", b"localhost", b"internal", b"invalid", b"onion", b"test", b"alt"];

/// What registries of two-letter domains sell names below, as in `co.uk`.
const SOLD_BELOW: [&[u8]; 7] = [b"ac", b"co", b"com", b"edu", b"gov", b"net", b"org"];

/// The zone that a name is or lies in by its own account: what begins with its last label `privatelink`.
///
/// `privatelink-global` marks a zone too, but only those that the catalogue names: Azure has had it for one name.
pub fn carried_zone(name: NameRef<'_>) -> Option<NameRef<'_>> {
    let marked = name.ancestors().filter(|end| end.first_label() == Some(LABEL));
    marked.last().filter(|zone| zone.label_count() > LABELS_BEHIND_MIN && !is_anybodys(*zone))
}

/// Whether a name is a zone by its own account.
pub fn is_carried_zone(name: NameRef<'_>) -> bool {
    carried_zone(name) == Some(name)
}

/// Whether a name that begins with the label lies below a special domain, or is itself one that anybody can register.
fn is_anybodys(zone: NameRef<'_>) -> bool {
    let label_from_end = |count| zone.trim_to(count).and_then(NameRef::first_label);
    let (Some(top), Some(second)) = (label_from_end(1), label_from_end(2)) else { return true };
    let is_sold = top.len() == 2 && SOLD_BELOW.contains(&second) && zone.label_count() == 3;
    SPECIAL.contains(&top) || is_sold
}

impl Placement {
    /// Where a name that carries its zone is served; `None` for the zone itself.
    pub fn carried(name: NameRef<'_>) -> Option<Placement> {
        let zone = carried_zone(name).filter(|zone| *zone != name)?;
        Some(Placement { zone: zone.to_buf(), record: name.to_buf() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Name;

    #[test]
    fn a_name_carries_what_begins_with_its_last_label_privatelink() {
        for (name, zone) in [
            ("hsm1.privatelink.newservice.azure.net", Some("privatelink.newservice.azure.net.")),
            ("privatelink.newservice.azure.net", Some("privatelink.newservice.azure.net.")),
            // A resource may be called so.
            ("privatelink.privatelink.newservice.azure.net", Some("privatelink.newservice.azure.net.")),
            ("c1.PrivateLink.westeurope.newdb.azure.net", Some("privatelink.westeurope.newdb.azure.net.")),
            ("app.scm.privatelink.newapp.net", Some("privatelink.newapp.net.")),
            ("www.privatelink.example", None),
            ("privatelink.example", None),
            ("a.privatelink-global.wvd.example.com", None),
            ("privatelink-test.vault.azure.net", None),
            ("login.microsoftonline.com", None),
            ("www.privatelink.co.uk", None),
            ("www.privatelink.new.co.uk", Some("privatelink.new.co.uk.")),
            ("x.privatelink.newservice.azure.cn", Some("privatelink.newservice.azure.cn.")),
            ("4.privatelink.10.in-addr.arpa", None),
            ("nas.privatelink.lab.home.arpa", None),
            ("printer.privatelink.office.local", None),
            (".", None),
        ] {
            let name: Name = name.parse().unwrap();
            let found = carried_zone(name.borrow()).map(|zone| zone.to_name().to_string());
            assert_eq!(found.as_deref(), zone, "{name}");
            let is_below = zone.is_some_and(|zone| zone != name.to_string());
            assert_eq!(Placement::carried(name.borrow()).is_some(), is_below, "{name}");
        }
    }
}
