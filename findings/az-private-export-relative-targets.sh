#!/usr/bin/env bash
# Azure CLI 2.91.0: `az network private-dns zone export` writes the targets of MX, SRV and PTR as they are in Azure's data, without a dot at
# the end. Azure takes them as absolute (Azure/azure-cli#7886; the Microsoft examples of MX, SRV and PTR have no dot either), but in a zone
# file a name without a dot is below $ORIGIN (RFC 1035 §5.1). So mail.contoso.com becomes mail.contoso.com.corp.example for whoever reads the
# file: dnspython 2.9.2 here, also BIND 9.18.49, and `az network private-dns zone import` itself for MX and SRV, which so changes the data of
# a zone that is only exported and imported again. One would guess it right as CNAME gets its dot, and as `az network dns zone export`, for
# public zones and in the same package, writes dots for all of them (Azure/azure-cli#14412, closed; the private command was left out).
# A TXT value of more than 255 bytes, which Azure has as several strings, is written as one string (both exports; limit in RFC 1035 §3.3): az reads it
# back, no server does, and the whole file is refused for it.
# Fails if any of that is otherwise.
#
# Needs Python 3.9 or newer with pip. Everything is in a temporary folder and on 127.0.0.1: az's own export with its own SDK, whose list of
# record sets comes from a stub of ARM; nothing of az is replaced but the login and the list that the public export asks for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m pip install -q --no-compile --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    azure-cli==2.91.0 azure-cli-core==2.91.0 azure-cli-telemetry==1.1.0 azure-mgmt-privatedns==1.0.0 azure-mgmt-core==1.6.0 \
    azure-core==1.39.0 azure-common==1.1.28 knack==0.14.0 msrest==0.7.1 argcomplete==3.5.3 pyyaml==6.0.4 requests==2.34.2 urllib3==2.8.0 idna==3.20 \
    certifi==2026.10.19.post1 charset-normalizer==3.5.3 isodate==0.7.2 typing-extensions==4.16.0 requests-oauthlib==2.0.0 \
    oauthlib==4.0.1 portalocker==2.10.1 six==1.17.0 dnspython==2.9.2

cat > export.py <<'END'
import contextlib, http.server, importlib.metadata, io, json, threading
import dns.exception, dns.rdatatype, dns.version, dns.zone
from azure.cli.command_modules.network import custom as public
from azure.cli.command_modules.network.zone_file.parse_zone_file import parse_zone_file
from azure.cli.command_modules.privatedns import custom as private
from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import SansIOHTTPPolicy

ZONE = "corp.example"

def record_set(name, kind, **data):
    return {"name": name, "type": f"Microsoft.Network/privateDnsZones/{kind}", "etag": "e", "properties": {"ttl": 300, **data}}

soa = record_set("@", "SOA", soaRecord={
    "host": "azureprivatedns.net", "email": "azureprivatedns-host.microsoft.com", "serialNumber": 1,
    "refreshTime": 3600, "retryTime": 300, "expireTime": 2419200, "minimumTtl": 10})
targets = [
    soa,
    record_set("@", "MX", mxRecords=[{"preference": 10, "exchange": "mail.contoso.com"}]),
    record_set("_sip._tcp", "SRV", srvRecords=[{"priority": 0, "weight": 5, "port": 5060, "target": "sip.contoso.com"}]),
    record_set("4", "PTR", ptrRecords=[{"ptrdname": "host.contoso.com"}]),
    record_set("www", "CNAME", cnameRecord={"cname": "www.contoso.com"}),
]
long_text = [soa, record_set("text", "TXT", txtRecords=[{"value": ["x" * 255, "y" * 45]}])]
listed = []

class Arm(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        value = [soa] if self.path.lower().split("?")[0].endswith("/soa") else listed
        body = json.dumps({"value": value}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

arm = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Arm)
threading.Thread(target=arm.serve_forever, daemon=True).start()

class Credential:
    def get_token(self, *_, **__):
        return AccessToken("token", 9999999999)

class Command:
    cli_ctx = None

# A plain HTTP stub takes no bearer token, so the login is left out.
private.get_mgmt_service_client = lambda _, client, **__: client(
    Credential(), "sub", base_url=f"http://127.0.0.1:{arm.server_port}", authentication_policy=SansIOHTTPPolicy())
# The public export gets from its command what ARM's list has, with the properties beside the name.
public._DNSRecordSetListByZone = lambda **_: lambda **__: [
    {"name": it["name"], "type": it["type"], "TTL": 300, **it["properties"]} for it in listed]

def export(module, sets):
    listed[:] = sets
    with contextlib.redirect_stdout(io.StringIO()) as out:
        module.export_zone(Command, "group", ZONE)
    return out.getvalue()

def read(text):
    return dns.zone.from_text(text, ZONE, relativize=False, check_origin=False)

def read_targets(text):
    zone = read(text)
    get = lambda name, kind: zone.find_rdataset(name, kind)[0]
    return {"MX": get(f"{ZONE}.", "MX").exchange.to_text(), "SRV": get(f"_sip._tcp.{ZONE}.", "SRV").target.to_text(),
            "PTR": get(f"4.{ZONE}.", "PTR").target.to_text(), "CNAME": get(f"www.{ZONE}.", "CNAME").target.to_text()}

def imported(text):
    zone = parse_zone_file(text, ZONE)
    return {"MX": zone[f"{ZONE}."]["mx"][0]["host"], "SRV": zone[f"_sip._tcp.{ZONE}."]["srv"][0]["target"],
            "PTR": zone[f"4.{ZONE}."]["ptr"][0]["host"], "CNAME": zone[f"www.{ZONE}."]["cname"]["alias"]}

changed = 0
def state(what, got, stated):
    global changed
    print(f"{what}: {got}")
    if got != stated:
        changed = 1
        print(f"CHANGED: it was {stated}")

print(f"azure-cli {importlib.metadata.version('azure-cli')}, dnspython {dns.version.version}")
right = {"MX": "mail.contoso.com.", "SRV": "sip.contoso.com.", "PTR": "host.contoso.com.", "CNAME": "www.contoso.com."}
below = {**right, "MX": f"mail.contoso.com.{ZONE}.", "SRV": f"sip.contoso.com.{ZONE}."}
file = export(private, targets)
print("\n".join(line for line in file.splitlines() if "contoso" in line))
state("private export, read by dnspython (should be as the public one)", read_targets(file), {**below, "PTR": f"host.contoso.com.{ZONE}."})
state("private export, read by az import (should be as the public one)", imported(file), {**below, "PTR": "host.contoso.com"})
file = export(public, targets)
state("public export, read by dnspython", read_targets(file), right)
state("public export, read by az import", imported(file), right)
for name, module in ("private", private), ("public", public):
    file = export(module, long_text)
    line = next(line for line in file.splitlines() if line.startswith("text "))
    state(f"{name} export of a TXT of 255 and 45 bytes, strings and their bytes (should be at most 255 each)",
          [len(part) for part in line.split('"')[1::2]], [300])
    try:
        read(file)
        got = "read"
    except dns.exception.SyntaxError as error:
        got = "refused"
        print(f"dnspython: {error}")
    state("  the whole file by dnspython", got, "refused")
    state("  by az import", [len(part) for part in parse_zone_file(file, ZONE)[f"text.{ZONE}."]["txt"][0]["txt"]], [255, 45])
raise SystemExit(changed)
END
PYTHONPATH=packages python3 -B export.py
