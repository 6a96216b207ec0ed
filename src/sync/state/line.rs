//! The lines of the file, as JSON has them.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::super::held_back::HeldBack;
use super::super::private_dns::{ImportedSet, PrivateZone};
use super::super::publication::{Publication, Withheld};
use crate::dns::{Name, rdata};
use crate::zone::OnMissing;

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line<'a> {
    SyncState {
        version: u32,
    },
    Source {
        name: Cow<'a, str>,
        read_at_secs: u64,
        /// What is published of it and waits for an operator; older files have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held_back: Option<Cow<'a, HeldBack>>,
    },
    #[serde(borrow)]
    Published(Box<PublishedLine<'a>>),
    #[serde(borrow)]
    Withheld(WithheldLine<'a>),
    /// Its record sets follow.
    #[serde(borrow)]
    PrivateZone(PrivateZoneLine<'a>),
    #[serde(borrow)]
    RecordSet(RecordSetLine<'a>),
    End {
        checksum: Cow<'a, str>,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct PublishedLine<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow)]
    pub zone: Cow<'a, str>,
    pub addresses: Vec<IpAddr>,
    #[serde(borrow)]
    pub public_names: Vec<Text<'a>>,
    pub since_secs: u64,
    #[serde(borrow)]
    pub endpoint: Cow<'a, str>,
    #[serde(borrow)]
    pub virtual_network: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub subscription: Cow<'a, str>,
    #[serde(borrow)]
    pub resource: Option<Cow<'a, str>>,
}

/// In a list, serde borrows only what is said to.
#[derive(Serialize, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

#[derive(Serialize, Deserialize)]
pub(super) struct WithheldLine<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow)]
    pub zone: Cow<'a, str>,
    #[serde(borrow)]
    pub public_names: Vec<Text<'a>>,
    #[serde(borrow)]
    pub endpoint: Cow<'a, str>,
    #[serde(borrow)]
    pub endpoint_name: Cow<'a, str>,
    #[serde(borrow)]
    pub state: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PrivateZoneLine<'a> {
    pub name: String,
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub subscription: Cow<'a, str>,
    pub links: Vec<LinkLine>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct LinkLine {
    pub virtual_network: String,
    pub redirects: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RecordSetLine<'a> {
    pub name: String,
    #[serde(rename = "type")]
    pub rtype: String,
    pub ttl_secs: u32,
    /// In master-file form.
    pub data: Vec<String>,
    #[serde(borrow)]
    pub creator: Option<Cow<'a, str>>,
}

fn texts(names: &[Name]) -> Vec<Text<'static>> {
    names.iter().map(|name| Text(name.to_string().into())).collect()
}

impl<'a> PublishedLine<'a> {
    pub fn of(publication: &'a Publication) -> PublishedLine<'a> {
        let claim = &*publication.claim;
        let ipv4 = publication.ipv4.iter().copied().map(IpAddr::from);
        PublishedLine {
            name: publication.name.to_string().into(),
            zone: publication.zone.to_string().into(),
            addresses: ipv4.chain(publication.ipv6.iter().copied().map(IpAddr::from)).collect(),
            public_names: texts(&publication.public_names),
            since_secs: claim.since_secs,
            endpoint: (&*claim.endpoint).into(),
            virtual_network: claim.virtual_network.as_deref().map(Cow::Borrowed),
            subscription: (&*claim.subscription).into(),
            resource: claim.resource.as_deref().map(Cow::Borrowed),
        }
    }
}

impl<'a> PrivateZoneLine<'a> {
    pub fn of(zone: &'a PrivateZone) -> PrivateZoneLine<'a> {
        let links = zone.azure.links.iter().map(|link| LinkLine {
            virtual_network: link.virtual_network.to_string(),
            redirects: link.on_missing == OnMissing::AskPublic,
        });
        PrivateZoneLine {
            name: zone.apex.to_string(),
            id: (&*zone.azure.id).into(),
            subscription: (&*zone.azure.subscription).into(),
            links: links.collect(),
        }
    }
}

impl<'a> RecordSetLine<'a> {
    pub fn of(record_set: &'a ImportedSet) -> RecordSetLine<'a> {
        let set = &record_set.set;
        RecordSetLine {
            name: record_set.name.to_string(),
            rtype: set.rtype.to_string(),
            ttl_secs: set.ttl.secs(),
            data: set.records().map(|data| rdata::to_text(set.rtype, data)).collect(),
            creator: record_set.creator.as_deref().map(Cow::Borrowed),
        }
    }
}

impl<'a> WithheldLine<'a> {
    pub fn of(withheld: &'a Withheld) -> WithheldLine<'a> {
        WithheldLine {
            name: withheld.name.to_string().into(),
            zone: withheld.zone.to_string().into(),
            public_names: texts(&withheld.public_names),
            endpoint: (&*withheld.endpoint).into(),
            endpoint_name: (&*withheld.endpoint_name).into(),
            state: withheld.state.as_str().into(),
        }
    }
}
