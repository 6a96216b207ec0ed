//! The client of a running server's admin API.

use std::env;
use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use reqwest::{Method, StatusCode, Url, redirect};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{ConfigFile, small_runtime};
use crate::config::Config;
use crate::daemon::TOKEN_FILE;
use crate::telemetry::is_hidden;

/// A server that is there takes a connection within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longer than the server lets a request take.
const ANSWER_WITHIN: Duration = Duration::from_secs(90);
/// A store of a gigabyte over a slow line.
const LARGE_ANSWER_WITHIN: Duration = Duration::from_secs(3_600);
/// Items of a page: the most that the API gives.
const PAGE_ITEMS: &str = "1000";
/// Where the API begins.
const API: [&str; 2] = ["api", "v1"];
/// Names the running server.
const SERVER_VARIABLE: &str = "PRIVATELINK_DNS_SERVER";

/// How a running server is reached.
#[derive(Args)]
pub(super) struct ServerOptions {
    /// The running server, as https://dns.corp.example.com:8053; without it the first address of the config's admin.listen.
    #[arg(long, value_name = "URL", env = SERVER_VARIABLE)]
    pub server: Option<String>,
    /// The file that holds the token; without it admin.token in the config's state_dir.
    #[arg(long, value_name = "FILE", env = "PRIVATELINK_DNS_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// An authority (PEM) that signs the server's certificate, besides those that the system knows.
    #[arg(long, value_name = "FILE", env = "PRIVATELINK_DNS_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

/// A running server for verbs that do without one.
#[derive(Args, Clone)]
pub(super) struct OtherServer {
    /// Ask the running server at this URL instead, as http://127.0.0.1:8053; PRIVATELINK_DNS_SERVER names it as well.
    // Not an `env` of clap, for which it would contradict options that need no server.
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The file that holds the token for it; without it admin.token in the config's state_dir.
    #[arg(long, value_name = "FILE", env = "PRIVATELINK_DNS_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// An authority (PEM) that signs its certificate, besides those that the system knows.
    #[arg(long, value_name = "FILE", env = "PRIVATELINK_DNS_CA_FILE")]
    ca_file: Option<PathBuf>,
}

impl ServerOptions {
    /// The server of a config, with what options say besides.
    pub(super) fn of_config(config: ConfigFile, other: OtherServer) -> ServerOptions {
        let OtherServer { server, token_file, ca_file } = other;
        ServerOptions { server, token_file, ca_file, config }
    }
}

impl OtherServer {
    /// No server but that of the config.
    pub(super) fn none() -> OtherServer {
        OtherServer { server: None, token_file: None, ca_file: None }
    }

    /// The same with the server that the environment names, if no option does.
    pub(super) fn or_of_environment(self) -> OtherServer {
        let of_environment = || env::var(SERVER_VARIABLE).ok().filter(|url| !url.is_empty());
        OtherServer { server: self.server.or_else(of_environment), ..self }
    }

    /// The client of the server, if one is named.
    pub(super) fn client(self, config: &ConfigFile) -> anyhow::Result<Option<Client>> {
        let is_named = self.server.is_some();
        let options = ServerOptions::of_config(config.clone(), self);
        is_named.then(|| Client::of(&options)).transpose()
    }
}

/// How answers are printed.
#[derive(Args)]
pub(super) struct Output {
    /// For people or for programs.
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Form::Table)]
    pub form: Form,
}

/// A form of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    Table,
    Json,
}

/// Asks one server.
pub(super) struct Client {
    runtime: Runtime,
    http: reqwest::Client,
    base: Url,
    token: String,
    token_file: PathBuf,
}

/// A request in the making.
pub(super) struct Call<'c> {
    client: &'c Client,
    method: Method,
    url: Url,
    body: Option<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
}

/// The server's no.
#[derive(Debug)]
pub(super) struct Refused {
    pub status: u16,
    problem: Value,
}

