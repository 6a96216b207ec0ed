//! One life for every source: the same holds for folders, for Azure's endpoints and for its private DNS zones.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use privatelink_dns::config::Config;
use privatelink_dns::daemon::Parts;
use privatelink_dns::sources::{Source, SourceState, StateAccess};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::azure::AT_ONCE;
use crate::private_dns::{Azure, BLOB, Zone, holds};
use crate::support::fake_arm::{FIRST, Fault, SECOND, list_of, storage_accounts};
use crate::support::test_daemon::write;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Folder,
    Endpoints,
    PrivateZones,
}

/// A server without sockets, whose only source is of one kind.
struct World {
    kind: Kind,
    folder: TempDir,
    azure: Azure,
    parts: Parts,
    runtime: Runtime,
}

impl World {
    /// With these accounts listed and published.
    fn new(kind: Kind, listed: Range<usize>) -> World {
        let (folder, azure) = (tempfile::tempdir().unwrap(), Azure::with(&[]));
        let runtime = Runtime::new().unwrap();
        let config = config(kind, &azure, folder.path(), "");
        let parts = runtime.block_on(async { Parts::restore(&config, StateAccess::Keep).unwrap() });
        let mut world = World { kind, folder, azure, parts, runtime };
        world.list(listed);
        world.pass();
        world
    }

    fn list(&self, numbers: Range<usize>) {
        self.azure.arm.spoil_tokens(None);
        match self.kind {
            Kind::Folder => {
                let text = list_of(storage_accounts(SECOND, numbers));
                write(self.folder.path(), "inventory/pe.json", &text);
            }
            Kind::Endpoints => {
                let pages = [list_of(storage_accounts(SECOND, numbers)), list_of(Vec::new())];
                self.azure.arm.list(SECOND, "privateEndpoints", pages);
            }
            Kind::PrivateZones => {
                let zone = Zone::new("rg-dns", BLOB).linked("hub", "Default");
                let with = |zone: Zone, number| {
                    zone.with_address(&format!("account{number}"), &format!("10.0.0.{number}"))
                };
                self.azure.list(&[numbers.fold(zone, with)]);
            }
        }
    }

    /// Has nothing listed any more, until something is listed again.
    fn break_off(&self) {
        write(self.folder.path(), "inventory/pe.json", "{");
        self.azure.arm.spoil_tokens(Some(Fault::of_fixture("tokens/imds-400-identity-not-found.json")));
    }

    fn source(&self) -> Arc<Source> {
        Arc::clone(&self.parts.sources.list()[0])
    }

    fn pass(&mut self) {
        self.runtime.block_on(self.source().pass_once(&self.parts.store));
        self.parts.sources.keep();
    }

    fn restart(&mut self) {
        let config = config(self.kind, &self.azure, self.folder.path(), "");
        self.parts = self.runtime.block_on(async { Parts::restore(&config, StateAccess::Keep).unwrap() });
    }

    fn reload(&mut self, config: &Config) {
        self.runtime.block_on(async { self.parts.reload(config).unwrap() });
    }

    /// The numbers of the accounts that are published.
    fn served(&self) -> Vec<usize> {
        let snapshot = self.parts.store.snapshot();
        (1..100).filter(|number| holds(&snapshot, &format!("account{number}.{BLOB}."))).collect()
    }

    /// How many accounts are in what a restart would begin with.
    fn kept(&self) -> usize {
        let kept = self.parts.sources.state_folder().load().unwrap();
        let accounts = kept.iter().map(|last| match self.kind {
            Kind::PrivateZones => last.desired.zones.iter().map(|zone| zone.record_sets.len()).sum(),
            Kind::Folder | Kind::Endpoints => last.desired.publications.len(),
        });
        accounts.sum()
    }

    fn state(&self) -> String {
        match &self.source().known().state {
            SourceState::Current { .. } => "current".to_owned(),
            SourceState::Stale { .. } => "stale".to_owned(),
            SourceState::HeldBack { would_withdraw, of, .. } => {
                format!("held back: {would_withdraw} of {of}")
            }
        }
    }
}

fn config(kind: Kind, azure: &Azure, folder: &Path, more: &str) -> Config {
    let source = match kind {
        Kind::Folder => "[[sync.source]]\nkind = 'directory'\npath = 'inventory'\n".to_owned(),
        Kind::Endpoints => azure.source("arm"),
        Kind::PrivateZones => azure.source("private-dns"),
    };
    config_of(&format!("{source}name = 'the-one'\n"), folder, more)
}

fn config_of(source: &str, folder: &Path, more: &str) -> Config {
    let text = format!("state_dir = 'state'\n[forward]\nupstreams = []\n[sync]\n{more}\n{source}");
    let mut config = Config::parse(&text, &folder.join("config.toml")).unwrap();
    config.sync.azure.iter_mut().for_each(|source| source.retry = AT_ONCE);
    config
}

