//! Azure Resource Manager as a process of its own, so that what the sync costs is measured without it.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::resources::{self, Mix};

/// The argument that makes the benchmark the fake Azure.
const ROLE: &str = "--fake-arm";

/// As many resources are on a page of Azure's.
const PAGE_ITEMS: u32 = 1000;

/// The other process; it ends with this.
pub struct FakeArm {
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

impl FakeArm {
    /// Starts this program anew in its other role.
    pub fn start(mix: Mix) -> FakeArm {
        let own = std::env::current_exe().expect("the path of this program");
        let mut child = Command::new(own)
            .args([ROLE, mix.word()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a second process");
        let orders = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut arm = FakeArm { child, orders, answers, url: String::new(), bytes: 0 };
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

impl Drop for FakeArm {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("the other process ends");
    }
}

/// What is answered to a path and query.
type Pages = HashMap<String, Arc<[u8]>>;

#[derive(Default)]
struct World {
    pages: Pages,
    changes: u32,
    /// Requests by subscription; those of none under an empty text.
    asked: BTreeMap<String, usize>,
}

/// Plays the other role if this process was started for it, until its orders end.
pub fn play_if_asked() -> bool {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(at) = arguments.iter().position(|argument| argument == ROLE) else { return false };
    let mix = arguments.get(at + 1).and_then(|word| Mix::of_word(word)).expect("a mix");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback socket");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let pages = pages(&url, mix, None);
    let bytes: usize = pages.values().map(|page| page.len()).sum();
    let world = Arc::new(Mutex::new(World { pages, ..World::default() }));
    println!("{url} {bytes}");
    let served = Arc::clone(&world);
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let world = Arc::clone(&served);
            // Whoever goes away early is no fault of the benchmark.
            thread::spawn(move || serve(stream, &world).ok());
        }
    });
    for order in std::io::stdin().lines().map_while(Result::ok) {
        let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
        match order.as_str() {
            "change" => {
                world.pages = self::pages(&url, mix, Some(world.changes));
                world.changes += 1;
                println!("done");
            }
            _ => {
                let all: usize = world.asked.values().sum();
                let of_subscriptions = world.asked.iter().filter(|(id, _)| !id.is_empty());
                let most = of_subscriptions.map(|(_, asked)| *asked).max().unwrap_or_default();
                println!("{all} {most}");
                world.asked.clear();
            }
        }
    }
    true
}

/// All pages of all listings; the endpoints up to one have another address.
fn pages(url: &str, mix: Mix, changed: Option<u32>) -> Pages {
    let mut pages = Pages::new();
    let ids: Vec<String> = (0..resources::SUBSCRIPTIONS).map(resources::subscription).collect();
    let listed = ids.iter().map(|id| {
        format!(
            r#"{{"id":"/subscriptions/{id}","subscriptionId":"{id}","displayName":"{id}","state":"Enabled"}}"#
        )
    });
    let listed = format!(r#"{{"value":[{}]}}"#, listed.collect::<Vec<_>>().join(","));
    pages.insert("/subscriptions?api-version=2022-12-01".to_owned(), listed.into_bytes().into());
    let token = r#"{"access_token":"FAKE.TOKEN","expires_in":"86399"}"#;
    pages.insert("token".to_owned(), token.as_bytes().into());
    for (number, id) in (0..).zip(&ids) {
        for (kind, items) in resources::of_subscription(number, mix, changed) {
            let path =
                format!("/subscriptions/{id}/providers/Microsoft.Network/{kind}?api-version=2024-05-01");
            let at = |page: usize| match page {
                0 => path.clone(),
                page => format!("{path}&$skiptoken={page}"),
            };
            let all = items.chunks(PAGE_ITEMS as usize);
            let last = all.len() - 1;
            for (page, items) in all.enumerate() {
                let link = match page == last {
                    true => String::new(),
                    false => format!(r#","nextLink":"{url}{}""#, at(page + 1)),
                };
                let body = format!(r#"{{"value":[{}]{link}}}"#, items.join(","));
                pages.insert(at(page), body.into_bytes().into());
            }
        }
    }
    pages
}

fn serve(stream: TcpStream, world: &Mutex<World>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            match line.trim_end().to_ascii_lowercase().strip_prefix("content-length: ") {
                Some(told) => length = told.parse().unwrap_or(0),
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        let page = {
            let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
            let subscription = target.split('/').nth(2).filter(|_| target.starts_with("/subscriptions/"));
            *world.asked.entry(subscription.unwrap_or_default().to_owned()).or_default() += 1;
            let key = if target.contains("/oauth2/token") { "token" } else { &target };
            world.pages.get(key).cloned()
        };
        let (status, body) = match page {
            Some(page) => ("200 OK", page),
            None => ("404 Not Found", target.into_bytes().into()),
        };
        let stream = reader.get_mut();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)?;
    }
}
