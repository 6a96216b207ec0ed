//! `/explain`: why a client is answered what it is answered.

use std::net::{IpAddr, Ipv4Addr};

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::named::{RecordView, name_of, type_of};
use crate::admin::App;
use crate::admin::problem::Problem;
use crate::admin::query::Query;
use crate::dns::{QueryFlags, Question, RecordType};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// Which question is asked.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ExplainQuery {
    #[param(example = "contoso.privatelink.vaultcore.azure.net")]
    name: String,
    /// A, AAAA, HTTPS, TXT, TYPE65, …; A if it is absent.
    #[serde(rename = "type")]
    #[param(example = "A")]
    rtype: Option<String>,
    /// Who asks; 127.0.0.1 if it is absent.
    #[param(value_type = Option<String>, example = "10.10.1.4")]
    client: Option<String>,
    /// Whether the question asks for DNSSEC's proofs, too (DO); false if it is absent.
    #[serde(default)]
    #[param(example = false)]
    dnssec: bool,
}

/// The steps to an answer, and the answer.
#[derive(Debug, Serialize, ToSchema)]
struct ExplanationView {
    name: String,
    #[serde(rename = "type")]
    #[schema(example = "A")]
    rtype: String,
    #[schema(value_type = String, example = "10.10.1.4")]
    client: IpAddr,
    /// View, access, zone, endpoint, chain, rule, upstream, policy.
    #[schema(example = json!(["view: 10.10.1.4 belongs to network `hub-westeurope`", "access: allowed"]))]
    steps: Vec<String>,
    /// Absent if the client gets no reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "NOERROR")]
    rcode: Option<String>,
    answer: Vec<RecordView>,
    authority: Vec<RecordView>,
}

/// Answers a question as a client would ask it, and tells each step. Upstreams are asked as they would be for it.
#[utoipa::path(
    get, path = "/explain", tag = "answers", params(ExplainQuery),
    responses(
        (status = 200, description = "Steps and answer", body = ExplanationView),
        (
            status = 503, description = "Too many explanations are under way", body = Problem,
            content_type = "application/problem+json"
        ),
    ),
)]
async fn explain(
    State(app): State<App>,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<ExplanationView>, Problem> {
    let name = name_of(&query.name)?;
    let rtype = query.rtype.as_deref().map_or(Ok(RecordType::A), type_of)?;
    let client = match &query.client {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(text) => text.parse().map_err(|_| Problem::invalid("client", "this is no IP address"))?,
    };
    let _place = app.side.explanation()?;
    let flags = QueryFlags { dnssec_ok: query.dnssec, ..QueryFlags::default() };
    let question = Question { name: name.clone(), rtype };
    let explained = app.server.explain(question, flags, client).await;
    let (rcode, answer, authority) = match &explained.reply {
        None => (None, Vec::new(), Vec::new()),
        Some(reply) => {
            let records = |records| RecordView::all(records, 0);
            (Some(reply.rcode.to_string()), records(&reply.answer), records(&reply.authority))
        }
    };
    let (name, rtype, steps) = (name.to_string(), rtype.to_string(), explained.steps);
    Ok(Json(ExplanationView { name, rtype, client, steps, rcode, answer, authority }))
}
