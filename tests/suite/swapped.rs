//! Folders behind a link that is exchanged, as git-sync does it: what they say now is served without a signal.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::served::{NOTHING, Place, Served, command, config, wait_until};
use crate::support::storage::{SOURCE, published, write_inventory, write_inventory_in};
use crate::support::test_daemon::write;

/// Nothing but a watch tells within a test: files are looked at once an hour.
fn hourly() -> String {
    SOURCE.replace("interval_secs = 1", "interval_secs = 3600")
}

fn zone_file(number: usize) -> String {
    format!("@ 60 SOA ns host 1 60 60 60 60\nwww 60 A 10.9.9.{number}\n$INCLUDE more/hosts.inc\n")
}

/// A worktree with a config, a zone that includes another file, and an inventory with so many accounts.
fn worktree(place: &Place, name: &str, number: usize) -> PathBuf {
    let folder = place.folder.path().join("root/worktrees").join(name);
    let zone = "[[zone]]\nname = \"corp.internal\"\nfile = \"zones/corp.zone\"\n";
    let text = config(&format!("{NOTHING}{zone}{}", hourly()));
    let state = format!("\"{}\"", place.state().display());
    write(&folder, "config.toml", &text.replace("\"state\"", &state));
    write(&folder, "zones/corp.zone", &zone_file(number));
    write(&folder, "zones/more/hosts.inc", &format!("host 60 A 10.9.8.{number}\n"));
    write_inventory_in(&folder, number);
    folder
}

/// Has a link lead elsewhere, all at once.
fn point(root: &Path, link: &str, target: &str) {
    let new = root.join(format!("{link}.new"));
    symlink(target, &new).unwrap();
    fs::rename(new, root.join(link)).unwrap();
}

fn serves(served: &Served, name: &str, address: &str) -> bool {
    served.dns(name, "A") == [format!("{name} 60 A {address}")]
}

#[test]
fn config_zones_and_inventory_behind_one_link_are_read_again_with_each_exchange() {
    let place = Place::new(NOTHING);
    worktree(&place, "one", 1);
    let two = worktree(&place, "two", 2);
    worktree(&place, "three", 3);
    let root = place.folder.path().join("root");
    // As git-sync has it: what the server is given is a link beside the worktrees, here by way of another.
    symlink("worktrees/one", root.join("current")).unwrap();
    symlink("root/current", place.folder.path().join("live")).unwrap();
    let config = place.folder.path().join("live/config.toml");
    let served = place.serve_by(command(&["serve", "-c", config.to_str().unwrap()]));
    wait_until("the first is served", || serves(&served, "www.corp.internal.", "10.9.9.1"));
    for (target, number) in [("two", 2), ("three", 3), ("two", 2)] {
        point(&root, "current", &format!("worktrees/{target}"));
        wait_until("the other zone is served", || {
            serves(&served, "www.corp.internal.", &format!("10.9.9.{number}"))
                && serves(&served, "host.corp.internal.", &format!("10.9.8.{number}"))
        });
        wait_until("the other inventory is served", || {
            published(&served, number) && !published(&served, number + 1)
        });
    }
    // What the link leads to by now is watched as what it led to was.
    write(&two, "zones/corp.zone", &zone_file(9));
    wait_until("a zone file that changes", || serves(&served, "www.corp.internal.", "10.9.9.9"));
    write(&two, "zones/more/hosts.inc", "host 60 A 10.9.8.9\n");
    wait_until("an included file that changes", || serves(&served, "host.corp.internal.", "10.9.8.9"));
    write_inventory_in(&two, 5);
    wait_until("an inventory that changes", || published(&served, 5));
    let text = fs::read_to_string(two.join("config.toml")).unwrap();
    write(&two, "config.toml", &text.replace("file = \"zones/corp.zone\"", "file = \"zones/other.zone\""));
    write(&two, "zones/other.zone", "@ 60 SOA ns host 1 60 60 60 60\nwww 60 A 10.9.9.99\n");
    wait_until("a config that changes", || serves(&served, "www.corp.internal.", "10.9.9.99"));
}

#[test]
fn an_inventory_behind_a_link_or_below_one_is_read_again_and_so_is_one_that_comes_late() {
    let place = Place::new(&format!("{NOTHING}{}", hourly()));
    let folder = place.folder.path();
    let served = place.serve();
    // There was none at all.
    write_inventory_in(&folder.join("one"), 1);
    write_inventory_in(&folder.join("two"), 2);
    symlink("one/inventory", folder.join("inventory")).unwrap();
    wait_until("the first is served", || published(&served, 1) && !published(&served, 2));
    point(folder, "inventory", "two/inventory");
    wait_until("the second is served", || published(&served, 2));
    // A folder with a link in it, by which the files are found.
    fs::create_dir(folder.join("mount")).unwrap();
    write_inventory_in(&folder.join("three"), 3);
    symlink("../three/inventory", folder.join("mount/data")).unwrap();
    point(folder, "inventory", "mount");
    wait_until("the third is served", || published(&served, 3));
    write_inventory_in(&folder.join("four"), 4);
    point(&folder.join("mount"), "data", "../four/inventory");
    wait_until("the fourth is served", || published(&served, 4));
    write_inventory_in(&folder.join("four"), 5);
    wait_until("a change behind the link within", || published(&served, 5));
    // Without a link: the folder itself is another.
    fs::remove_file(folder.join("inventory")).unwrap();
    write_inventory(&place, 6);
    wait_until("a folder in the link's place", || published(&served, 6));
}
