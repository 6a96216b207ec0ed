//! Whether a claimed name is that of the resource behind the endpoint. Pure.
//!
//! Whoever owns an endpoint may have it list any name. A resource's own name is not theirs to choose: accounts, vaults and
//! servers have names that are unique in all of Azure.

use super::origin::Claim;

/// How well a name fits the resource; the better comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Its first label is the resource's name.
    Whole,
    /// A label is made of it: `account-westeurope`, `site-slot`, `node1.cluster-x7`.
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
        if resource.are(first) {
            return Fit::Whole;
        }
        let is_derived = |label: &[u8]| resource.are(label) || resource.begin(label);
        if std::iter::once(first).chain(labels).any(is_derived) { Fit::Derived } else { Fit::None }
    }
}

/// The names in an ARM id behind its provider: that of the resource, and of those in it that the id is of.
struct ResourceNames<'i>(Vec<&'i str>);

fn names_of(id: &str) -> Option<ResourceNames<'_>> {
    let (_, behind) = id.rsplit_once("/providers/")?;
    let (provider, rest) = behind.split_once('/')?;
    // Names of Private Link services and gateways are unique in a resource group only: anybody may choose them.
    if provider.eq_ignore_ascii_case("microsoft.network") {
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
            ("microsoft.recoveryservices/vaults/vault", "3b1c-ab-pod01-prot1", Fit::None),
            ("microsoft.storage/storageaccounts/evil", "data01", Fit::None),
            ("microsoft.storage/storageaccounts/data", "data01", Fit::None),
            ("microsoft.network/privatelinkservices/data01", "data01", Fit::None),
            ("microsoft.storage/storageaccounts", "data01", Fit::None),
            ("microsoft.storage/storageaccounts/evil/x/data01", "data01", Fit::None),
        ] {
            assert_eq!(fit(resource, front), expected, "{resource} {front}");
        }
    }
}
