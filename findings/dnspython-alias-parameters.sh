#!/usr/bin/env bash
# dnspython 2.9.2: one HTTPS or SVCB record in AliasMode (priority 0) that has parameters makes the whole message that it is in unreadable.
# RFC 9460 §2.4.2: such records SHOULD NOT include any, "and recipients MUST ignore any SvcParams that are present"; it was left so that
# they can be given a meaning later with old readers none the wiser (MikeBishop/dns-alt-svc#266). dnspython raises FormError while it
# parses the message: dns.query raises, dns.resolver asks again until its time is up as if no answer had come, and a zone is not
# transferred (nor read from its file) for one record. Who turns a ServiceMode record into an alias by its priority makes such a one.
# NSD 4.6.1, BIND 9.18.49, Knot 3.2.6 and ldns 1.8.3 take it from a file and serve it. Fails if dnspython or NSD does otherwise than stated.
#
# Needs Debian 12 with apt-get, dpkg, and Python 3.10 or newer with pip. Everything is in a temporary folder and on 127.0.0.1.
set -euo pipefail
nsd_version=4.6.1-1
port=${PORT:-5394}
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
ns      A     127.0.0.1
plain   HTTPS 0 new.example.net.
old     HTTPS 0 new.example.net. alpn=h2
www     A     192.0.2.1
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
import socket, sys, time
import dns.exception, dns.message, dns.query, dns.resolver, dns.version, dns.zone

port = int(sys.argv[1])
changed = 0

def state(what, ask, stated):
    global changed
    try:
        got = ask()
    except dns.exception.DNSException as error:
        got = f"{type(error).__name__}: {error}"
    print(f"{what}: {got}")
    if not got.startswith(stated):
        changed = 1
        print(f"CHANGED: it was {stated}")

def by_hand():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.settimeout(0.5)
        server.connect(("127.0.0.1", port))
        question = dns.message.make_query("old.example", "HTTPS").to_wire()
        for _ in range(60): # until NSD answers
            try:
                server.send(question)
                # One record, whose owner is two bytes.
                data = server.recv(4096)[len(question) + 10:]
                return data[2:2 + int.from_bytes(data[:2], "big")].hex()
            except OSError:
                time.sleep(0.1)
    return "no reply"

def query(name, kind):
    return dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", port=port, timeout=3).answer[0].to_text()

def resolve():
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], port, 2
    return resolver.resolve("old.example", "HTTPS").rrset.to_text()

def transfer():
    zone = dns.zone.Zone("example")
    dns.query.inbound_xfr("127.0.0.1", zone, port=port, timeout=3)
    return f"{len(zone.nodes)} names"

def read():
    return f"{len(dns.zone.from_file('words.zone', 'example').nodes)} names"

print(f"dnspython {dns.version.version}")
# Priority 0, target, key 1, length 3, ALPN h2.
state("NSD sends", by_hand, "0000" "036e6577076578616d706c65036e657400" "0001" "0003" "026832")
state("dnspython, HTTPS of plain.example", lambda: query("plain.example", "HTTPS"), "plain.example. 300 IN HTTPS 0 new.example.net.")
state("dnspython, HTTPS of old.example (should be an alias to new.example.net as well)", lambda: query("old.example", "HTTPS"), "FormError: parameters in AliasMode")
state("its resolver, which asks again until its time is up (the same)", resolve, "LifetimeTimeout: ")
state("its transfer (should be 5 names)", transfer, "FormError: parameters in AliasMode")
state("its reading of the zone file (should be 5 names)", read, "SyntaxError: words.zone:")
raise SystemExit(changed)
END
head -n 1 version
PYTHONPATH=packages python3 ask.py "$port" || { cat log; exit 1; }
