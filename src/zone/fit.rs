//! Whether a claimed name is that of the resource behind the endpoint. Pure.
//!
//! An endpoint may list any name. A resource's own name is harder to choose: accounts, vaults and servers have names that
//! are unique in all of Azure.

use super::origin::Claim;

/// How well a name fits the resource; the better comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Its first label is the resource's name, or that behind a service's own word: `ingest-cluster`.
    Whole,
    /// Its first label is made of it, or the second behind that of a node: `account-westeurope`, `hsm1.cluster-x7`.
    Derived,
    /// Nothing of it is, as with names that are made of ids.
    None,
}

impl Fit {
    /// Of a claim and a name's labels in front of the apex, in wire form and lower case.
    pub fn of(claim: &Claim, front: &[u8]) -> Fit {
        let Some(resource) = claim.resource.as_deref().and_then(names_of) else { return Fit::None };
        let mut labels = labels(front).filter(|label| *label != b"*");
        let Some(first) = labels.next() else { return Fit::None };
        let behind_word = SERVICE_WORDS
            .iter()
            .find_map(|word| first.strip_prefix(*word))
            .is_some_and(|rest| resource.are(rest));
        if resource.are(first) || behind_word {
            return Fit::Whole;
        }
        // Labels further on are regions, services and ids: a resource may be called like any of these.
        let is_derived = resource.begin(first) || labels.next().is_some_and(|label| resource.begin(label));
        if is_derived { Fit::Derived } else { Fit::None }
    }
}

/// What services put in front of a resource's name: Data Explorer for ingestion, Cosmos DB for PostgreSQL for its
/// coordinator.
const SERVICE_WORDS: [&[u8]; 2] = [b"ingest-", b"c-"];

/// Providers of resources whose names are unique in a resource group only, so that anybody may choose them. The names that
/// Azure makes for their endpoints are of ids.
const PROVIDERS_OF_FREE_NAMES: [&str; 9] = [
    "microsoft.authorization",
    "microsoft.compute",
    "microsoft.databricks",
    "microsoft.hybridcompute",
    "microsoft.insights",
    "microsoft.machinelearningservices",
    "microsoft.migrate",
    "microsoft.network",
    "microsoft.recoveryservices",
];

/// The names in an ARM id behind its provider: that of the resource, and of those in it that the id is of.
struct ResourceNames<'i>(Vec<&'i str>);

fn names_of(id: &str) -> Option<ResourceNames<'_>> {
    let (_, behind) = id.rsplit_once("/providers/")?;
    let (provider, rest) = behind.split_once('/')?;
    if PROVIDERS_OF_FREE_NAMES.iter().any(|free| provider.eq_ignore_ascii_case(free)) {
        return None;
    }
    let names: Vec<&str> = rest.split('/').skip(1).step_by(2).filter(|name| !name.is_empty()).collect();
    (!names.is_empty()).then_some(ResourceNames(names))
}

impl ResourceNames<'_> {
    /// Whether a label is one of them, or all of them with hyphens between: `site-slot`.
    fn are(&self, label: &[u8]) -> bool {
        let is = |name: &str| name.as_bytes().eq_ignore_ascii_case(label);
        self.0.first().is_some_and(|name| is(name)) || (self.0.len() > 1 && is(&self.0.join("-")))
    }

    /// Whether a label begins with the resource's name and a hyphen.
    fn begin(&self, label: &[u8]) -> bool {
        self.0.first().is_some_and(|name| {
            let head = label.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name.as_bytes()));
            head && label.get(name.len()) == Some(&b'-')
        })
    }
}

fn labels(front: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = front;
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first()?;
        let (label, behind) = behind.split_at_checked(usize::from(*length))?;
        rest = behind;
        Some(label)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(resource: &str, front: &str) -> Fit {
        let claim = Claim {
            endpoint: "/e".into(),
            virtual_network: None,
            subscription: "s".into(),
            resource: Some(format!("/subscriptions/s/resourcegroups/g/providers/{resource}").into()),
            source: "s".into(),
            since_secs: 0,
        };
        let wire: Vec<u8> = front
            .split('.')
            .flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()))
            .collect();
        Fit::of(&claim, &wire)
    }

    #[test]
    fn names_as_azure_makes_them_fit_their_resources() {
        for (resource, front, expected) in [
            ("microsoft.storage/storageaccounts/data01", "data01", Fit::Whole),
            ("Microsoft.KeyVault/vaults/KV-One", "kv-one", Fit::Whole),
            ("microsoft.containerregistry/registries/acr", "acr.westeurope.data", Fit::Whole),
            ("microsoft.web/sites/app", "app.scm", Fit::Whole),
            ("microsoft.web/sites/app/slots/blue", "app-blue.scm", Fit::Whole),
            ("microsoft.web/sites/app", "app-blue", Fit::Derived),
            ("microsoft.documentdb/databaseaccounts/acct", "acct-westeurope", Fit::Derived),
            ("microsoft.synapse/workspaces/ws", "ws-ondemand", Fit::Derived),
            (
                "microsoft.hardwaresecuritymodules/cloudhsmclusters/contoso",
                "hsm1.contoso-ab12cd",
                Fit::Derived,
            ),
            ("microsoft.web/hostingenvironments/ase", "*.ase", Fit::Whole),
            ("microsoft.kusto/clusters/adx", "ingest-adx", Fit::Whole),
            ("microsoft.dbforpostgresql/servergroupsv2/pg", "c-pg.a1b2c3", Fit::Whole),
            ("microsoft.recoveryservices/vaults/vault", "3b1c-ab-pod01-prot1", Fit::None),
            ("microsoft.storage/storageaccounts/evil", "data01", Fit::None),
            ("microsoft.storage/storageaccounts/data", "data01", Fit::None),
            ("microsoft.network/privatelinkservices/data01", "data01", Fit::None),
            ("microsoft.compute/diskaccesses/data01", "data01", Fit::None),
            ("microsoft.databricks/workspaces/adb", "adb-1234567890123456.7", Fit::None),
            (
                "microsoft.recoveryservices/vaults/4829104736205518342",
                "4829104736205518342-ab-pod01-ecs1",
                Fit::None,
            ),
            ("microsoft.machinelearningservices/workspaces/eastus", "9b4d2c60.workspace.eastus", Fit::None),
            ("microsoft.healthcareapis/workspaces/fhir", "hz-abc.fhir", Fit::None),
            ("microsoft.web/sites/scm", "app.scm", Fit::None),
            ("microsoft.containerregistry/registries/data", "acr.westeurope.data", Fit::None),
            ("microsoft.storage/storageaccounts", "data01", Fit::None),
            ("microsoft.storage/storageaccounts/evil/x/data01", "data01", Fit::None),
        ] {
            assert_eq!(fit(resource, front), expected, "{resource} {front}");
        }
    }
}
