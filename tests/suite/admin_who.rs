//! Who may use the admin API: tokens, roles, scopes, Entra ID, and how failed attempts are slowed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use data_encoding::BASE64URL_NOPAD;
use privatelink_dns::admin::auth::EntraSettings;
use privatelink_dns::admin::{Limits, Settings};
use privatelink_dns::ledger::{How, Role, Scope};
use serde_json::{Value, json};

use super::support::admin_api::{FakeKeys, TestApi, problem, settings};

const WHOAMI: &str = "/api/v1/whoami";
const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const AUDIENCE: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

#[tokio::test]
async fn a_token_is_known_by_its_name_role_and_scope() {
    let api = TestApi::start(settings());
    let scope = Scope::parse(&["corp.internal", "web-*.example"]).unwrap();
    let token = api.book.put(Role::Operator, scope, |_| {});
    let who: Value = api.get(WHOAMI).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    let id = token.split('_').nth(1).unwrap();
    let expected = json!({
        "name": "test-operator", "role": "operator", "scope": ["corp.internal", "web-*.example"],
        "how": {"kind": "token", "id": id},
    });
    assert_eq!(who, expected);
    assert_eq!(*api.book.used.lock(), [id]);
}

#[tokio::test]
async fn unknown_and_wrong_tokens_look_the_same() {
    let api = TestApi::start(settings());
    let token = api.book.token(Role::Reader);
    let mut wrong = token.clone();
    let last = wrong.pop().unwrap();
    wrong.push(if last == '0' { '1' } else { '0' });
    let unknown = format!("pldns_0000000000000000_{}", "0".repeat(64));
    let mut told = Vec::new();
    for token in [wrong.as_str(), &unknown, "nonsense", "a.b.c"] {
        let (status, slug, body) = problem(api.get(WHOAMI).bearer_auth(token)).await;
        assert_eq!((status, slug.as_str()), (401, "unauthenticated"));
        told.push(body["detail"].as_str().unwrap().to_owned());
    }
    assert!(told.iter().all(|it| *it == told[0]), "{told:?}");
    let response = api.get(WHOAMI).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    assert_eq!(problem(api.get(WHOAMI).basic_auth("a", Some("b"))).await.0, 401);
    assert!(api.book.used.lock().is_empty());
}

