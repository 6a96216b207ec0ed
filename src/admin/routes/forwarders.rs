//! `/forwarders`: whom questions for a domain are sent to.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{OriginalUri, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::owned::{self, DryRun, Owned, tagged};
use crate::admin::body;
use crate::admin::extract::preconditions;
use crate::admin::page::{After, Limit, Page, filter_id};
use crate::admin::problem::{Kind, Problem};
use crate::admin::query::Query;
use crate::dns::Name;
use crate::forward::{LinkState, Protocol, RuleSettings, Standing, UpstreamAddress, UpstreamHealth};
use crate::ledger::edit::{Edit, Faults, FieldPath};
use crate::ledger::etag::{Etag, Need, Preconditions};
use crate::ledger::{Ledger, Plan, Receipt, Who, Write, WriteOutcome};
use crate::persist::{Entry, StoredChange, StoredForwarder, Subject};
use crate::telemetry::Quoted;

/// Upstreams of one rule; a question is asked of a few at most.
const UPSTREAMS_MAX: usize = 16;
/// Rules that operators make; each of them is looked at when one changes.
const RULES_MAX: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<Owned> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read, write, remove))
}

/// A rule as it is sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRule {
    /// In the order of preference: IP, IP:port or [IPv6]:port; over TCP alone tcp://IP; over TLS tls://IP#name or
    /// tls://IP?pin=sha256:….
    #[schema(example = json!(["10.1.0.4", "tls://10.1.0.5#dns.example.com"]))]
    upstreams: Vec<String>,
    /// A bound for each upstream; without one 900 for 168.63.129.16, none for others.
    queries_per_second_max: Option<u32>,
}

/// A rule of forwarding.
#[derive(Debug, Serialize, ToSchema)]
struct RuleView {
    /// Names in this domain, unless a rule for a longer one takes them.
    #[schema(example = "corp.example.com.")]
    domain: String,
    upstreams: Vec<UpstreamView>,
    queries_per_second_max: Option<u32>,
    made_by: RuleOrigin,
    /// The rule of config that this one lies over; DELETE takes this one back, and it holds again.
    #[serde(skip_serializing_if = "Option::is_none")]
    overrides: Option<Vec<String>>,
    #[serde(serialize_with = "crate::ledger::view::etag_text", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, example = "\"17\"")]
    etag: Option<Etag>,
}

/// Who makes a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RuleOrigin {
    Rest,
    Config,
}

/// An upstream and how it is.
#[derive(Debug, Serialize, ToSchema)]
struct UpstreamView {
    #[schema(example = "10.1.0.4")]
    address: String,
    /// `up`, `down`, or `unknown` while it has neither answered nor failed to.
    health: &'static str,
    /// Since when it leaves questions without an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_since: Option<String>,
    queries: u64,
    timeouts: u64,
    /// What it is asked over: `udp` (and TCP for what does not fit), `tcp` or `tls`.
    transport: &'static str,
    /// Of one that is asked over connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<ConnectionView>,
}

/// How connections to an upstream are.
#[derive(Debug, Serialize, ToSchema)]
struct ConnectionView {
    /// Those that are open now.
    open: usize,
    /// How long the last one took to be made, handshake and all.
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_ms: Option<u64>,
    /// Whether its TLS session was an earlier one resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    resumed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateView>,
    /// Why the last one was not made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "its certificate has expired on 2026-11-30")]
    problem: Option<String>,
}

/// The certificate that an upstream showed last.
#[derive(Debug, Serialize, ToSchema)]
struct CertificateView {
    /// The names and addresses that it is for.
    #[schema(example = "dns.example.com")]
    names: String,
    issuer: String,
    /// The day of its end.
    #[schema(example = "2027-01-31")]
    not_after: String,
    /// Its key, as a pin names it.
    #[schema(example = "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")]
    pin: String,
}

/// Which rules are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct RulesQuery {
    /// Items of a page, 1 to 1000.
    #[param(value_type = Option<u16>, example = 100)]
    limit: Option<Limit>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<After>,
}

