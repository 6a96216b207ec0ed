"""Ferret's data set (github.com/dns-groot/FerretDataset): small zones, a question or more to each, and what other servers answered."""
import json
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from differential import differing, loaded, zone_of
from expected import FERRET, Case
from message import Question, Record, Reply, ask
from servers import Fleet
from zones import Zone

# Ferret's expected replies were recorded from these, among others; those of other servers are known to be wrong more often.
TRUSTED = {"bind", "nsd", "knot", "powerdns"}


def move(text, suffix):
    """Puts all names of a line below `suffix`, so that zones of one apex, or one below the other, can be served at once."""
    return " ".join(word + suffix if word.endswith(".") and '"' not in word else word for word in text.split())


def recorded(lines, suffix):
    """A reply in dnspython's text."""
    sections = {"ANSWER": [], "AUTHORITY": [], "ADDITIONAL": []}
    rcode, flags, section = "NOERROR", [], None
    for line in lines:
        words = line.split()
        if line.startswith(";"):
            section = line[1:]
        elif section is None:
            rcode = words[1] if words[0] == "rcode" else rcode
            flags = words[1:] if words[0] == "flags" else flags
        elif section in sections:
            name, ttl, _, kind, data = move(line, suffix).split(maxsplit=4)
            sections[section].append(Record(name.lower(), kind, int(ttl), data.lower() if '"' not in data else data))
    return Reply(rcode, "AA" in flags, False, False, *(frozenset(records) for records in sections.values()), False)


def read(folder, suffix_of):
    """Zones with their master files, and questions with what was answered: (zones, texts, [(question, {servers: reply})])."""
    zones, texts, cases = [], {}, []
    for file in sorted((folder / "ZoneFiles").glob("*.txt"), key=lambda file: (len(file.name), file.name)):
        suffix = suffix_of(file.stem)
        lines = [move(line, suffix) for line in file.read_text().splitlines() if line.strip() and not line.startswith(";")]
        apex = next(line.split()[0] for line in lines if " SOA " in line)
        zones.append(Zone(apex))
        texts[apex] = "\n".join(lines) + "\n"
        for entry in json.loads((folder / "ExpectedResponses" / f"{file.stem}.json").read_text()):
            question = Question(move(entry["Query"]["Name"], suffix), entry["Query"]["Type"], False)
            replies = {group["Server/s"].strip(): recorded(group["Response"], suffix) for group in entry["Expected Response"]}
            cases.append((question, replies))
    return zones, texts, cases


def run(program, path, examples=3):
    """Prints what came out; whether all differences are explained."""
    folder = Path(path)
    folder = folder / "ValidZoneFileTests" if (folder / "ValidZoneFileTests").is_dir() else folder
    if not (folder / "ZoneFiles").is_dir() or not (folder / "ExpectedResponses").is_dir():
        raise SystemExit(f"{path}: no ZoneFiles and ExpectedResponses here; give a clone of github.com/dns-groot/FerretDataset")
    zones, texts, cases = read(folder, lambda stem: f"z{stem}.ferret.")
    questions = [question for question, _ in cases]
    with tempfile.TemporaryDirectory() as work:
        files = {}
        (Path(work) / "zones").mkdir()
        for index, (apex, text) in enumerate(texts.items()):
            files[apex] = Path(work) / "zones" / str(index)
            files[apex].write_text(text)
        with Fleet(program, work, files, peers={}) as (ours,):
            replies = ask(ours.address, questions)
            taken = loaded(ours, zones)
    homes = {zone.apex.rstrip(".").rsplit(".", 2)[1]: zone for zone in zones}
    print(f"Ferret: {len(questions)} questions on {len(zones)} zones")
    fine = len(taken) == len(zones)
    if not fine:
        print(f"  FAIL  ours does not serve {len(zones) - len(taken)} zones")
    equal, fewer, rules, unexplained = 0, Counter(), Counter(), defaultdict(list)
    for (question, expected), reply in zip(cases, replies):
        home = [homes[question.name.rstrip(".").rsplit(".", 2)[1]]]
        groups = {servers: (recorded, differing(reply, recorded, question)) for servers, recorded in expected.items()
                  if TRUSTED & set(servers.split())}
        same = [servers for servers, (_, aspects) in groups.items() if not aspects]
        if reply and same:
            equal += 1
            agreeing = TRUSTED & set(" ".join(same).split())
            if len(agreeing) < 2:
                fewer[" ".join(agreeing)] += 1
            continue
        found = None
        if reply:
            found = next((rule for rule in FERRET for recorded, aspects in groups.values()
                          if rule.holds(Case(question, reply, recorded, aspects, lambda name: zone_of(name, home)))), None)
        if found:
            rules[found.name] += 1
        else:
            unexplained[" | ".join(sorted(",".join(aspects) for _, aspects in groups.values()))].append((question, reply, groups))
    print(f"  {equal} as BIND, NSD, Knot or PowerDNS answered, {sum(rules.values())} differ as expected")
    for servers, count in fewer.most_common():
        print(f"    {count:5}  as {servers} alone answered")
    for rule in FERRET:
        if rules[rule.name]:
            print(f"    {rules[rule.name]:5}  {rule.name}: {rule.reason}")
    for aspects, found in unexplained.items():
        fine = False
        print(f"  FAIL  {len(found)} unexplained: {aspects}")
        for question, reply, groups in found[:examples]:
            print(f"    {question}")
            print("".join(f"      zone: {line}\n" for line in texts[homes[question.name.rstrip('.').rsplit('.', 2)[1]].apex].splitlines()), end="")
            for name, one in (("ours", reply), *((servers, one) for servers, (one, _) in groups.items())):
                for line in one.lines() if one else ["no reply"]:
                    print(f"      {name}: {line}")
    return fine
