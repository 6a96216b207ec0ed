//! Bad config files and what is said of them; good ones and what they become.

use std::path::Path;
use std::time::Duration;

use super::Config;
use crate::listen::Ipv6;
use crate::sync::azure::Subject;
use crate::zone::{OnMissing, ZoneKind};

/// Files that are wrong, each with all that is said: the place, the key, what to do.
const BAD: &[(&str, &[&str])] = &[
    // Syntax.
    ("[listen\n", &["c.toml:1: unclosed table, expected `]`"]),
    ("[cache]\nsize_bytes = 1\nsize_bytes = 2\n", &["c.toml:3: size_bytes: duplicate key"]),
    (
        "a = \nb = 'x\n",
        &[
            "c.toml:1: string values must be quoted, expected literal string",
            "c.toml:2: invalid literal string, expected `'`",
        ],
    ),
    // Keys.
    (
        "stat_dir = 'x'\n[listen]\ndsn = []\n",
        &[
            "c.toml:1: stat_dir: unknown key `stat_dir`; did you mean `state_dir`?",
            "c.toml:3: listen.dsn: unknown key `dsn`; did you mean `dns`?",
        ],
    ),
    (
        "[forward]\nserve_stale_secs = 1\nnothing_like_it = 1\n[private_link]\npublic_names = 'splise'",
        &[
            "c.toml:2: forward.serve_stale_secs: unknown key `serve_stale_secs`; it belongs to [cache]",
            "c.toml:3: forward.nothing_like_it: unknown key `nothing_like_it`, expected one of `upstreams`, `ca_file`, `private_reverse`, `queries_per_second_max`, `questions_in_flight_max`, `waiters_max`, `rule`",
            "c.toml:5: private_link.public_names: unknown word `splise`; did you mean `splice`?",
        ],
    ),
    // Keys and values are told together, and no consequences of either.
    (
        r##"[listen]
workers = 9999
dns = 53
[forward]
upstreems = ["10.0.0.1"]
upstreams = ["10.0.0.x"]
[[forward.rule]]
domain = "."
upstreams = ["10.0.0.1"]"##,
        &[
            "c.toml:2: listen.workers: 9999 is not between 0 and 256",
            "c.toml:3: listen.dns: wrong type: integer `53`, expected an array",
            "c.toml:5: forward.upstreems: unknown key `upstreems`; did you mean `upstreams`?",
            "c.toml:6: forward.upstreams[0]: `10.0.0.x` is not an IP address, IP:port or [IPv6]:port, nor one of these behind tcp:// or tls://",
            "c.toml:8: forward.rule[0].domain: what no other rule forwards goes to forward.upstreams",
        ],
    ),
    ("[[network]]\nname = 'a'\n", &["c.toml:1: network[0]: missing key `clients`"]),
    (
        "[forward]\nupstreams = []\nprivate_reverse = 'ask'\n",
        &["c.toml:3: forward.private_reverse: there is nobody to ask: forward.upstreams is empty"],
    ),
    ("[forward]\n[[forward.rule]]\nupstreams = []\n", &["c.toml:2: forward.rule[0]: missing key `domain`"]),
    // Values, and what cannot stand together.
    (
        r##"[listen]
dns = ["0.0.0.0", "127.0.0.1:5300", "127.0.0.1:5300"]
workers = -1"##,
        &[
            "c.toml:2: listen.dns[0]: `0.0.0.0` is no address with a port, such as 0.0.0.0:53 or [::]:53",
            "c.toml:2: listen.dns[2]: 127.0.0.1:5300 is there already",
            "c.toml:3: listen.workers: wrong number: `-1`, expected a whole number from 0",
        ],
    ),
    (
        r##"[listen]
dns = ["127.0.0.1:5300", "127.0.0.1:5300"]
tls = ["0.0.0.0:853"]
workers = 9999
[listen.tcp]
idle_timeout_secs = 0"##,
        &[
            "c.toml:2: listen.dns[1]: 127.0.0.1:5300 is there already",
            "c.toml:3: listen.tls: DNS over TLS takes a certificate: set listen.certificate and listen.key",
            "c.toml:4: listen.workers: 9999 is not between 0 and 256",
            "c.toml:6: listen.tcp.idle_timeout_secs: 0 is not between 1 and 3600",
        ],
    ),
    (
        r##"[listen]
dns = ["127.0.0.1:5300"]
tls = ["127.0.0.1:5300", "0.0.0.0:853", "0.0.0.0:853"]
certificate = "a.pem"
handshake_timeout_secs = 0
ddr_name = "dns..example""##,
        &[
            "c.toml:3: listen.tls[2]: 0.0.0.0:853 is there already",
            "c.toml:3: listen.tls[0]: listen.dns has 127.0.0.1:5300 already",
            "c.toml:4: listen.certificate: TLS takes listen.key as well",
            "c.toml:5: listen.handshake_timeout_secs: 0 is not between 1 and 60",
            "c.toml:6: listen.ddr_name: `dns..example` is no name: a label is empty",
        ],
    ),
    (
        "[listen]\nddr_name = 'dns.example'\n[[listen.identity]]\ncertificate = 'a.pem'\nkey = 'a.key'\n",
        &[
            "c.toml:2: listen.ddr_name: there is no encrypted transport to tell of: set listen.tls",
            "c.toml:3: listen.identity: takes listen.certificate and listen.key, which all other names are shown",
        ],
    ),
    (
        r##"[private_link]
cloud = "german"
ttl_secs = 4294967296
on_missing = "ask""##,
        &[
            "c.toml:2: private_link.cloud: unknown word `german`, expected one of `public`, `usgov`, `china`, `custom`",
            "c.toml:3: private_link.ttl_secs: 4294967296 is not between 0 and 2147483647",
            "c.toml:4: private_link.on_missing: unknown word `ask`, expected `ask-public` or `nxdomain`",
        ],
    ),
    (
        r##"[private_link]
zones = ["blobb", "privatelink.{regionName}.kusto.windows.net"]
regions = ["westeurop"]
ttl_secs = 4294967295
prefer = ["pe-1"]"##,
        &[
            "c.toml:2: private_link.zones[0]: the catalogue knows no service, group id or zone `blobb`; did you mean `blob`?",
            "c.toml:2: private_link.zones[1]: `privatelink.{regionName}.kusto.windows.net` names zones with a region in their name, but neither private_link.regions nor a sync source tells which",
            "c.toml:3: private_link.regions[0]: the catalogue knows no region `westeurop`; did you mean `westeurope`?",
            "c.toml:4: private_link.ttl_secs: 4294967295 is not between 0 and 2147483647",
            "c.toml:5: private_link.prefer[0]: `pe-1` is no ARM id of an endpoint, a virtual network, a resource group or a subscription",
        ],
    ),
    (
        r##"[private_link]
zones = ["privatelink.{regionName}.kusto.windows.net"]"##,
        &[
            "c.toml:2: private_link.zones[0]: `privatelink.{regionName}.kusto.windows.net` names zones with a region in their name, but neither private_link.regions nor a sync source tells which",
        ],
    ),
    (
        r##"[private_link.custom]
suffix = "sovcloud-api.fr""##,
        &[
            "c.toml:1: private_link.custom: belongs to cloud = \"custom\"; the hosts and zones of public are known",
        ],
    ),
    (
        r##"[private_link]
cloud = "custom"
[[sync.source]]
kind = "arm"
endpoint = "https://management.sovcloud-api.fr""##,
        &[
            "c.toml:2: private_link.cloud: a custom cloud needs [private_link.custom] with its suffix, as in suffix = \"sovcloud-api.fr\"",
            "c.toml:3: sync.source[0]: a source of a custom cloud needs private_link.custom.authority, or its own authority",
        ],
    ),
    (
        r##"[private_link]
cloud = "custom"
[private_link.custom]
endpoint = "http://management.sovcloud-api.fr"
authority = "https://login.sovcloud-identity.fr"
suffix = "{region}.fr"
sufix = "x"
[[private_link.custom.replace]]
public = "azure..com"
own = "azure.fr""##,
        &[
            "c.toml:4: private_link.custom.endpoint: `http://management.sovcloud-api.fr` is not https; http is good for loopback addresses only",
            "c.toml:6: private_link.custom.suffix: `{region}.fr` has a placeholder, and must be a name",
            "c.toml:7: private_link.custom.sufix: unknown key `sufix`; did you mean `suffix`?",
            "c.toml:9: private_link.custom.replace[0].public: `azure..com` is no name: a label is empty",
        ],
    ),
    (
        r##"[private_link]
cloud = "custom"
[private_link.custom]
endpoint = "http://management.sovcloud-api.fr"
authority = "https://login.sovcloud-identity.fr"
suffix = "{region}.fr"
[[private_link.custom.replace]]
public = "azure..com"
own = "azure.fr""##,
        &[
            "c.toml:4: private_link.custom.endpoint: `http://management.sovcloud-api.fr` is not https; http is good for loopback addresses only",
            "c.toml:6: private_link.custom.suffix: `{region}.fr` has a placeholder, and must be a name",
            "c.toml:8: private_link.custom.replace[0].public: `azure..com` is no name: a label is empty",
        ],
    ),
    (
        r##"[private_link]
catalogue = "missing.toml""##,
        &[
            "c.toml:2: private_link.catalogue: cannot read missing.toml: No such file or directory (os error 2)",
        ],
    ),
    (
        r##"[[network]]
name = "a"
clients = ["10.0.0.0/8", "10.0.0.0/33"]"##,
        &[
            "c.toml:3: network[0].clients[1]: `10.0.0.0/33` is no address range such as 10.0.0.0/8 or fd00::/8, and no address",
        ],
    ),
    (
        r##"[limits]
wait_limit = 0
exempt = ["10.0.0.1", "hub", "spoke", "10.0.0.0/33"]
[[network]]
name = "hub"
clients = ["10.0.0.0/8"]"##,
        &[
            "c.toml:2: limits.wait_limit: 0 is not between 1 and 2147483647",
            "c.toml:3: limits.exempt[2]: `spoke` is no address, no range such as 10.0.0.0/8 or fd00::/8, and no [[network]] has this name",
            "c.toml:3: limits.exempt[3]: `10.0.0.0/33` is no address, no range such as 10.0.0.0/8 or fd00::/8, and no [[network]] has this name",
        ],
    ),
    (
        r##"[[network]]
name = "a"
clients = ["10.0.0.0/8"]
virtual_networks = ["hub"]
[[network]]
name = "a"
clients = ["10.1.2.3/8"]
[[network]]
name = ""
clients = []"##,
        &[
            "c.toml:4: network[0].virtual_networks[0]: `hub` is no ARM id of a virtual network: /subscriptions/…/providers/Microsoft.Network/virtualNetworks/…",
            "c.toml:6: network[1].name: network `a` is there already",
            "c.toml:7: network[1].clients[0]: range 10.0.0.0/8 belongs to network `a` already",
            "c.toml:9: network[2].name: a network needs a name",
            "c.toml:10: network[2].clients: no client can belong to a network without ranges",
        ],
    ),
    (
        r##"[[zone]]
name = "corp.internal"
networks = ["hub"]
[[zone]]
name = "Corp.Internal."
file = "missing.zone"
[[zone]]
name = "blob.core.windows.net"
file = ".""##,
        &[
            "c.toml:1: zone[0]: corp.internal. is no private-link zone and needs a file",
            "c.toml:3: zone[0].networks[0]: there is no network `hub`",
            "c.toml:5: zone[1].name: zone corp.internal. is there already",
            "c.toml:6: zone[1].file: cannot read missing.zone: No such file or directory (os error 2)",
            "c.toml:8: zone[2].name: blob.core.windows.net. is a public suffix of Azure: everybody else's names below it would not exist; set on_missing = \"ask-public\", or leave the zone out and its names are spliced",
            "c.toml:9: zone[2].file: . is not a file",
        ],
    ),
    (
        r##"[forward]
upstreams = ["10.0.0.1", "https://10.0.0.1#x", "10.0.0.2:0", "ns.example"]"##,
        &[
            "c.toml:2: forward.upstreams[1]: `https://10.0.0.1#x`: upstreams over HTTPS and QUIC are not in this version; give an IP address or tls://IP#name",
            "c.toml:2: forward.upstreams[2]: `10.0.0.2:0` is not an address that one server answers at",
            "c.toml:2: forward.upstreams[3]: `ns.example` is not an IP address, IP:port or [IPv6]:port, nor one of these behind tcp:// or tls://",
        ],
    ),
    (
        r##"[forward]
upstreams = ["127.0.0.1", "10.0.0.1", "10.0.0.1:53"]
queries_per_second_max = 0
[[forward.rule]]
domain = "a.example"
upstreams = []
[[forward.rule]]
domain = "A.Example."
upstreams = ["10.0.0.3"]
[[forward.rule]]
domain = "."
upstreams = ["10.0.0.3"]"##,
        &[
            "c.toml:2: forward.upstreams[0]: 127.0.0.1 is this server itself, which listens on 0.0.0.0:53",
            "c.toml:2: forward.upstreams[2]: 10.0.0.1 is there already",
            "c.toml:3: forward.queries_per_second_max: 0 queries a second would shed every query; leave the key out for no bound",
            "c.toml:6: forward.rule[0].upstreams: a rule without an upstream forwards nothing",
            "c.toml:8: forward.rule[1].domain: there is a rule for a.example. already",
            "c.toml:11: forward.rule[2].domain: what no other rule forwards goes to forward.upstreams",
        ],
    ),
    (
        "[sync]\nallow_subscriptions = ['00000000-0000-4000-8000-0000000000A1', 'production']\n",
        &[
            "c.toml:2: sync.allow_subscriptions[1]: `production` is no id of a subscription, such as 00000000-0000-4000-8000-0000000000a1",
        ],
    ),
    (
        r##"[sync]
interval_secs = 0
withdraw_max_percent = 101
[[sync.source]]
kind = "arm"
[[sync.source]]
kind = "directory"
[[sync.source]]
kind = "directory"
path = "x/inventory"
credential = "azure-cli"
[[sync.source]]
kind = "directory"
path = "y/inventory""##,
        &[
            "c.toml:2: sync.interval_secs: 0 is not between 1 and 86400",
            "c.toml:3: sync.withdraw_max_percent: 101 is not between 0 and 100",
            "c.toml:6: sync.source[1]: a source of kind \"directory\" needs a path",
            "c.toml:11: sync.source[2].credential: belongs to a source of kind \"arm\"",
            "c.toml:12: sync.source[3].name: source `inventory` is there already; give this one another name",
        ],
    ),
    (
        r##"[[sync.source]]
kind = "arm"
name = "a"
subscriptions = ["00000000-0000-4000-8000-0000000000A1", "/subscriptions/00000000-0000-4000-8000-0000000000a1", "hub"]
path = "inventory"
token_file = "t"
[[sync.source]]
kind = "arm"
name = "a"
endpoint = "http://management.azure.com"
authority = "https://login.example/tenant"
identity_endpoint = "localhost"
[[sync.source]]
kind = "arm"
name = "c"
credential = "client-secret"
client_id = "x""##,
        &[
            "c.toml:4: sync.source[0].subscriptions[1]: subscription 00000000-0000-4000-8000-0000000000a1 is there already",
            "c.toml:4: sync.source[0].subscriptions[2]: `hub` is no id of a subscription, such as 00000000-0000-4000-8000-0000000000a1",
            "c.toml:5: sync.source[0].path: belongs to a source of kind \"directory\"",
            "c.toml:6: sync.source[0].token_file: does not belong to this credential",
            "c.toml:9: sync.source[1].name: source `a` is there already; give this one another name",
            "c.toml:10: sync.source[1].endpoint: `http://management.azure.com` is not https; http is good for loopback addresses only",
            "c.toml:11: sync.source[1].authority: `https://login.example/tenant` is more than scheme, host and port",
            "c.toml:12: sync.source[1].identity_endpoint: `localhost` is no URL such as https://management.azure.com",
            "c.toml:13: sync.source[2]: this credential needs tenant_id, or AZURE_TENANT_ID in the environment",
        ],
    ),
    (
        r##"[[sync.source]]
kind = "arm"
name = "a"
resource_groups = ["rg-app"]
[[sync.source]]
kind = "arm"
name = "b"
subscriptions = ["00000000-0000-4000-8000-0000000000a1", "00000000-0000-4000-8000-0000000000b2"]
resource_groups = ["/subscriptions/00000000-0000-4000-8000-0000000000A1/resourceGroups/RG", "/subscriptions/00000000-0000-4000-8000-0000000000c3/resourceGroups/rg", "a/b"]
management_group = "mg"
exclude_subscriptions = ["x"]
[[sync.source]]
kind = "arm"
name = "c"
subscriptions = ["00000000-0000-4000-8000-0000000000a1"]
resource_groups = ["rg", "/subscriptions/00000000-0000-4000-8000-0000000000a1/resourceGroups/RG"]
[[sync.source]]
kind = "arm"
name = "d"
management_group = "a b"
client_id = "x"
resource_id = "y"
object_id = "z"
client_certificate_file = "c.pem"
[[sync.source]]
kind = "arm"
name = "e"
credential = "client-certificate"
tenant_id = "t"
client_id = "c"
[[sync.source]]
kind = "directory"
path = "inventory"
management_group = "mg""##,
        &[
            "c.toml:4: sync.source[0].resource_groups[0]: `rg-app` is a resource group of which subscription? Name it in subscriptions, or the group as /subscriptions/…/resourceGroups/rg-app",
            "c.toml:8: sync.source[1].subscriptions[1]: resource_groups names none of 00000000-0000-4000-8000-0000000000b2",
            "c.toml:9: sync.source[1].resource_groups[1]: subscriptions leaves out 00000000-0000-4000-8000-0000000000c3",
            "c.toml:9: sync.source[1].resource_groups[2]: `a/b` is no name of a resource group, and no ARM id of one: /subscriptions/…/resourceGroups/…",
            "c.toml:10: sync.source[1].management_group: subscriptions tells already what is listed: one of them is enough",
            "c.toml:11: sync.source[1].exclude_subscriptions[0]: `x` is no id of a subscription, such as 00000000-0000-4000-8000-0000000000a1",
            "c.toml:11: sync.source[1].exclude_subscriptions: is for subscriptions that are found, but subscriptions names what is listed",
            "c.toml:16: sync.source[2].resource_groups[1]: resource group rg of 00000000-0000-4000-8000-0000000000a1 is there already",
            "c.toml:20: sync.source[3].management_group: `a b` is no name of a management group",
            "c.toml:22: sync.source[3].resource_id: client_id names the managed identity already: one of them is enough",
            "c.toml:23: sync.source[3].object_id: client_id names the managed identity already: one of them is enough",
            "c.toml:24: sync.source[3].client_certificate_file: does not belong to this credential",
            "c.toml:25: sync.source[4]: this credential needs client_certificate_file, or AZURE_CLIENT_CERTIFICATE_PATH in the environment",
            "c.toml:34: sync.source[5].management_group: belongs to a source of kind \"arm\"",
        ],
    ),
    (
        r##"[admin]
lisen = []
[telemetry]
log_format = "xml""##,
        &[
            "c.toml:2: admin.lisen: unknown key `lisen`; did you mean `listen`?",
            "c.toml:4: telemetry.log_format: unknown word `xml`, expected `text` or `json`",
        ],
    ),
    (
        r##"[store]
url = "mysql://db"
audit_days_max = 0
[admin]
listen = ["0.0.0.0:8053", "127.0.0.1:53", "[::1]:8053", "[::1]:8053"]
certificate = "missing.pem"
client_ca = "/dev/null"
[[admin.client]]
subject = "a"
role = "reader"
zones = ["*.*"]
[admin.entra]
tenant_id = "common"
audience = "a"
[telemetry]
log_level = "verbose,privatelink_dns::snyc=debug""##,
        &[
            "c.toml:2: store.url: is no address of a store: it begins with `sqlite:` or `postgres://`",
            "c.toml:3: store.audit_days_max: 0 is not between 1 and 36500",
            "c.toml:5: admin.listen[0]: 0.0.0.0:8053 is not loopback, and without TLS tokens would pass in the clear: set admin.certificate and admin.key, or admin.allow_plaintext if something in front speaks TLS",
            "c.toml:5: admin.listen[1]: listen.dns has 127.0.0.1:53 already",
            "c.toml:5: admin.listen[3]: [::1]:8053 is there already",
            "c.toml:6: admin.certificate: cannot read missing.pem: No such file or directory (os error 2)",
            "c.toml:6: admin.certificate: TLS takes admin.key as well",
            "c.toml:7: admin.client_ca: /dev/null is not a file",
            "c.toml:7: admin.client_ca: client certificates take TLS: set admin.certificate and admin.key",
            "c.toml:11: admin.client[0].zones[0]: `*.*` covers everything; write `*` alone if that is meant",
            "c.toml:12: admin.entra: `tenant_id` of Entra ID is empty or holds characters that it cannot have",
            "c.toml:16: telemetry.log_level: `verbose` is no log level: off, error, warn, info, debug or trace, and for a part privatelink_dns::sync=debug; did you mean `debug`?",
            "c.toml:16: telemetry.log_level: `privatelink_dns::snyc` is no part that logs, such as privatelink_dns, privatelink_dns::sync or sqlx; did you mean `privatelink_dns::sync`?",
        ],
    ),
    (
        r##"[telemetry.dnstap]
identity = "a"
[telemetry.query_log]
format = "csv""##,
        &[
            "c.toml:1: telemetry.dnstap: dnstap goes to a collector: set socket or address",
            "c.toml:4: telemetry.query_log.format: unknown word `csv`, expected `text` or `json`",
        ],
    ),
    (
        r##"[telemetry.dnstap]
identity = "a"
[telemetry.query_log]
sample = 1.5
suffixes = ["a", "..b"]
clients = ["10.0.0.0/33"]
rcodes = ["NXDOMAIN", "servfial"]
paths = ["cache", "everything"]
slower_than_ms = 60001"##,
        &[
            "c.toml:1: telemetry.dnstap: dnstap goes to a collector: set socket or address",
            "c.toml:4: telemetry.query_log.sample: 1.5 is no share between 0.0 and 1.0",
            "c.toml:5: telemetry.query_log.suffixes[1]: `..b` is no name: a label is empty",
            "c.toml:6: telemetry.query_log.clients[0]: `10.0.0.0/33` is no address range such as 10.0.0.0/8 or fd00::/8, and no address",
            "c.toml:7: telemetry.query_log.rcodes[1]: `servfial` is no response code: NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, YXDOMAIN, NOTAUTH, BADVERS, BADCOOKIE; did you mean `SERVFAIL`?",
            "c.toml:8: telemetry.query_log.paths[0]: `cache` is no path: authoritative, spliced, synthesised, cached, forwarded, stale, refused, error; did you mean `cached`?",
            "c.toml:8: telemetry.query_log.paths[1]: `everything` is no path: authoritative, spliced, synthesised, cached, forwarded, stale, refused, error",
            "c.toml:9: telemetry.query_log.slower_than_ms: 60001 is not between 0 and 60000",
        ],
    ),
    (
        "[telemetry.dnstap]\naddress = 'localhost:6000'",
        &[
            "c.toml:2: telemetry.dnstap.address: `localhost:6000` is no address with a port, such as 10.0.0.9:6000",
        ],
    ),
    (
        "[telemetry.dnstap]\naddress = '127.0.0.1:6000'\nsocket = 'dnstap.sock'",
        &["c.toml:2: telemetry.dnstap.address: socket names the collector already: one is enough"],
    ),
];

