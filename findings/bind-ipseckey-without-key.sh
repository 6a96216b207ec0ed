#!/usr/bin/env bash
# BIND 9.18.49: a zone with an IPSECKEY that names a gateway and no key is neither loaded nor transferred, all of it. RFC 4025 §2.4:
# algorithm 0 "indicates that no key is present"; the record ends behind the gateway then. BIND wants a byte of key whatever the algorithm,
# in words and on the wire ("unexpected end of input"): a secondary ends the transfer at this one record and says SERVFAIL to every name
# of the zone, and dig cannot show it. A KEY without a key (49152 3 5, RFC 2535 §3.1.2) BIND does take.
# NSD 4.6.1, from which the zone is transferred here, and Knot 3.2.6 load and serve it, kdig 3.2.6 shows it. BIND 9.20.30 of Debian 13
# refuses the file too. Fails if BIND or NSD does otherwise than stated below.
#
# Needs Debian 12 with apt-get, dpkg and python3. Everything is in a temporary folder and on 127.0.0.1.
set -euo pipefail
bind_version=1:9.18.49-1~deb12u3
nsd_version=4.6.1-1
port=${PORT:-5396}
other=$((port + 1000))
folder=$(mktemp -d)
nsd=
named=
# Both write their state when they end.
trap 'for process in $nsd $named; do kill "$process"; wait "$process"; done 2>/dev/null || true; rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root "bind9=$bind_version" "bind9-libs=$bind_version" "bind9-utils=$bind_version" "nsd=$nsd_version" \
    libevent-2.1-7 libprotobuf-c1 libfstrm0 libuv1 libjson-c5 liblmdb0 libmaxminddb0 libnghttp2-14 libjemalloc2 libxml2 libicu72 > /dev/null
for package in *.deb; do dpkg -x "$package" root; done
for libraries in "$folder"/root/usr/lib/*-linux-gnu; do break; done
export LD_LIBRARY_PATH=$libraries:$folder/root/lib/${libraries##*/}

zone() { # RECORD
    cat <<END
\$ORIGIN example.
\$TTL 300
@   SOA ns hostmaster 1 3600 600 86400 60
@   NS  ns
ns  A   192.0.2.1
www A   192.0.2.2
$1
END
}
zone 'vpn IPSECKEY 10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==' > key.zone
zone 'vpn IPSECKEY 10 1 0 192.0.2.38' > none.zone
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
  name: key.example.
  zonefile: key.zone
  provide-xfr: 127.0.0.1 NOKEY
zone:
  name: none.example.
  zonefile: none.zone
  provide-xfr: 127.0.0.1 NOKEY
END
sed -i 's/^\$ORIGIN example/$ORIGIN key.example/' key.zone
sed -i 's/^\$ORIGIN example/$ORIGIN none.example/' none.zone
cat > named.conf <<END
options { directory "$folder"; listen-on port $other { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; pid-file none; session-keyfile none; };
controls { };
zone "key.example" { type secondary; primaries { 127.0.0.1 port $port; }; file "key.db"; };
zone "none.example" { type secondary; primaries { 127.0.0.1 port $port; }; file "none.db"; };
END
"$folder/root/usr/sbin/nsd" -d -c nsd.conf > nsd.log 2>&1 &
nsd=$!

cat > ask.py <<'END'
import socket, struct, sys, time
port, name, kind, wait = int(sys.argv[1]), sys.argv[2], {"A": 1, "IPSECKEY": 45}[sys.argv[3]], sys.argv[4:] == ["wait"]
labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
question = struct.pack("!6H", 7, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.settimeout(0.5)
    server.connect(("127.0.0.1", port))
    for _ in range(60):
        try:
            server.send(question)
            reply = server.recv(4096)
        except OSError:
            time.sleep(0.1)
            continue
        _, flags, _, answers, _, _ = struct.unpack("!6H", reply[:12])
        if wait and flags & 15:
            time.sleep(0.1)
            continue
        break
    else:
        raise SystemExit("no reply")
data = reply[len(question) + 10:] # behind owner, type, class and TTL of the first record
data = data[2:2 + struct.unpack("!H", data[:2])[0]].hex() if answers else ""
print({0: "NOERROR", 2: "SERVFAIL"}.get(flags & 15, flags & 15), data)
END
changed=0
state() { # WHAT GOT STATED WHY
    echo "$1: $2 ($4)"
    [ "$2" = "$3" ] || { echo "CHANGED: it was $3"; changed=1; }
}
loads() { if "$folder/root/usr/bin/named-checkzone" "$1" "$2" > check.log 2>&1; then echo loads; else grep -o 'unexpected end of input' check.log | head -n 1; fi; }

"$folder/root/usr/sbin/named" -v
"$folder/root/usr/sbin/nsd" -v > version 2>&1
head -n 1 version
state 'NSD, vpn.none.example IPSECKEY' "$(python3 ask.py "$port" vpn.none.example IPSECKEY wait)" 'NOERROR 0a0100c0000226' 'precedence 10, IPv4 gateway, algorithm 0'
state 'BIND and the file with a key' "$(loads key.example key.zone)" loads right
state 'BIND and the file without' "$(loads none.example none.zone)" 'unexpected end of input' 'should load'
zone 'vpn TYPE45 \# 7 0a0100c0000226' > generic.zone
state 'BIND and the same in RFC 3597 form' "$(loads example generic.zone)" 'unexpected end of input' 'should load'
"$folder/root/usr/sbin/named" -g -n 1 -c named.conf > named.log 2>&1 &
named=$!
state 'BIND, transferred, www.key.example A' "$(python3 ask.py "$other" www.key.example A wait)" 'NOERROR c0000202' right
for _ in {1..100}; do ! grep -q "transfer of 'none.example/IN'.*Transfer completed" named.log || break; sleep 0.1; done
grep -o "transfer of 'none.example/IN'.*Transfer status: .*" named.log || true
state 'BIND, transferred, www.none.example A' "$(python3 ask.py "$other" www.none.example A)" 'SERVFAIL ' 'should be NOERROR c0000202'
[ $changed = 0 ] || cat named.log nsd.log
exit $changed
