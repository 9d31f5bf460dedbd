"""What tests of the clone share: a Redis to hold it, and what it must hold."""

import json
import os
import pathlib
import signal
import socket
import subprocess

from lmtp import WAIT, wait_for
from redis_servers import find


class Redis:
    """A Redis on a Unix socket, at `place` if given, in a directory of its own, which nothing is saved in. Use it with
    `with`."""

    def __init__(self, path, place=None):
        self.program, self.env = find("redis-server")
        path.mkdir()
        path.chmod(0o755)
        self.path, self.process = path, None
        # Paths of sockets have at most 107 bytes.
        self.socket = place or pathlib.Path(f"/tmp/roost-redis-{os.getpid()}-{id(self)}")
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.socket.unlink(missing_ok=True)

    def start(self):
        self.process = subprocess.Popen(
            [self.program, "--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "777", "--save", "",
             "--dir", self.path], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.up, "Redis")

    def up(self):
        try:
            return self("PING") == "PONG"
        except OSError:
            return False

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(WAIT)

    def stop(self):
        """It takes connections, and answers nobody."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def __call__(self, *words):
        """The reply to one command: str, int, None, or a list of them."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(WAIT)
            connection.connect(str(self.socket))
            words = [str(word).encode() for word in words]
            connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
            with connection.makefile("rb") as stream:
                return read_reply(stream)

    def uri(self, *more):
        return ":".join(["redis", f"path={self.socket}", *more])

    def everything(self):
        """All keys and their values."""
        return {key: self("GET", key) for key in self("KEYS", "*")}


def read_reply(stream):
    kind, rest = stream.read(1), stream.readline()[:-2].decode()
    if kind == b"+":
        return rest
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == "-1" else stream.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return [read_reply(stream) for _ in range(int(rest))]
    raise AssertionError(f"Redis: {kind} {rest}")


def usage(site):
    """What the mailboxes hold: {name: (bytes, messages)}, as the authority says it."""
    result = site.roost("quota", "show", "--all", "--json")
    assert result.returncode == 0, result.stderr
    return {row["name"]: (row["usage"]["storage"], row["usage"]["messages"]) for row in json.loads(result.stdout)}


def keys(wanted, prefix=""):
    """The keys and values of Redis that these usages are."""
    made = {}
    for name, (storage, messages) in wanted.items():
        made[f"{prefix}{name}/quota/storage"] = str(storage)
        made[f"{prefix}{name}/quota/messages"] = str(messages)
    return made


def pending(site):
    """The names that wait in the outbox."""
    path = site.state / "clone.pending"
    return set(filter(None, path.read_text().split("\n"))) if path.exists() else set()


def quiet(site):
    """Waits until nothing is pending."""
    wait_for(lambda: not pending(site), "an empty outbox")
