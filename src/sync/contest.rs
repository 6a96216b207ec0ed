//! Conflicts as people look at them: those of the same endpoints together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::reconcile::Conflict;
use crate::dns::Name;

/// Names that the same endpoints claim with different addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contest {
    pub names: BTreeSet<Name>,
    /// Their ARM ids, and the subscriptions that they are of.
    pub endpoints: BTreeMap<Arc<str>, Arc<str>>,
}

impl Contest {
    /// Of conflicts in whatever order.
    pub fn of(conflicts: impl IntoIterator<Item = Conflict>) -> Vec<Contest> {
        let mut contests: Vec<Contest> = Vec::new();
        // Two sources with the same endpoints have tens of thousands of them.
        let mut places: BTreeMap<BTreeMap<Arc<str>, Arc<str>>, usize> = BTreeMap::new();
        for conflict in conflicts {
            let claims = conflict.claims.iter();
            let endpoints: BTreeMap<_, _> = claims
                .map(|(claim, _)| (Arc::clone(&claim.endpoint), Arc::clone(&claim.subscription)))
                .collect();
            let place = *places.entry(endpoints).or_insert_with_key(|endpoints| {
                contests.push(Contest { names: BTreeSet::new(), endpoints: endpoints.clone() });
                contests.len() - 1
            });
            contests[place].names.insert(conflict.name);
        }
        contests
    }

    /// The endpoints' own names, or their ids where two have the same.
    pub fn endpoint_names(&self) -> String {
        let last_segment = |id: &str| id.rsplit('/').next().unwrap_or_default().to_owned();
        let names: Vec<String> = self.endpoints.keys().map(|id| last_segment(id)).collect();
        if names.iter().collect::<BTreeSet<_>>().len() == names.len() {
            return names.join(" and ");
        }
        self.endpoints.keys().map(|id| &**id).collect::<Vec<_>>().join(" and ")
    }
}

impl fmt::Display for Contest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.names.first() else { return Ok(()) };
        write!(out, "{first}")?;
        match self.names.len() {
            1 => {}
            2 => write!(out, " and 1 more name")?,
            all => write!(out, " and {} more names", all - 1)?,
        }
        write!(out, ": {}", self.endpoint_names())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::RecordType;
    use crate::zone::Claim;

    fn conflict(name: &str, endpoints: &[&str]) -> Conflict {
        let claim = |endpoint: &&str| {
            let claim = Claim {
                endpoint: (*endpoint).into(),
                virtual_network: None,
                subscription: "s".into(),
                source: "azure".into(),
                since_secs: 0,
                resource: None,
            };
            (Arc::new(claim), Vec::new())
        };
        let claims = endpoints.iter().map(claim).collect();
        Conflict { name: name.parse().unwrap(), rtype: RecordType::A, claims }
    }

    #[test]
    fn names_of_the_same_endpoints_are_one_contest() {
        let all = [
            conflict("b.", &["/rg/one/pe-1", "/rg/one/pe-2"]),
            conflict("c.", &["/rg/one/pe-1", "/rg/two/pe-1"]),
            conflict("a.", &["/rg/one/pe-2", "/rg/one/pe-1"]),
        ];
        let told: Vec<String> = Contest::of(all).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["a. and 1 more name: pe-1 and pe-2", "c.: /rg/one/pe-1 and /rg/two/pe-1"]);
    }
}
