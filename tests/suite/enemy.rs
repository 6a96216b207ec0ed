//! Whoever controls endpoints, or Azure's answers, and wants more than their own names.

use std::sync::Arc;
use std::time::Duration;

use privatelink_dns::privatelink::{Catalogue, Cloud};
use privatelink_dns::sync;
use privatelink_dns::sync::arm::Body;
use privatelink_dns::sync::azure::{Azure, CredentialSettings, SecretPlace, UserAssigned};
use privatelink_dns::sync::listing::Listings;
use serde_json::{Value, json};

use crate::azure::{AT_ONCE, Log, SECRET_MARK, World, certificate, settings};
use crate::support::fake_arm::{FIRST, FakeArm, Fault, SECOND, SENT_SECRET, TOKEN_MARK, endpoint, list_of};

/// Publishes what one endpoint of an enemy lists; answers the lines and how it went.
fn published_of(endpoint: Value) -> (Vec<String>, String) {
    let world = World::new("");
    world.arm.replace(FIRST, [vec![endpoint], Vec::new()], Vec::new());
    world.pass();
    (world.published().into_iter().collect(), world.why())
}

fn names_of(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.split(' ').next().unwrap()).collect()
}

#[test]
fn names_of_an_enemy_take_nothing_but_their_place_in_a_private_link_zone() {
    let long = format!("{}.blob.core.windows.net", vec!["x".repeat(60); 5].join("."));
    let fqdns = [
        "*.blob.core.windows.net",
        "*.privatelink.blob.core.windows.net",
        "*",
        ".",
        "",
        "com",
        "bank.example",
        "www.bank.example.",
        "privatelink.blob.core.windows.net",
        "a.privatelink.bank.example",
        "management.azure.com",
        "login.microsoftonline.com",
        "169.254.169.254",
        "bücher.blob.core.windows.net",
        "a b.blob.core.windows.net",
        "a\nb.blob.core.windows.net",
        "a\\000b.blob.core.windows.net",
        "\u{1b}[2J.blob.core.windows.net",
        "..blob.core.windows.net",
        &long,
        "good.blob.core.windows.net",
    ];
    let names: Vec<(&str, &str)> = fqdns.iter().map(|fqdn| (*fqdn, "10.0.0.66")).collect();
    let (lines, why) = published_of(endpoint(FIRST, "evil", "hub", &names));
    assert_eq!(why, "current");
    let names = names_of(&lines);
    assert!(names.contains(&"good.privatelink.blob.core.windows.net."), "{names:?}");
    for name in names {
        assert!(name.contains(".privatelink."), "{name}");
        assert!(!name.starts_with("*."), "{name}");
        assert!(!name.contains(char::is_control), "{name:?}");
        // The one that carries a zone of its own is answered to nobody who asks for the bank.
        assert!(!name.contains("bank") || name == "a.privatelink.bank.example.", "{name}");
    }
}

#[test]
fn addresses_that_no_interface_has_are_not_published() {
    let addresses = [
        "0.0.0.0",
        "127.0.0.1",
        "127.1",
        "169.254.169.254",
        "255.255.255.255",
        "224.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "10.0.0.1/8",
        "010.0.0.1",
        "x",
        "",
    ];
    for address in addresses {
        let (lines, why) =
            published_of(endpoint(FIRST, "evil", "hub", &[("evil.blob.core.windows.net", address)]));
        assert_eq!((lines.as_slice(), why.as_str()), (&[] as &[String], "current"), "{address}");
    }
}

/// An endpoint with so many names, some that are none, and some of no private-link zone.
fn with_names(count: usize) -> Value {
    let good = (0..count).map(|number| format!("a{number}.blob.core.windows.net"));
    let none = (0..count / 5).map(|number| format!("b{number}..net"));
    let elsewhere = (0..count / 5).map(|number| format!("c{number}.bank.example"));
    let fqdns: Vec<String> = good.chain(none).chain(elsewhere).collect();
    let names: Vec<(&str, &str)> = fqdns.iter().map(|fqdn| (fqdn.as_str(), "10.0.0.66")).collect();
    endpoint(FIRST, "evil", "hub", &names)
}

