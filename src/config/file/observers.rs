//! `[telemetry.dnstap]` and `[telemetry.query_log]` as they are written.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::words::Format;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Dnstap {
    pub socket: Option<PathBuf>,
    pub address: Option<String>,
    pub identity: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct QueryLog {
    pub format: Format,
    pub path: Option<PathBuf>,
    pub sample: f64,
    pub suffixes: Vec<String>,
    pub clients: Vec<String>,
    pub rcodes: Vec<String>,
    pub paths: Vec<String>,
    pub slower_than_ms: u64,
}

impl Default for QueryLog {
    fn default() -> QueryLog {
        QueryLog {
            format: Format::Text,
            path: None,
            sample: 1.0,
            suffixes: Vec::new(),
            clients: Vec::new(),
            rcodes: Vec::new(),
            paths: Vec::new(),
            slower_than_ms: 0,
        }
    }
}