/// All rules, those of config and those made here, in the order of their domains.
///
/// The longest domain that encloses a name decides; `made_by` tells whose the rule is.
#[utoipa::path(
    get, path = "/forwarders", tag = "forwarders", params(RulesQuery),
    responses((status = 200, description = "A page of rules", body = Page<RuleView>)),
)]
async fn list(
    State(ledger): State<Arc<Ledger>>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<RulesQuery>,
) -> Result<Response, Problem> {
    let filter = filter_id(&[Some("forwarders")]);
    let after = query.after.as_ref().map(|after| {
        let domain: Option<Name> = after.key(filter).and_then(|key| key.parse().ok());
        domain.ok_or_else(|| Problem::invalid("after", "this token is of another list"))
    });
    let after = after.transpose()?;
    let limit = query.limit.unwrap_or_default();
    let configured = ledger.neighbours().configured_rules();
    let health = Health::of(&ledger);
    let mut domains: Vec<Name> = configured.iter().map(|rule| rule.domain.clone()).collect();
    domains.extend(ledger.written().read().forwarders().map(|(rule, _)| rule.domain.clone()));
    domains.sort_unstable();
    domains.dedup();
    domains.retain(|domain| after.as_ref().is_none_or(|after| domain > after));
    let views = domains.iter().filter_map(|domain| view(&ledger, domain, &configured, &health));
    let items: Vec<RuleView> = views.take(limit.with_one_more()).collect();
    Ok(Page::of(items, limit, filter, |view| view.domain.clone()).answer(&uri))
}

fn view(ledger: &Ledger, domain: &Name, configured: &[RuleSettings], health: &Health) -> Option<RuleView> {
    let configured = configured.iter().find(|rule| rule.domain == *domain);
    let texts = |rule: &RuleSettings| rule.upstreams.iter().map(ToString::to_string).collect::<Vec<_>>();
    let stored = ledger.written().read().forwarder(domain).cloned();
    let upstreams = |texts: &mut dyn Iterator<Item = String>| {
        texts.map(|address| UpstreamView::of(address, health)).collect()
    };
    match (stored, configured) {
        (Some((rule, revision)), configured) => Some(RuleView {
            domain: domain.to_string(),
            upstreams: upstreams(&mut rule.upstreams.iter().map(ToString::to_string)),
            queries_per_second_max: rule.queries_per_second_max,
            made_by: RuleOrigin::Rest,
            overrides: configured.map(texts),
            etag: Some(Etag::of_revision(revision)),
        }),
        (None, Some(rule)) => Some(RuleView {
            domain: domain.to_string(),
            upstreams: upstreams(&mut texts(rule).into_iter()),
            queries_per_second_max: rule.queries_per_second_max,
            made_by: RuleOrigin::Config,
            overrides: None,
            etag: None,
        }),
        (None, None) => None,
    }
}

/// How the upstreams are, by address as it is written: a page names thousands of them.
struct Health(HashMap<String, UpstreamHealth>);

impl Health {
    fn of(ledger: &Ledger) -> Health {
        let known = ledger.neighbours().upstreams().into_iter();
        Health(known.map(|known| (known.address.to_string(), known)).collect())
    }
}

impl UpstreamView {
    fn of(address: String, health: &Health) -> UpstreamView {
        let known = health.0.get(&address);
        UpstreamView {
            health: match known.map(|known| known.standing) {
                None | Some(Standing::Unknown) => "unknown",
                Some(Standing::Up) => "up",
                Some(Standing::Down | Standing::Looping) => "down",
            },
            silent_since: known.and_then(|known| known.silent_since.clone()),
            queries: known.map_or(0, |known| known.queries),
            timeouts: known.map_or(0, |known| known.timeouts),
            transport: address.parse().map_or(Protocol::Udp, |it: UpstreamAddress| it.protocol()).word(),
            connection: known.and_then(|known| known.link.as_ref()).map(ConnectionView::of),
            address,
        }
    }
}