/// The time that this thread has run, which a busy machine does not stretch.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is there on Linux, and `time` is ours.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn ten_thousand_names_of_one_endpoint_hold_nobody_up() {
    let catalogue = Catalogue::builtin(Cloud::Public);
    let source: Arc<str> = "azure".into();
    let took = |count: usize| {
        let page = list_of(vec![with_names(count)]);
        let mut listings = Listings::default();
        listings.add("page", Body::read(page.as_bytes()).unwrap());
        let began = thread_time();
        let desired = sync::desired(&listings.into_inventory().unwrap(), &catalogue, &source, &[], |_| 0);
        assert_eq!(desired.publications.len(), count);
        thread_time() - began
    };
    // Four times the names take four times as long, and not sixteen times.
    let (few, many) = (took(2_500), took(10_000));
    assert!(many < few * 9, "{few:?}, {many:?}");
    let world = World::new("");
    let good = endpoint(FIRST, "good", "hub", &[("good.blob.core.windows.net", "10.0.0.5")]);
    world.arm.replace(FIRST, [vec![with_names(2_500)], vec![good]], Vec::new());
    world.pass();
    assert_eq!(world.why(), "current");
    let lines: Vec<String> = world.published().into_iter().collect();
    assert_eq!(lines.len(), 2_501);
    assert!(names_of(&lines).contains(&"good.privatelink.blob.core.windows.net."));
}

#[test]
fn what_an_enemy_writes_into_ids_and_names_reaches_no_log_as_it_is() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    let evil = "x\u{1b}[2J\r\nERROR forged line\u{7}";
    let mut endpoint =
        endpoint(FIRST, evil, evil, &[(&format!("{evil}.blob.core.windows.net"), "10.0.0.66")]);
    endpoint["tags"] = json!({evil: evil});
    endpoint["properties"]["provisioningState"] = evil.into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut told = String::new();
    tracing::subscriber::with_default(subscriber, || {
        let arm = FakeArm::start();
        let of_host = || CredentialSettings::ManagedIdentity { assigned: None };
        let azure = Arc::new(Azure::new(settings(&arm, of_host()), None).unwrap());
        arm.replace(FIRST, [vec![endpoint], Vec::new()], Vec::new());
        let pass = runtime.block_on(azure.pass()).unwrap();
        for warning in pass.listed[FIRST].warnings() {
            told += &format!("{warning}\n");
        }
        for (status, body) in [
            (403, json!({"error": {"code": evil, "message": evil}})),
            (200, json!({"error": {"code": evil, "message": evil}})),
            (200, json!({"value": [], "nextLink": evil})),
            (200, json!({"value": [], "nextLink": format!("https://{evil}/")})),
        ] {
            let body = body.to_string().into_bytes();
            arm.fault((FIRST, "privateEndpoints", 1), Fault::Answer { status, headers: Vec::new(), body }, 1);
            let pass = runtime.block_on(azure.pass()).unwrap();
            let error: &dyn std::error::Error = &pass.failed[FIRST];
            told += &format!("{error} {}\n", error.source().map(ToString::to_string).unwrap_or_default());
        }
        // Azure itself that names a subscription so.
        for id in [evil, "../../evil", "a/b", "a?b", &"x".repeat(10_000)] {
            let body = json!({"value": [{"subscriptionId": id}]}).to_string().into_bytes();
            arm.fault(
                ("", "subscriptions", 1),
                Fault::Answer { status: 200, headers: Vec::new(), body },
                usize::MAX,
            );
            let error = runtime.block_on(azure.pass()).expect_err(id);
            told += &format!("{error}\n");
            arm.heal();
        }
    });
    let text = String::from_utf8(log.0.lock().clone()).unwrap() + &told;
    for line in text.lines() {
        assert!(!line.contains(|it: char| it.is_control() && it != '\t'), "{line:?}");
        assert!(!line.starts_with("ERROR forged"), "{line:?}");
    }
}

#[test]
fn an_enemys_claim_does_not_count_for_another_subscription() {
    // An endpoint and an interface that a listing slips in beside its own.
    let world = World::new("");
    world.arm.add(SECOND, |text| text.replace("contosodata01", "otherdata01"));
    let stranger = endpoint(SECOND, "evil", "hub", &[("contosodata01.blob.core.windows.net", "10.66.6.6")]);
    let own = endpoint(FIRST, "own", "hub", &[("own.blob.core.windows.net", "10.0.0.5")]);
    world.arm.replace(FIRST, [vec![own, stranger], Vec::new()], Vec::new());
    world.pass();
    assert!(world.published().iter().all(|line| !line.contains("10.66.6.6")));
    assert!(world.why().contains("belongs elsewhere"), "{}", world.why());
}

#[test]
fn a_token_that_lasts_for_ever_or_was_never_good_ends_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for lifetime in
        ["18446744073709551615", "\"18446744073709551615\"", "0", "-1", "null", "\"soon\"", "1e300"]
    {
        let arm = FakeArm::start();
        let body = format!(r#"{{"access_token": "{TOKEN_MARK}.1", "expires_in": {lifetime}}}"#);
        arm.refuse_tokens([Fault::page(body)]);
        let azure = Azure::new(settings(&arm, CredentialSettings::ManagedIdentity { assigned: None }), None);
        let pass = runtime.block_on(Arc::new(azure.unwrap()).pass()).unwrap();
        assert_eq!(pass.listed.len(), 1, "{lifetime}: {:?}", pass.failed);
    }
}

