//! Live Azure: the identity, the clock, the rights on each subscription, and what its last pass left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::progress;
use super::super::words::{count, published};
use super::Finding;
use super::source::{held_back, of_desired};
use crate::sources::{Known, Live, Source, SourceState, Sources};
use crate::sync::Extent;
use crate::sync::azure::{Azure, AzureError, CredentialSettings, Identity, Refusals, Skew};
use crate::telemetry::Age;
use crate::zone::Store;

/// From here on a clock is worth a word.
const SKEW_NOTED: Duration = Duration::from_secs(30);

/// From here on tokens are not yet good or ended already, and so may be certificates: Entra ID allows five minutes.
const SKEW_MAX: Duration = Duration::from_secs(300);

const RUNNING_KEEPS: &str = "a running server keeps what it listed last";

/// Of a source that is not asked now.
pub(super) fn of_last_state(source: &Source, sources: &Sources) -> Vec<Finding> {
    let (name, known) = (source.name(), source.known());
    let mut findings = vec![match known.read_at {
        Some(_) => Finding::well(format!("source {name} is not asked: {}", served(&known))),
        // What is kept cannot be used: that is told of by itself.
        None if sources.trouble().is_some() => {
            Finding::note(format!("source {name} is not asked"), "run this without --offline")
        }
        None => Finding::note(
            format!("source {name} is not asked, and nothing of it is kept from before"),
            "run this without --offline",
        ),
    }];
    findings.extend(of_held_back(name, &known));
    let zones = (&known.not_served[..], &known.derived);
    findings.extend(of_desired("source", name, &known.desired, zones, "look at the resource"));
    findings
}

fn of_held_back(name: &str, known: &Known) -> Option<Finding> {
    known.held_back().map(|it| held_back("source", name, it, "look at the identity's rights"))
}

/// Asks Azure as a server does, and for the reason of what fails.
pub(super) async fn of_live(
    source: &Arc<Source>,
    live: &Live,
    sources: &Sources,
    store: &Arc<Store>,
) -> Vec<Finding> {
    let name = source.name();
    let azure = match live.azure() {
        Ok(azure) => azure,
        Err(error) => {
            return vec![Finding::wrong(format!("source {name} cannot ask: {error}"), RUNNING_KEEPS)];
        }
    };
    let mut findings = Vec::new();
    let (identity, skew) = tokio::join!(azure.identity(), azure.skew());
    if let Ok(Some(skew)) = skew {
        findings.push(of_skew(name, skew));
    }
    match identity {
        Ok(identity) => findings.push(of_identity(name, &identity)),
        // No pass goes further than this.
        Err(error) => {
            let (what, served) = (with_causes(&error), served(&source.known()));
            findings.push(Finding::wrong(
                format!("the identity of source {name} does not work: {what}; {served}"),
                on_identity(&live.settings.credential, &error),
            ));
            findings.extend(of_last_state(source, sources).split_off(1));
            return findings;
        }
    }
    let pass = source.pass_with(&azure, store);
    progress::shown(name, live.progress(), pass).await;
    let known = source.known();
    match &known.state {
        SourceState::Current { .. } => {
            let names = published(&known);
            findings.push(Finding::well(format!("source {name} was listed whole: {names}")));
        }
        // Each subscription is told of below.
        SourceState::Stale { .. } if !known.failing.is_empty() => {}
        SourceState::Stale { why, .. } => findings.push(Finding::wrong(
            format!("source {name} cannot be listed: {why}; {}", served(&known)),
            "look at the way to Azure, and at the roles of the identity; a running server keeps what it listed last",
        )),
        // What waits is told of below.
        SourceState::HeldBack { .. } => {}
    }
    findings.extend(of_held_back(name, &known));
    findings.extend(of_rights(live, &azure, &known).await);
    findings.extend(of_desired(
        "source",
        name,
        &known.desired,
        (&known.not_served, &known.derived),
        "look at the resource in Azure",
    ));
    let on_remark =
        "link the zone, name its virtual network in a [[network]], or say in a [[zone]] what it is to be";
    let remarks = known.remarks.iter();
    findings.extend(remarks.map(|remark| Finding::note(format!("source {name}: {remark}"), on_remark)));
    findings
}

fn of_identity(name: &str, identity: &Identity) -> Finding {
    let Identity { kind, giver, ends_in } = identity;
    Finding::well(format!("source {name} is {kind}, with a token of {giver} that ends in {}", Age(*ends_in)))
}