fn with_each_kind(test: impl Fn(Kind)) {
    for kind in [Kind::Folder, Kind::Endpoints, Kind::PrivateZones] {
        println!("{kind:?}");
        test(kind);
    }
}

fn all(numbers: Range<usize>) -> Vec<usize> {
    numbers.collect()
}

#[test]
fn what_was_published_is_restored_and_stays_as_long_as_nothing_can_be_listed() {
    with_each_kind(|kind| {
        let mut world = World::new(kind, 1..11);
        assert_eq!((world.served(), world.state()), (all(1..11), "current".to_owned()));
        let read_at = world.source().known().read_at;
        assert!(read_at.is_some() && world.source().kept() == read_at);
        world.restart();
        // It tells how old that is, and that nothing was listed since.
        let known = world.source().known();
        assert_eq!((world.served(), known.asked, known.read_at.is_some()), (all(1..11), false, true));
        assert_eq!(world.source().kept(), known.read_at);
        world.break_off();
        world.pass();
        let first = world.source().known();
        assert_eq!((world.served(), world.state()), (all(1..11), "stale".to_owned()));
        world.pass();
        // Stale since the first of a row, and as old as it is.
        let second = world.source().known();
        assert_eq!((&first.state, first.read_at), (&second.state, known.read_at));
        world.list(1..12);
        world.pass();
        assert_eq!((world.served(), world.state(), world.kept()), (all(1..12), "current".to_owned(), 11));
        let times = world.source().times();
        assert!(times.began <= times.ended && times.ended.is_some());
    });
}

#[test]
fn too_many_withdrawals_wait_until_that_plan_is_confirmed_and_it_is_confirmed_once() {
    with_each_kind(|kind| {
        let mut world = World::new(kind, 1..41);
        world.list(14..42);
        world.pass();
        // What came is there, and what waits is as it was, also over a restart.
        for _ in 0..2 {
            assert_eq!((world.served(), world.kept()), (all(1..42), 41));
            world.restart();
            world.pass();
            assert_eq!(world.state(), "held back: 13 of 41");
        }
        let plan = |world: &World| world.source().known().held_back().unwrap().plan;
        // A yes to that plan is none to another, and is not left lying.
        let old = plan(&world);
        world.source().confirm(old).unwrap();
        world.list(21..42);
        world.pass();
        assert_eq!((world.served(), world.state()), (all(1..42), "held back: 20 of 41".to_owned()));
        assert!(world.parts.sources.state_folder().confirmation_files().is_empty());
        world.source().confirm(plan(&world)).unwrap();
        world.pass();
        assert_eq!((world.served(), world.state()), (all(21..42), "current".to_owned()));
        assert!(world.parts.sources.state_folder().confirmation_files().is_empty());
        // The same happens again: the old yes is used up.
        world.list(1..41);
        world.pass();
        world.list(30..41);
        world.pass();
        assert_eq!(world.served(), all(1..41));
    });
}

#[test]
fn what_settings_leave_out_goes_at_once_and_for_good_and_what_is_not_configured_too() {
    with_each_kind(|kind| {
        let mut world = World::new(kind, 1..41);
        let allow = format!("allow_subscriptions = ['{FIRST}']");
        world.break_off();
        let of = |more: &str| config(kind, &world.azure, world.folder.path(), more);
        let (narrow, none) = (of(&allow), config_of("", world.folder.path(), ""));
        world.reload(&narrow);
        world.parts.sources.keep();
        assert_eq!((world.served(), world.kept()), (all(1..1), 0));
        let mut world = World::new(kind, 1..41);
        world.reload(&none);
        assert_eq!((world.served(), world.kept()), (all(1..1), 0));
    });
}

#[test]
fn a_reload_keeps_what_is_known_of_a_source_by_its_name_whatever_its_kind_and_the_old_one_publishes_no_more()
{
    with_each_kind(|kind| {
        let mut world = World::new(kind, 1..41);
        let before = world.source();
        world.break_off();
        let same = config(kind, &world.azure, world.folder.path(), "interval_secs = 77");
        let other = if kind == Kind::Folder { Kind::Endpoints } else { Kind::Folder };
        let other = config(other, &world.azure, world.folder.path(), "");
        for new in [same, other] {
            world.reload(&new);
            assert_eq!(world.served(), all(1..41));
            assert_eq!(world.source().known().read_at, before.known().read_at);
        }
        world.list(1..42);
        world.runtime.block_on(before.pass_once(&world.parts.store));
        assert_eq!(world.served(), all(1..41));
    });
}
