//! The client of a running server's admin API.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
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
/// Items of a page: the most that the API gives.
const PAGE_ITEMS: &str = "1000";
/// Where the API begins.
const API: [&str; 2] = ["api", "v1"];

/// How a running server is reached.
#[derive(Args)]
pub(super) struct ServerOptions {
    /// The running server, as https://dns.corp.example.com:8053; without it the first address of the config's admin.listen.
    #[arg(long, value_name = "URL", env = "PRIVATELINK_DNS_SERVER")]
    pub server: Option<String>,
    /// The file that holds the token; without it admin.token in the config's state_dir.
    #[arg(long, value_name = "FILE", env = "PRIVATELINK_DNS_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// An authority (PEM) that signs the server's certificate, besides those that the system knows.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// A running server for verbs that do without one.
#[derive(Args, Clone)]
pub(super) struct OtherServer {
    /// Ask the running server at this URL instead, as http://127.0.0.1:8053.
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The file that holds the token for it; without it admin.token in the config's state_dir.
    #[arg(long, value_name = "FILE", env = "PRIVATELINK_DNS_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// An authority (PEM) that signs its certificate, besides those that the system knows.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl OtherServer {
    /// The client of the server, if one is named.
    pub(super) fn client(self, config: &ConfigFile) -> anyhow::Result<Option<Client>> {
        let OtherServer { server, token_file, ca_file } = self;
        let is_named = server.is_some();
        let options = ServerOptions { server, token_file, ca_file };
        is_named.then(|| Client::of(&options, config)).transpose()
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
}

/// A request in the making.
pub(super) struct Call<'c> {
    client: &'c Client,
    method: Method,
    url: Url,
    body: Option<Value>,
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
    pub(super) fn of(options: &ServerOptions, config: &ConfigFile) -> anyhow::Result<Client> {
        // With both options given the config is not needed: it may be on another machine.
        let mut loaded = None;
        let mut config = || -> anyhow::Result<Config> {
            match &loaded {
                Some(config) => Ok(Config::clone(config)),
                None => Ok(loaded.insert(config.load()?).clone()),
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
            None => config()?.state_dir.join(TOKEN_FILE),
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
        Ok(Client { runtime: small_runtime()?, http: http.build()?, base, token: token.trim().to_owned() })
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
fn server_of(config: &Config) -> anyhow::Result<String> {
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
        Call { body: Some(body), ..self }
    }

    /// The answer; null if it has no body. What the server refuses is a [`Refused`].
    pub(super) fn send(self) -> anyhow::Result<Value> {
        let Call { client, method, url, body, headers } = self;
        let mut request = client.http.request(method, url).bearer_auth(&client.token);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let (status, text) = client.runtime.block_on(async {
            let failed = || format!("{} cannot be asked", client.base);
            let response = request.send().await.with_context(failed)?;
            let status = response.status();
            anyhow::Ok((status, response.text().await.with_context(failed)?))
        })?;
        let value = if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text) };
        match value {
            Ok(value) if status.is_success() => Ok(value),
            Ok(problem) if problem.is_object() => Err(Refused { status: status.as_u16(), problem }.into()),
            _ => bail!("{} answers {status}, and not as an admin API does", client.base),
        }
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
        let (title, detail, field) =
            (text(&self.problem, "title"), text(&self.problem, "detail"), text(&self.problem, "field"));
        write!(out, "{title} ({}): {detail}", self.status)?;
        let errors = self.problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        if errors.is_empty() && !field.is_empty() {
            write!(out, " [{field}]")?;
        }
        for error in errors {
            write!(out, "\n  {}: {}", text(error, "field"), text(error, "detail"))?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

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
    fn cells_do_not_steer_the_terminal() {
        let value = serde_json::json!(["a\u{1b}[2J", "b\u{202e}c"]);
        assert_eq!(cell(&value), "a\u{fffd}[2J b\u{fffd}c");
    }
}
