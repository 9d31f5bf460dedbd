"""The real Redis (tests/peers redis) in tests: servers, sentinels and clusters, each in a private folder on loopback."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest

from conftest import SOURCE, clean_env

ROOT = pathlib.Path(os.environ.get("ROOST_PEERS", SOURCE / "build" / "peers")) / "redis"
PATIENCE = 60  # seconds until a server that does not come up is a failure


def find(name):
    """(program, environment) of a program of Redis; skips the test if there is none."""
    unpacked = ROOT / "usr" / "bin" / name
    if unpacked.exists():
        libraries = ROOT / "usr" / "lib" / "x86_64-linux-gnu"
        return unpacked, clean_env({"LD_LIBRARY_PATH": str(libraries)})
    found = shutil.which(name)
    if not found:
        pytest.skip("no Redis here: run tests/peers redis")
    return found, clean_env()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_cluster_port():
    """A free port whose companion for the cluster's bus, 10000 above, can be had too."""
    while True:
        port = free_port()
        if port > 55000:
            port -= 30000
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
            return port


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, what
        time.sleep(0.05)


class Redis:
    """A server with settings as in redis.conf (tls_port=1 is tls-port 1); `with` ends it.

    With `watched`, a port, it is a sentinel of the master there, which it calls "mails".
    """

    def __init__(self, path, port=None, watched=None, login=(), **settings):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.socket = self.path / "socket"
        self.login = login  # options of redis-cli
        self.sentinel = watched is not None
        self.settings = {"port": self.port, "bind": "127.0.0.1", "dir": self.path, "unixsocket": self.socket}
        if self.sentinel:
            self.settings |= {"sentinel": [f"monitor mails 127.0.0.1 {watched} 2", "down-after-milliseconds mails 1000",
                                           "failover-timeout mails 5000"]}
            settings = {key.replace("sentinel_pass", "sentinel sentinel-pass"): value for key, value in settings.items()}
        else:
            self.settings |= {"save": '""', "appendonly": "no", "enable-debug-command": "yes"}
        self.settings |= {key.replace("_", "-"): value for key, value in settings.items()}
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        assert self.process is None, "it was started already"
        program, env = find("redis-server")
        conf = self.path / "redis.conf"
        if not (self.sentinel and conf.exists()):  # a sentinel keeps what it learned there
            lines = []
            for key, value in self.settings.items():
                lines += [f"{key} {one}" for one in (value if isinstance(value, list) else [value])]
            conf.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [program, conf, *(["--sentinel"] if self.sentinel else [])],
            stdin=subprocess.DEVNULL, stdout=(self.path / "log").open("ab"), stderr=subprocess.STDOUT, env=env)
        try:
            until(self.answers, f"redis-server did not start: {(self.path / 'log').read_text()}")
        except BaseException:
            self.stop()
            raise

    def answers(self):
        assert self.process.poll() is None, (self.path / "log").read_text()
        return b"PONG" in self.raw("PING").stdout or b"NOAUTH" in self.raw("PING").stdout

    def stop(self, how=signal.SIGKILL):
        if self.process:
            self.process.send_signal(how)
            if how != signal.SIGKILL:  # which ends a stopped process, too
                self.process.send_signal(signal.SIGCONT)
            self.process.wait(PATIENCE)
            self.process = None

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def raw(self, *words, stdin=None):
        program, env = find("redis-cli")
        return subprocess.run([program, "-s", self.socket, *self.login, *words], input=stdin, env=env,
                              capture_output=True, timeout=PATIENCE)

    def cli(self, *words, stdin=None):
        """What redis-cli says, as one string with one character a byte."""
        done = self.raw(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("latin-1").removesuffix("\n")

    def keys(self):
        """All keys and values: each is a string."""
        out = {}
        for key in self.cli("--raw", "KEYS", "*").split("\n"):
            if key:
                out[key] = self.cli("--raw", "GET", key.encode("latin-1"))
        return out

    @property
    def uri(self):
        return f"redis:host=127.0.0.1:port={self.port}"


class Cluster:
    """Three masters."""

    def __init__(self, path):
        self.nodes = [
            Redis(pathlib.Path(path) / f"node{n}", port=free_cluster_port(), cluster_enabled="yes",
                  cluster_node_timeout="2000", cluster_config_file="nodes.conf")
            for n in range(3)
        ]

    def __enter__(self):
        for node in self.nodes:
            node.start()
        bounds = [0, 5461, 10923, 16384]
        for node, first, end in zip(self.nodes, bounds, bounds[1:]):
            node.cli("CLUSTER", "ADDSLOTSRANGE", str(first), str(end - 1))
            node.cli("CLUSTER", "MEET", "127.0.0.1", str(self.nodes[0].port))
        until(lambda: all("cluster_state:ok" in node.cli("CLUSTER", "INFO") and
                          "cluster_slots_ok:16384" in node.cli("CLUSTER", "INFO") and
                          len(node.cli("CLUSTER", "NODES").splitlines()) == 3 for node in self.nodes),
              "the cluster did not come together")
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            node.stop()

    @property
    def uri(self):
        return "redis:cluster=" + ";".join(f"127.0.0.1,{node.port}" for node in self.nodes)

    def slot(self, key):
        return int(self.nodes[0].cli("CLUSTER", "KEYSLOT", key))

    def owner(self, key):
        """The node that has the key's slot."""
        slot = self.slot(key)
        for line in self.nodes[0].cli("CLUSTER", "NODES").splitlines():
            words = line.split(" ")
            for span in words[8:]:
                first, _, last = span.partition("-")
                if first.isdigit() and int(first) <= slot <= int(last or first):
                    return next(n for n in self.nodes if f":{n.port}@" in words[1])
        raise AssertionError(f"nobody has slot {slot}")

    def id(self, node):
        return node.cli("CLUSTER", "MYID")

    def begin_move(self, key, to):
        """The slot of `key` is from now on just moving to the node `to`."""
        source = self.owner(key)
        to.cli("CLUSTER", "SETSLOT", str(self.slot(key)), "IMPORTING", self.id(source))
        source.cli("CLUSTER", "SETSLOT", str(self.slot(key)), "MIGRATING", self.id(to))
        return source

    def move_keys(self, key, source, to):
        for name in source.cli("CLUSTER", "GETKEYSINSLOT", str(self.slot(key)), "1000").split("\n"):
            if name:
                source.cli("MIGRATE", "127.0.0.1", str(to.port), name, "0", "5000")

    def end_move(self, key, to):
        for node in sorted(self.nodes, key=lambda n: n is not to):
            node.cli("CLUSTER", "SETSLOT", str(self.slot(key)), "NODE", self.id(to))

    def keys(self):
        out = {}
        for node in self.nodes:
            out.update(node.keys())
        return out
