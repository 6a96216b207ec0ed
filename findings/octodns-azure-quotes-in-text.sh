#!/usr/bin/env bash
# octodns-azure 1.2.0 with octoDNS 1.22.0: a TXT value that has a quotation mark goes to Azure with a backslash before the mark. That is the
# form of a master file (RFC 1035 §5.1); in ARM's JSON it is data, as Azure serves the bytes that it is given: octodns/octodns#229 shows with
# dig marks and backslashes that came so. What is served is not what is configured, and as nothing takes the backslash away on the way
# back, the provider finds its own record changed and updates it at every run: it never comes to an end.
# Strings are also counted before the backslashes come, so 255 bytes with five marks go out as one string of 260 (RFC 1035 §3.3: 255).
# Semicolons, which octoDNS wants escaped in its own files, are turned both ways, and such records rest. Fails if that changes.
#
# Needs Python 3.10 or newer with pip. Everything is in a temporary folder and on 127.0.0.1: the provider with its own SDK, and a stub of
# ARM that keeps what it is given; only the login is replaced.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m pip install -q --no-compile --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    octodns==1.22.0 octodns-azure==1.2.0 azure-mgmt-privatedns==1.0.0 azure-mgmt-dns==8.1.0 azure-mgmt-trafficmanager==1.1.0 \
    azure-mgmt-core==1.6.0 azure-core==1.41.0 azure-common==1.1.28 azure-identity==1.27.0 msrest==0.7.1 msal==1.39.0 msal-extensions==1.3.1 \
    pyjwt==2.15.1 cryptography==50.0.2 cffi==2.1.1 pycparser==3.12 isodate==0.7.2 requests==2.34.2 requests-oauthlib==2.0.0 oauthlib==4.0.1 \
    urllib3==2.8.0 idna==3.20 certifi==2026.10.19.post1 charset-normalizer==3.5.3 typing-extensions==4.16.0 six==1.17.0 \
    dnspython==2.9.2 fqdn==1.6.0 natsort==8.4.0 python-dateutil==2.9.0.post0 pyyaml==6.0.4

cat > sync.py <<'END'
import http.server, importlib.metadata, json, threading
from urllib.parse import unquote, urlparse
from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.privatedns import PrivateDnsManagementClient
from octodns.record import Record
from octodns.zone import Zone
from octodns_azure import AzurePrivateProvider

ZONE = "corp.example"
kept = {}

class Arm(http.server.BaseHTTPRequestHandler):
    def reply(self, body):
        body = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        sets = urlparse(self.path).path.endswith("/ALL")
        self.reply({"value": list(kept.values()) if sets else [{"name": ZONE, "location": "global"}]})
    def do_PUT(self):
        kind, name = unquote(urlparse(self.path).path).split("/")[-2:]
        properties = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["properties"]
        kept[name] = {"name": name, "type": f"Microsoft.Network/privateDnsZones/{kind}", "properties": properties}
        self.reply(kept[name])
    def log_message(self, *_):
        pass

arm = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Arm)
threading.Thread(target=arm.serve_forever, daemon=True).start()

class Credential:
    def get_token(self, *_, **__):
        return AccessToken("token", 9999999999)

wanted = {
    "plain": "v=spf1 -all",
    "semicolon": r"v=DKIM1\; p=abc",
    "quoted": 'say "so"',
    "long": "x" * 245 + '"' * 5 + "y" * 5,
}

def run():
    provider = AzurePrivateProvider("azure", "sub", "group", client_credential_method="cli")
    # A plain HTTP stub takes no bearer token, so the login is left out.
    provider._dns_client = PrivateDnsManagementClient(
        Credential(), "sub", base_url=f"http://127.0.0.1:{arm.server_port}", authentication_policy=SansIOHTTPPolicy())
    zone = Zone(f"{ZONE}.", [])
    for name, value in wanted.items():
        zone.add_record(Record.new(zone, name, {"type": "TXT", "ttl": 300, "value": value}))
    plan = provider.plan(zone)
    if plan:
        provider.apply(plan)
    return sorted(change.new.name for change in plan.changes) if plan else []

changed = 0
def state(what, got, stated):
    global changed
    print(f"{what}: {got}")
    if got != stated:
        changed = 1
        print(f"CHANGED: it was {stated}")

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("octodns", "octodns-azure", "azure-mgmt-privatedns")), sep=", ")
state("first run changes", run(), sorted(wanted))
state("second run changes (should be [])", run(), ["long", "quoted"])
state("third run changes (should be [])", run(), ["long", "quoted"])
strings = {name: it["properties"]["txtRecords"][0]["value"] for name, it in kept.items()}
state("ARM is sent plain", strings["plain"], ["v=spf1 -all"])
state("ARM is sent semicolon", strings["semicolon"], ["v=DKIM1; p=abc"])
state("ARM is sent quoted (should be without backslashes)", strings["quoted"], [r'say \"so\"'])
state("ARM is sent long, strings of (should be 255)", [len(part) for part in strings["long"]], [260])
raise SystemExit(changed)
END
PYTHONPATH=packages python3 -B sync.py 2> log || { cat log; exit 1; }
