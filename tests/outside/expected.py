"""Differences between this server and its peers that are known, each with its reason; all others fail."""
from typing import Callable, NamedTuple

from message import Question, Reply


class Case(NamedTuple):
    question: Question
    ours: Reply
    peer: Reply
    aspects: list  # what differs
    zone_of: Callable  # name → the longest zone that encloses it, or None


class Rule(NamedTuple):
    name: str
    peers: tuple
    reason: str
    holds: Callable


def follow(reply, name):
    """The owners that the answer's CNAMEs lead through, the question's name first; a name stands twice at the end of a loop."""
    aliases = {record.name: record.data for record in reply.answer if record.type == "CNAME"}
    chain = [name.lower()]
    while chain[-1] in aliases and chain[-1] not in chain[:-1]:
        chain.append(aliases[chain[-1]])
    return chain


def comes_back(case):
    """Whether the zones lead the question's name in a circle."""
    seen, name = set(), case.question.name.lower()
    while name and name not in seen:
        seen.add(name)
        home = case.zone_of(name)
        name = home and home.alias(name)
    return bool(name)


def loops(case):
    return case.ours.rcode == "SERVFAIL" and not case.ours.answer and case.question.type != "CNAME" and comes_back(case)


def leaves_zone(case):
    """The peer's answer is the part of ours before the chain enters another zone of the server."""
    chain = follow(case.peer, case.question.name)
    return (len(chain) > 1 and case.peer.rcode == "NOERROR" and case.peer.answer <= case.ours.answer
            and case.zone_of(chain[-1]) is not None and case.zone_of(chain[-1]) != case.zone_of(chain[-2])
            and not any(record.type == "SOA" for record in case.peer.authority))


def five_aliases(case):
    aliases = sum(record.type == "CNAME" for record in case.peer.answer)
    return aliases == 5 and case.peer.answer < case.ours.answer and case.peer.rcode == "NOERROR" and not case.peer.authority


def signature_types(case):
    """NSD goes on; ours takes the question to be for what stands beside the CNAME, of which there is none."""
    further = len(follow(case.peer, case.question.name)) > len(follow(case.ours, case.question.name))
    return case.question.type in ("RRSIG", "NSEC") and further and case.ours.answer <= case.peer.answer and case.ours.rcode == "NOERROR"


def any_one_set(case):
    """Each shows some of the sets of one owner."""
    if case.question.type != "ANY" or case.aspects != ["answer"]:
        return False
    ends = [{record.name for record in reply.answer} for reply in (case.ours, case.peer)]
    return bool(case.ours.answer and case.peer.answer) and ends[0] == ends[1]


def any_below_dname(case):
    chain = follow(case.ours, case.question.name)
    made = any(record.type == "DNAME" for record in case.ours.answer)
    return case.question.type == "ANY" and made and len(chain) == 2 and case.ours.rcode == "NOERROR" and case.ours.answer <= case.peer.answer


def special_name(case):
    return case.zone_of(case.question.name) is None and case.question.name.lower().endswith("test.") and case.peer.rcode == "REFUSED" and case.ours.aa


def soa_without_ttl(case):
    if case.question.type != "SOA" or case.aspects != ["authority"]:
        return False
    return {record._replace(ttl=0) for record in case.ours.authority} == case.peer.authority


def hidden_below_cut(case):
    """A name that the parent's file has below the cut is not in the child's zone, where a wildcard covers it."""
    child = case.zone_of(follow(case.ours, case.question.name)[-1])
    denied = {record.name for record in case.peer.authority if record.type == "SOA"}
    return child is not None and child.apex == "sub0.z00.test." == min(denied, default="") and case.peer.answer <= case.ours.answer


def undelegated_apex(case):
    home = case.zone_of(case.question.name)
    return (case.question.type == "DS" and home is not None and home.apex == case.question.name.lower() and case.aspects == ["rcode"]
            and case.peer.rcode == "NXDOMAIN")


EXPECTED = [
    Rule("loop", ("BIND", "NSD", "Knot"), "a chain of CNAMEs that comes back is SERVFAIL here; peers send what they followed of it, "
         "BIND with SERVFAIL", loops),
    Rule("RRSIG and NSEC beside a CNAME", ("NSD",), "RFC 4034 §3 and §4 let them stand beside a CNAME, so the CNAME is not followed; "
         "BIND and Knot do the same", signature_types),
    Rule("one zone", ("BIND", "Knot"), "without recursion they end a chain where it leaves the zone; ours and NSD go on into other zones of "
         "theirs (RFC 1034 §4.3.2 step 3a)", leaves_zone),
    Rule("five aliases", ("Knot",), "Knot ends a chain after five CNAMEs", five_aliases),
    Rule("ANY", ("BIND", "NSD", "Knot"), "ours answers with one set (RFC 8482 §4.1), BIND with all, NSD and Knot with one that may be another",
         any_one_set),
    Rule("ANY below a DNAME", ("NSD", "Knot"), "the CNAME that a DNAME makes matches ANY, so ours ends there as BIND does; NSD and Knot go on",
         any_below_dname),
    Rule("test.", ("BIND", "NSD", "Knot"), "ours answers for special names (RFC 6761) outside of its zones; peers refuse", special_name),
    Rule("SOA with TTL 0", ("BIND",), "BIND's zero-no-soa-ttl: TTL 0 on the SOA of a denial of SOA (RFC 2308 §3 has no such exception)",
         soa_without_ttl),
    Rule("hidden name", ("NSD",), "NSD keeps one tree for all zones: what the parent's file has below the cut keeps the child's wildcard from "
         "answering", hidden_below_cut),
    Rule("DS of an undelegated apex", ("BIND", "Knot"), "a parent's zone without the delegation denies the name; ours and NSD say NODATA, "
         "as the name is there (RFC 8020)", undelegated_apex),
    Rule("additional twice", ("Knot",), "Knot puts an address that two records need into additional twice",
         lambda case: case.aspects == ["doubled"] and case.peer.doubled),
]


# Of the data set's recorded replies; those of 2020's versions.
FERRET = [
    Rule("growing DNAME", (), "a DNAME that leads below itself ends in YXDOMAIN here as in BIND (RFC 6672 §2.2), after as many CNAMEs as fit "
         "into 255 octets; names here are longer than those recorded",
         lambda case: case.ours.rcode == "YXDOMAIN" and case.peer.rcode == "YXDOMAIN" and any(r.type == "DNAME" for r in case.ours.answer)),
]

# (test, result) of genreport → why.
GENREPORT = {
    ("opcodeflg", "rd"): "RD is copied into NOTIMP, as Knot does (RFC 1035 §4.1.1); genreport wants all flags but QR clear with an opcode "
                         "that is not known",
}