#[tokio::test]
async fn tokens_that_are_over_say_so() {
    let api = TestApi::start(settings());
    let past = SystemTime::now() - Duration::from_secs(1);
    let expired = api.book.put(Role::Admin, Scope::All, |token| token.expires = Some(past));
    let revoked = api.book.put(Role::Admin, Scope::All, |token| token.revoked = Some(past));
    let later = SystemTime::now() + Duration::from_secs(60);
    let good = api.book.put(Role::Admin, Scope::All, |token| token.expires = Some(later));
    for (token, word) in [(expired, "expired"), (revoked, "revoked")] {
        let (status, _, body) = problem(api.get(WHOAMI).bearer_auth(token)).await;
        assert!(status == 401 && body["detail"].as_str().unwrap().contains(word), "{body}");
    }
    assert_eq!(api.get(WHOAMI).bearer_auth(good).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_a_role_or_scope_lacks_is_refused_and_kept() {
    let api = TestApi::start(settings());
    let (reader, operator) = (api.book.token(Role::Reader), api.book.token(Role::Operator));
    let scope = Scope::parse(&["corp.internal"]).unwrap();
    let scoped = api.book.put(Role::Admin, scope, |_| {});
    let put = |zone: &str, token: &str| {
        let url = api.url(&format!("/api/v1/test/names/{zone}/www.{zone}"));
        api.client.put(url).bearer_auth(token).header("x-request-id", "req-1")
    };
    let (status, slug, body) = problem(put("corp.internal", &reader)).await;
    assert_eq!((status, slug.as_str()), (403, "forbidden"));
    assert!(body["detail"].as_str().unwrap().contains("operator"), "{body}");
    assert_eq!(put("corp.internal", &scoped).send().await.unwrap().status(), 200);
    let (status, slug, _) = problem(put("example.com", &scoped)).await;
    assert_eq!((status, slug.as_str()), (403, "out-of-scope"));
    let admin = "/api/v1/test/admin";
    assert_eq!(problem(api.get(admin).bearer_auth(&operator)).await.0, 403);
    assert_eq!(problem(api.get(admin).bearer_auth(&scoped)).await.1, "out-of-scope");
    let full = api.book.token(Role::Admin);
    assert_eq!(api.get(admin).bearer_auth(full).send().await.unwrap().status(), 200);
    let refused = api.book.refused.lock().clone();
    let told: Vec<_> =
        refused.iter().map(|it| (it.who.name.as_str(), it.method.as_str(), it.path.as_str())).collect();
    let expected = [
        ("test-reader", "PUT", "/api/v1/test/names/corp.internal/www.corp.internal"),
        ("test-admin", "PUT", "/api/v1/test/names/example.com/www.example.com"),
        ("test-operator", "GET", admin),
        ("test-admin", "GET", admin),
    ];
    assert_eq!(told, expected);
    assert_eq!((refused[0].request_id.as_str(), refused[0].client.is_loopback()), ("req-1", true));
}

#[tokio::test]
async fn failed_attempts_are_slowed_and_right_tokens_are_not() {
    let limits = Limits { failed_attempts: 3, failed_attempt: Duration::from_secs(600), ..Limits::default() };
    let api = TestApi::start(Settings { limits, ..settings() });
    let (token, other) = (api.book.token(Role::Reader), api.book.token(Role::Reader));
    let id = token.split('_').nth(1).unwrap();
    let guess = |number: usize| format!("pldns_{id}_{number:064}");
    for number in 0..3 {
        assert_eq!(problem(api.get(WHOAMI).bearer_auth(guess(number))).await.0, 401);
    }
    let response = api.get(WHOAMI).bearer_auth(guess(3)).send().await.unwrap();
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(response.status() == 429 && (1..=600).contains(&wait), "{wait}");
    assert_eq!(problem(api.get(WHOAMI).bearer_auth("nonsense")).await.1, "throttled");
    let right = api.get(WHOAMI).bearer_auth(&token).send().await.unwrap().status();
    assert_eq!(right, 200, "who guesses does not shut its owner out");
    assert_eq!(api.get(WHOAMI).bearer_auth(&other).send().await.unwrap().status(), 200);
}

/// A signing key as Entra ID has them.
struct SigningKey {
    id: &'static str,
    pair: KeyPair,
}

impl SigningKey {
    fn new(id: &'static str) -> SigningKey {
        SigningKey { id, pair: KeyPair::generate(KeySize::Rsa2048).unwrap() }
    }

    /// The modulus, from RFC 8017's RSAPublicKey of 2048 bits.
    fn modulus(&self) -> &[u8] {
        &self.pair.public_key().as_ref()[9..265]
    }

    fn jwk(&self) -> Value {
        let n = BASE64URL_NOPAD.encode(self.modulus());
        json!({"kty": "RSA", "use": "sig", "kid": self.id, "n": n, "e": "AQAB"})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims();
        change(&mut claims);
        self.sign(&json!({"typ": "JWT", "alg": "RS256", "kid": self.id}), &claims)
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |it: &Value| BASE64URL_NOPAD.encode(it.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({
        "aud": AUDIENCE, "iss": format!("https://login.example/{TENANT}/v2.0"), "tid": TENANT,
        "nbf": now_secs() - 300, "exp": now_secs() + 300, "oid": "ada-object",
        "preferred_username": "ada@example.com", "roles": ["PrivateLinkDns.Operator"],
    })
}

fn key_set(keys: &[&SigningKey]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
}

fn entra_api(keys: &FakeKeys, refresh_floor: Duration) -> TestApi {
    let entra = EntraSettings {
        tenant_id: TENANT.into(),
        audience: AUDIENCE.into(),
        authority: "https://login.example".into(),
        jwks_url: Some(format!("http://{}/keys", keys.address)),
        refresh_floor,
    };
    let limits = Limits { failed_attempts: 1000, ..Limits::default() };
    TestApi::start(Settings { entra: Some(entra), limits, ..settings() })
}

#[tokio::test]
async fn tokens_of_entra_id_are_taken_by_app_role() {
    let key = SigningKey::new("k1");
    let keys = FakeKeys::start(key_set(&[&key]));
    let api = entra_api(&keys, Duration::from_secs(300));
    let who: Value =
        api.get(WHOAMI).bearer_auth(key.token(|_| {})).send().await.unwrap().json().await.unwrap();
    let expected = json!({
        "name": "ada@example.com (ada-object)", "role": "operator", "scope": ["*"],
        "how": {"kind": "entra", "object_id": "ada-object"},
    });
    assert_eq!(who, expected);
    let without = key.token(|claims| claims["roles"] = json!(["Other.Admin"]));
    assert_eq!(problem(api.get(WHOAMI).bearer_auth(without)).await.0, 403);
    let refused = api.book.refused.lock().clone();
    assert_eq!(
        refused.iter().map(|it| it.who.name.as_str()).collect::<Vec<_>>(),
        ["ada@example.com (ada-object)"]
    );
    let token = api.book.token(Role::Reader);
    assert_eq!(api.get(WHOAMI).bearer_auth(token).send().await.unwrap().status(), 200, "own tokens go on");
    assert_eq!(keys.asked(), 1, "keys are kept");
}

#[tokio::test]
async fn tokens_that_are_not_for_us_or_forged_are_refused() {
    let (key, stranger) = (SigningKey::new("k1"), SigningKey::new("k1"));
    let keys = FakeKeys::start(key_set(&[&key]));
    let api = entra_api(&keys, Duration::from_secs(300));
    let set = |name: &'static str, value: Value| key.token(move |claims| claims[name] = value);
    let without =
        |name: &'static str| key.token(move |claims| drop(claims.as_object_mut().unwrap().remove(name)));
    let header = |alg: &str| json!({"typ": "JWT", "alg": alg, "kid": "k1"});
    let hmac = {
        // The public key, which everyone knows, as the secret.
        let message = message(&header("HS256"), &claims());
        let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.modulus());
        let tag = aws_lc_rs::hmac::sign(&secret, message.as_bytes());
        format!("{message}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    };
    let mut changed = key.token(|_| {});
    let dot = changed.find('.').unwrap();
    changed.replace_range(dot + 20..dot + 21, if &changed[dot + 20..dot + 21] == "A" { "B" } else { "A" });
    let issuer = |tenant: &str| json!(format!("https://login.example/{tenant}/v2.0"));
    let cases = [
        ("another issuer", set("iss", issuer("99999999-2222-3333-4444-555555555555"))),
        ("a list of issuers", set("iss", json!([issuer(TENANT), "https://evil.example"]))),
        ("another tenant", set("tid", json!("99999999-2222-3333-4444-555555555555"))),
        ("another audience", set("aud", json!("00000003-0000-0000-c000-000000000000"))),
        ("expired", set("exp", json!(now_secs() - 120))),
        ("not yet", set("nbf", json!(now_secs() + 120))),
        ("no expiry", without("exp")),
        ("no beginning", without("nbf")),
        ("no audience", without("aud")),
        ("no issuer", without("iss")),
        ("no tenant", without("tid")),
        ("no object", without("oid")),
        ("none", format!("{}.", message(&header("none"), &claims()))),
        ("None", format!("{}.AA", message(&header("None"), &claims()))),
        ("HS256 with the public key", hmac),
        ("another algorithm", key.sign(&header("RS512"), &claims())),
        ("no key id", key.sign(&json!({"alg": "RS256"}), &claims())),
        ("critical extension", key.sign(&json!({"alg": "RS256", "kid": "k1", "crit": ["x"]}), &claims())),
        ("another key of that id", stranger.token(|_| {})),
        (
            "own key in the header",
            stranger.sign(&json!({"alg": "RS256", "kid": "k1", "jwk": stranger.jwk()}), &claims()),
        ),
        ("changed", changed),
    ];
    for (what, token) in cases {
        let (status, slug, body) = problem(api.get(WHOAMI).bearer_auth(token)).await;
        assert_eq!((status, slug.as_str()), (401, "unauthenticated"), "{what}: {body}");
    }
    assert_eq!(api.get(WHOAMI).bearer_auth(key.token(|_| {})).send().await.unwrap().status(), 200);
    assert_eq!(keys.asked(), 1);
}

#[tokio::test]
async fn a_new_key_is_fetched_but_not_for_everyone_who_makes_one_up() {
    let (old, new, made_up) = (SigningKey::new("k1"), SigningKey::new("k2"), SigningKey::new("k3"));
    let keys = FakeKeys::start(key_set(&[&old]));
    let ask = async |api: &TestApi, key: &SigningKey| {
        api.get(WHOAMI).bearer_auth(key.token(|_| {})).send().await.unwrap().status().as_u16()
    };
    let slow = entra_api(&keys, Duration::from_secs(300));
    assert_eq!(ask(&slow, &old).await, 200);
    for _ in 0..5 {
        assert_eq!(ask(&slow, &made_up).await, 401);
    }
    assert_eq!(keys.asked(), 1, "the floor holds");

    let quick = entra_api(&keys, Duration::ZERO);
    assert_eq!(ask(&quick, &old).await, 200);
    assert_eq!(ask(&quick, &new).await, 401);
    keys.answer(200, key_set(&[&new]));
    assert_eq!(ask(&quick, &new).await, 200, "rotated");
    assert_eq!(ask(&quick, &old).await, 401, "withdrawn");
    keys.answer(500, String::new());
    assert_eq!(ask(&quick, &made_up).await, 401);
    assert_eq!(ask(&quick, &new).await, 200, "a failed fetch leaves the keys");
}

#[tokio::test]
async fn without_keys_it_is_the_server_that_cannot() {
    let key = SigningKey::new("k1");
    let keys = FakeKeys::start("<html>".into());
    let api = entra_api(&keys, Duration::ZERO);
    let (status, slug, _) = problem(api.get(WHOAMI).bearer_auth(key.token(|_| {}))).await;
    assert_eq!((status, slug.as_str()), (503, "unavailable"));
    keys.answer(200, key_set(&[&key]));
    assert_eq!(api.get(WHOAMI).bearer_auth(key.token(|_| {})).send().await.unwrap().status(), 200);
}

#[test]
fn ways_to_be_known_are_written_as_documented() {
    let how = How::Certificate { sha256: "ab".into() };
    assert_eq!(serde_json::to_value(how).unwrap(), json!({"kind": "certificate", "sha256": "ab"}));
}
