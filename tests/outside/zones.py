"""Zones and questions of the differential, made from a seed: the same seed gives the same."""
import random
from pathlib import Path

from message import Question

LABELS = ["a", "b", "c", "www", "mail", "x-y", "_tcp", "Data"]
# Types that a plain name may own, with data that all peers take.
PLAIN = {
    "A": lambda r, z: f"192.0.2.{r.randrange(1, 255)}",
    "AAAA": lambda r, z: f"2001:db8::{r.randrange(1, 65536):x}",
    "TXT": lambda r, z: r.choice(['"one"', '"one" "two words"', '""', '"' + "t" * 255 + '" "more"', '"semi;colon" "\\"quote\\""']),
    "MX": lambda r, z: f"{r.randrange(50)} {r.choice(['mail', 'ns1', 'missing', 'mail.outside.example.'])}",
    "SRV": lambda r, z: f"1 2 {r.randrange(1, 65536)} {r.choice(['www', 'mail.outside.example.'])}",
    "CAA": lambda r, z: '0 issue "ca.example; account=1"',
    "PTR": lambda r, z: r.choice(["www", "host.outside.example."]),
    "HINFO": lambda r, z: '"cpu" "os"',
    "TLSA": lambda r, z: "3 1 1 " + "ab" * 32,
    "SSHFP": lambda r, z: "4 2 " + "cd" * 32,
    "NAPTR": lambda r, z: '10 20 "s" "SIP+D2U" "" _sip._udp',
    "HTTPS": lambda r, z: "1 . alpn=h2 ipv4hint=192.0.2.7",
    "TYPE65280": lambda r, z: "\\# 4 01020304",
}
ASKED = [*PLAIN, "NS", "SOA", "CNAME", "DNAME", "DS", "DNSKEY", "RRSIG", "NSEC", "TYPE65281", "ANY"]
WEIGHTS = [12, 6, 5, 4, 3, 2, 2, 2, 1, 1, 1, 2, 2, 6, 4, 7, 5, 6, 1, 1, 1, 2, 1]


class Zone:
    def __init__(self, apex):
        self.apex = apex
        self.records = {}  # relative owner, "@" for the apex → {type: [data]}
        self.cuts, self.dnames = [], []

    def add(self, owner, kind, *data):
        self.records.setdefault(owner, {}).setdefault(kind, []).extend(d for d in data if d not in self.records[owner].get(kind, []))

    def free(self, owner):
        """Whether a CNAME or a cut may be put here."""
        return owner not in self.records

    def absolute(self, owner):
        return self.apex if owner == "@" else f"{owner}.{self.apex}"

    def alias(self, name):
        """Where a CNAME, a DNAME or a wildcard's CNAME of this zone leads a name; None where none does."""
        records = {self.absolute(owner).lower(): kinds for owner, kinds in self.records.items()}
        labels = name.split(".")
        above = [".".join(labels[index:]) for index in range(1, len(labels) - self.apex.count("."))]
        for top in reversed(above):
            if "DNAME" in records.get(top, {}):
                return self.target(name.removesuffix(top) + self.target(records[top]["DNAME"][0]))
        if name not in records and not any(owner.endswith("." + name) for owner in records):
            encloser = next(top for top in above if top == self.apex or any(below(owner, [top]) for owner in records))
            name = "*." + encloser
        (target,) = records.get(name, {}).get("CNAME", [None])
        return target and self.target(target)

    def target(self, data):
        return data.lower() if data.endswith(".") else self.absolute(data).lower()

    def text(self):
        lines = [f"$ORIGIN {self.apex}", "$TTL 300"]
        owners = sorted(self.records, key=lambda owner: (owner != "@", owner))
        for owner in owners:
            kinds = self.records[owner]
            for kind in sorted(kinds, key=lambda kind: (kind != "SOA", kind)):
                for data in kinds[kind]:
                    lines.append(f"{owner} {3600 if kind == 'SOA' else 300} IN {kind} {data}")
        return "\n".join(lines) + "\n"


def start(apex, minimum=60):
    zone = Zone(apex)
    zone.add("@", "SOA", f"ns1 hostmaster 1 3600 600 86400 {minimum}")
    zone.add("@", "NS", "ns1", "ns.outside.example.")
    zone.add("ns1", "A", "192.0.2.53")
    return zone


def path(r, most):
    return ".".join(r.choice(LABELS) for _ in range(r.randint(1, most)))


def below(owner, tops):
    return any(owner == top or owner.endswith("." + top) for top in tops)