impl ConnectionView {
    fn of(link: &LinkState) -> ConnectionView {
        let certificate = link.certificate.as_ref().map(|shown| CertificateView {
            names: shown.names.clone(),
            issuer: shown.issuer.clone(),
            not_after: shown.end(),
            pin: shown.pin.to_string(),
        });
        ConnectionView {
            open: link.connections,
            handshake_ms: link.took.map(|took| took.as_millis() as u64),
            resumed: link.took.filter(|_| certificate.is_some()).map(|_| link.is_resumed),
            certificate,
            problem: link.trouble.clone(),
        }
    }
}

/// The rule of a domain.
///
/// With its upstreams and how they are.
#[utoipa::path(
    get, path = "/forwarders/{domain}", tag = "forwarders",
    params(("domain" = String, Path, description = "The domain; `@` for the root", example = "corp.example.com")),
    responses((status = 200, description = "The rule", body = RuleView), (status = 304, description = "As it was")),
)]
async fn read(
    State(ledger): State<Arc<Ledger>>,
    Path(domain): Path<String>,
    conditions: Preconditions,
) -> Result<Response, Problem> {
    let domain = domain_of(&domain)?;
    let view = view_now(&ledger, &domain)?;
    if owned::is_seen(&conditions, view.etag.as_ref()) {
        return Ok(owned::not_modified(view.etag.as_ref()));
    }
    Ok(tagged(StatusCode::OK, view.etag.as_ref(), &view))
}

fn view_now(ledger: &Ledger, domain: &Name) -> Result<RuleView, Problem> {
    let neighbours = ledger.neighbours();
    let view = view(ledger, domain, &neighbours.configured_rules(), &Health::of(ledger));
    view.ok_or_else(|| Problem::new(Kind::NotFound, format!("there is no rule for {domain}")).at("domain"))
}

fn domain_of(text: &str) -> Result<Name, Problem> {
    let domain: Name = text
        .parse()
        .map_err(|error| Problem::invalid("domain", format!("`{}` is no name: {error}", Quoted(text))))?;
    if domain.borrow().is_wildcard() {
        let detail = "a rule takes its domain and all below it: write it without `*.`";
        return Err(Problem::invalid("domain", detail));
    }
    Ok(domain)
}

/// Makes a rule, or replaces it. Over a rule of config for the same domain it holds until it is taken back.
#[utoipa::path(
    put, path = "/forwarders/{domain}", tag = "forwarders",
    params(
        ("domain" = String, Path, description = "The domain; `@` for the root", example = "corp.example.com"),
        ("dry_run" = Option<bool>, Query, description = "Answers the plan, and does nothing"),
        ("If-Match" = Option<String>, Header, description = "Its ETag, or `*`: needed when it is there"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if nothing is there"),
    ),
    request_body(content = NewRule, example = json!({"upstreams": ["10.1.0.4", "10.1.0.5"]})),
    responses(
        (status = 201, description = "It is new, and holds", body = RuleView),
        (status = 200, description = "As it is now; for `dry_run` the plan", body = RuleView),
    ),
)]
async fn write(
    State(ledger): State<Arc<Ledger>>,
    who: Who,
    Path(domain): Path<String>,
    Query(dry_run): Query<DryRun>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    who.identity.may_change_server()?;
    let conditions = preconditions(&headers)?;
    let bytes = body::read(request, &["application/json"]).await?;
    let rule: NewRule = body::parse(&bytes)?;
    let domain = domain_of(&domain)?;
    let upstreams = upstreams(&rule)?;
    let (was_there, count) = {
        let state = ledger.written().read();
        (state.forwarder(&domain).is_some(), state.forwarders().count())
    };
    if !was_there && count >= RULES_MAX {
        return Err(Problem::new(Kind::Conflict, format!("there are {RULES_MAX} rules already")));
    }
    let queries_per_second_max = rule.queries_per_second_max;
    let stored = StoredForwarder { domain: domain.clone(), upstreams, queries_per_second_max };
    let change = StoredChange::Put(Entry::Forwarder(stored));
    let edit = Edit { change, place: FieldPath::Path, conditions, need: Need::Required };
    let write = Write { who, edits: vec![edit], comment: None, mode: dry_run.mode(), once: None };
    match ledger.write(write).await? {
        WriteOutcome::Planned(plan) => return Ok(axum::Json::<Plan>(plan).into_response()),
        WriteOutcome::Done(receipt) | WriteOutcome::Replayed(receipt, _) => in_force(&receipt)?,
    }
    let view = view_now(&ledger, &domain)?;
    let status = if was_there { StatusCode::OK } else { StatusCode::CREATED };
    Ok(tagged(status, view.etag.as_ref(), &view))
}

