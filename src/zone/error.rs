//! Why a zone cannot be as asked.

use crate::dns::{Name, RecordType};

/// What no zone may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    #[error("zone {0} has no SOA record")]
    NoSoa(Name),
    #[error("{name} does not lie in zone {apex}")]
    OutOfZone { apex: Name, name: Name },
    #[error("{0} has a CNAME record beside other data (RFC 1034 §3.6.2)")]
    CnameBesideData(Name),
    #[error("{name} has more than one {rtype} record")]
    MoreThanOne { name: Name, rtype: RecordType },
    #[error("{name} has a {rtype} record, which belongs only at the apex {apex}")]
    NotAtApex { apex: Name, name: Name, rtype: RecordType },
    #[error(
        "DS records of {0} belong to the zone above it, which delegates to it (RFC 4035 §2.4): write them there"
    )]
    DsAtApex(Name),
    #[error("{name} lies below the DNAME record of {dname} (RFC 6672 §2.4)")]
    BelowDname { dname: Name, name: Name },
    #[error("{0} is a wildcard and has an NS, SOA or DNAME record, which have no meaning there")]
    WildcardDelegation(Name),
    #[error("a record set of {0} is empty")]
    EmptySet(Name),
    #[error("{name} has {rtype} data that is not valid")]
    BadData { name: Name, rtype: RecordType },
    #[error("the {rtype} records of {name} are more than one message can carry")]
    SetTooLarge { name: Name, rtype: RecordType },
    #[error("there is no zone {0}")]
    NoSuchZone(Name),
    #[error("zone {0} names network `{1}`, which is not configured")]
    NoSuchNetwork(Name, std::sync::Arc<str>),
}
