use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::time::time_of;
use super::*;
use crate::dns::{RecordSet, RecordType, Ttl};
use crate::sync::inventory::ConnectionState;
use crate::sync::private_dns::{ImportedSet, PrivateZone};
use crate::sync::publication::{Publication, Withheld};
use crate::sync::{Desired, Fingerprint, HeldBack, HeldPart};
use crate::zone::{AzureZone, Claim, OnMissing, VirtualNetworkLink};

fn publication(number: u32) -> Publication {
    let [_, b, c, d] = number.to_be_bytes();
    let group = "/subscriptions/00000000-0000-4000-8000-0000000000a1/resourcegroups/rg/providers";
    let claim = Claim {
        endpoint: format!("{group}/microsoft.network/privateendpoints/pe-{number}").into(),
        virtual_network: Some(format!("{group}/microsoft.network/virtualnetworks/hub").into()),
        subscription: "00000000-0000-4000-8000-0000000000a1".into(),
        resource: Some(format!("{group}/microsoft.storage/storageaccounts/account{number}").into()),
        source: "azure".into(),
        since_secs: 1_700_000_000 + u64::from(number),
    };
    Publication {
        zone: "privatelink.blob.core.windows.net.".parse().unwrap(),
        name: format!("account{number}.privatelink.blob.core.windows.net.").parse().unwrap(),
        ipv4: vec![[10, b, c, d].into()],
        ipv6: if number.is_multiple_of(7) { vec!["fd00::7".parse().unwrap()] } else { Vec::new() },
        public_names: vec![format!("account{number}.blob.core.windows.net.").parse().unwrap()],
        claim: Arc::new(claim),
    }
}

pub(super) fn desired(count: u32) -> Desired {
    let withheld = Withheld {
        zone: "privatelink.vaultcore.azure.net.".parse().unwrap(),
        name: "kv.privatelink.vaultcore.azure.net.".parse().unwrap(),
        public_names: Vec::new(),
        endpoint: "/subscriptions/s/…/pe-\"kv\"\n".into(),
        endpoint_name: "PE-kv".into(),
        state: ConnectionState::Pending,
    };
    let address = |number: u32| ImportedSet {
        name: format!("h{number}.corp.internal.").parse().unwrap(),
        set: RecordSet::new(RecordType::A, Ttl::MAX, [number.to_be_bytes()]).unwrap(),
        creator: number.is_multiple_of(2).then(|| "pe-\"x\"".into()),
    };
    let text = ImportedSet {
        name: "*.corp.internal.".parse().unwrap(),
        set: RecordSet::new(RecordType::TXT, Ttl::MAX, [b"\x04a\n\"\xff\x00".to_vec(), b"\x00".to_vec()])
            .unwrap(),
        creator: None,
    };
    let link = |number: u32| VirtualNetworkLink {
        virtual_network: format!("/vnet-{number}").into(),
        on_missing: if number == 0 { OnMissing::AskPublic } else { OnMissing::NxDomain },
    };
    let azure = AzureZone {
        id: "/subscriptions/s/…/corp.internal".into(),
        subscription: "s".into(),
        links: (0..2).map(link).collect(),
        source: "azure".into(),
    };
    let zone = PrivateZone {
        apex: "corp.internal.".parse().unwrap(),
        azure: Arc::new(azure),
        record_sets: (0..count.min(5)).map(address).chain([text]).collect(),
        warnings: Vec::new(),
    };
    let mut publications: Vec<Publication> = (0..count).map(publication).collect();
    if let Some(bare) = publications.last_mut() {
        // A label with a dot, a blank and a byte outside ASCII, and all that may be missing.
        bare.name = r"a\.b\032\255.privatelink.blob.core.windows.net.".parse().unwrap();
        bare.public_names.clear();
        let claim = Claim { virtual_network: None, resource: None, ..Claim::clone(&bare.claim) };
        bare.claim = Arc::new(claim);
    }
    Desired { publications, withheld: vec![withheld], zones: vec![Arc::new(zone)], ..Desired::default() }
}

