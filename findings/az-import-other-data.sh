#!/usr/bin/env bash
# Azure CLI 2.91.0: `az network private-dns zone import` (and `az network dns zone import`, same parser) sends other data than the zone file
# has, without a word: its patterns for records are not held to the end of the line, so what they do not know ends a field early.
#   AAAA 64:ff9b::192.0.2.33    becomes the valid, other address 64:ff9b::192, and ::ffff:10.0.0.4 becomes ::ffff:10 (RFC 4291 §2.2 no. 3:
#                               the last 32 bits may be written as an IPv4 address; RFC 3596 §2.4: AAAA's text is that of RFC 4291)
#   CNAME 4.0/25.2.0.192.in-addr.arpa.   RFC 2317's own form: cut at the slash, 4.0, and, as the root's dot went with the rest, put below
#                               $ORIGIN; the same for MX and SRV and for an escape in a target (RFC 1035 §5.1)
#   PTR host                    stays as it is, though MX, SRV, CNAME and NS beside it are put below $ORIGIN (RFC 1035 §5.1)
#   TXT ""                      becomes the text EMPTY (an empty string is valid, RFC 1035 §3.3)
#   TXT "say \"so\"", "\065bc" keeps the escapes (RFC 1035 §5.1: one byte each); Azure serves the backslashes (octodns/octodns#229)
# dnspython 2.9.2 (asked below), BIND 9.18.49, NSD 4.6.1 and Knot 3.2.6 read all of them as the RFCs say. For an owner with a slash, and for
# `www IN 300 A`, az at least says "Unable to parse". Fails if az reads a line otherwise than stated.
#
# Needs Python 3.9 or newer with pip. Everything is in a temporary folder and offline.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m pip install -q --no-compile --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    azure-cli==2.91.0 azure-cli-core==2.91.0 azure-mgmt-privatedns==1.0.0 azure-mgmt-core==1.6.0 azure-core==1.39.0 azure-cli-telemetry==1.1.0 \
    azure-common==1.1.28 knack==0.14.0 msrest==0.7.1 argcomplete==3.5.3 pyyaml==6.0.4 requests==2.34.2 urllib3==2.8.0 idna==3.20 \
    certifi==2026.10.19.post1 charset-normalizer==3.5.3 isodate==0.7.2 typing-extensions==4.16.0 requests-oauthlib==2.0.0 \
    oauthlib==4.0.1 portalocker==2.10.1 six==1.17.0 dnspython==2.9.2

cat > words.zone <<'END'
$ORIGIN corp.example.
$TTL 300
@       SOA   ns hostmaster 1 3600 600 86400 60
@       NS    ns
ns      A     192.0.2.1
nat64   AAAA  64:ff9b::192.0.2.33
mapped  AAAA  ::ffff:10.0.0.4
4       CNAME 4.0/25.2.0.192.in-addr.arpa.
mail    MX    10 mail.0/25.2.0.192.in-addr.arpa.
_x._tcp SRV   0 0 443 x\.y.contoso.com.
5       PTR   host
below   MX    10 host
empty   TXT   ""
marks   TXT   "say \"so\""
bytes   TXT   "\065bc"
plain   AAAA  fd00::4
END
cat > read.py <<'END'
import http.server, importlib.metadata, json, threading
import dns.rdatatype, dns.version, dns.zone
from azure.cli.command_modules.privatedns import custom
from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import SansIOHTTPPolicy

ZONE = "corp.example"
sent = {}

class Arm(http.server.BaseHTTPRequestHandler):
    def reply(self, body):
        body = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self): # the SOA that is there
        self.reply({"properties": {"ttl": 300, "soaRecord": {"host": "azureprivatedns.net"}}})
    def do_PUT(self):
        kind, name = self.path.split("?")[0].split("/")[-2:]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        sent[name, kind.upper()] = body["properties"]
        self.reply(body)
    def log_message(self, *_):
        pass

arm = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Arm)
threading.Thread(target=arm.serve_forever, daemon=True).start()

class Credential:
    def get_token(self, *_, **__):
        return AccessToken("token", 9999999999)

class Command:
    cli_ctx = None

# A plain HTTP stub takes no bearer token, so the login is left out; the zone is said to exist.
custom.get_mgmt_service_client = lambda _, client, **__: client(
    Credential(), "sub", base_url=f"http://127.0.0.1:{arm.server_port}", authentication_policy=SansIOHTTPPolicy())
custom.PrivateDNSZoneShow = lambda **_: lambda **__: {}
custom.import_zone(Command, "group", ZONE, "words.zone")

data = {"AAAA": lambda it: it["aaaaRecords"][0]["ipv6Address"], "CNAME": lambda it: it["cnameRecord"]["cname"],
        "MX": lambda it: it["mxRecords"][0]["exchange"], "SRV": lambda it: it["srvRecords"][0]["target"],
        "PTR": lambda it: it["ptrRecords"][0]["ptrdname"], "TXT": lambda it: "".join(it["txtRecords"][0]["value"])}
zone = dns.zone.from_file("words.zone", ZONE, relativize=False, check_origin=False)

def by_dnspython(name, kind):
    record = zone.find_rdataset(f"{name}.{ZONE}.", kind)[0]
    return {"AAAA": lambda: record.address, "CNAME": lambda: record.target.to_text(), "MX": lambda: record.exchange.to_text(),
            "SRV": lambda: record.target.to_text(), "PTR": lambda: record.target.to_text(),
            "TXT": lambda: b"".join(record.strings).decode()}[kind]()

print(f"azure-cli {importlib.metadata.version('azure-cli')}, dnspython {dns.version.version}")
changed = 0
def state(name, kind, az, dnspython):
    global changed
    got = data[kind](sent[name, kind]), by_dnspython(name, kind)
    print(f"{name} {kind}: az sends {got[0]!r}, dnspython reads {got[1]!r}")
    if got != (az, dnspython):
        changed = 1
        print(f"CHANGED: it was {az!r} and {dnspython!r}")

state("nat64", "AAAA", "64:ff9b::192", "64:ff9b::c000:221")
state("mapped", "AAAA", "::ffff:10", "::ffff:10.0.0.4")
state("4", "CNAME", "4.0.corp.example.", "4.0/25.2.0.192.in-addr.arpa.")
state("mail", "MX", "mail.0.corp.example.", "mail.0/25.2.0.192.in-addr.arpa.")
state("_x._tcp", "SRV", "x.corp.example.", "x\\.y.contoso.com.")
state("5", "PTR", "host", "host.corp.example.")
state("below", "MX", "host.corp.example.", "host.corp.example.")
state("empty", "TXT", "EMPTY", "")
state("marks", "TXT", 'say \\"so\\"', 'say "so"')
state("bytes", "TXT", "\\065bc", "Abc")
state("plain", "AAAA", "fd00::4", "fd00::4")
raise SystemExit(changed)
END
PYTHONPATH=packages python3 -B read.py