fn on_identity(credential: &CredentialSettings, error: &AzureError) -> &'static str {
    let is_unreachable = matches!(error, AzureError::Unreachable { .. });
    match credential {
        CredentialSettings::ManagedIdentity { .. } if is_unreachable => {
            "only machines of Azure have it: elsewhere name another sync.source.credential; there see that no firewall \
             or proxy is in the way"
        }
        CredentialSettings::WorkloadIdentity { .. }
        | CredentialSettings::ClientSecret { .. }
        | CredentialSettings::ClientCertificate { .. }
            if is_unreachable =>
        {
            "see that a route, a firewall or a proxy lets this machine reach it, and that forward.upstreams resolve it"
        }
        CredentialSettings::ManagedIdentity { .. } => {
            "assign a managed identity to this machine, or name another sync.source.credential; with a user-assigned \
             one look at client_id, object_id or resource_id"
        }
        CredentialSettings::AzureArc { .. } => {
            "see that the agent runs (`azcmagent show`), and that the server's user is in its group himds"
        }
        CredentialSettings::WorkloadIdentity { .. } => {
            "look at tenant_id, client_id and the federated credential of the application; the token file is the \
             webhook's"
        }
        CredentialSettings::ClientSecret { .. } => {
            "look at tenant_id, client_id and whether the secret has ended"
        }
        CredentialSettings::ClientCertificate { .. } => {
            "look at tenant_id, client_id and whether the application has this certificate and it has not ended"
        }
        CredentialSettings::AzureCli { .. } => "run `az login` as this user",
    }
}

fn of_skew(name: &str, skew: Skew) -> Finding {
    let what = format!("this machine's clock is {skew} (source {name})");
    let advice = "set it by NTP: see that chrony or systemd-timesyncd runs";
    if skew.size() > SKEW_MAX {
        return Finding::wrong(format!("{what}: tokens and certificates do not hold"), advice);
    }
    match skew.size() > SKEW_NOTED {
        true => Finding::note(what, advice),
        false => Finding::well(format!("this machine's clock is that of Azure (source {name})")),
    }
}

/// What is missing on each subscription: of one that was listed whole only that which listing does not show.
async fn of_rights(live: &Live, azure: &Azure, known: &Known) -> Vec<Finding> {
    let (name, mut findings) = (&live.settings.name, Vec::new());
    let actions = live.settings.actions();
    for (id, (_, why)) in &known.failing {
        if id.starts_with('/') {
            findings.push(Finding::wrong(
                format!("private DNS zone {id} of source {name} cannot be listed: {why}; it stays as it was"),
                "if this does not pass by itself, give the identity the role that the README shows",
            ));
            continue;
        }
        let refusals = azure.refusals(id, actions).await;
        let here = Extent::Only(BTreeSet::from([Arc::clone(id)]));
        let names = known.desired.publications.iter().filter(|it| here.covers(&it.claim)).count();
        let stays = match known.read_at.filter(|_| names > 0) {
            Some(at) => {
                format!("{} of it from {} ago stay published", count(names, "name"), Age::of(at))
            }
            None => "nothing of it is published".to_owned(),
        };
        findings.push(of_refusals(name, id, &refusals, why, &stays));
    }
    // Those that were found have shown that they can be seen.
    let named = live.settings.subscriptions.iter().filter(|id| !known.failing.contains_key(*id));
    for id in named.filter(|_| known.read_at.is_some()) {
        let refusals = azure.refusals(id, &actions[..1]).await;
        if let Some(missing) = refusals.missing.first() {
            findings.push(Finding::note(
                format!("the identity of source {name} lacks {missing} on subscription {id}"),
                "nothing needs it as long as sync.source.subscriptions names the subscription",
            ));
        }
    }
    findings
}

fn of_refusals(name: &str, id: &str, refusals: &Refusals, why: &str, stays: &str) -> Finding {
    if refusals.missing.is_empty() {
        let why = refusals.other.first().map_or(why, String::as_str);
        let gone = why.contains("SubscriptionNotFound") || why.contains("no longer sees");
        return Finding::wrong(
            format!("subscription {id} of source {name} cannot be listed: {why}; {stays}"),
            match gone {
                true => {
                    "if it is really gone, name the others in sync.source.subscriptions, or it in exclude_subscriptions; else give the identity the role \
                         that the README shows"
                }
                false => "if this does not pass by itself, give the identity the role that the README shows",
            },
        );
    }
    Finding::wrong(
        format!(
            "the identity of source {name} lacks {} on subscription {id}; {stays}",
            refusals.missing.join(" and ")
        ),
        format!(
            "`az role assignment create --assignee PRINCIPAL --role \"Private Link DNS reader\" --scope \
             /subscriptions/{id}`, with the role that the README shows; it takes some minutes to count"
        ),
    )
}

/// What is published of a source, and how old it is.
fn served(known: &Known) -> String {
    match known.read_at {
        Some(at) => {
            format!("{} from {} ago stay published", published(known), Age::of(at))
        }
        None => "nothing of it is kept from before".to_owned(),
    }
}

fn with_causes(error: &AzureError) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
