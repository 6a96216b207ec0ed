#!/usr/bin/env bash
# Knot 3.2.6-1: a dynamic update that adds a record which is there with another TTL is answered NOERROR and changes nothing: neither the
# TTL nor the serial. RFC 2136 §3.4.2.2: "In case of duplicate RDATAs [...] the Zone RR is replaced by Update RR", which is how a TTL is lowered
# before a move (`nsupdate`: update add www.example 60 A 192.0.2.1). Knot does take the new TTL of a CNAME, and where the same update has
# a record of the set that is new, then for all of the set; deletion and addition in one update work too. So a client that adds the set as
# it should be comes to the right TTL or not, depending on whether any of its data changed.
# BIND 9.18.49 takes the TTL for the whole set in each of these cases; Knot 3.4.6-2 of Debian 13 does as 3.2.6.
# It also counts the serial from 4294967295 to 0; RFC 2136 §7.11: "necessary to increment it again or set it to one (1)", as BIND does.
# Fails if Knot does otherwise than stated below.
#
# Needs Debian 12 with apt-get, dpkg and python3. Everything is in a temporary folder and on 127.0.0.1.
set -euo pipefail
version=3.2.6-1
port=${PORT:-5397}
folder=$(mktemp -d)
knot=
trap '[ -z "$knot" ] || { kill "$knot"; wait "$knot"; } 2>/dev/null || true; rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root "knot=$version" "libknot13=$version" "libdnssec9=$version" "libzscanner4=$version" \
    libcap-ng0 liblmdb0 liburcu8 libbpf1 libxdp1 libelf1 libgnutls30 libnettle8 libhogweed6 libidn2-0 libunistring2 libp11-kit0 libtasn1-6 > /dev/null
for package in *.deb; do dpkg -x "$package" root; done

words() { # ORIGIN SERIAL
    cat <<END
\$ORIGIN $1.
\$TTL 300
@     SOA   ns hostmaster $2 3600 600 86400 60
@     NS    ns
ns    A     192.0.2.1
one   A     192.0.2.1
two   A     192.0.2.1
two   A     192.0.2.2
grown A     192.0.2.1
alias CNAME one
again A     192.0.2.1
END
}
words example 1 > example.zone
words last.example 4294967295 > last.zone
cat > knot.conf <<END
server:
  rundir: $folder
  listen: 127.0.0.1@$port
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
log:
  - target: stderr
    any: info
database:
  storage: $folder
acl:
  - id: anybody
    address: 127.0.0.1
    action: update
template:
  - id: default
    zonefile-sync: -1
    acl: anybody
zone:
  - domain: example
    file: $folder/example.zone
  - domain: last.example
    file: $folder/last.zone
END
for libraries in "$folder"/root/usr/lib/*-linux-gnu; do break; done
export LD_LIBRARY_PATH=$libraries:$folder/root/lib/${libraries##*/}
"$folder/root/usr/sbin/knotd" -c knot.conf > log 2>&1 &
knot=$!

cat > update.py <<'END'
import socket, struct, sys, time

port = int(sys.argv[1])
changed = 0
TYPES = {"A": 1, "CNAME": 5, "SOA": 6}
CLASSES = {"IN": 1, "ANY": 255}

def wire(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"

def record(name, ttl, kind, data, klass="IN"):
    data = b"" if data is None else socket.inet_aton(data) if kind == "A" else wire(data)
    return wire(name) + struct.pack("!2HIH", TYPES[kind], CLASSES[klass], ttl, len(data)) + data

def exchange(message, wait=lambda rcode: False):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.settimeout(2)
        server.connect(("127.0.0.1", port))
        for _ in range(60):
            try:
                server.send(message)
                reply = server.recv(4096)
            except OSError: # not there yet
                time.sleep(0.1)
                continue
            if not wait(reply[3] & 15):
                return reply
            time.sleep(0.1)
    raise SystemExit("no reply")

def update(zone, *records):
    message = struct.pack("!6H", 7, 5 << 11, 1, 0, len(records), 0) + wire(zone) + struct.pack("!2H", 6, 1) + b"".join(records)
    rcode = exchange(message)[3] & 15
    return {0: "NOERROR"}.get(rcode, rcode)

def ttls(name, kind):
    """The TTLs of the answer, and of a SOA the serial; the question's name is pointed at."""
    question = struct.pack("!6H", 7, 0, 1, 0, 0, 0) + wire(name) + struct.pack("!2H", TYPES[kind], 1)
    reply = exchange(question, wait=lambda rcode: rcode == 2) # SERVFAIL: the zone is being loaded
    at, got = len(question), []
    for _ in range(struct.unpack("!H", reply[6:8])[0]):
        type_, _, ttl, size = struct.unpack("!2HIH", reply[at + 2:at + 12])
        if kind == "SOA":
            return struct.unpack("!I", reply[at + 12 + size - 20:at + 12 + size - 16])[0]
        if type_ == TYPES[kind]:
            got.append(ttl)
        at += 12 + size
    return got

def state(what, got, stated):
    global changed
    print(f"{what}: {got}")
    if got != stated:
        changed = 1
        print(f"CHANGED: it was {stated}")

def case(what, name, kind, *records, stated, serial):
    before = ttls("example", "SOA")
    state(f"{what}: reply, TTLs of {name}, serial", (update("example", *records), ttls(name, kind), f"+{ttls('example', 'SOA') - before}"),
          ("NOERROR", stated, f"+{serial}"))

case("the record again, TTL 60 (should be 60, +1)", "one.example", "A", record("one.example", 60, "A", "192.0.2.1"), stated=[300], serial=0)
case("both records again, TTL 60 (should be 60, +1)", "two.example", "A", record("two.example", 60, "A", "192.0.2.1"),
     record("two.example", 60, "A", "192.0.2.2"), stated=[300, 300], serial=0)
case("the record again and a new one, TTL 60 (right)", "grown.example", "A", record("grown.example", 60, "A", "192.0.2.1"),
     record("grown.example", 60, "A", "192.0.2.2"), stated=[60, 60], serial=1)
case("the alias again, TTL 60 (right)", "alias.example", "CNAME", record("alias.example", 60, "CNAME", "one.example"), stated=[60], serial=1)
case("the set deleted, the record added, TTL 60 (right)", "again.example", "A", record("again.example", 0, "A", None, "ANY"),
     record("again.example", 60, "A", "192.0.2.1"), stated=[60], serial=1)
state("serial before", ttls("last.example", "SOA"), 4294967295)
update("last.example", record("new.last.example", 60, "A", "192.0.2.1"))
state("serial after one update (should be 1)", ttls("last.example", "SOA"), 0)
raise SystemExit(changed)
END
"$folder/root/usr/sbin/knotd" --version
python3 update.py "$port" || { cat log; exit 1; }
