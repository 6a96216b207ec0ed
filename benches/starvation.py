#!/usr/bin/env python3
"""How many questions of others are lost while one client network attacks, on loopback.

    cargo build --release
    python3 benches/starvation.py target/release/privatelink-dns [unbound]

Each attack runs for some seconds from 127.0.1.0/24; others ask 1,000 names of a healthy upstream meanwhile, from
127.0.2.1. With `unbound` the same is done to Unbound, if it is installed. Needs Python 3 and nothing else.
"""

import multiprocessing
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

SERVER = ("127.0.0.1", 5391)
HEALTHY = ("127.0.0.1", 5392)
DEAD = ("127.0.0.1", 5393)
OTHERS = "127.0.2.1"
OTHERS_COUNT = 1000
PATIENCE_SECS = 3.0


def question(number, name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def reply(query):
    """One address, with the question as it came; OPT is left out."""
    end = 12
    while query[end]:
        end += query[end] + 1
    end += 5
    record = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 60, 4) + bytes([10, 0, 0, 9])
    return query[:2] + b"\x81\x80" + struct.pack("!4H", 1, 1, 0, 0) + query[12:end] + record


def upstream():
    """Answers within a millisecond, but for names below silent.example."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    udp.bind(HEALTHY)
    while True:
        query, client = udp.recvfrom(4096)
        if b"silent" not in query.lower():
            udp.sendto(reply(query), client)


def flood(name, per_second, until):
    """Asks unique names, or one if there is nothing to be filled, from many addresses of one network."""
    sockets = []
    for last in range(1, 41):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.bind((f"127.0.1.{last}", 0))
        client.connect(SERVER)
        client.setblocking(False)
        sockets.append(client)
    number, start = 0, time.monotonic()
    while (now := time.monotonic()) < until:
        for _ in range(min(200, int((now - start) * per_second) - number)):
            try:
                sockets[number % 40].send(question(number, name.format(number)))
            except OSError:
                pass
            number += 1
        time.sleep(0.002)


def flood_tcp(until):
    """40 connections, each with as many waiting questions as it may have."""
    connections = []
    for last in range(1, 41):
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.bind((f"127.0.1.{last}", 0))
        client.connect(SERVER)
        client.setblocking(False)
        connections.append(client)
    number = 0
    while time.monotonic() < until:
        for client in connections:
            message = b""
            for _ in range(128):
                asked = question(number, f"t{number}.dead.example")
                message += struct.pack("!H", len(asked)) + asked
                number += 1
            try:
                client.send(message)
                client.recv(1 << 20)
            except OSError:
                pass
        time.sleep(0.3)


def others_udp():
    """Asks the others' questions, 250 a second; answers how many were lost, and the latencies in milliseconds."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.bind((OTHERS, 0))
    client.connect(SERVER)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    asked, answered = {}, {}

    def receive():
        client.settimeout(0.1)
        until = time.monotonic() + OTHERS_COUNT / 250 + PATIENCE_SECS
        while time.monotonic() < until and len(answered) < OTHERS_COUNT:
            try:
                message = client.recv(4096)
            except OSError:
                continue
            number, flags, _, answers = struct.unpack("!4H", message[:8])
            if flags & 15 == 0 and answers == 1:
                answered.setdefault(number, time.monotonic())

    receiver = threading.Thread(target=receive)
    receiver.start()
    for number in range(OTHERS_COUNT):
        asked[number] = time.monotonic()
        client.send(question(number, f"o{number}-{os.getpid()}.healthy.example"))
        time.sleep(1 / 250)
    receiver.join()
    times = [(answered[number] - asked[number]) * 1000 for number in answered]
    return OTHERS_COUNT - len(answered), times


