"""A roostd to test, and a client that says exactly what a test wants said."""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

from conftest import clean_env

WAIT = 60  # seconds, for what comes at once unless it is broken


def free_port():
    """A TCP port of 127.0.0.1 that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Daemon:
    """A roostd of a Site in the foreground, ready. Use it with `with`; it is stopped at the end.

    socket   the path of its Unix socket (lmtp.listen, unless the Site's configuration says otherwise)
    """

    def __init__(self, site, *flags, env=None, ready=True, **popen):
        self.site = site
        # Paths of sockets have at most 107 bytes, and a build tree may lie deep.
        self.home = tempfile.TemporaryDirectory(prefix="roostd-")
        self.socket = pathlib.Path(self.home.name) / "lmtp"
        self.listens = "lmtp.listen" not in site.settings
        if self.listens:
            site.configure(lmtp__listen=f"unix:{self.socket}")
        self.messages = []  # from sd_notify, each a dict
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(f"{self.home.name}/notify")
        os.chmod(self.home.name, 0o755)  # for a daemon of another user
        os.chmod(f"{self.home.name}/notify", 0o666)
        self.manager.settimeout(0.5)
        command = [site.programs["roostd"], "-c", site.conf, *flags]
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=clean_env({"NOTIFY_SOCKET": f"{self.home.name}/notify", **(env or {})}), cwd=site.path, **popen,
        )
        if ready:
            self.expect("READY", "1")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.stop()
        if self.listens:
            self.site.configure(lmtp__listen=None)  # the socket's directory goes, too
        self.manager.close()
        self.home.cleanup()

    def expect(self, name, value):
        """Waits for a notification of the service manager."""
        end = time.monotonic() + WAIT
        while True:
            try:
                state = self.manager.recv(4096).decode()
            except TimeoutError:
                assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.process.stderr.read().decode()}"
                assert time.monotonic() < end, f"{name}={value} did not come"
                continue
            message = dict(line.split("=", 1) for line in state.splitlines())
            self.messages.append(message)
            if message.get(name) == value:
                return message

    def send_signal(self, number):
        self.process.send_signal(number)

    def reload(self):
        self.send_signal(signal.SIGHUP)
        self.expect("RELOADING", "1")
        self.expect("READY", "1")

    def wait(self):
        """Until it has ended; its exit status."""
        self.output, self.errors = self.process.communicate(timeout=WAIT)
        return self.process.returncode

    def stop(self, number=signal.SIGTERM):
        self.send_signal(number)
        return self.wait()

    def client(self, **more):
        return Client(self.socket, **more)

    def memory(self):
        """Resident bytes."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGESIZE")

    @property
    def sanitized(self):
        program = pathlib.Path(f"/proc/{self.process.pid}/exe").read_bytes()
        return any(name in program for name in (b"__asan_init", b"__tsan_init"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))


class Client:
    """One LMTP connection, raw. `to`: the path of a socket, a (host, port), or a connected socket.

    The greeting is read unless `greeting` is False, LHLO said unless `lhlo` is False.
    """

    def __init__(self, to, greeting=True, lhlo=True):
        if isinstance(to, socket.socket):
            self.socket = to
        elif isinstance(to, tuple):
            self.socket = socket.create_connection(to)
        else:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect(str(to))
        self.socket.settimeout(WAIT)
        self.rest = b""
        if greeting:
            self.greeting = self.reply()
            assert self.greeting.startswith("220 "), self.greeting
            if lhlo:
                self.capabilities = self.say("LHLO client.example")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        """The next line, without its end; None at the end of the connection."""
        while b"\r\n" not in self.rest:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                assert not self.rest, self.rest
                return None
            self.rest += more
        line, self.rest = self.rest.split(b"\r\n", 1)
        return line.decode()

    def reply(self):
        """The next reply, lines joined by a newline; None at the end of the connection."""
        lines = []
        while True:
            line = self.line()
            if line is None:
                assert not lines, lines
                return None
            lines.append(line)
            if line[3:4] != "-":
                assert sum(len(each) + 2 for each in lines) < 240, lines
                return "\n".join(lines)

    def say(self, command):
        """Sends a command; the reply to it."""
        self.send(command.encode() + b"\r\n")
        return self.reply()

    def envelope(self, *recipients, sender="bob@example.net", parameters=""):
        """MAIL and RCPTs, all of which must be taken."""
        assert self.say(f"MAIL FROM:<{sender}>{parameters}").startswith("250 ")
        for recipient in recipients:
            reply = self.say(f"RCPT TO:<{recipient}>")
            assert reply.startswith("250 "), reply

    def data(self, message, count=1):
        """DATA and the message, which is in LF form; `count` replies."""
        assert self.say("DATA").startswith("354 ")
        self.send(wire(message))
        return [self.reply() for _ in range(count)]

    def deliver(self, message, *recipients, **envelope):
        """A whole transaction; the replies to the message."""
        self.envelope(*recipients, **envelope)
        return self.data(message, len(recipients))


def wire(message):
    """A message in LF form as DATA sends it, the end included."""
    lines = message.split(b"\n")
    assert lines[-1] == b"", "the message ends without a newline"
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines[:-1]) + b".\r\n"


def wait_for(condition, what="it"):
    """Polls until the condition is true, for what happens after a reply."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.01)
