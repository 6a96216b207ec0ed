#!/usr/bin/env bash
# NSD 4.6.1-1: what a parent's zone file has below a cut (glue, or data that is occluded) keeps a wildcard of the child zone, served by
# the same NSD, from answering. The name is not in the child zone, so its wildcard should answer (RFC 4592 §3.3.1; RFC 1034 §4.3.2
# step 2 begins in the nearest zone), as it does with BIND 9.18.49 and Knot 3.2.6. Fails if NSD answers otherwise than stated below.
#
# Needs Debian 12 with apt-get, dpkg and python3. Everything is in a temporary folder and on 127.0.0.1.
set -euo pipefail
version=4.6.1-1
port=${PORT:-5391}
folder=$(mktemp -d)
nsd=
# NSD writes its state when it ends.
trap '[ -z "$nsd" ] || { kill "$nsd"; wait "$nsd"; } 2>/dev/null || true; rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root "nsd=$version" libevent-2.1-7 libprotobuf-c1 libfstrm0 > /dev/null
for package in *.deb; do dpkg -x "$package" root; done

cat > parent.zone <<'END'
$ORIGIN example.
$TTL 300
@       SOA ns hostmaster 1 3600 600 86400 60
@       NS  ns
ns      A   192.0.2.1
sub     NS  ns.x.sub
ns.x.sub A  192.0.2.2
END
cat > child.zone <<'END'
$ORIGIN sub.example.
$TTL 300
@       SOA ns.example. hostmaster 1 3600 600 86400 60
@       NS  ns.example.
*       TXT "child"
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
  zonefile: parent.zone
zone:
  name: sub.example.
  zonefile: child.zone
END
LD_LIBRARY_PATH=$(echo "$folder"/root/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH
"$folder/root/usr/sbin/nsd" -d -c nsd.conf > log 2>&1 &
nsd=$!

cat > ask.py <<'END'
import socket, struct, sys, time
port, name = int(sys.argv[1]), sys.argv[2]
labels = b"".join(bytes([len(label)]) + label.encode() for label in name.strip(".").split("."))
question = struct.pack("!6H", 7, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 16, 1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.settimeout(0.5)
    server.connect(("127.0.0.1", port))
    for _ in range(60):
        try:
            server.send(question)
            _, flags, _, answers, _, _ = struct.unpack("!6H", server.recv(4096)[:12])
            print({0: "NOERROR", 3: "NXDOMAIN"}.get(flags & 15, flags & 15), answers)
            break
        except OSError:
            time.sleep(0.1)
    else:
        raise SystemExit("no reply")
END
changed=0
state() { # NAME RCODE ANSWERS WHY
    local got; got=$(python3 ask.py "$port" "$1")
    echo "$1 TXT: $got ($4)"
    [ "$got" = "$2 $3" ] || { echo "CHANGED: it was $2 $3"; changed=1; }
}
"$folder/root/usr/sbin/nsd" -v > version 2>&1
head -n 1 version
state other.sub.example. NOERROR 1 "the wildcard answers"
state y.other.sub.example. NOERROR 1 "the wildcard answers"
state x.sub.example. NOERROR 0 "a name above the parent's glue: should be 1 by the wildcard"
state ns.x.sub.example. NOERROR 0 "the parent's glue: should be 1 by the wildcard"
state y.x.sub.example. NXDOMAIN 0 "below it: should be NOERROR 1 by the wildcard"
[ $changed = 0 ] || cat log
exit $changed
