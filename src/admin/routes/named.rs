//! Names, types and records as the routes that look at answers write them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::problem::Problem;
use crate::dns::{Name, Record, RecordType, rdata};
use crate::telemetry::Quoted;

/// The name of `?name=`.
pub(super) fn name_of(text: &str) -> Result<Name, Problem> {
    let wrong = |error| Problem::invalid("name", format!("`{}` is no name: {error}", Quoted(text)));
    text.parse().map_err(wrong)
}

/// The type of `?type=`.
pub(super) fn type_of(text: &str) -> Result<RecordType, Problem> {
    let wrong =
        |_| Problem::invalid("type", format!("`{}` is no type; write A, AAAA, TYPE65 …", Quoted(text)));
    text.parse().map_err(wrong)
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct RecordView {
    #[schema(example = "contoso.vault.azure.net.")]
    pub name: String,
    #[serde(rename = "type")]
    #[schema(example = "CNAME")]
    pub rtype: String,
    #[schema(example = 60)]
    pub ttl: u32,
    #[schema(example = "contoso.privatelink.vaultcore.azure.net.")]
    pub data: String,
}

impl RecordView {
    /// A record after it has lain for a while.
    pub(super) fn of(record: &Record, age_secs: u32) -> RecordView {
        RecordView {
            name: record.owner.to_string(),
            rtype: record.rtype.to_string(),
            ttl: record.ttl.secs().saturating_sub(age_secs),
            data: rdata::to_text(record.rtype, &record.data),
        }
    }

    pub(super) fn all(records: &[Record], age_secs: u32) -> Vec<RecordView> {
        records.iter().map(|record| RecordView::of(record, age_secs)).collect()
    }
}