impl Client {
    /// The client of the server that options or config name.
    pub(super) fn of(options: &ServerOptions) -> anyhow::Result<Client> {
        // With both options given the config is not needed: it may be on another machine.
        let mut loaded = None;
        let mut config = || -> anyhow::Result<Config> {
            match &loaded {
                Some(config) => Ok(Config::clone(config)),
                None => Ok(loaded.insert(options.config.load()?).clone()),
            }
        };
        let base = match &options.server {
            Some(url) => url.clone(),
            None => server_of(&config()?)?,
        };
        let base =
            Url::parse(&base).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
        let Some(base) = base else { bail!("--server takes a URL such as http://127.0.0.1:8053") };
        let token_file = match &options.token_file {
            Some(file) => file.clone(),
            None => match config() {
                Ok(config) => config.state_dir.join(TOKEN_FILE),
                Err(error) if options.server.is_some() => {
                    bail!(
                        "--token-file names the file of a token; without it the config must tell: {error:#}"
                    )
                }
                Err(error) => return Err(error),
            },
        };
        let token = fs::read_to_string(&token_file).with_context(|| {
            format!("cannot read the token in {}; --token-file names another file", token_file.display())
        })?;
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            // A token goes where it is sent and nowhere else.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("privatelink-dns/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &options.ca_file {
            let pem = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            http = http.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&pem)?);
        }
        let token = token.trim().to_owned();
        Ok(Client { runtime: small_runtime()?, http: http.build()?, base, token, token_file })
    }

    /// A request for a path below `/api/v1`, segment by segment.
    pub(super) fn call(&self, method: Method, path: &[&str]) -> Call<'_> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(API).extend(path);
        }
        Call { client: self, method, url, body: None, headers: Vec::new() }
    }

    /// All items of a list, page by page.
    pub(super) fn each(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        mut take: impl FnMut(Vec<Value>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut after: Option<String> = None;
        loop {
            let mut call = self.call(Method::GET, path).query("limit", PAGE_ITEMS);
            for (key, value) in query {
                call = call.query(key, value);
            }
            if let Some(after) = &after {
                call = call.query("after", after);
            }
            let mut page = call.send()?;
            let Value::Array(items) = page["items"].take() else { bail!("the server's answer is no list") };
            take(items)?;
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => return Ok(()),
            }
        }
    }
}

/// Where the config's server is, as seen from its own machine.
pub(super) fn server_of(config: &Config) -> anyhow::Result<String> {
    let api = &config.admin.api;
    let Some(address) = api.listen.first() else {
        bail!("{} has no admin.listen: --server names the running server", config.file.display());
    };
    let mut address = *address;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scheme = if api.certificate.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{address}"))
}

impl Call<'_> {
    pub(super) fn query(mut self, key: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(key, value);
        self
    }

    pub(super) fn maybe_query(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(key, value),
            None => self,
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn json(self, body: Value) -> Self {
        self.text("application/json", body.to_string())
    }

    pub(super) fn text(self, media_type: &'static str, text: String) -> Self {
        Call { body: Some((media_type, text)), ..self }
    }

    /// The answer; null if it has no body. What the server refuses is a [`Refused`].
    pub(super) fn send(self) -> anyhow::Result<Value> {
        let client = self.client;
        let text = self.send_for_text()?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|_| strange(client, StatusCode::OK))
    }

    /// The answer as it is.
    pub(super) fn send_for_text(self) -> anyhow::Result<String> {
        let client = self.client;
        let request = self.request();
        let asked = client.runtime.block_on(async {
            let response = request.send().await?;
            Ok::<_, reqwest::Error>((response.status(), response.text().await?))
        });
        let (status, text) = asked.map_err(|error| unreached(client, &error))?;
        if status.is_success() { Ok(text) } else { Err(client.refused(status, &text)) }
    }

    /// Writes an answer of any size, as it comes.
    pub(super) fn send_into(self, out: &mut impl Write) -> anyhow::Result<()> {
        let client = self.client;
        let request = self.request().timeout(LARGE_ANSWER_WITHIN);
        client.runtime.block_on(async {
            let response = request.send().await.map_err(|error| unreached(client, &error))?;
            let status = response.status();
            if !status.is_success() {
                let text = response.text().await.map_err(|error| unreached(client, &error))?;
                return Err(client.refused(status, &text));
            }
            let mut response = response;
            while let Some(chunk) = response.chunk().await.map_err(|error| unreached(client, &error))? {
                out.write_all(&chunk)?;
            }
            Ok(())
        })
    }

    fn request(self) -> reqwest::RequestBuilder {
        let Call { client, method, url, body, headers } = self;
        let mut request = client.http.request(method, url).bearer_auth(&client.token);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        match body {
            Some((media_type, body)) => request.header("content-type", media_type).body(body),
            None => request,
        }
    }
}

