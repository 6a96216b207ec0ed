//! Azure Resource Manager as a process of its own, so that what the sync costs is measured without it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::fake_arm::{FakeArm, Fault};
use super::resources::{self, Mix};

/// The argument that makes the benchmark the fake Azure.
const ROLE: &str = "--fake-arm";

/// As many resources are on a page of Azure's.
const PAGE_ITEMS: u32 = 1000;

/// The other process; it ends with this.
pub struct Process {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub url: String,
    pub bytes: usize,
}

/// Requests since the last count.
pub struct Requests {
    pub all: usize,
    /// The most of one subscription.
    pub most: usize,
}

impl Process {
    /// Starts this program anew in its other role.
    pub fn start(mix: Mix) -> Process {
        let own = std::env::current_exe().expect("the path of this program");
        let mut child = Command::new(own)
            .args([ROLE, mix.word()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a second process");
        let orders = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut arm = Process { child, orders, answers, url: String::new(), bytes: 0 };
        let told = arm.answer();
        let (url, bytes) = told.split_once(' ').expect("URL and bytes");
        (arm.url, arm.bytes) = (url.to_owned(), bytes.parse().expect("a number"));
        arm
    }

    /// Gives one more endpoint another address.
    pub fn change_one(&mut self) {
        self.order("change");
    }

    /// The requests since this was last asked.
    pub fn requests(&mut self) -> Requests {
        let told = self.order("requests");
        let (all, most) = told.split_once(' ').expect("two numbers");
        Requests { all: all.parse().expect("a number"), most: most.parse().expect("a number") }
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").expect("the other process listens");
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the other process answers");
        line.trim_end().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("the other process ends");
    }
}

/// Plays the other role if this process was started for it, until its orders end.
pub fn play_if_asked() -> bool {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(at) = arguments.iter().position(|argument| argument == ROLE) else { return false };
    let mix = arguments.get(at + 1).and_then(|word| Mix::of_word(word)).expect("a mix");
    let arm = FakeArm::start();
    let ids = (0..resources::SUBSCRIPTIONS).map(resources::subscription);
    let listed = ids.map(|id| serde_json::json!({"subscriptionId": id, "state": "Enabled"}));
    let listed = serde_json::json!({"value": listed.collect::<Vec<_>>()});
    arm.answer_at("/subscriptions", Fault::page(listed.to_string()));
    println!("{} {}", arm.url(), list(&arm, mix, None));
    let mut changes = 0;
    for order in std::io::stdin().lines().map_while(Result::ok) {
        match order.as_str() {
            "change" => {
                list(&arm, mix, Some(changes));
                changes += 1;
                println!("done");
            }
            _ => {
                let asked = arm.asked("");
                arm.forget();
                let mut of_subscriptions: BTreeMap<&str, usize> = BTreeMap::new();
                for asked in &asked {
                    if let Some((_, rest)) = asked.line.split_once(" /subscriptions/") {
                        *of_subscriptions.entry(rest.split('/').next().unwrap_or_default()).or_default() += 1;
                    }
                }
                println!("{} {}", asked.len(), of_subscriptions.into_values().max().unwrap_or_default());
            }
        }
    }
    true
}

/// Lists all there is, and answers its bytes; the endpoints up to one have another address.
fn list(arm: &FakeArm, mix: Mix, changed: Option<u32>) -> usize {
    let mut bytes = 0;
    for number in 0..resources::SUBSCRIPTIONS {
        let id = resources::subscription(number);
        for (kind, items) in resources::of_subscription(number, mix, changed) {
            let all = items.chunks(PAGE_ITEMS as usize);
            let last = all.len();
            let pages = (1..).zip(all).map(|(page, items)| {
                let (url, next) = (arm.url(), page + 1);
                let path = format!("/subscriptions/{id}/providers/Microsoft.Network/{kind}");
                let link = match page == last {
                    true => String::new(),
                    false => format!(r#","nextLink":"{url}{path}?api-version=2024-05-01&$skiptoken={next}""#),
                };
                format!(r#"{{"value":[{}]{link}}}"#, items.join(","))
            });
            let pages: Vec<String> = pages.collect();
            bytes += pages.iter().map(String::len).sum::<usize>();
            arm.list(&id, kind, pages);
        }
    }
    bytes
}
