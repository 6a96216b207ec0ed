//! What operators' writes cost over HTTP, on the real program with a zone of a million records: `cargo bench --bench admin`.

#[path = "support/bare_sqlite.rs"]
mod bare_sqlite;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/suite/support/client.rs"]
mod client;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/suite/support/served.rs"]
mod served;

use std::fmt::Write;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use served::{NOTHING, Place, Served, config};
use tempfile::TempDir;
use tokio::task::JoinSet;

const RECORDS: u32 = 1_000_000;
const SINGLE_WRITES: u32 = 300;
const AT_ONCE: u32 = 100_000;
const WRITERS: u32 = 64;
/// How long each part goes on.
const FOR: Duration = Duration::from_secs(3);
/// A query without an answer by then is lost.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// Whatever is there.
const ANY: Option<&str> = Some("*");

/// The program while it serves.
struct Api {
    served: Served,
    place: Place,
    dns: SocketAddr,
    zones: String,
    /// Of the zone of a million.
    zone: String,
    changes: String,
    token: String,
    http: reqwest::Client,
}

impl Api {
    fn start(folder: TempDir) -> Api {
        let mut zone = String::from("@ 300 SOA ns hostmaster 1 2 3 4 5\n@ 300 NS ns\nns 300 A 10.0.0.1\n");
        for number in 0..RECORDS {
            writeln!(zone, "n{number} 10 A {}", address(number)).expect("a line");
        }
        std::fs::write(folder.path().join("corp.zone"), zone).expect("a zone file");
        let zone = "[[zone]]\nname = \"corp.internal\"\nfile = \"corp.zone\"\n";
        let config = config(&format!("{NOTHING}{zone}"));
        std::fs::write(folder.path().join("config.toml"), config).expect("a config");
        let place = Place { folder };
        let served = place.serve();
        let api = format!("{}/api/v1", served.client.api);
        Api {
            dns: served.dns,
            zones: format!("{api}/zones"),
            zone: format!("{api}/zones/corp.internal"),
            changes: format!("{api}/changes"),
            token: served.client.token.clone(),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
            served,
            place,
        }
    }

    /// Writes a record set over one that is there, or, with `None`, a new one.
    async fn put(&self, name: &str, number: u32, if_match: Option<&'static str>) {
        let body = json!({ "ttl": 10, "records": [address(number)] }).to_string();
        let request = self.http.put(format!("{}/record-sets/{name}/A", self.zone)).bearer_auth(&self.token);
        let mut request = request.header("content-type", "application/json").body(body);
        if let Some(tag) = if_match {
            request = request.header("if-match", tag);
        }
        well(request.send().await.expect("an answer")).await;
    }

    /// User and system time of the program.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.served.id())).expect("its numbers");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().expect("ticks");
        // proc(5): utime and stime, 100 ticks a second.
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }

    /// What it holds in memory, in MiB.
    fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.served.id())).expect("its numbers");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
    }
}

async fn well(response: reqwest::Response) {
    let status = response.status();
    assert!(status.is_success(), "{status}: {}", response.text().await.unwrap_or_default());
}

fn address(number: u32) -> String {
    let [_, two, three, four] = number.to_be_bytes();
    format!("10.{two}.{three}.{four}")
}