impl Client {
    /// The server's no as an error.
    fn refused(&self, status: StatusCode, text: &str) -> anyhow::Error {
        match serde_json::from_str(text) {
            Ok(problem @ Value::Object(_)) => {
                let refused = Refused { status: status.as_u16(), problem };
                let is_token = refused.is(StatusCode::UNAUTHORIZED);
                let token_file = is_token.then(|| self.token_file.clone());
                match token_file {
                    Some(file) => anyhow::Error::new(refused).context(RefusedToken(file)),
                    None => refused.into(),
                }
            }
            _ => strange(self, status),
        }
    }
}

/// Where the token is that a server does not take.
#[derive(Debug)]
struct RefusedToken(PathBuf);

impl fmt::Display for RefusedToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the server does not take the token of {}", Path::display(&self.0))
    }
}

fn strange(client: &Client, status: StatusCode) -> anyhow::Error {
    anyhow!("{} answers {status}, and not as an admin API does", client.base)
}

/// Why a server cannot be asked, and what to do.
fn unreached(client: &Client, error: &reqwest::Error) -> anyhow::Error {
    let base = &client.base;
    let mut cause: &(dyn Error + 'static) = error;
    let mut tls = None;
    loop {
        tls = tls.or_else(|| of_tls(cause));
        match cause.source() {
            Some(source) => cause = source,
            None => break,
        }
    }
    let what_to_do = match (tls, base.scheme()) {
        (Some(Tls::Untrusted), _) => "--ca-file names the authority of its certificate",
        (Some(Tls::None), _) => "it speaks no TLS: ask it as http://…",
        (None, "http") if !error.is_connect() && !error.is_timeout() => {
            "is this the address of admin.listen? With admin.certificate it is asked as https://…"
        }
        (None, _) => "is the server running, and this the address of its admin.listen?",
    };
    // The links between repeat each other.
    let cause = if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
    anyhow!("{base} cannot be asked: {cause}; {what_to_do}")
}

/// What TLS finds wrong.
#[derive(Clone, Copy)]
enum Tls {
    Untrusted,
    None,
}

fn of_tls(error: &(dyn Error + 'static)) -> Option<Tls> {
    let mut error = error;
    // An `io::Error` hides what it is made of, which may be another one.
    while let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        error = inner;
    }
    match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(_) => Some(Tls::Untrusted),
        rustls::Error::InvalidMessage(_) => Some(Tls::None),
        _ => None,
    }
}

impl Refused {
    /// The refusal in an error, if it is one.
    pub(super) fn of(error: &anyhow::Error) -> Option<&Refused> {
        error.downcast_ref()
    }

