#!/usr/bin/env bash
# ldns 1.8.3-1+b1: the last example of RFC 9460 D.2, an ALPN that has a comma and a backslash, is read as other protocols in both its forms,
# and a comma that ldns writes divides for everybody else. A list in SVCB has two levels of escapes: those of a string, then \, and \\
# within the list (RFC 9460 A.1); ldns knows one. From alpn="f\\\\oo\\,bar,h2" it makes the three ids f\\oo\, bar and h2 where f\oo,bar
# and h2 are meant; the bytes of one id a,b it writes as alpn=a\,b, which is two, a and b, in RFC 9460's reading. §7.1.1 lets a parser refuse
# such ids, not take them for others. As both ways have the same fault ldns alone does not see it; what ldns-signzone or ldns-read-zone
# reads or writes is other data than that of the server that it comes from or goes to.
# dnspython 2.9.2, BIND 9.18.49, NSD 4.6.1 and Knot 3.2.6 read both forms right; ldns 1.8.4-2 of Debian 13 does as 1.8.3. Fails if ldns or
# dnspython, which is asked beside it, reads or writes otherwise than stated.
#
# Needs Debian 12 with apt-get, dpkg, and Python 3.10 or newer with pip. Everything is in a temporary folder and offline.
set -euo pipefail
version=1.8.3-1+b1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get download -qq -o APT::Sandbox::User=root "ldnsutils=$version" "libldns3=$version" > /dev/null
for package in *.deb; do dpkg -x "$package" root; done
python3 -m pip install -q --no-deps --disable-pip-version-check --root-user-action=ignore --target packages dnspython==2.9.2
LD_LIBRARY_PATH=$(echo "$folder"/root/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH

cat > both.py <<'END'
import subprocess
import dns.rdata, dns.version

changed = 0

def by_ldns(data, *options):
    with open("one.zone", "w") as file:
        file.write("$ORIGIN example.org.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\nx " + data + "\n")
    done = subprocess.run(["root/usr/bin/ldns-read-zone", *options, "one.zone"], capture_output=True, text=True)
    return next(line for line in done.stdout.splitlines() if line.startswith("x.")).split("\t", 4)[-1]

def ids(wire):
    """The ids of an ALPN that is the record's only parameter, behind priority, target (foo.example.org.), key and length."""
    value, got = wire[2 + 17 + 4:], []
    while value:
        got.append(value[1:1 + value[0]].decode())
        value = value[1 + value[0]:]
    return got

def ldns_reads(words):
    return ids(bytes.fromhex("".join(by_ldns("SVCB " + words, "-u", "SVCB").split()[2:])))

def dnspython_reads(words):
    return ids(dns.rdata.from_text("IN", "SVCB", words).to_wire())

def state(what, got, stated):
    global changed
    print(f"{what}: {got}")
    if got != stated:
        changed = 1
        print(f"CHANGED: it was {stated}")

print(subprocess.run(["root/usr/bin/ldns-read-zone", "-v"], capture_output=True, text=True).stdout.strip() + f", dnspython {dns.version.version}")
right, wrong = [r"f\oo,bar", "h2"], ["f\\\\oo\\", "bar", "h2"]
for example in r'16 foo.example.org. alpn="f\\\\oo\\,bar,h2"', r"16 foo.example.org. alpn=f\\\092oo\092,bar,h2":
    print(example)
    state("  dnspython reads", dnspython_reads(example), right)
    state("  ldns reads (should be the same)", ldns_reads(example), wrong)
wire = r"TYPE64 \# 27 0010 03666f6f 076578616d706c65 036f7267 00 0001 0004 03612c62"
written = by_ldns(wire)
state("ldns writes one id a,b as", written, r"16 foo.example.org. alpn=a\,b")
state("  dnspython reads that as (should be ['a,b'])", dnspython_reads(written), ["a", "b"])
state("  ldns reads that as", ldns_reads(written), ["a,b"])
raise SystemExit(changed)
END
PYTHONPATH=packages python3 both.py