/// What is stored but not asked by must not look like success.
fn in_force(receipt: &Receipt) -> Result<(), Problem> {
    let Some((_, why)) = receipt.not_served.first() else { return Ok(()) };
    let revision = receipt.revision;
    let detail = format!("it is stored as revision {revision}, but not in force: {why}");
    Err(Problem::new(Kind::Internal, detail).with("revision", revision))
}

fn upstreams(rule: &NewRule) -> Result<Vec<Arc<str>>, Problem> {
    let mut faults = Faults::default();
    if rule.upstreams.is_empty() || rule.upstreams.len() > UPSTREAMS_MAX {
        faults.add("/upstreams", format!("a rule has 1 to {UPSTREAMS_MAX} upstreams"));
    }
    if rule.queries_per_second_max == Some(0) {
        faults.add("/queries_per_second_max", "with 0 nothing would be asked; leave it out for no bound");
    }
    let mut read: Vec<UpstreamAddress> = Vec::new();
    for (index, text) in rule.upstreams.iter().take(UPSTREAMS_MAX).enumerate() {
        match text.parse::<UpstreamAddress>() {
            Ok(address) if read.contains(&address) => {
                faults.add(format!("/upstreams/{index}"), format!("{address} stands twice"));
            }
            Ok(address) => read.push(address),
            Err(error) => faults.add(format!("/upstreams/{index}"), Quoted(&error.to_string())),
        }
    }
    faults.check()?;
    Ok(read.iter().map(|address| address.to_string().into()).collect())
}

/// Takes a rule back; one of config for the same domain holds again.
///
/// What was cached by the rule is forgotten. A rule of config goes by config only.
#[utoipa::path(
    delete, path = "/forwarders/{domain}", tag = "forwarders",
    params(
        ("domain" = String, Path, description = "The domain; `@` for the root", example = "corp.example.com"),
        ("dry_run" = Option<bool>, Query, description = "Answers the plan, and does nothing"),
        ("If-Match" = String, Header, description = "Its ETag, or `*`", example = "*"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 200, description = "The rule of config that holds again; for `dry_run` the plan", body = RuleView),
    ),
)]
async fn remove(
    State(ledger): State<Arc<Ledger>>,
    who: Who,
    Path(domain): Path<String>,
    Query(dry_run): Query<DryRun>,
    conditions: Preconditions,
) -> Result<Response, Problem> {
    let domain = domain_of(&domain)?;
    who.identity.may_change_server()?;
    let view = view_now(&ledger, &domain)?;
    if view.made_by == RuleOrigin::Config {
        let detail =
            "config makes this rule: take it out there, or PUT one of your own, which goes before it";
        return Err(Problem::new(Kind::Conflict, detail).at("domain"));
    }
    let change = StoredChange::Remove(Subject::Forwarder(domain.clone()));
    let edit = Edit { change, place: FieldPath::Path, conditions, need: Need::Required };
    let write = Write { who, edits: vec![edit], comment: None, mode: dry_run.mode(), once: None };
    match ledger.write(write).await? {
        WriteOutcome::Planned(plan) => return Ok(axum::Json::<Plan>(plan).into_response()),
        WriteOutcome::Done(receipt) | WriteOutcome::Replayed(receipt, _) => in_force(&receipt)?,
    }
    Ok(match view_now(&ledger, &domain) {
        Ok(view) => tagged(StatusCode::OK, view.etag.as_ref(), &view),
        Err(_) => StatusCode::NO_CONTENT.into_response(),
    })
}