    pub(super) fn is(&self, status: StatusCode) -> bool {
        self.status == status.as_u16()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Value, key: &str| seen(value[key].as_str().unwrap_or_default());
        let detail = |value: &Value| in_our_words(&text(value, "detail"));
        let field = |value: &Value| argument_of(&text(value, "field"));
        write!(out, "{}: {}", text(&self.problem, "title"), detail(&self.problem))?;
        let errors = self.problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(field) = field(&self.problem).filter(|_| errors.is_empty()) {
            write!(out, " [{field}]")?;
        }
        for error in errors {
            write!(out, "\n  {}: {}", field(error).unwrap_or_default(), detail(error))?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// What the API advises who speaks HTTP to it, and what is to be done here.
const WORDS: [(&str, &str); 10] = [
    (
        "; GET /api/v1/zones lists them, POST makes one",
        "; `zones list --all` shows them, `zones create` makes one",
    ),
    ("; POST /api/v1/zones makes one", "; `zones create` makes one"),
    ("; GET /api/openapi.json lists all routes", "; is the server of another version?"),
    (
        "PATCH with `null` takes back what was set by this API, DELETE of a record set what was written",
        "`records delete` takes back what operators wrote in it",
    ),
    ("; PATCH with `null` takes back what was set by this API", ""),
    (
        "DELETE only takes back what was written by this API",
        "`records delete` only takes back what operators wrote",
    ),
    ("PUT a record set of your own", "write one of your own with `records put`"),
    ("PUT one of your own", "set one of your own with `forwarders put`"),
    ("; DELETE takes it away", "; `records delete` takes it away"),
    ("send it without If-Match to create it", "make it first"),
];

/// A detail in the words of the command line.
fn in_our_words(detail: &str) -> String {
    let plain = WORDS.iter().fold(detail.to_owned(), |detail, (theirs, ours)| detail.replace(theirs, ours));
    match plain.split_once("; PATCH /api/v1/") {
        Some((what, _)) => what.to_owned(),
        None => plain,
    }
}

/// The argument that a field of the API stands for: `/records/0` is the first record. None for headers.
fn argument_of(field: &str) -> Option<String> {
    if field.is_empty() || field.starts_with(|first: char| first.is_ascii_uppercase()) {
        return None;
    }
    let mut steps = field.trim_start_matches('/').split('/');
    let first = steps.next()?.to_owned();
    let singular = |word: &str| word.strip_suffix('s').unwrap_or(word).to_owned();
    Some(match steps.next().and_then(|index| index.parse::<usize>().ok()) {
        Some(index) => format!("{} {}", singular(&first), index + 1),
        None => first,
    })
}

/// Prints rows below their headings, each column as wide as it must be.
pub(super) fn write_table(headings: &[&str], rows: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let all = || std::iter::once(&headings).chain(rows);
    let width =
        |column: usize| all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..headings.len()).map(|column| width(column).unwrap_or_default()).collect();
    for row in all() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Prints what would be done: a line for each record or setting, + added, ~ replaced, - taken away.
pub(super) fn write_plan(plan: &Value, out: &mut impl Write) -> io::Result<()> {
    let lines = plan["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
    for line in lines {
        let (action, at) = match line["action"].as_str() {
            Some("add") => ('+', "after"),
            Some("remove") => ('-', "before"),
            _ => ('~', "after"),
        };
        let (zone, name, rtype) = (&line["zone"], &line["name"], &line["type"]);
        let place = [zone, name].into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
        let said = &line[at];
        match said["records"].as_array() {
            Some(records) => {
                for record in records {
                    let (ttl, rtype, record) = (cell(&said["ttl"]), cell(rtype), cell(record));
                    writeln!(out, "{action} {place} {ttl} {rtype} {record}")?;
                }
            }
            None => writeln!(out, "{action} {place} {said}")?,
        }
    }
    let total = plan["lines_total"].as_u64().unwrap_or_default();
    let more = total.saturating_sub(lines.len() as u64);
    if more > 0 {
        writeln!(out, "… and {more} more")?;
    }
    writeln!(out, "{total} to change; nothing is done yet")
}

/// Prints JSON for programs.
pub(super) fn write_json(value: &Value, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", serde_json::to_string_pretty(value).expect("JSON is always text"))
}

/// A text without what would steer the terminal.
fn seen(text: &str) -> String {
    text.chars().map(|char| if is_hidden(char) { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

/// A value as a cell of a table.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => seen(text),
        Value::Array(values) if values.is_empty() => "all".to_owned(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_command_line() {
        let told = |problem: Value| Refused { status: 409, problem }.to_string();
        let sources = [
            include_str!("../ledger/draft.rs"),
            include_str!("../ledger/edit.rs"),
            include_str!("../ledger/etag.rs"),
            include_str!("../admin/problem.rs"),
            include_str!("../admin/routes/zones.rs"),
            include_str!("../admin/routes/forwarders.rs"),
            include_str!("../admin/routes/import_export.rs"),
        ];
        // Lines of code break texts anywhere.
        let plain = |text: &str| text.replace("\\\n", "").split_whitespace().collect::<Vec<_>>().join(" ");
        let sources: Vec<String> = sources.iter().map(|text| plain(text)).collect();
        for (theirs, ours) in WORDS {
            assert!(
                sources.iter().any(|text| text.contains(theirs.trim_start_matches("; "))),
                "nobody says {theirs}"
            );
            for word in ["GET", "PUT", "POST", "PATCH", "DELETE", "If-Match", "/api/"] {
                assert!(!in_our_words(theirs).contains(word), "{ours}");
            }
        }
        let problem = serde_json::json!({
            "title": "This goes against what is there", "status": 409, "field": "/name",
            "detail": "zone a. is there already; PATCH /api/v1/zones/a. changes its settings"
        });
        assert_eq!(told(problem), "This goes against what is there: zone a. is there already [name]");
        let problem = serde_json::json!({
            "title": "A value is wrong", "detail": "2 values are wrong", "field": "/records/0",
            "errors": [{"field": "/records/0", "detail": "no"}, {"field": "/ttl", "detail": "too much"}]
        });
        assert_eq!(told(problem), "A value is wrong: 2 values are wrong\n  record 1: no\n  ttl: too much");
    }

    #[test]
    fn cells_do_not_steer_the_terminal() {
        let value = serde_json::json!(["a\u{1b}[2J", "b\u{202e}c"]);
        assert_eq!(cell(&value), "a\u{fffd}[2J b\u{fffd}c");
    }
}
