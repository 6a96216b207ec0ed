"""This server and its peers as authoritative servers of the same master files, each on a port of 127.0.0.1, until `stop`."""
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from message import Question, ask

HOST = "127.0.0.1"


def ours(folder, port, zones):
    config = f'state_dir = "{folder}/state"\n[listen]\ndns = ["{HOST}:{port}"]\nworkers = 1\n[admin]\nlisten = []\n[forward]\nupstreams = []\n'
    # Names below reverse zones and private-link zones are not asked: without these the zones are the whole of what is served.
    config += "[private_link]\nzones = []\n"
    for apex, file in zones.items():
        config += f'[[zone]]\nname = "{apex}"\nfile = "{file}"\n'
    (folder / "config.toml").write_text(config)
    return ["serve", "--config", f"{folder}/config.toml"]


def bind(folder, port, zones):
    config = f"""options {{ directory "{folder}"; listen-on port {port} {{ {HOST}; }}; listen-on-v6 {{ none; }}; pid-file none; session-keyfile none;
  recursion no; minimal-responses yes; notify no; dnssec-validation no; empty-zones-enable no; allow-transfer {{ none; }};
  check-names primary ignore; check-mx ignore; check-integrity no; }};
controls {{ }};
"""
    config += "".join(f'zone "{apex}" {{ type primary; file "{file}"; }};\n' for apex, file in zones.items())
    (folder / "named.conf").write_text(config)
    return ["-g", "-n", "1", "-c", f"{folder}/named.conf"]


def nsd(folder, port, zones):
    config = f"""server:
  ip-address: {HOST}@{port}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  xfrdir: "{folder}"
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
  minimal-responses: yes
  round-robin: no
remote-control:
  control-enable: no
"""
    config += "".join(f'zone:\n  name: "{apex}"\n  zonefile: "{file}"\n' for apex, file in zones.items())
    (folder / "nsd.conf").write_text(config)
    return ["-d", "-c", f"{folder}/nsd.conf"]


def knot(folder, port, zones):
    config = f"""server:
    listen: {HOST}@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    rundir: "{folder}"
database:
    storage: "{folder}/db"
log:
  - target: stderr
    any: warning
template:
  - id: default
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: none
    semantic-checks: off
zone:
"""
    config += "".join(f'  - domain: "{apex}"\n    file: "{file}"\n' for apex, file in zones.items())
    (folder / "knot.conf").write_text(config)
    return ["-c", f"{folder}/knot.conf", "-s", f"{folder}/knot.sock"]


PEERS = {"BIND": ("named", bind), "NSD": ("nsd", nsd), "Knot": ("knotd", knot)}


def find(program):
    # Debian keeps servers where PATH of an ordinary user does not look.
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def free_port():
    """A port that neither TCP nor UDP uses now."""
    while True:
        with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            stream.bind((HOST, 0))
            try:
                datagrams.bind((HOST, stream.getsockname()[1]))
            except OSError:
                continue
            return stream.getsockname()[1]


class Server:
    """A child that serves `zones`, a dict of apex to master file."""

    def __init__(self, name, program, write_config, folder, zones):
        self.name = name
        self.address = (HOST, free_port())
        self.log = folder / name / "log"
        self.log.parent.mkdir(parents=True)
        arguments = write_config(self.log.parent, self.address[1], zones)
        with self.log.open("wb") as log:
            self.child = subprocess.Popen([program, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    def wait(self, question, seconds=60):
        """Until it answers as the authority of a zone."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.child.poll() is not None:
                break
            (reply,) = ask(self.address, [question], seconds=0.3)
            if reply and reply.rcode == "NOERROR" and reply.aa:
                return
            time.sleep(0.1)
        raise SystemExit(f"{self.name} does not serve {question.name}:\n" + self.log.read_text(errors="replace")[-3000:])

    def stop(self):
        """Ends the child and what it started."""
        for signal in (15, 9):
            try:
                os.killpg(self.child.pid, signal)
                self.child.wait(10)
                return
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


class Fleet:
    """Our server first, then each peer that is installed; all are ended when the block ends."""

    def __init__(self, program, folder, zones, peers=PEERS):
        self.servers = []
        try:
            self.servers.append(Server("ours", program, ours, Path(folder), zones))
            for name, (command, write_config) in peers.items():
                path = find(command)
                if path:
                    self.servers.append(Server(name, path, write_config, Path(folder), zones))
                else:
                    print(f"skipped: {name} is not installed ({command})")
            apex = next(iter(zones))
            for server in self.servers:
                server.wait(Question(apex, "SOA", False))
        except BaseException:
            self.stop()
            raise

    def stop(self):
        for server in self.servers:
            server.stop()

    def __enter__(self):
        return self.servers

    def __exit__(self, *_):
        self.stop()
