#!/usr/bin/env bash
# NSD 4.6.1-1: the numbered form of an SVCB parameter whose key NSD knows is read as if it stood under the key's name, so other bytes are
# served than the file has. RFC 9460 §2.1: in the form keyNNNNN the decoded value is the wire format. key1=\002h2 is alpn=h2, but NSD adds
# a length and serves an ALPN that is the three bytes 02 68 32; key3=\001\187 (port 443) or key4=\192\000\002\001 (an IPv4 hint) is an
# error and the whole zone is not loaded. What is no wire format, key3=443 (three bytes for a port), is taken instead, as the name's own
# text. ldns 1.8.3-1+b1 does the same, and reads key3=\0005 as port 0 where its bytes say 53, without an error.
# The form is what a tool writes that does not know a key's name, so such a zone changes or is refused on its way to NSD.
# BIND 9.18.49, Knot 3.2.6 and dnspython 2.9.2 serve the bytes; NSD 4.12.0-1 and ldns 1.8.4-2 of Debian 13 do as the older ones. dnspython's
# author asked the RFC's for this very case and was told so: MikeBishop/dns-alt-svc#235. Fails if NSD or ldns does otherwise than stated.
#
# Needs Debian 12 with apt-get, dpkg and python3. Everything is in a temporary folder and on 127.0.0.1.
set -euo pipefail
nsd_version=4.6.1-1
ldns_version=1.8.3-1+b1
port=${PORT:-5393}
folder=$(mktemp -d)
nsd=
# NSD writes its state when it ends.
trap '[ -z "$nsd" ] || { kill "$nsd"; wait "$nsd"; } 2>/dev/null || true; rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root "nsd=$nsd_version" "ldnsutils=$ldns_version" "libldns3=$ldns_version" libevent-2.1-7 libprotobuf-c1 libfstrm0 > /dev/null
for package in *.deb; do dpkg -x "$package" root; done
LD_LIBRARY_PATH=$(echo "$folder"/root/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH

cat > soa <<'END'
$ORIGIN example.
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 192.0.2.1
END
{
    cat soa
    echo 'name    SVCB 1 . alpn=h2'
    echo 'number  SVCB 1 . key1=\002h2'
    echo 'two     SVCB 1 . key1=\002h2\002h3'
    echo 'unknown SVCB 1 . key667=\002h2'
} > words.zone
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
END
"$folder/root/usr/sbin/nsd" -d -c nsd.conf > log 2>&1 &
nsd=$!

cat > ask.py <<'END'
import socket, struct, sys, time
port, name = int(sys.argv[1]), sys.argv[2]
labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
question = struct.pack("!6H", 7, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 64, 1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.settimeout(0.5)
    server.connect(("127.0.0.1", port))
    for _ in range(60):
        try:
            server.send(question)
            reply = server.recv(4096)
            break
        except OSError:
            time.sleep(0.1)
    else:
        raise SystemExit("no reply")
at = len(question) + 12 # one record, whose owner is two bytes; behind priority and target: key, length, value
size = struct.unpack("!H", reply[at - 2:at])[0]
assert reply[6:8] == b"\0\1" and reply[at:at + 3] == b"\0\1\0"
print(reply[at + 3:at + size].hex(" ", -2))
END
changed=0
state() { # WHAT GOT STATED WHY
    echo "$1: $2 ($4)"
    [ "$2" = "$3" ] || { echo "CHANGED: it was $3"; changed=1; }
}
served() { state "NSD serves $1" "$(python3 ask.py "$port" "$1.example")" "$2" "$3"; }
checked() { # PARAMETER STATED WHY
    local got=refused
    { cat soa; echo "x SVCB 1 . $1"; } > one.zone
    if "$folder/root/usr/sbin/nsd-checkzone" example one.zone > one.log 2>&1; then got=loads; fi
    state "NSD and $1" "$got" "$2" "$3"
}
by_ldns() { # PARAMETER STATED WHY
    { cat soa; echo "x SVCB 1 . $1"; } > one.zone
    state "ldns and $1" "$("$folder/root/usr/bin/ldns-read-zone" -u SVCB one.zone 2> one.log | sed -n 's/^x\.example\..*\\# [0-9]* 000100//p')" "$2" "$3"
}
"$folder/root/usr/sbin/nsd" -v > version 2>&1
head -n 1 version
"$folder/root/usr/bin/ldns-read-zone" -v
# Key, length of the value, value.
served name '0001 0003 0268 32' 'ALPN h2: right'
served number '0001 0004 0302 6832' 'should be 0001 0003 0268 32 as well'
served two '0001 0007 0602 6832 0268 33' 'should be 0001 0006 0268 3202 6833'
served unknown '029b 0003 0268 32' 'right, as the key has no name'
checked 'key3=\001\187' refused 'port 443: should load'
checked 'key4=\192\000\002\001' refused '192.0.2.1: should load'
checked 'key0=\000\001 alpn=h2' refused 'mandatory=alpn: should load'
checked 'key3=443' loads 'three bytes for a port: should be refused'
by_ldns 'key1=\002h2' 0001000403026832 'should be 00010003026832'
by_ldns 'key3=\0005' 000300020000 'port 53, the bytes 00 35: should be 000300020035'
[ $changed = 0 ] || cat log one.log
exit $changed