fn folder() -> (tempfile::TempDir, StateFolder) {
    let outer = tempfile::tempdir().unwrap();
    let folder = StateFolder::new(&outer.path().join("state"));
    (outer, folder)
}

fn save(folder: &StateFolder, desired: &Desired) {
    let read_at = time_of(1_700_000_000);
    folder.save(&[Saved { source: "azure", read_at, desired }]).unwrap();
}

fn file(folder: &StateFolder) -> PathBuf {
    folder.0.join(STATE_FILE)
}

#[test]
fn what_is_saved_is_loaded() {
    let (_outer, folder) = folder();
    assert!(folder.load().unwrap().is_empty());
    let desired = desired(9);
    let (read_at, nothing) = (time_of(1_700_000_000), Desired::default());
    let azure = Saved { source: "azure", read_at, desired: &desired };
    folder.save(&[azure, Saved { source: "a \"b\"/c", read_at: time_of(7), desired: &nothing }]).unwrap();
    let [first, second] = &folder.load().unwrap()[..] else { panic!() };
    assert_eq!(*first, LastGood { source: "azure".into(), read_at, desired });
    assert_eq!((&*second.source, second.read_at), ("a \"b\"/c", time_of(7)));
    folder.save(&[]).unwrap();
    assert!(folder.load().unwrap().is_empty());
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let (_outer, folder) = folder();
    save(&folder, &desired(4));
    let whole = fs::read(file(&folder)).unwrap();
    for length in 0..whole.len() {
        fs::write(file(&folder), &whole[..length]).unwrap();
        let error = folder.load().expect_err("a cut file is no state");
        assert!(matches!(error, StateError::Damaged { .. }), "{length}: {error}");
    }
}

#[test]
fn a_file_with_one_byte_changed_is_an_error() {
    let (_outer, folder) = folder();
    save(&folder, &desired(3));
    let whole = fs::read(file(&folder)).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x01;
        assert!(reading::read(&damaged[..]).is_err(), "byte {at}");
    }
    for more in [&b"x"[..], b"\n", b"{\"end\":{\"checksum\":\"\"}}\n", &whole] {
        assert!(reading::read(&[&whole[..], more].concat()[..]).is_err());
    }
}

#[test]
fn a_file_of_another_version_is_an_error_that_says_so() {
    let (_outer, folder) = folder();
    folder.create().unwrap();
    let body = "{\"sync_state\":{\"version\":2}}\n";
    let mut hasher = siphasher::sip128::SipHasher13::new();
    std::hash::Hasher::write(&mut hasher, body.as_bytes());
    let checksum = siphasher::sip128::Hasher128::finish128(&hasher).as_u128();
    let text = format!("{body}{{\"end\":{{\"checksum\":\"{checksum:032x}\"}}}}\n");
    fs::write(file(&folder), text).unwrap();
    let error = folder.load().unwrap_err().to_string();
    assert!(error.ends_with("it is of version 2, this program reads version 1"), "{error}");
}

#[test]
fn dying_between_write_and_rename_leaves_the_old_file() {
    let (_outer, folder) = folder();
    save(&folder, &desired(2));
    let old = folder.load().unwrap();
    let new = desired(5);
    let saved = [Saved { source: "azure", read_at: time_of(9), desired: &new }];
    folder.write_beside(STATE_FILE, |out| file::write(&saved, out)).unwrap();
    assert_eq!(folder.load().unwrap(), old);
    // Nor does what was left behind stand in the way, whatever it holds.
    fs::write(folder.0.join(format!("{STATE_FILE}.new")), "x".repeat(1 << 20)).unwrap();
    folder.save(&saved).unwrap();
    assert_eq!(folder.load().unwrap()[0].desired, new);
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let (_outer, folder) = folder();
    save(&folder, &desired(2));
    let old = fs::read(file(&folder)).unwrap();
    let full = |out: &mut dyn Write| {
        out.write_all(&old[..old.len() / 2])?;
        Err(io::ErrorKind::StorageFull.into())
    };
    assert!(matches!(folder.replace(STATE_FILE, full), Err(StateError::Write { .. })));
    assert_eq!(fs::read(file(&folder)).unwrap(), old);
}

