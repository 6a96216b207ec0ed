//! Why a name is not published although its endpoint would be: its zone.

use std::fmt;
use std::sync::Arc;

use super::arm::ArmId;
use super::publication::Publication;
use crate::dns::Name;
use crate::privatelink::{Hint, ServiceLines};

/// Zones that the catalogue lacks and that the endpoints of one subscription have made: Azure has some hundred services,
/// and an endpoint has five zones at most.
pub const DERIVED_ZONES_MAX: usize = 100;

/// A name that is not published because of its zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotServed {
    /// The whole private name.
    pub name: Name,
    pub zone: Name,
    pub why: Refusal,
    /// ARM id of the resource behind the endpoint.
    pub resource: Option<Arc<str>>,
}

/// What bars a zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// `private_link.zones` leaves it out.
    NotSelected,
    /// A zone group names it, the catalogue lacks it, and its name does not begin with the label `privatelink`.
    Unmarked,
    /// The catalogue lacks it, and it is or lies in this zone of a file, of an operator or of Azure's private DNS.
    Taken(Name),
    /// The catalogue lacks it, as it does many others that the same subscription names.
    TooMany,
}

impl NotServed {
    pub(super) fn of(publication: &Publication, why: Refusal) -> NotServed {
        NotServed {
            name: publication.name.clone(),
            zone: publication.zone.clone(),
            why,
            resource: publication.claim.resource.clone(),
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> String {
        let zone = &self.zone;
        let (otherwise, into) = match &self.why {
            Refusal::NotSelected => return format!("add {zone} to private_link.zones, or leave it so"),
            Refusal::Unmarked => ("", "if this really is the zone of a service, "),
            Refusal::Taken(_) => {
                ("write a record of your own; or, to have endpoints publish beside it, ", "")
            }
            Refusal::TooMany => ("", "if this is the zone of a service, "),
        };
        match self.lines() {
            Some(lines) => format!("{otherwise}{into}paste into the config:\n{lines}"),
            None => format!("{otherwise}{into}name it in a [[private_link.service]]"),
        }
    }

    fn lines(&self) -> Option<ServiceLines> {
        let resource_type = self.resource.as_deref().and_then(|id| ArmId::new(id).resource_type());
        let hint = Hint { resource_type: resource_type.as_deref(), ..Hint::default() };
        ServiceLines::of_zone(self.zone.borrow(), hint)
    }
}

impl fmt::Display for NotServed {
    /// Why.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = &self.zone;
        match &self.why {
            Refusal::NotSelected => write!(out, "private_link.zones leaves out {zone}"),
            Refusal::Unmarked => write!(
                out,
                "its zone group names {zone}, which the catalogue lacks and which does not begin with privatelink"
            ),
            Refusal::Taken(apex) if apex == zone => {
                write!(out, "the catalogue lacks {zone}, and there is a zone of your own with that name")
            }
            Refusal::Taken(apex) => {
                write!(out, "the catalogue lacks {zone}, which lies in your own zone {apex}")
            }
            Refusal::TooMany => write!(
                out,
                "the catalogue lacks {zone}, and its subscription names more than {DERIVED_ZONES_MAX} such zones"
            ),
        }
    }
}