def random_zone(r, apex, others):
    # A SOA's minimum above its TTL bounds nothing (RFC 2308 §5).
    zone = start(apex, r.choice([60, 300, 7200]))
    for kind in r.sample(["A", "MX", "TXT", "CAA", "TYPE65280"], r.randrange(4)):
        zone.add("@", kind, PLAIN[kind](r, zone))
    for index in range(r.randint(1, 3)):
        cut = f"sub{index}" + r.choice(["", ".b", ".c.a"])
        zone.cuts.append(cut)
        for server in r.sample(["ns." + cut, "ns2." + cut, "ns1", "ns.outside.example.", "ns.sub0", "deep.x." + cut], r.randint(1, 3)):
            zone.add(cut, "NS", server)
            if below(server, [cut]):
                zone.add(server, "A", PLAIN["A"](r, zone))
                if r.random() < 0.5:
                    zone.add(server, "AAAA", PLAIN["AAAA"](r, zone))
        if r.random() < 0.4:
            zone.add(cut, "DS", "12345 13 2 " + "ef" * 32)
        # Occluded: not glue, below a cut.
        if r.random() < 0.5:
            zone.add("hidden." + cut, *r.choice([("TXT", "occluded"), ("MX", "10 mail"), ("A", "192.0.2.66")]))
        if r.random() < 0.3:
            zone.add("*.w." + cut, "A", "192.0.2.67")
        if r.random() < 0.2:
            zone.add("alias." + cut, "CNAME", "www")
    for index in range(r.randrange(3)):
        owner = r.choice([f"dn{index}", f"dn{index}.b"])
        zone.dnames.append(owner)
        target = r.choice(["b", "www", "empty.deep", "missing", zone.cuts[0], f"in.{r.choice(others)}", r.choice(others), "outside.example.", "dn0" if index else "a"])
        zone.add(owner, "DNAME", target)
        if r.random() < 0.4:
            zone.add(owner, "TXT", '"beside a DNAME"')
    tops = zone.cuts + zone.dnames
    for _ in range(r.randint(8, 20)):
        owner = path(r, 3)
        if not below(owner, tops):
            for kind in r.sample(list(PLAIN), r.randint(1, 3)):
                zone.add(owner, kind, *(PLAIN[kind](r, zone) for _ in range(r.randint(1, 3) if kind in ("A", "AAAA", "TXT", "MX") else 1)))
    zone.add("leaf.empty.deep", "A", "192.0.2.10")
    for _ in range(r.randint(1, 3)):
        owner = r.choice(["*", "*.b", "*.wild", "*.a.c", "*.empty.deep", "*.*.b"])
        if zone.free(owner):
            kind = r.choice(["A", "TXT", "MX", "CNAME", "CNAME"])
            zone.add(owner, kind, r.choice(["www", "missing", "c.wild", "host.outside.example.", f"www.{r.choice(others)}"]) if kind == "CNAME" else PLAIN[kind](r, zone))
    previous = r.choice(["www", "missing", "x.missing", "empty.deep", "q.wild", f"x.{zone.cuts[0]}", f"www.{r.choice(others)}", "host.outside.example.", zone.apex] + [f"y.{d}" for d in zone.dnames])
    for index in range(r.randint(1, 6)):
        owner = f"chain{index}"
        zone.add(owner, "CNAME", previous)
        previous = owner
    if r.random() < 0.3:
        zone.add("loop1", "CNAME", "loop2")
        zone.add("loop2", "CNAME", "loop1")
        zone.add("self", "CNAME", "self")
    return zone


def special_zones():
    """What a peer may refuse to load stands in zones of its own."""
    both = start("both.test.")
    both.cuts.append("d")
    both.add("d", "NS", "ns1", "ns.outside.example.")
    both.add("d", "DNAME", "www")
    both.add("x.www", "A", "192.0.2.3")
    apex = start("apexdname.test.")
    apex.dnames.append("@")
    apex.records.pop("ns1")
    apex.records["@"]["NS"] = ["ns.outside.example."]
    apex.records["@"]["SOA"] = ["ns.outside.example. hostmaster.outside.example. 1 3600 600 86400 60"]
    apex.add("@", "DNAME", "z00.test.")
    child = start("sub0.z00.test.")
    child.add("www", "A", "192.0.2.4")
    child.add("*", "TXT", '"child"')
    return [both, apex, child]


def make(seed, count=40):
    r = random.Random(seed)
    apexes = [f"z{index:02}.test." for index in range(count)]
    zones = [random_zone(r, apex, [other for other in apexes if other != apex]) for apex in apexes]
    return zones + special_zones()


def write(zones, folder):
    """Writes the master files; apex → file."""
    Path(folder).mkdir()
    files = {}
    for zone in zones:
        files[zone.apex] = Path(folder) / (zone.apex + "zone")
        files[zone.apex].write_text(zone.text())
    return files


def name_near(r, zone, owner):
    """The owner or a name around it, which rules of lookup treat in different ways."""
    if owner == "@":
        kind = r.randrange(4)
        return zone.absolute(["@", path(r, 1), path(r, 3), "nowhere." + path(r, 2)][kind])
    way = r.randrange(12)
    if way < 4:
        name = owner
    elif way == 4:
        name = owner.partition(".")[2] or owner
    elif way == 5:
        name = path(r, 1) + "." + owner
    elif way == 6:
        name = "n0." + path(r, 2) + "." + owner
    elif way == 7:
        name = owner.replace("*", r.choice(LABELS + ["zz", "*", "p.q"]), 1)
    elif way == 8:
        name = r.choice(LABELS + ["zz"]) + "." + owner.partition(".")[2] if "." in owner else path(r, 2)
    elif way == 9:
        name = r.choice(["", "x.", "y.z.", "*."]) + r.choice(zone.cuts or [owner])
    elif way == 10:
        name = r.choice(["", "x.", "y.z.", "leaf.", "www.", "*."]) + r.choice(zone.dnames or [owner])
    else:
        name = path(r, 4)
    return zone.apex if name in ("", "@") else zone.absolute(name.removesuffix(".@"))


def questions(seed, zones, count):
    """`count` questions, all different."""
    r = random.Random(seed + 1)
    made = {}
    while len(made) < count:
        zone = r.choice(zones)
        owner = r.choice(list(zone.records))
        name = name_near(r, zone, owner)
        # Else most names would lack the type that is asked.
        kind = r.choice(list(zone.records[owner])) if r.random() < 0.5 else r.choices(ASKED, WEIGHTS)[0]
        if r.random() < 0.01:
            name = r.choice(["test.", "other.test.", "outside.example.", "com.", "."])
        if r.random() < 0.15:
            name = "".join(r.choice([c.upper(), c.lower()]) for c in name)
        made[Question(name, kind, r.random() < 0.5)] = None
    return list(made)
