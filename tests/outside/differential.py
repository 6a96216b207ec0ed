"""10,000 questions to this server and its peers over the same zones; what differs is explained by EXPECTED, or fails."""
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import zones as made
from expected import EXPECTED, Case
from message import Question, ask
from servers import Fleet


def encloses(top, name):
    return name == top or name.endswith("." + top)


def normal(reply, question):
    """What must be equal; each line leaves to a server what the RFCs leave to it.

    Returns aspect → value. Case of names and order of records do not count: `message` drops both.
    """
    if reply is None:
        return {"rcode": "no reply"}
    aspects = {"rcode": reply.rcode, "opt": reply.opt, "answer": reply.answer, "doubled": reply.doubled}
    if reply.rcode not in ("NOERROR", "NXDOMAIN"):
        # A failure says its code and no more.
        return aspects
    aspects["aa"] = reply.aa
    soa = {record for record in reply.authority if record.type == "SOA"}
    full = reply.answer and not soa and reply.aa and any(r.type != "CNAME" or question.type in ("CNAME", "ANY") for r in reply.answer)
    if full:
        # NS records beside a full answer are a courtesy: minimal responses leave them out.
        aspects["authority"] = frozenset(record for record in reply.authority if record.type != "NS")
    else:
        aspects["authority"] = reply.authority
        # Addresses of name servers below the cut must be there (RFC 9471 §2.1); all else in additional may be left out.
        servers = [record for record in reply.authority if record.type == "NS"]
        hosts = {server.data for server in servers if any(encloses(cut.name, server.data) for cut in servers)}
        aspects["glue"] = frozenset(record for record in reply.additional if record.name in hosts)
    return aspects


def differing(ours, peer, question):
    """Names of the aspects that differ."""
    ours, peer = normal(ours, question), normal(peer, question)
    return sorted(aspect for aspect in ours.keys() | peer.keys() if ours.get(aspect) != peer.get(aspect))


def loaded(server, zones):
    """Apexes of the zones that the server took."""
    replies = ask(server.address, [Question(zone.apex, "SOA", False) for zone in zones])
    return {zone.apex for zone, reply in zip(zones, replies) if reply and reply.rcode == "NOERROR" and reply.aa}


def zone_of(name, zones):
    """The longest zone that encloses a name, or None."""
    return max((zone for zone in zones if encloses(zone.apex, name.lower())), key=lambda zone: len(zone.apex), default=None)


def kind_of(reply):
    """What sort of reply it is, in a word."""
    if reply is None or reply.rcode not in ("NOERROR", "NXDOMAIN"):
        return reply.rcode if reply else "without reply"
    if any(record.type == "DNAME" for record in reply.answer):
        return "by a DNAME"
    if any(record.type == "CNAME" for record in reply.answer):
        return "with a CNAME"
    if reply.answer or reply.rcode == "NXDOMAIN":
        return "with data" if reply.answer else "NXDOMAIN"
    return "NODATA" if reply.aa else "referrals"


def run(program, seed=1, count=10_000, examples=3):
    """Prints what came out; whether all differences are explained."""
    zones = made.make(seed)
    questions = made.questions(seed, zones, count)
    homes = [zone_of(question.name, zones) for question in questions]
    with tempfile.TemporaryDirectory() as folder:
        files = made.write(zones, Path(folder) / "zones")
        with Fleet(program, folder, files) as servers:
            replies = {server.name: ask(server.address, questions) for server in servers}
            taken = {server.name: loaded(server, zones) for server in servers}
    ours = replies.pop("ours")
    print(f"differential: {len(questions)} questions on {len(zones)} zones (seed {seed}) to ours, {', '.join(replies) or 'and no peer'}")
    print("  ours: " + ", ".join(f"{count} {kind}" for kind, count in Counter(map(kind_of, ours)).most_common()))
    fine = True
    if refused := {zone.apex for zone in zones} - taken["ours"]:
        fine = False
        print(f"  FAIL  ours does not serve {', '.join(sorted(refused))}")
    unexplained = defaultdict(list)
    for peer, its in replies.items():
        for apex in sorted({zone.apex for zone in zones} - taken[peer]):
            print(f"  {peer} does not load {apex}: not compared there")
        equal, compared, rules = 0, 0, Counter()
        for question, home, one, other in zip(questions, homes, ours, its):
            if home and home.apex not in taken[peer]:
                continue
            compared += 1
            aspects = differing(one, other, question)
            if not aspects:
                equal += 1
                continue
            rule = next((rule for rule in EXPECTED if peer in rule.peers and rule.holds(Case(question, one, other, aspects, lambda name: zone_of(name, zones)))), None)
            if rule:
                rules[rule.name] += 1
            else:
                unexplained[peer, ",".join(aspects)].append((question, one, other))
        print(f"  {peer}: {equal} of {compared} equal, {sum(rules.values())} differ as expected")
        for rule in EXPECTED:
            if rules[rule.name]:
                print(f"    {rules[rule.name]:5}  {rule.name}: {rule.reason}")
    for (peer, aspects), cases in unexplained.items():
        fine = False
        print(f"  FAIL  {len(cases)} unexplained: {aspects} of {peer}")
        for question, one, other in cases[:examples]:
            print(f"    {question}")
            for name, reply in (("ours", one), (peer, other)):
                for line in reply.lines() if reply else ["no reply"]:
                    print(f"      {name + ':':6} {line}")
    return fine
