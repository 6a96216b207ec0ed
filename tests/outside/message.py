"""DNS messages (RFC 1035 §4): questions to bytes, replies to sets of records that can be compared."""
import ipaddress
import socket
import struct
from typing import NamedTuple

TYPES = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "NAPTR": 35, "DNAME": 39,
    "OPT": 41, "DS": 43, "SSHFP": 44, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "TLSA": 52, "SVCB": 64, "HTTPS": 65, "ANY": 255, "CAA": 257,
}
WORDS = {number: word for word, number in TYPES.items()}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN", 9: "NOTAUTH"}


def type_number(word):
    return TYPES[word] if word in TYPES else int(word.removeprefix("TYPE"))


def type_word(number):
    return WORDS.get(number, f"TYPE{number}")


class Question(NamedTuple):
    name: str  # absolute, in the case that is sent
    type: str
    edns: bool

    def __str__(self):
        return f"{self.name} {self.type}{' with EDNS' if self.edns else ''}"

    def encode(self, number):
        """The question with RD clear."""
        labels = [label.encode() for label in self.name.rstrip(".").split(".") if label]
        name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
        message = struct.pack("!6H", number, 0, 1, 0, 0, int(self.edns)) + name + struct.pack("!2H", type_number(self.type), 1)
        return message + (struct.pack("!BHHIH", 0, TYPES["OPT"], 4096, 0, 0) if self.edns else b"")


class Record(NamedTuple):
    name: str  # lower case, absolute
    type: str
    ttl: int
    data: str

    def __str__(self):
        return f"{self.name} {self.ttl} {self.type} {self.data}"


class Reply(NamedTuple):
    rcode: str
    aa: bool
    tc: bool
    opt: bool
    answer: frozenset
    authority: frozenset
    additional: frozenset
    doubled: bool  # a record stands twice in one section

    def lines(self):
        yield f"{self.rcode}{' AA' if self.aa else ''}{' OPT' if self.opt else ''}{' with a record twice' if self.doubled else ''}"
        for section in ("answer", "authority", "additional"):
            for record in sorted(getattr(self, section)):
                yield f"{section}: {record}"


def read_name(message, at):
    """A name as text in lower case, and where what follows begins."""
    labels, end = [], None
    for _ in range(256):
        length = message[at]
        if length >= 0xC0:
            end = end or at + 2
            at = (length & 0x3F) << 8 | message[at + 1]
        elif length == 0:
            return "".join(label + "." for label in labels) or ".", end or at + 1
        else:
            label = message[at + 1:at + 1 + length].lower()
            labels.append("".join(chr(byte) if 33 <= byte < 127 and byte not in b".\\" else f"\\{byte:03}" for byte in label))
            at += 1 + length
    raise ValueError("a name that never ends")


# Data of these types that RFC 1035 lets be compressed, or that hold a name whose case does not count: fixed octets, then names.
NAMED = {"NS": (0, 1), "CNAME": (0, 1), "PTR": (0, 1), "DNAME": (0, 1), "MX": (2, 1), "SRV": (6, 1), "SOA": (0, 2)}


def read_data(message, at, length, word):
    end = at + length
    if word == "A" and length == 4 or word == "AAAA" and length == 16:
        return str(ipaddress.ip_address(message[at:end]))
    if word in NAMED:
        octets, names = NAMED[word]
        parts = [str(number) for (number,) in struct.iter_unpack("!H", message[at:at + octets])]
        at += octets
        for _ in range(names):
            name, at = read_name(message, at)
            parts.append(name)
        if word == "SOA":
            parts += [str(number) for number in struct.unpack("!5I", message[at:at + 20])]
        return " ".join(parts)
    if word == "TXT":
        parts = []
        while at < end:
            parts.append('"' + message[at + 1:at + 1 + message[at]].decode("latin-1") + '"')
            at += 1 + message[at]
        return " ".join(parts)
    return "\\# " + message[at:end].hex()


def decode(message):
    _, flags, questions, *counts = struct.unpack("!6H", message[:12])
    at = 12
    for _ in range(questions):
        at = read_name(message, at)[1] + 4
    sections, opt, doubled = [], False, False
    for count in counts:
        records = []
        for _ in range(count):
            name, at = read_name(message, at)
            number, _, ttl, length = struct.unpack("!HHIH", message[at:at + 10])
            at += 10
            if number == TYPES["OPT"]:
                opt = True
            else:
                records.append(Record(name, type_word(number), ttl, read_data(message, at, length, type_word(number))))
            at += length
        doubled |= len(set(records)) < len(records)
        sections.append(frozenset(records))
    rcode = flags & 15
    return Reply(RCODES.get(rcode, str(rcode)), bool(flags & 0x400), bool(flags & 0x200), opt, *sections, doubled)


def by_tcp(address, question, number):
    with socket.create_connection(address, timeout=5) as stream:
        message = question.encode(number)
        stream.sendall(struct.pack("!H", len(message)) + message)
        reader = stream.makefile("rb")
        return decode(reader.read(struct.unpack("!H", reader.read(2))[0]))


def ask(address, questions, in_flight=50, seconds=3):
    """Replies in the order of the questions; None where none came after three tries. What is cut is asked by TCP."""
    replies = [None] * len(questions)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        peer.connect(address)
        peer.settimeout(seconds)
        for start in range(0, len(questions), in_flight):
            waiting = set(range(start, min(start + in_flight, len(questions))))
            for _ in range(3):
                for index in waiting:
                    peer.send(questions[index].encode(index & 0xFFFF))
                try:
                    while waiting:
                        message = peer.recv(65535)
                        index = next((i for i in waiting if struct.pack("!H", i & 0xFFFF) == message[:2]), None)
                        if index is None:
                            continue
                        waiting.remove(index)
                        replies[index] = decode(message)
                        if replies[index].tc:
                            replies[index] = by_tcp(address, questions[index], index & 0xFFFF)
                except (socket.timeout, ConnectionRefusedError):
                    continue
                break
    return replies
