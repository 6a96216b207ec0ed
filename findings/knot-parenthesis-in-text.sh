#!/usr/bin/env bash
# Knot 3.2.6-1: a parenthesis that touches a string without quotes groups lines as it should and is served as a part of the string too.
# `TXT ( v=spf1 mx -all)` is "v=spf1" "mx" "-all)" and `CAA 0 issue (letsencrypt.org)` is "letsencrypt.org)": a policy that nobody reads as
# it is written, without an error or warning. RFC 1035 §5.1: parentheses are used to group data, and one that is data is quoted with \.
# With a blank before the parenthesis, with quotes, and in every field that is not a character string (names, numbers, base64) Knot reads
# the same line right. BIND 9.18.49, NSD 4.6.1 and dnspython 2.9.2 leave the parenthesis out in all of these, ldns 1.8.3 in the TXT at the end of
# a string. Knot 3.4.6-2 of Debian 13 does as 3.2.6. Fails if Knot answers otherwise than stated below.
#
# Needs Debian 12 with apt-get, dpkg and python3. Everything is in a temporary folder and on 127.0.0.1.
set -euo pipefail
version=3.2.6-1
port=${PORT:-5392}
folder=$(mktemp -d)
knot=
trap '[ -z "$knot" ] || { kill "$knot"; wait "$knot"; } 2>/dev/null || true; rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root "knot=$version" "libknot13=$version" "libdnssec9=$version" "libzscanner4=$version" \
    libcap-ng0 liblmdb0 liburcu8 libbpf1 libxdp1 libelf1 libgnutls30 libnettle8 libhogweed6 libidn2-0 libunistring2 libp11-kit0 libtasn1-6 > /dev/null
for package in *.deb; do dpkg -x "$package" root; done

cat > words.zone <<'END'
$ORIGIN example.
$TTL 300
@       SOA ns hostmaster (1 3600 600 86400 60)
@       NS  ns
ns      A   (192.0.2.1)
spf     TXT ( v=spf1 mx -all)
lines   TXT (v=spf1
             mx -all)
middle  TXT a(b)c
caa     CAA 0 issue (letsencrypt.org)
hinfo   HINFO (PC UNIX)
blank   TXT ( v=spf1 mx -all )
quotes  TXT ("v=spf1" "mx" "-all")
mx      MX  (10 mail)
END
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
zone:
  - domain: example
    file: $folder/words.zone
    zonefile-sync: -1
    journal-content: none
END
for libraries in "$folder"/root/usr/lib/*-linux-gnu; do break; done
export LD_LIBRARY_PATH=$libraries:$folder/root/lib/${libraries##*/}
"$folder/root/usr/sbin/knotd" -c knot.conf > log 2>&1 &
knot=$!

cat > ask.py <<'END'
import socket, struct, sys, time
port, name, kind = int(sys.argv[1]), sys.argv[2], {"TXT": 16, "CAA": 257, "HINFO": 13, "MX": 15}[sys.argv[3]]
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
        if flags & 15 != 2 and answers: # SERVFAIL: the zone is being loaded
            break
        time.sleep(0.1)
    else:
        raise SystemExit("no reply")
# One record whose owner is two bytes, as the question's name is pointed at.
data = reply[len(question) + 12:]
assert struct.unpack("!H", reply[len(question) + 10:len(question) + 12])[0] == len(data)
if kind == 257:
    print(data[2:2 + data[1]].decode(), data[2 + data[1]:].decode())
elif kind == 15:
    print(data[0] << 8 | data[1], data[3:3 + data[2]].decode())
else:
    strings = []
    while data:
        strings.append(data[1:1 + data[0]].decode())
        data = data[1 + data[0]:]
    print("|".join(strings))
END
changed=0
state() { # NAME TYPE DATA WHY
    local got; got=$(python3 ask.py "$port" "$1.example" "$2")
    echo "$1 $2: $got ($4)"
    [ "$got" = "$3" ] || { echo "CHANGED: it was $3"; changed=1; }
}
"$folder/root/usr/sbin/knotd" --version
state spf TXT 'v=spf1|mx|-all)' 'should be v=spf1|mx|-all'
state lines TXT 'v=spf1|mx|-all)' 'should be v=spf1|mx|-all'
state middle TXT 'a(|b)|c' 'should be a|b|c'
state caa CAA 'issue letsencrypt.org)' 'should be issue letsencrypt.org'
state hinfo HINFO 'PC|UNIX)' 'should be PC|UNIX'
state blank TXT 'v=spf1|mx|-all' 'right'
state quotes TXT 'v=spf1|mx|-all' 'right'
state mx MX '10 mail' 'right'
[ $changed = 0 ] || cat log
exit $changed