#[test]
fn a_damaged_file_is_kept_under_another_name_and_never_over_an_older_one() {
    let (_outer, folder) = folder();
    folder.create().unwrap();
    let mut names = Vec::new();
    for content in ["one", "two"] {
        fs::write(file(&folder), content).unwrap();
        let name = folder.set_aside().unwrap();
        assert!(name.file_name().unwrap().to_str().unwrap().starts_with("sync-state.jsonl.corrupt-"));
        assert_eq!(fs::read_to_string(&name).unwrap(), content);
        assert!(!names.contains(&name));
        names.push(name);
    }
    assert!(!file(&folder).exists());
}

#[test]
fn folder_and_files_are_for_the_owner_alone() {
    let (_outer, folder) = folder();
    save(&folder, &desired(1));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder.0), mode(&file(&folder))), (0o700, 0o600));
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let outer = tempfile::tempdir().unwrap();
    fs::write(outer.path().join("file"), "").unwrap();
    let folder = StateFolder::new(&outer.path().join("file/state"));
    assert!(matches!(folder.save(&[]), Err(StateError::Write { .. })));
    assert!(matches!(folder.create(), Err(StateError::Write { .. })));
}

#[test]
fn a_confirmation_is_found_by_its_source_until_it_is_forgotten() {
    let (_outer, folder) = folder();
    let plan: Fingerprint = "00ff".parse().unwrap();
    assert_eq!(folder.confirmed("a/b").unwrap(), None);
    folder.confirm(&Confirmation { source: "a/b".to_owned(), plan }).unwrap();
    assert_eq!(folder.confirmed("a/b").unwrap(), Some(plan));
    assert_eq!(folder.confirmed("a").unwrap(), None);
    let [waiting] = &folder.confirmation_files()[..] else { panic!() };
    fs::write(waiting, "{\"source\": \"a/b\"").unwrap();
    assert!(folder.confirmed("a/b").is_err());
    folder.forget_confirmation("a/b").unwrap();
    folder.forget_confirmation("a/b").unwrap();
    assert_eq!(folder.confirmed("a/b").unwrap(), None);
    assert!(folder.confirmation_files().is_empty());
}

#[test]
fn a_confirmation_of_the_version_before_is_known_and_confirms_nothing() {
    let (_outer, folder) = folder();
    folder.create().unwrap();
    let path = folder.confirmation_file("azure");
    fs::write(path, "{\"source\":\"azure\",\"plan\":\"000000000000000000000000000000ff\"}\n").unwrap();
    let cause = folder.confirmed("azure").unwrap_err();
    assert!(matches!(cause, StateError::OtherConfirmation { .. }), "{cause}");
    assert!(cause.to_string().contains("confirms nothing"), "{cause}");
}

#[test]
fn what_is_held_back_is_kept_and_a_file_without_it_is_read() {
    let (_outer, folder) = folder();
    let part = HeldPart {
        subscription: "s".into(),
        would_withdraw: 13,
        of: 44,
        began_of: 40,
        plan: "00ff".parse().unwrap(),
    };
    let held_back = HeldBack::of(vec![part], 44);
    save(&folder, &Desired { held_back: held_back.clone(), ..desired(3) });
    assert_eq!(folder.load().unwrap()[0].desired.held_back, held_back);
    save(&folder, &desired(3));
    assert!(!fs::read_to_string(file(&folder)).unwrap().contains("held_back"));
    assert_eq!(folder.load().unwrap()[0].desired.held_back, None);
}
