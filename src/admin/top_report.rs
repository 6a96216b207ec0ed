//! What is told of the queries of the last seconds.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use utoipa::ToSchema;

/// What clients asked in the last seconds, and what they were answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct TopReport {
    /// The seconds that rates are of: ten, or less since somebody began to look. 0 at the first look.
    #[schema(example = 10.0)]
    pub over_secs: f64,
    pub queries_per_second: f64,
    /// Queries a second by what carried them.
    #[schema(example = json!({"udp": 812.4, "tcp": 3.1}))]
    pub transports: BTreeMap<String, f64>,
    /// Replies a second by their code; those that there were.
    #[schema(example = json!({"NOERROR": 790.2, "NXDOMAIN": 25.3}))]
    pub rcodes: BTreeMap<String, f64>,
    /// By the way that answers came to be.
    pub paths: Vec<PathReport>,
    pub busiest: BusiestReport,
}

/// The replies of one way.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PathReport {
    #[schema(example = "forwarded")]
    pub path: String,
    pub replies_per_second: f64,
    /// The time that half of them took at most, in seconds; null if there were none.
    #[schema(example = 0.0021)]
    pub median_secs: Option<f64>,
    /// The time that 99 of 100 took at most.
    #[schema(example = 0.024)]
    pub p99_secs: Option<f64>,
}

/// What most queries are of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct BusiestReport {
    /// The seconds that queries were counted in.
    #[schema(example = 10.0)]
    pub over_secs: f64,
    /// All queries in them.
    pub queries: u64,
    /// The most frequent names, at most 100. A count lacks at most a thousandth of all queries.
    pub names: Vec<NameCount>,
    /// The most frequent clients, at most 100.
    pub clients: Vec<ClientCount>,
}

/// How often a name was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NameCount {
    #[schema(example = "sql1.database.windows.net.")]
    pub name: String,
    pub queries: u64,
}

/// How often a client asked.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ClientCount {
    #[schema(value_type = String, example = "10.1.2.3")]
    pub address: IpAddr,
    pub queries: u64,
}
