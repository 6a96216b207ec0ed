//! What storing costs, against a bare loop over the same SQLite and the disk alone: `cargo bench --bench persist`.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

#[path = "support/bare_sqlite.rs"]
mod bare_sqlite;

use privatelink_dns::dns::{Name, RecordSet, RecordType, Ttl};
use privatelink_dns::persist::{Audit, Commit, Entry, Persist, Settings, Source, StoredChange};
use tokio::task::JoinSet;

const WRITERS: u32 = 64;
const FOR: Duration = Duration::from_secs(3);
const LARGE: u32 = 100_000;

fn put(number: u32) -> StoredChange {
    let zone: Name = "corp.internal.".parse().expect("a name");
    let name = Name::parse(&format!("host{number}"), zone.borrow()).expect("a name");
    let ttl = Ttl::from_secs(300).expect("a lifetime");
    let set = RecordSet::new(RecordType::A, ttl, [(0x0a00_0000 + number).to_be_bytes()]).expect("a set");
    StoredChange::Put(Entry::RecordSet { zone, name, set })
}

fn commit(changes: Vec<StoredChange>) -> Commit {
    let actor = "bench".into();
    let audit = Audit { source: Source::Rest, actor, remote: None, request_id: None, comment: None };
    let serials = vec![("corp.internal.".parse().expect("a name"), 1)];
    Commit { changes, serials, ..Commit::by(audit) }
}

/// Appends of one page, each synced: what the disk gives.
fn syncs(folder: &Path) -> f64 {
    let mut file = File::create(folder.join("raw")).expect("a file");
    // As in a WAL file that is written again, the size does not change.
    file.write_all(&vec![0; 16 << 20]).and_then(|()| file.sync_all()).expect("16 MB");
    file.seek(SeekFrom::Start(0)).expect("the start");
    let (begun, mut count) = (Instant::now(), 0u32);
    while begun.elapsed() < FOR && count < 4000 {
        file.write_all(&[7; 4096]).and_then(|()| file.sync_data()).expect("a page");
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

async fn group_commit(persist: &Persist) -> (f64, Duration) {
    let mut writers = JoinSet::new();
    let begun = Instant::now();
    for writer in 0..WRITERS {
        let persist = persist.clone();
        writers.spawn(async move {
            let mut took = Vec::new();
            while begun.elapsed() < FOR {
                let number = writer * 100_000 + took.len() as u32;
                let asked = Instant::now();
                persist.commit(commit(vec![put(number)])).await.expect("a commit");
                took.push(asked.elapsed());
            }
            took
        });
    }
    let mut took: Vec<Duration> = writers.join_all().await.into_iter().flatten().collect();
    took.sort();
    (took.len() as f64 / begun.elapsed().as_secs_f64(), took[took.len() / 2])
}

async fn one_at_a_time(persist: &Persist) -> Duration {
    let mut took = Vec::new();
    for number in 0..300 {
        let asked = Instant::now();
        persist.commit(commit(vec![put(90_000_000 + number)])).await.expect("a commit");
        took.push(asked.elapsed());
    }
    took.sort();
    took[took.len() / 2]
}

/// What this process has used of the processors: says more than the clock where others use them too.
fn cpu() -> Duration {
    let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills what it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut used) };
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

fn main() {
    // On the disk, where the state folder would be: /tmp is memory on some machines.
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let settings = Settings { state_dir: folder.path().into(), ..Settings::default() };
        let persist = Persist::open(&settings).await.expect("a store");
        // `cargo bench --bench persist -- large` is for a profiler.
        if !std::env::args().any(|word| word == "large") {
            let syncs = syncs(folder.path());
            let bare = bare_sqlite::commits_a_second(folder.path(), FOR).await;
            let alone = one_at_a_time(&persist).await;
            let (grouped, median) = group_commit(&persist).await;
            println!("the disk alone               {syncs:>9.0} syncs/s");
            println!("bare loop, a row a sync      {bare:>9.0} commits/s");
            println!("store, one writer            {:>9.0} commits/s", 1.0 / alone.as_secs_f64());
            println!(
                "store, {WRITERS} writers            {grouped:>9.0} commits/s, the median waits {median:?}"
            );
            println!("ratio to the bare loop {:.1}, to the disk {:.1}", grouped / bare, grouped / syncs);
        }

        let changes: Vec<_> = (0..LARGE).map(|number| put(10_000_000 + number)).collect();
        let (begun, cpu_before) = (Instant::now(), cpu());
        persist.commit(commit(changes)).await.expect("a commit");
        println!("{LARGE} records in one commit: {:?}, {:?} of CPU", begun.elapsed(), cpu() - cpu_before);
        let begun = Instant::now();
        let stored = persist.load().await.expect("all");
        println!("load of {} entries: {:?}", stored.entries.len(), begun.elapsed());
    });
}