/// Asks for the address of a name of the zone; `None` when no answer comes.
fn ask(socket: &UdpSocket, name: &str, id: u16) -> Option<[u8; 4]> {
    let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query[..2].copy_from_slice(&id.to_be_bytes());
    for label in [name, "corp", "internal"] {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send(&query).expect("it is sent");
    let mut answer = [0; 512];
    loop {
        let length = socket.recv(&mut answer).ok()?;
        // An answer that came too late belongs to another question.
        if answer[..2] == id.to_be_bytes() {
            return answer[..length].last_chunk().copied();
        }
    }
}

fn socket_to(dns: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(dns).expect("a peer");
    socket.set_read_timeout(Some(LOST_AFTER)).expect("a timeout");
    socket
}

/// Asks one question after the other; answers how long each took, sorted, and how many were lost.
fn ask_for_a_while(dns: SocketAddr) -> (Vec<Duration>, u32) {
    let (socket, begun) = (socket_to(dns), Instant::now());
    let (mut took, mut lost, mut number) = (Vec::new(), 0, 0u32);
    while begun.elapsed() < FOR {
        number = number.wrapping_add(7919);
        let asked = Instant::now();
        match ask(&socket, &format!("n{}", number % RECORDS), number as u16) {
            Some(_) => took.push(asked.elapsed()),
            None => lost += 1,
        }
    }
    took.sort_unstable();
    (took, lost)
}

fn told((took, lost): &(Vec<Duration>, u32)) -> String {
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    format!("{} queries, {lost} lost, {:?} at the median, {:?} at 99 %", took.len(), at(0.5), at(0.99))
}

/// From sending a write to the answer of a query that was asked after it.
async fn write_to_visible(served: &Api) {
    let socket = socket_to(served.dns);
    let mut times = Vec::new();
    for number in 0..SINGLE_WRITES {
        let (name, new) = (format!("n{}", number * 3_331), number + 5_000_000);
        let begun = Instant::now();
        served.put(&name, new, ANY).await;
        let answer = ask(&socket, &name, number as u16).expect("an answer");
        times.push(begun.elapsed());
        assert_eq!(answer[1..], new.to_be_bytes()[1..], "{name} is not as written");
    }
    times.sort_unstable();
    println!(
        "write to visible  {:?} at the median, {:?} at most, in a zone of {RECORDS}",
        times[times.len() / 2],
        times[times.len() - 1]
    );
}

/// Queries beside a write each millisecond, and without.
async fn queries_beside_writes(served: &Arc<Api>) {
    let dns = served.dns;
    let idle = tokio::task::spawn_blocking(move || ask_for_a_while(dns)).await.expect("it asks");
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let writer = tokio::spawn({
        let (served, stop, written) = (served.clone(), stop.clone(), written.clone());
        async move {
            let mut next = tokio::time::interval(Duration::from_millis(1));
            while !stop.load(Ordering::Relaxed) {
                next.tick().await;
                let number = written.fetch_add(1, Ordering::Relaxed);
                served.put(&format!("n{}", number % RECORDS), number, ANY).await;
            }
        }
    });
    let beside = tokio::task::spawn_blocking(move || ask_for_a_while(dns)).await.expect("it asks");
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("it writes");
    println!("queries idle      {}", told(&idle));
    println!("queries beside    {}, with {} writes", told(&beside), written.load(Ordering::Relaxed));
}

/// Many clients that write one record at a time, beside what SQLite alone gives before and after.
async fn many_writers(served: &Arc<Api>) {
    let folder = served.place.folder.path();
    let before = bare_sqlite::commits_a_second(folder, FOR).await;
    let (begun, cpu) = (Instant::now(), served.cpu());
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let served = served.clone();
        writers.spawn(async move {
            let mut count = 0;
            while begun.elapsed() < FOR {
                served.put(&format!("w{writer}-{count}"), count, None).await;
                count += 1;
            }
            count
        });
    }
    let count: u32 = writers.join_all().await.into_iter().sum();
    let (rate, cpu) = (f64::from(count) / begun.elapsed().as_secs_f64(), served.cpu() - cpu);
    let after = bare_sqlite::commits_a_second(folder, FOR).await;
    let bare = f64::midpoint(before, after);
    println!(
        "{WRITERS} writers        {rate:.0} writes/s, {:?} of the server's CPU a write; a bare loop over SQLite {bare:.0} \
         rows/s: ratio {:.2}",
        cpu / count.max(1),
        rate / bare
    );
}

/// Many records in one request, into a new zone or into that of a million.
async fn many_at_once(served: &Api, zone: &str) {
    let change = |number: u32| {
        json!({ "action": "put", "zone": zone, "name": format!("m{number}"), "type": "A", "ttl": 300,
                "records": [address(number)] })
    };
    let body = json!({ "changes": (0..AT_ONCE).map(change).collect::<Vec<_>>() }).to_string();
    let (begun, cpu, size) = (Instant::now(), served.cpu(), body.len());
    let request = served.http.post(&served.changes).bearer_auth(&served.token);
    let request = request.header("content-type", "application/json").body(body);
    well(request.send().await.expect("an answer")).await;
    println!(
        "POST /changes     {AT_ONCE} records ({} MB) into {zone} in {:?}, {:?} of CPU",
        size / 1_000_000,
        begun.elapsed(),
        served.cpu() - cpu
    );
}

async fn listing(served: &Api) {
    let (begun, memory) = (Instant::now(), served.memory());
    let (mut count, mut after, mut most) = (0, String::new(), memory);
    while count < AT_ONCE as usize {
        let url = format!("{}/record-sets?name=m*&limit=1000{after}", served.zone);
        let response = served.http.get(url).bearer_auth(&served.token).send().await.expect("an answer");
        let page: Value = serde_json::from_slice(&response.bytes().await.expect("a page")).expect("JSON");
        count += page["items"].as_array().expect("items").len();
        most = most.max(served.memory());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    println!(
        "GET record sets   {count} in pages of 1000 in {:?}; the server held {memory} MiB before, {most} at most",
        begun.elapsed()
    );
}

#[tokio::main]
async fn main() {
    // On the disk, where the state folder would be: /tmp is memory on some machines.
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder");
    let served = Arc::new(Api::start(folder));
    // `cargo bench --bench admin -- many` is for a profiler.
    let parts: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if is_wanted("visible") {
        write_to_visible(&served).await;
    }
    if is_wanted("beside") {
        queries_beside_writes(&served).await;
    }
    if is_wanted("writers") {
        many_writers(&served).await;
    }
    if is_wanted("many") {
        let made = served.http.post(&served.zones).bearer_auth(&served.token);
        let made = made.header("content-type", "application/json").body(r#"{"name": "new.internal"}"#);
        well(made.send().await.expect("an answer")).await;
        many_at_once(&served, "new.internal").await;
        many_at_once(&served, "corp.internal").await;
        listing(&served).await;
    }
}