def others_tcp():
    """The same over TCP, ten questions a connection, one after the other."""
    answered, times = 0, []
    for connection in range(OTHERS_COUNT // 10):
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.settimeout(PATIENCE_SECS)
        try:
            client.bind((OTHERS, 0))
            client.connect(SERVER)
            for number in range(10):
                began = time.monotonic()
                asked = question(number, f"c{connection}-{number}-{os.getpid()}.healthy.example")
                client.sendall(struct.pack("!H", len(asked)) + asked)
                length = struct.unpack("!H", client.recv(2, socket.MSG_WAITALL))[0]
                message = client.recv(length, socket.MSG_WAITALL)
                flags, _, answers = struct.unpack("!3H", message[2:8])
                answered += int(flags & 15 == 0 and answers == 1)
                times.append((time.monotonic() - began) * 1000)
        except (OSError, struct.error):
            # The rest of the connection's questions are lost.
            pass
        finally:
            client.close()
    return OTHERS_COUNT - answered, times


def pulse():
    """2,500 questions/s of one silent name for 1.9 s, over UDP: the most replies in any 100 ms, by those asked in 100 ms."""
    clients = []
    for last in range(1, 41):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.bind((f"127.0.1.{last}", 0))
        client.connect(SERVER)
        clients.append(client)
    came = []

    def receive(client):
        client.settimeout(5)
        try:
            while True:
                client.recv(4096)
                came.append(time.monotonic())
        except OSError:
            pass

    threads = [threading.Thread(target=receive, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    number, start = 0, time.monotonic()
    while (now := time.monotonic()) < start + 1.7:
        while number < (now - start) * 2500:
            clients[number % 40].send(question(number, f"bomb{os.getpid()}.silent.example"))
            number += 1
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    came.sort()
    most, first = 0, 0
    for last, at in enumerate(came):
        while came[first] < at - 0.1:
            first += 1
        most = max(most, last - first + 1)
    return most / 250, len(came), number


def attacked(attack, ask):
    until = time.monotonic() + OTHERS_COUNT / 250 + 4
    attacker = multiprocessing.Process(target=attack[0], args=(*attack[1:], until)) if attack else None
    if attacker:
        attacker.start()
        # Until what it takes is taken.
        time.sleep(2)
    lost, times = ask()
    if attacker:
        attacker.terminate()
        attacker.join()
    return lost, statistics.median(times) if times else float("nan")


def ours(folder, program):
    with open(f"{folder}/config.toml", "w") as config:
        config.write(
            f'state_dir = "{folder}/state"\n[listen]\ndns = ["{SERVER[0]}:{SERVER[1]}"]\n[admin]\nlisten = []\n'
            f'[forward]\nupstreams = ["{HEALTHY[0]}:{HEALTHY[1]}"]\n'
            f'[[forward.rule]]\ndomain = "dead.example"\nupstreams = ["{DEAD[0]}:{DEAD[1]}"]\n'
        )
    return [program, "serve", "--config", f"{folder}/config.toml"]


def unbound(folder):
    with open(f"{folder}/unbound.conf", "w") as config:
        config.write(
            f'server:\n  interface: {SERVER[0]}@{SERVER[1]}\n  username: ""\n  chroot: ""\n  pidfile: ""\n  directory: "{folder}"\n'
            "  do-not-query-localhost: no\n  access-control: 127.0.0.0/8 allow\n  module-config: iterator\n  num-threads: 2\n"
            "  use-syslog: no\n  verbosity: 0\n"
            f'forward-zone:\n  name: "."\n  forward-addr: {HEALTHY[0]}@{HEALTHY[1]}\n'
            f'forward-zone:\n  name: "dead.example"\n  forward-addr: {DEAD[0]}@{DEAD[1]}\n'
        )
    return ["unbound", "-d", "-c", f"{folder}/unbound.conf"]


def measure(name, command):
    attacks = [
        ("nobody", None, others_udp),
        ("5,000 names/s below a dead rule", (flood, "n{}.dead.example", 5000), others_udp),
        ("3,000 names/s that a healthy upstream is silent on", (flood, "n{}.silent.example", 3000), others_udp),
        ("40 TCP connections with waiting questions", (flood_tcp,), others_tcp),
    ]
    print(f"{name}\n| who attacks | others' questions lost of {OTHERS_COUNT} | their median, ms |\n|---|---|---|")
    for what, attack, ask in attacks:
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1.5)
            lost, median = attacked(attack, ask)
            print(f"| {what} | {lost} | {median:.1f} |", flush=True)
        finally:
            server.terminate()
            server.wait()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1.5)
        most, replies, asked = pulse()
        print(f"2,500 questions/s of one silent name: {replies} replies to {asked}, in 100 ms at most {most:.1f} × as many as were asked\n", flush=True)
    finally:
        server.terminate()
        server.wait()


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    dead = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    dead.bind(DEAD)
    answering = multiprocessing.Process(target=upstream, daemon=True)
    answering.start()
    with tempfile.TemporaryDirectory() as folder:
        measure("privatelink-dns", ours(folder, os.path.abspath(sys.argv[1])))
        if "unbound" in sys.argv[2:]:
            version = subprocess.run(["unbound", "-V"], capture_output=True, text=True).stdout.split("\n")[0]
            measure(version, unbound(folder))


if __name__ == "__main__":
    main()
