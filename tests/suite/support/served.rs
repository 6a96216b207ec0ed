//! The real program as operators run it: processes that serve, and clients of their APIs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::client::{PATIENCE, answers, ask};

/// What all clients run on.
pub static CLIENTS: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// A config that forwards nothing.
pub const NOTHING: &str = "[forward]\nupstreams = []\n";

/// A folder with a config and what a server keeps there.
pub struct Place {
    pub folder: TempDir,
}

/// A process that serves; dropping it kills it.
pub struct Served {
    child: Child,
    pub dns: SocketAddr,
    pub client: Client,
    log: Option<JoinHandle<String>>,
}

/// One who speaks to an API.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    pub api: String,
    pub token: String,
}

/// What an API answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub text: String,
}

/// A config with this in it besides sockets and folder.
pub fn config(more: &str) -> String {
    format!(
        "state_dir = \"state\"\n[listen]\ndns = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = [\"127.0.0.1:0\"]\n{more}"
    )
}

/// The program, without what the environment would tell it.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_privatelink-dns"));
    command.args(arguments);
    for variable in
        ["PRIVATELINK_DNS_CONFIG", "PRIVATELINK_DNS_SERVER", "PRIVATELINK_DNS_TOKEN_FILE", "RUST_LOG"]
    {
        command.env_remove(variable);
    }
    command
}

/// Where a process that has just been started serves the DNS and the API; `None` when it ends instead.
pub fn addresses(child: &mut Child) -> Option<(SocketAddr, String)> {
    let (mut dns, mut api) = (None, None);
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["listening", address, ..] => dns = Some(address.parse().unwrap()),
            ["admin", "API", url] => api = Some(url.to_owned()),
            _ => {}
        }
        if dns.is_some() && api.is_some() {
            break;
        }
    }
    dns.zip(api)
}

/// What a server logs.
pub struct Log(tempfile::NamedTempFile);

impl Log {
    pub fn text(&self) -> String {
        fs::read_to_string(self.0.path()).unwrap()
    }

    /// Waits for a line with these words, and answers it.
    pub fn line(&self, words: &str) -> String {
        let mut found = None;
        wait_until(&format!("a line with `{words}`"), || {
            found = self.text().lines().find(|line| line.contains(words)).map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }

    /// Lines with these words.
    pub fn count(&self, words: &str) -> usize {
        self.text().lines().filter(|line| line.contains(words)).count()
    }
}

impl Place {
    pub fn new(more: &str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.toml"), config(more)).unwrap();
        Place { folder }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    pub fn token_file(&self) -> PathBuf {
        self.folder.path().join("state/admin.token")
    }

    /// What is in the folder that a server keeps.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The program as operators call it beside a server, or without one: exit code, stdout, stderr.
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        outcome(command(arguments).args(["-c", self.config().to_str().unwrap()]))
    }

    /// Starts the program here.
    pub fn serve(&self) -> Served {
        self.serve_by(command(&["serve", "-c", self.config().to_str().unwrap()]))
    }

    /// Starts the program as another one does.
    pub fn serve_by(&self, mut serve: Command) -> Served {
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap());
        let Some((dns, api)) = addresses(&mut child) else {
            panic!("it did not start: {}", log.join().unwrap())
        };
        // Of several instances only the first one makes a token.
        let token = fs::read_to_string(self.token_file()).unwrap_or_default().trim().to_owned();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Served { child, dns, client: Client { http, api, token }, log: Some(log) }
    }

    /// Starts the program here with its log in a file beside the folder, to be read while it runs.
    pub fn serve_logged(&self) -> (Served, Log) {
        self.serve_logged_by(&command(&["serve", "-c", self.config().to_str().unwrap()]))
    }

    /// The same as another one starts it.
    pub fn serve_logged_by(&self, serve: &Command) -> (Served, Log) {
        let log = Log(tempfile::NamedTempFile::new().unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$@\" 2>\"$0\""]).arg(log.0.path());
        shell.arg(serve.get_program()).args(serve.get_args());
        for (name, value) in serve.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        (self.serve_by(shell), log)
    }

    /// The program as operators call it: exit code, stdout, stderr.
    pub fn program(&self, served: &Served, arguments: &[&str]) -> (i32, String, String) {
        let mut program = command(arguments);
        program.args(["--server", &served.client.api, "-c", self.config().to_str().unwrap()]);
        outcome(&mut program)
    }
}

pub fn outcome(program: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = program.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Waits until it is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not so after {PATIENCE:?}");
        std::thread::yield_now();
    }
}

impl Client {
    /// Sends `METHOD /path`, below the API's root; `None` when nobody answers. `REPLACE` puts what is there already.
    pub async fn send(&self, what: &str, body: Option<&Value>) -> Option<Answer> {
        self.send_with(what, None, body).await
    }

