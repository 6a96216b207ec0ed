#!/usr/bin/env bash
# dnspython 2.9.2: the data of MB, MG, MR and MINFO is taken out of a message as it stands there, with compression pointers that lead nowhere
# without that message. RFC 3597 §4: names in data of the types of RFC 1035 may be compressed (NSD 4.6.1 does it, BIND 9.18.49 too), and
# who receives them MUST decompress them; these four are RFC 1035's. dnspython knows their names but not their fields, so they are to it like
# an unknown type, in which a pointer cannot be: `MB \# 7 04686f7374c00f`, seven bytes that end in one. What dnspython writes of a zone that
# it transferred is refused by the NSD that sent it, and by BIND, and the same record of two messages is not equal. With MX and all other
# types of RFC 1035 that are in use it does right. PowerDNS had the same fault (PowerDNS/pdns#5687).
# Fails if dnspython or NSD does otherwise than stated.
#
# Needs Debian 12 with apt-get, dpkg, and Python 3.10 or newer with pip. Everything is in a temporary folder and on 127.0.0.1.
set -euo pipefail
nsd_version=4.6.1-1
port=${PORT:-5395}
folder=$(mktemp -d)
nsd=
# NSD writes its state when it ends.
trap '[ -z "$nsd" ] || { kill "$nsd"; wait "$nsd"; } 2>/dev/null || true; rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root "nsd=$nsd_version" libevent-2.1-7 libprotobuf-c1 libfstrm0 > /dev/null
for package in *.deb; do dpkg -x "$package" root; done
python3 -m pip install -q --no-deps --disable-pip-version-check --root-user-action=ignore --target packages dnspython==2.9.2

cat > words.zone <<'END'
$ORIGIN example.
$TTL 300
@       SOA   ns hostmaster 1 3600 600 86400 60
@       NS    ns
ns      A     192.0.2.1
$ORIGIN corp.example.
host    A     192.0.2.2
mb      MB    host
minfo   MINFO host host
mx      MX    10 host
END
cat > nsd.conf <<END
server:
  ip-address: 127.0.0.1@$port
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "$folder"
  database: ""
  pidfile: "$folder/nsd.pid"
  xfrdfile: "$folder/xfrd.state"
  zonelistfile: "$folder/zone.list"
  xfrdir: "$folder"
remote-control:
  control-enable: no
zone:
  name: example.
  zonefile: words.zone
  provide-xfr: 127.0.0.1 NOKEY
END
LD_LIBRARY_PATH=$(echo "$folder"/root/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH
"$folder/root/usr/sbin/nsd" -v > version 2>&1
"$folder/root/usr/sbin/nsd" -d -c nsd.conf > log 2>&1 &
nsd=$!

cat > ask.py <<'END'
import subprocess, sys, time
import dns.exception, dns.message, dns.query, dns.rdatatype, dns.version, dns.zone

port = int(sys.argv[1])
changed = 0

def state(what, got, stated):
    global changed
    print(f"{what}: {got}")
    if got != stated:
        changed = 1
        print(f"CHANGED: it was {stated}")

def query(name, kind):
    for _ in range(60): # until NSD answers
        try:
            message = dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", port=port, timeout=0.5)
            return message.answer[0][0]
        except (OSError, dns.exception.Timeout):
            time.sleep(0.1)
    raise SystemExit("no reply")

def checked(file):
    return "loads" if subprocess.run(["root/usr/sbin/nsd-checkzone", "example", file], capture_output=True).returncode == 0 else "refused"

print(f"dnspython {dns.version.version}")
state("NSD and the zone file", checked("words.zone"), "loads")
host = "04686f7374" "04636f7270" "076578616d706c65" "00" # host.corp.example
state("MX of mx.corp.example", query("mx.corp.example", "MX").to_text(), "10 host.corp.example.")
# The pointer is to corp.example in the question of that message.
state("MB of mb.corp.example (should be host.corp.example.)", query("mb.corp.example", "MB").to_text(), r"\# 7 04686f7374c00f")
state("MINFO (should be host.corp.example. twice)", query("minfo.corp.example", "MINFO").to_text(), r"\# 9 04686f7374c012c030")
zone = dns.zone.Zone("example", relativize=False)
dns.query.inbound_xfr("127.0.0.1", zone, port=port, timeout=3)
mb = zone.find_rdataset("mb.corp.example.", "MB")[0]
state("MB in a transferred zone", "whole" if mb.to_wire().hex() == host else "has a pointer" if mb.to_wire()[-2] >= 0xC0 else mb.to_wire().hex(), "has a pointer")
state("  equal to that of the answer (should be)", mb == query("mb.corp.example", "MB"), False)
zone.to_file("transferred.zone", relativize=False)
state("NSD and the zone file that dnspython writes of it (should load)", checked("transferred.zone"), "refused")
for name in "mb", "minfo":
    zone.delete_node(f"{name}.corp.example.")
zone.to_file("rest.zone", relativize=False)
state("  without MB and MINFO", checked("rest.zone"), "loads")
raise SystemExit(changed)
END
head -n 1 version
PYTHONPATH=packages python3 ask.py "$port" || { cat log; exit 1; }