/// One battery for all kinds of identity: each fault of the identity's service and of Azure, read in the finest log.
#[test]
fn no_kind_of_identity_tells_its_token_or_its_secret_whatever_goes_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let key = file("a.key", &format!("{SECRET_MARK}KEY"));
    let secret = file("secret", &format!("{SECRET_MARK}SECRET"));
    let script =
        format!("#!/bin/sh\necho '{{\"accessToken\": \"{TOKEN_MARK}.CLI\", \"expires_on\": 4102444800}}'\n");
    let failing = format!("#!/bin/sh\necho 'no {SECRET_MARK}' | tr 'H' 'h' >&2\nexit 1\n");
    let commands = [file("az", &script), file("failing", &failing)];
    for command in &commands {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(command, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (tenant_id, client_id) = ("tenant".to_owned(), "client".to_owned());
    let kinds = || {
        let (tenant_id, client_id) = (tenant_id.clone(), client_id.clone());
        [
            CredentialSettings::ManagedIdentity { assigned: None },
            CredentialSettings::ManagedIdentity {
                assigned: Some(UserAssigned::ClientId("chosen".to_owned())),
            },
            CredentialSettings::AzureArc { key_folder: folder.path().to_owned() },
            CredentialSettings::WorkloadIdentity {
                tenant_id: tenant_id.clone(),
                client_id: client_id.clone(),
                token_file: secret.clone(),
            },
            CredentialSettings::ClientSecret {
                tenant_id,
                client_id,
                secret: SecretPlace::File(secret.clone()),
            },
            CredentialSettings::ClientCertificate {
                tenant_id: "tenant".to_owned(),
                client_id: "client".to_owned(),
                file: certificate("first"),
            },
            CredentialSettings::AzureCli { command: commands[0].clone() },
            CredentialSettings::AzureCli { command: commands[1].clone() },
        ]
    };
    // Services that repeat what they were sent, and what they gave.
    let echo = |status: u16| {
        let text = format!("not {SENT_SECRET}, but {SENT_SECRET}");
        let body = json!({"error": text, "error_description": text, "access_token": [text]});
        Fault::Answer { status, headers: Vec::new(), body: body.to_string().into_bytes() }
    };
    let broken = format!(r#"{{"access_token": "{TOKEN_MARK}.2", "expires_in": "#);
    let of_tokens = [
        echo(400),
        echo(401),
        echo(200),
        Fault::page(broken),
        Fault::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_vec()),
        Fault::of_fixture("tokens/entra-401-invalid-client.json"),
        Fault::of_fixture("tokens/imds-400-identity-not-found.json"),
    ];
    let refusal = |status: u16| {
        let text = format!("not {SENT_SECRET} but {SENT_SECRET}");
        let body = json!({"error": {"code": text, "message": text}});
        Fault::Answer { status, headers: Vec::new(), body: body.to_string().into_bytes() }
    };
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut told = String::new();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("the log is read");
        for (at, credential) in kinds().into_iter().enumerate() {
            let faults = of_tokens.iter().map(|fault| (Some(fault), None));
            let faults =
                faults.chain([(None, Some(200)), (None, Some(401)), (None, Some(403)), (None, None)]);
            for (of_token, of_page) in faults {
                let arm = FakeArm::start();
                if matches!(credential, CredentialSettings::AzureArc { .. }) {
                    arm.challenge(key.clone(), &format!("{SECRET_MARK}KEY"));
                }
                arm.spoil_tokens(of_token.cloned());
                if let Some(status) = of_page {
                    arm.fault((FIRST, "privateEndpoints", 1), refusal(status), usize::MAX);
                }
                let mut settings = settings(&arm, credential.clone());
                settings.retry = AT_ONCE;
                let azure = Arc::new(Azure::new(settings, None).unwrap());
                match runtime.block_on(azure.pass()) {
                    Ok(pass) => {
                        told += &format!("{at}: {pass:?}\n");
                        told.extend(pass.failed.values().map(|error| format!("{error}\n")));
                    }
                    Err(error) => told += &format!("{at}: {error:?} {error}\n"),
                }
            }
        }
    });
    let log = String::from_utf8(log.0.lock().clone()).unwrap();
    assert!(log.contains("the log is read") && told.lines().count() > 50, "{told}");
    let private_key = std::fs::read_to_string(certificate("first")).unwrap();
    let private_key =
        private_key.split("PRIVATE KEY-----\n").nth(1).unwrap().lines().next().unwrap().to_owned();
    for line in log.lines().chain(told.lines()) {
        assert!(
            !line.contains(TOKEN_MARK) && !line.contains(SECRET_MARK) && !line.contains(&*private_key),
            "{line}"
        );
    }
}