    /// The same under an idempotency key.
    pub async fn send_once(&self, what: &str, key: &str, body: &Value) -> Option<Answer> {
        self.send_with(what, Some(key), Some(body)).await
    }

    async fn send_with(&self, what: &str, key: Option<&str>, body: Option<&Value>) -> Option<Answer> {
        let (word, path) = what.split_once(' ').unwrap();
        let method = if word == "REPLACE" { "PUT" } else { word };
        let url = format!("{}/api/v1{path}", self.api);
        let mut request = self.http.request(method.parse().unwrap(), url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        if matches!(word, "DELETE" | "PATCH" | "REPLACE") {
            request = request.header("if-match", "*");
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").map(|it| it.to_str().unwrap().to_owned());
        Some(Answer { status, retry_after, text: response.text().await.ok()? })
    }

    /// One request: status and JSON.
    pub fn call(&self, what: &str, body: Option<Value>) -> (u16, Value) {
        let answer = CLIENTS.block_on(self.send(what, body.as_ref())).expect("the server answers");
        (answer.status, answer.json())
    }

    /// One request that must go well. One that was not stored because the machine is busy is sent again.
    pub fn well(&self, what: &str, body: Value) -> Value {
        self.until_done(what, Some(body))
    }

    /// The same, perhaps without a body.
    pub fn until_done(&self, what: &str, body: Option<Value>) -> Value {
        let start = Instant::now();
        loop {
            let (status, answer) = self.call(what, body.clone());
            let is_refused = status == 503 && answer.to_string().contains("nothing was stored");
            if !is_refused || start.elapsed() > PATIENCE {
                assert!(status < 300, "{what}: {status} {answer}");
                return answer;
            }
        }
    }

    /// A page that needs no token.
    pub fn get(&self, path: &str) -> (u16, String) {
        let url = format!("{}{path}", self.api);
        CLIENTS.block_on(async {
            let response = self.http.get(url).send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        })
    }

    /// All zones as master files, serials included: equal where the same is served.
    pub fn exports(&self) -> String {
        let (mut all, mut after) = (String::new(), String::new());
        loop {
            let (status, page) = self.call(&format!("GET /zones?limit=1000{after}"), None);
            assert_eq!(status, 200, "{page}");
            for zone in page["items"].as_array().unwrap() {
                let name = zone["name"].as_str().unwrap();
                let what = format!("GET /zones/{}/export", name.trim_end_matches('.'));
                let export = CLIENTS.block_on(self.send(&what, None)).expect("the server answers");
                // A zone may be gone by then.
                all += &format!("; {name} {}\n{}\n", export.status, export.text);
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return all,
            }
        }
    }
}

impl Answer {
    /// `null` where there is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The sort of a problem.
    pub fn problem(&self) -> String {
        let urn = self.json()["type"].as_str().unwrap_or_default().to_owned();
        urn.trim_start_matches("urn:privatelink-dns:problem:").to_owned()
    }
}

impl Served {
    pub fn call(&self, what: &str, body: Option<Value>) -> (u16, Value) {
        self.client.call(what, body)
    }

    pub fn well(&self, what: &str, body: Value) -> Value {
        self.client.well(what, body)
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        self.client.get(path)
    }

    /// The same, asked by another scheme.
    pub fn at(mut self, scheme: &str) -> Served {
        let (_, rest) = self.client.api.split_once(':').unwrap();
        self.client.api = format!("{scheme}:{rest}");
        self
    }

    /// What `/proc` says of it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// As the power goes off.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As a service manager does; answers the log.
    pub fn terminate(mut self) -> String {
        self.signal("TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.log.take().unwrap().join().unwrap()
    }

    pub fn signal(&self, name: &str) {
        let number = match name {
            "HUP" => libc::SIGHUP,
            "TERM" => libc::SIGTERM,
            "STOP" => libc::SIGSTOP,
            "CONT" => libc::SIGCONT,
            other => panic!("SIG{other} is not sent here"),
        };
        // SAFETY: the child is ours and not waited for yet.
        assert_eq!(unsafe { libc::kill(i32::try_from(self.child.id()).unwrap(), number) }, 0);
    }

    pub fn dns(&self, name: &str, rtype: &str) -> Vec<String> {
        answers(&ask(self.dns, name, rtype))
    }

    /// Asks until the answer is this one.
    pub fn wait_for(&self, name: &str, rtype: &str, wanted: &[&str]) {
        let start = Instant::now();
        while self.dns(name, rtype) != wanted {
            assert!(start.elapsed() < PATIENCE, "{name} {rtype} is {:?}", self.dns(name, rtype));
            std::thread::yield_now();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