fn errors(text: &str) -> Vec<String> {
    match Config::parse(text, Path::new("c.toml")) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|error| error.to_string()).collect(),
    }
}

#[test]
fn every_error_names_file_line_and_key() {
    let mut failed = Vec::new();
    for (text, expected) in BAD {
        let found = errors(text);
        if found != *expected {
            failed.push(format!("{text}\n  expected {expected:#?}\n  found {found:#?}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

fn parsed(text: &str) -> Config {
    Config::parse(text, Path::new("/etc/pl/c.toml")).unwrap()
}

#[test]
fn an_empty_file_is_a_hub_server() {
    let config = parsed("");
    assert_eq!(config.state_dir, Path::new("/var/lib/privatelink-dns"));
    assert_eq!(config.listen, crate::listen::Settings::default());
    assert_eq!(config.cache, crate::cache::Settings::default());
    assert_eq!(config.telemetry, crate::telemetry::Settings::default());
    assert_eq!(config.access, crate::answer::AccessSettings::default());
    assert_eq!(config.sync.interval, Duration::from_secs(60));
    let zones = &config.private_link.zones;
    assert!(zones.contains(&"privatelink.blob.core.windows.net".parse().unwrap()), "{zones:?}");
    assert_eq!(config.forward, crate::forward::Settings::default());
    assert_eq!(config.admin.api, crate::admin::Settings::default());
    assert_eq!(config.admin.store, crate::persist::Settings::default());
    assert_eq!(config.admin.api_is, super::Asked::ByDefault);
    assert_eq!(config.observe, crate::observe::Settings::default());
}

#[test]
fn who_is_told_of_queries_is_read_with_whole_paths() {
    let text = "[telemetry.dnstap]\nsocket = 'dnstap.sock'\nidentity = 'dns-1'\n[telemetry.query_log]\nformat = 'json'
path = 'queries.log'\nsample = 0.5\nsuffixes = ['Corp.example']\nclients = ['10.0.0.1']\nrcodes = ['nxdomain']
paths = ['stale']\nslower_than_ms = 20\n";
    let observe = parsed(text).observe;
    let dnstap = observe.dnstap.unwrap();
    assert_eq!(
        (dnstap.collector.to_string(), dnstap.identity),
        ("/etc/pl/dnstap.sock".into(), "dns-1".into())
    );
    let log = observe.query_log.unwrap();
    assert_eq!(log.path.as_deref(), Some(Path::new("/etc/pl/queries.log")));
    assert_eq!(log.format, crate::observe::query_log::Format::Json);
    let expected = crate::observe::query_log::Filter {
        suffixes: vec!["corp.example".parse().unwrap()],
        clients: vec!["10.0.0.1/32".parse().unwrap()],
        rcodes: vec![crate::dns::Rcode::NXDOMAIN],
        paths: vec![crate::observe::AnswerPath::Stale],
        slower_than: Duration::from_millis(20),
        sample: 0.5,
    };
    assert_eq!(log.filter, expected);
    let bare = parsed("[telemetry.query_log]\n").observe.query_log.unwrap();
    assert_eq!(bare, crate::observe::query_log::Settings::default());
}

#[test]
fn exempt_are_addresses_ranges_and_the_clients_of_networks() {
    let text = "[limits]\nwait_limit = 7\nexempt = ['192.0.2.7', 'hub', 'fd00:1::/32']\n\
        [[network]]\nname = 'hub'\nclients = ['10.0.0.0/30']\n\
        [[network]]\nname = 'spoke'\nclients = ['10.0.0.2/31']";
    let limits = parsed(text).listen.limits;
    let exempt: Vec<String> = limits.exempt.iter().map(ToString::to_string).collect();
    assert_eq!(
        (limits.wait_limit, exempt),
        (7, ["192.0.2.7/32", "10.0.0.0/31", "fd00:1::/32"].map(str::to_owned).into())
    );
}

#[test]
fn a_store_is_there_with_an_api_or_by_name_or_where_records_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    let admin = |text: &str| Config::parse(&format!("state_dir = 's'\n{text}"), &path).unwrap().admin;
    assert!(admin("").has_store() && !admin("").needs_store());
    assert!(admin("[admin]").needs_store());
    assert!(!admin("[admin]\nlisten = []").has_store());
    assert!(admin("[admin]\nlisten = []\n[store]\nurl = 'sqlite:records.db'").has_store());
    std::fs::create_dir(folder.path().join("s")).unwrap();
    std::fs::write(folder.path().join("s/records.db"), "").unwrap();
    assert!(admin("[admin]\nlisten = []").has_store() && admin("").needs_store());
}

#[test]
fn a_password_of_postgresql_comes_from_a_file_and_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "se/cr@et\n").unwrap();
    let text = "[store]\nurl = 'postgres://dns@db/dns'\npassword_file = 'password'";
    let config = Config::parse(text, &folder.path().join("c.toml")).unwrap();
    assert_eq!(config.admin.store.url, "postgres://dns:se%2Fcr%40et@db/dns");
    assert!(!format!("{config:?}").contains("cr%40et"));
}

#[test]
fn paths_are_relative_to_the_config_and_names_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("corp.zone"), "").unwrap();
    let text = "
        state_dir = 'state'
        [[network]]
        name = 'hub'
        clients = ['10.1.2.3/8', 'fd00::1']
        virtual_networks = ['/subscriptions/S/resourceGroups/R/providers/Microsoft.Network/virtualNetworks/Hub/']
        [private_link]
        prefer = ['00000000-0000-4000-8000-0000000000A1']
        [[zone]]
        name = 'corp.internal'
        file = 'corp.zone'
        networks = ['hub']
        [[zone]]
        name = 'privatelink.BLOB.core.windows.net'
        on_missing = 'nxdomain'
        [[sync.source]]
        kind = 'directory'
        path = 'inventory/'
    ";
    let config = Config::parse(text, &folder.path().join("c.toml")).unwrap();
    assert_eq!(config.state_dir, folder.path().join("state"));
    let network = &config.networks[0];
    assert_eq!(network.clients, ["10.0.0.0/8".parse().unwrap(), "fd00::1/128".parse().unwrap()]);
    let id = "/subscriptions/s/resourcegroups/r/providers/microsoft.network/virtualnetworks/hub";
    assert_eq!(*network.virtual_networks[0], *id);
    assert_eq!(*config.prefer[0], *"00000000-0000-4000-8000-0000000000a1");
    let [corp, blob] = &config.zones[..] else { panic!("{:?}", config.zones) };
    assert_eq!(corp.file, Some(folder.path().join("corp.zone")));
    assert_eq!((corp.header.kind, corp.header.on_missing), (ZoneKind::Plain, OnMissing::NxDomain));
    assert_eq!((blob.header.kind, blob.header.on_missing), (ZoneKind::PrivateLink, OnMissing::NxDomain));
    assert_eq!(config.sync.sources[0].name, "inventory");
    assert_eq!(config.sync.sources[0].path, folder.path().join("inventory/"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/missing/c.toml")).unwrap_err();
    assert_eq!(error.to_string(), "/missing/c.toml: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn without_an_upstream_nothing_is_forwarded_but_what_a_rule_says() {
    let text = "[forward]\nupstreams = []\n[[forward.rule]]\ndomain = 'a.example'\nupstreams = ['10.0.0.1']";
    let domains: Vec<String> =
        parsed(text).forward.rules.iter().map(|rule| rule.domain.to_string()).collect();
    assert_eq!(domains, ["a.example."]);
}

#[test]
fn an_error_in_an_overlay_of_the_catalogue_names_both_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("more.toml"), "[[public]]\nservice = 1\n").unwrap();
    let text = "[private_link]\ncatalogue = 'more.toml'";
    let error = Config::parse(text, &folder.path().join("c.toml")).unwrap_err().to_string();
    let error = error.replace(&format!("{}/", folder.path().display()), "");
    assert!(error.starts_with("c.toml:2: private_link.catalogue: more.toml: line 2: `service`: "), "{error}");
}

#[test]
fn a_source_of_private_dns_zones_is_listed_less_often_and_its_zones_need_no_file() {
    let zone = "[[zone]]\nname = 'corp.internal'\non_missing = 'ask-public'\n";
    let parse = |text: &str| Config::parse(text, Path::new("c.toml"));
    let config = parse(&format!(
        "{zone}[[sync.source]]\nkind = 'private-dns'\n[[sync.source]]\nkind = 'private-dns'\nname = 'x'\ninterval_secs = 60"
    ))
    .unwrap();
    let told = config.sync.azure.iter().map(|source| {
        (
            source.name.as_str(),
            source.subject,
            source.api_version.as_str(),
            source.interval.map(|it| it.as_secs()),
        )
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("private-dns", Subject::PrivateZones, "2024-06-01", None),
            ("x", Subject::PrivateZones, "2024-06-01", Some(60))
        ]
    );
    let errors = |text: String| parse(&text).unwrap_err().to_string();
    assert!(errors(zone.to_owned()).contains("needs a file"));
    let kinds = ["kind = 'arm'", "kind = 'directory'\npath = 'x'"];
    for kind in kinds {
        let error = errors(format!("[[sync.source]]\n{kind}\ninterval_secs = 60"));
        assert!(error.contains("belongs to a source of kind \"private-dns\""), "{error}");
    }
    assert!(
        errors("[[sync.source]]\nkind = 'private-dns'\ninterval_secs = 0".to_owned()).contains("between")
    );
}

#[test]
fn a_custom_cloud_gives_its_sources_hosts_and_its_catalogue_suffixes() {
    let text = r#"
        [private_link]
        cloud = "custom"
        regions = ["bleufrancecentral"]
        [private_link.custom]
        endpoint = "https://management.sovcloud-api.fr"
        authority = "https://login.sovcloud-identity.fr"
        suffix = "sovcloud-api.fr"
        [[private_link.custom.replace]]
        public = "azurewebsites.net"
        own = "azurewebsites.fr"
        [[sync.source]]
        kind = "arm"
        [[sync.source]]
        kind = "arm"
        name = "other"
        endpoint = "https://other.sovcloud-api.fr"
    "#;
    let config = Config::parse(text, Path::new("c.toml")).unwrap();
    let hosts = |at: usize| {
        let source = &config.sync.azure[at];
        (source.endpoint.to_string(), source.authority.to_string())
    };
    let authority = || "https://login.sovcloud-identity.fr".to_owned();
    assert_eq!(hosts(0), ("https://management.sovcloud-api.fr".to_owned(), authority()));
    assert_eq!(hosts(1), ("https://other.sovcloud-api.fr".to_owned(), authority()));
    for zone in [
        "privatelink.blob.core.sovcloud-api.fr",
        "privatelink.vaultcore.sovcloud-api.fr",
        "privatelink.azurecr.sovcloud-api.fr",
        "privatelink.azurewebsites.fr",
        "privatelink.bleufrancecentral.kusto.sovcloud-api.fr",
    ] {
        assert!(config.private_link.zones.contains(&zone.parse().unwrap()), "{zone}");
    }
    let of_others = ["windows.net.", "azure.com.", "azure.net.", ".io."];
    let is_others = |zone: &String| of_others.iter().any(|suffix| zone.ends_with(suffix));
    assert!(!config.private_link.zones.iter().map(ToString::to_string).any(|zone| is_others(&zone)));
}

#[test]
fn ipv6_may_be_missing_only_where_nobody_wrote_the_addresses() {
    let ipv6 = |text: &str| Config::parse(text, Path::new("c.toml")).unwrap().listen.ipv6;
    assert_eq!(ipv6(""), Ipv6::IfThere);
    assert_eq!(ipv6("[listen]\nworkers = 1"), Ipv6::IfThere);
    assert_eq!(ipv6("[listen]\ndns = ['0.0.0.0:53', '[::]:53']"), Ipv6::Needed);
}

#[test]
fn services_of_the_catalogue_stand_inline_and_their_errors_have_a_place() {
    let parse = |text: &str| Config::parse(text, Path::new("c.toml"));
    let block = |zone: &str| {
        format!(
            "[private_link]\n[[private_link.service]]\nservice = 'New'\ntype = 'A.B/c'\nzones = [\n  {zone},\n]\n"
        )
    };
    let good = "{ groups = ['c'], zone = 'privatelink.new.example', public = ['new.example'] }";
    let config = parse(&block(good)).unwrap();
    let name: crate::dns::Name = "a.new.example".parse().unwrap();
    let place = config.private_link.catalogue.place(name.borrow(), Default::default()).unwrap();
    assert_eq!(place.record.to_string(), "a.privatelink.new.example.");
    for (zone, error) in [
        ("{ public = ['new.example'] }", "c.toml:6: private_link.service[0].zones[0].zone: is missing"),
        (
            "{ zone = 'a.b', public = ['a.b'] }",
            "c.toml:6: private_link.service[0].zones[0].public: `a.b` would be its own private name",
        ),
        ("{ zone = 'a..b' }", "c.toml:6: private_link.service[0].zones[0].zone: `a..b` is no name"),
        ("{ zone = 'a.b', zonee = 'c' }", "c.toml:6: private_link.service[0].zones[0].zonee: unknown key"),
    ] {
        let told = parse(&block(zone)).unwrap_err().to_string();
        assert!(told.starts_with(error), "{told}");
    }
}

#[test]
fn a_private_link_zone_that_the_catalogue_lacks_may_be_named() {
    let zone = |more: &str| format!("[[zone]]\nname = 'privatelink.new.example'\n{more}");
    let parse = |text: &str| Config::parse(text, Path::new("c.toml"));
    let config = parse(&zone("")).unwrap();
    let header = &config.zones[0].header;
    assert_eq!((header.kind, header.on_missing), (ZoneKind::PrivateLink, OnMissing::AskPublic));
    let config = parse("[private_link]\nzones = ['privatelink.new.example']").unwrap();
    assert_eq!(config.private_link.zones, ["privatelink.new.example.".parse().unwrap()]);
    // Its file is what it is made of: it is an operator's.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("new.zone"), "").unwrap();
    let config = Config::parse(&zone("file = 'new.zone'"), &folder.path().join("c.toml")).unwrap();
    assert_eq!(config.zones[0].header.kind, ZoneKind::Plain);
    assert!(parse("[[zone]]\nname = 'privatelink.example'").is_err());
}
