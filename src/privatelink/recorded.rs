//! Holds the catalogue against `docs/recorded-azure-data.md`: what recorded endpoints of Azure list, by service.

use std::collections::HashMap;

use super::{Catalogue, Cloud, Hint};
use crate::dns::Name;

const DOCUMENT: &str = include_str!("../../docs/recorded-azure-data.md");

/// One line of the document's tables.
struct Recorded<'d> {
    cloud: Cloud,
    resource_type: &'d str,
    group_id: &'d str,
    listed: Name,
    zone: Name,
    record: Name,
}

fn recorded() -> Vec<Recorded<'static>> {
    let mut cloud = None;
    let mut lines = Vec::new();
    for line in DOCUMENT.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            cloud = match title {
                "Public cloud" => Some(Cloud::Public),
                "US Government" => Some(Cloud::UsGov),
                "China (21Vianet)" => Some(Cloud::China),
                _ => None,
            };
        }
        // Of each line the code: type, group id, name, zone, record.
        let code: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let (Some(cloud), [resource_type, group_id, listed, zone, record]) = (cloud, code.as_slice()) else {
            continue;
        };
        let zone: Name = zone.parse().unwrap();
        let record = Name::parse(record, zone.borrow()).unwrap();
        let listed = listed.parse().unwrap();
        lines.push(Recorded { cloud, resource_type, group_id, listed, zone, record });
    }
    lines
}

#[test]
fn every_recorded_name_is_placed_where_azure_has_it() {
    let recorded = recorded();
    assert!(recorded.len() > 120, "{} lines", recorded.len());
    let mut beside = HashMap::<_, Vec<Name>>::new();
    for line in &recorded {
        beside.entry((line.cloud, line.resource_type)).or_default().push(line.listed.clone());
    }
    for line in &recorded {
        let catalogue = Catalogue::builtin(line.cloud);
        let hint = Hint {
            resource_type: Some(line.resource_type),
            group_id: Some(line.group_id),
            beside: &beside[&(line.cloud, line.resource_type)],
        };
        let place = catalogue.place(line.listed.borrow(), hint);
        let place = place.unwrap_or_else(|| panic!("{} is placed nowhere", line.listed));
        assert_eq!((place.zone.to_name(), place.record.to_name()), (line.zone.clone(), line.record.clone()));
        // All letter cases are one, of types and of group ids.
        let (upper_type, upper_group) = (line.resource_type.to_uppercase(), line.group_id.to_uppercase());
        let loud = Hint { resource_type: Some(&upper_type), group_id: Some(&upper_group), ..hint };
        assert_eq!(catalogue.place(line.listed.borrow(), loud), Some(place), "{}", line.listed);
        let named = catalogue.services().iter().any(|service| {
            service.resource_type.eq_ignore_ascii_case(line.resource_type)
                && service.has_group(&upper_group)
                && service.has_zone()
        });
        assert!(named, "{} {}", line.resource_type, line.group_id);
    }
}

#[test]
fn a_recorded_record_leads_back_to_a_name_that_azure_lists() {
    let recorded = recorded();
    for line in &recorded {
        let catalogue = Catalogue::builtin(line.cloud);
        let back = catalogue.public_names(line.record.borrow());
        // An interface may list several names that are one record.
        let mut listed = recorded.iter().filter(|it| it.record == line.record).map(|it| &it.listed);
        let is_used_as_it_is = back.is_empty() || listed.clone().all(|name| *name == line.record);
        assert!(is_used_as_it_is || listed.any(|name| back.contains(name)), "{} {back:?}", line.record);
        for public in back.iter().filter(|public| **public == line.listed && !public.borrow().is_wildcard()) {
            let places = catalogue.private_names(public.borrow());
            assert!(places.iter().any(|place| place.record.borrow() == line.record.borrow()), "{public}");
        }
    }
}
