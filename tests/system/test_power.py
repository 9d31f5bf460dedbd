"""What roostd has acknowledged survives power cuts, kill -9, a full disk and a disk that fails.

The number of power cuts is 6, or what ROOST_CUTS in the environment says. They happen on file systems in files, by the
file systems' own shutdown call, which drops everything that is not durable yet.
"""

import collections
import ctypes
import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from conftest import BUILD, clean_env
from lmtp import Client, Daemon, wire

CUTS = int(os.environ.get("ROOST_CUTS", "6"))
CLIENTS = 8
ROOST_KILL = BUILD / "tests" / "fault" / "roost-kill"

CLONE_NEWNS = 0x20000
MS_REC_PRIVATE = 0x4000 | 0x40000
FS_IOC_SHUTDOWN = 0x8004587D  # XFS_IOC_GOINGDOWN too
NO_LOG_FLUSH = (2).to_bytes(4, "little")


@pytest.fixture(scope="module", autouse=True)
def mounts():
    """A mount namespace of our own, or a skip with the reason."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount file systems")
    for tool in ("mkfs.ext4", "mkfs.xfs"):
        if not shutil.which(tool, path=clean_env()["PATH"]):
            pytest.skip(f"{tool} is not installed")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None):
        pytest.skip(f"a mount namespace is not to be had here: {os.strerror(ctypes.get_errno())}")
    if subprocess.run(["losetup", "-f"], capture_output=True, check=False).returncode:
        pytest.skip("loop devices are not to be had here")


class Volume:
    """A file system in a file, mounted where the Site keeps its mail. Use it with `with`."""

    def __init__(self, site, kind, size):
        self.image = site.path / f"{kind}.img"
        self.path = site.mail
        self.kind = kind
        with open(self.image, "wb") as image:
            image.truncate(size)
        self.run(f"mkfs.{kind}", "-q", *(["-F", "-m", "0"] if kind == "ext4" else ["-f"]), self.image)

    @staticmethod
    def run(*command):
        subprocess.run(list(map(str, command)), env=clean_env(), check=True, capture_output=True)

    def __enter__(self):
        self.run("mount", "-t", self.kind, "-o", "loop", self.image, self.path)
        return self

    def __exit__(self, *exception):
        self.run("umount", self.path)

    def cut(self):
        root = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(root, FS_IOC_SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(root)

    def recover(self):
        self.__exit__()
        self.__enter__()


class Load:
    """Clients that deliver, each from its own thread, until told to stop or the daemon is gone.

    sent            message number -> (bytes, users)
    acknowledged    (user, message number) that a client was told of before `doomed` was set
    late            the same, of transactions begun after `over` was set
    """

    def __init__(self, daemon, users, first):
        self.daemon, self.users = daemon, users
        self.sent, self.acknowledged, self.late = {}, set(), set()
        self.answers = collections.Counter()  # after `over`
        self.doomed, self.over, self.stop = threading.Event(), threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self.number = first
        self.threads = [threading.Thread(target=self.deliver, args=(i,)) for i in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def message(self, size):
        with self.lock:
            self.number += 1
            number = self.number
        body = random.Random(number).randbytes(size // 2).hex()
        lines = "\n".join(body[i : i + 72] for i in range(0, len(body), 72))
        return number, f"X-Number: {number}\n\n{lines}\nend of {number}\n".encode()

    def deliver(self, seed):
        dice = random.Random(seed + self.number)
        while not self.stop.is_set():
            try:
                with Client(self.daemon.socket) as client:
                    while not self.stop.is_set():
                        self.transaction(client, dice)
            except (OSError, AssertionError, AttributeError):  # the daemon is gone, in the middle of something
                if self.doomed.is_set():
                    return
                raise

    def transaction(self, client, dice):
        number, message = self.message(dice.choice([100, 8192, 8192, 8192, 200_000]))
        users = dice.sample(self.users, dice.choice([1, 1, 1, 3, 8]))
        begun_after = self.over.is_set()
        with self.lock:
            self.sent[number] = (message, users)
        assert client.say("MAIL FROM:<bob@example.net>").startswith("250 ")
        taken = []
        for user in users:
            reply = client.say(f"RCPT TO:<{user}>")
            if reply.startswith("250 "):
                taken.append(user)
            elif begun_after:
                self.answers[reply[:9]] += 1
        if not taken:
            client.say("RSET")
            time.sleep(0.01)
            return
        assert client.say("DATA").startswith("354 ")
        client.send(wire(message))
        for user in taken:
            reply = client.reply()
            if begun_after:
                self.answers[reply[:9]] += 1
            if not reply.startswith("250 "):
                continue
            with self.lock:
                if begun_after:
                    self.late.add((user, number))
                elif not self.doomed.is_set():
                    self.acknowledged.add((user, number))

    def count(self):
        with self.lock:
            return len(self.acknowledged)

    def join(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def compare(self, site):
        """Holds the store against what the clients were told; empties it."""
        found = collections.Counter()
        for user in self.users:
            for path in [path for folder in ("new", "cur") for path in site.maildir(user).glob(f"{folder}/*")]:
                stored = path.read_bytes()
                number = re.search(rb"^X-Number: (\d+)$", stored, re.MULTILINE)
                assert number, f"torn: {path}"
                message, users = self.sent[int(number[1])]
                assert stored.endswith(message), f"torn: {path}"
                assert user in users, f"stray: {path}"
                found[user, int(number[1])] += 1
                path.unlink()
        lost = self.acknowledged - set(found)
        assert not lost, f"{len(lost)} of {len(self.acknowledged)} lost: {sorted(lost)[:10]}"
        doubled = [copy for copy, count in found.items() if count > 1]
        assert not doubled, f"doubled: {doubled[:10]}"
        assert not self.late, f"acknowledged after the cut: {sorted(self.late)[:10]}"


def delivers_to(daemon, users):
    with daemon.client() as client:
        for user in users:
            replies = client.deliver(b"X-Number: 0\n\nafterwards\n", user)
            assert replies[0].startswith("250 "), replies


def users_of(site, count, prefix="user"):
    users = [f"{prefix}{i}@example.org" for i in range(count)]
    for user in users:
        site.add(user)
    return users


@pytest.mark.parametrize("durability", ["fsync", "journal"])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_power_cut_loses_no_acknowledged_message_and_nothing_is_acknowledged_after_it(site, kind, durability):
    # The journal loses power together with the mailboxes.
    state = site.mail / "state" if durability == "journal" else site.path / "state"
    site.configure(quota__storage="1G", delivery__durability=durability, store__state=state)
    old = users_of(site, 12)
    total = 0
    with Volume(site, kind, 1 << 30) as volume:
        for cut in range((CUTS + 1) // 2):
            users = old + users_of(site, 6, f"new{cut}-")
            with Daemon(site) as daemon:
                load = Load(daemon, users, cut * 1_000_000)
                if cut % 2 == 0:
                    time.sleep(random.uniform(0.05, 1.0))
                else:
                    enough = random.randrange(1, 200)
                    while load.count() < enough:
                        time.sleep(0.0005)
                load.doomed.set()
                volume.cut()
                load.over.set()
                time.sleep(0.3)
                load.join()
                assert daemon.process.poll() is None, "roostd has ended"
                assert load.answers, "nobody tried after the cut"
                assert all(answer.startswith(("451 4.3", "452 4.3")) for answer in load.answers), load.answers
                assert daemon.stop() == 0
            volume.recover()
            total += load.count()
            with Daemon(site) as daemon:
                load.compare(site)
                delivers_to(daemon, users)
            for user in users:
                for path in site.messages(user):
                    path.unlink()
            Volume.run("sync", "-f", volume.path)  # else the next cut takes these removals back
    assert total > 0, "not one message was acknowledged before a cut"


@pytest.mark.parametrize("durability", ["fsync", "journal"])
def test_a_kill_at_a_random_moment_loses_no_acknowledged_message(site, durability):
    site.configure(quota__storage="1G", delivery__durability=durability)
    old = users_of(site, 12)
    total = 0
    for kill in range(6):
        users = old + users_of(site, 6, f"new{kill}-")
        with Daemon(site) as daemon:
            load = Load(daemon, users, kill * 1_000_000)
            time.sleep(random.uniform(0.05, 1.0))
            load.doomed.set()
            daemon.stop(signal.SIGKILL)
            load.join()
        total += load.count()
        with Daemon(site) as daemon:
            load.compare(site)
            delivers_to(daemon, users)
        for user in users:
            for path in site.messages(user):
                path.unlink()
    assert total > 0


def test_a_full_disk_is_said_and_nothing_is_lost(site):
    users = users_of(site, 4)
    with Volume(site, "ext4", 8 << 20) as volume:
        filler = volume.path / "filler"
        filler.write_bytes(bytes(2 << 20))
        with Daemon(site) as daemon, daemon.client() as client:
            stored = collections.Counter()
            messages = [f"{i}\n".encode() + b"0123456789abcdef\n" * (i * 4000) for i in range(6)]
            refused = collections.Counter()
            for turn in range(200):
                message = messages[turn % len(messages)]
                user = users[turn % len(users)]
                assert client.say("MAIL FROM:<bob@example.net>").startswith("250 ")
                assert client.say(f"RCPT TO:<{user}>").startswith("250 ")
                reply = client.data(message)[0]
                if reply.startswith("250 "):
                    stored[user, message] += 1
                else:
                    refused[reply[:10]] += 1
                if sum(refused.values()) > 20:
                    break
            assert set(refused) == {"452 4.3.1 "}, refused
            for user in users:
                assert not list(site.maildir(user).glob("tmp/*")), "what could not be stored was left behind"
            filler.unlink()
            for user in users:
                assert client.deliver(messages[1], user)[0].startswith("250 ")
                stored[user, messages[1]] += 1
        found = collections.Counter()
        for user in users:
            for path in site.messages(user):
                text = path.read_bytes()
                whole = [message for message in messages if text.endswith(b"\n" + message)]
                assert whole, f"torn: {path}"
                found[user, max(whole, key=len)] += 1
        assert found == stored


@pytest.mark.parametrize("mda, recipient", [("maildir", "alice"), ("maildir", "alice+new"), ("mbox", "alice")])
def test_a_sync_that_fails_closes_the_volume_until_restart(site, tmp_path, mda, recipient):
    """The kernel tells of lost data once; a second sync that works proves nothing. Whoever syncs: a module, too."""
    if not ROOST_KILL.exists():
        pytest.skip("roost-kill does not know this processor")
    site.configure(store__mda=mda)
    if mda == "mbox":
        site.configure({"mbox.path": f"{site.mail}/%{{local}}"})
    site.add("alice@example.org")
    assert site.deliver("alice@example.org").returncode == 0

    def session(messages, *flags):
        said = b"LHLO x\r\n" + b"".join(
            b"MAIL FROM:<>\r\nRCPT TO:<%s@example.org>\r\nDATA\r\n" % recipient.encode() + wire(b"Subject: %d\n\n" % i)
            for i in range(messages)
        ) + b"QUIT\r\n"
        tracer = [ROOST_KILL, "--fail", "EIO", *flags, "--"] if flags else []
        command = [*tracer, site.programs["roostd"], "-c", site.conf, "--stdio"]
        done = site.run(command[0], *command[1:], stdin=said)
        lines = done.stdout.decode().splitlines()
        return [line for line in lines[lines.index(next(line for line in lines if line.startswith("354"))):]
                if not line.startswith(("354", "221", "250 2.1"))]

    def mail():
        if mda == "mbox":
            return (site.mail / "alice").read_bytes()
        return sorted(site.mail.rglob("new/*"))

    def forget_folder():
        shutil.rmtree(site.maildir("alice@example.org") / ".new", ignore_errors=True)

    report = tmp_path / "report"
    assert session(1, "--list", "--report", report, "0")[0].startswith("250 ")
    calls = re.findall(r"^call (\d+) (\w+) (.*)$", report.read_text(), re.MULTILINE)
    syncs = [(number, name) for number, name, path in calls
             if name in ("fsync", "fdatasync") and str(site.mail) in path]
    assert {name for _, name in syncs} == ({"fdatasync"} if mda == "mbox" else {"fsync", "fdatasync"}), calls
    for number, _ in syncs:
        forget_folder()
        before = mail()
        verdicts = session(2, number)
        assert [verdict[:10] for verdict in verdicts] == ["451 4.3.0 "] * 2, (verdicts, number, calls)
        assert mail() == before
    log = site.log.read_text()
    assert "then restart roostd" in log
    assert session(1)[0].startswith("250 ")
