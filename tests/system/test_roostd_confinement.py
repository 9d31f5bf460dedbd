"""roostd keeps itself to its directories (Landlock), and what it does where it cannot."""

import ctypes
import os
import platform
import shutil
import struct
import subprocess
import tempfile
import time

import pytest
from conftest import MODULES, SAMPLE, SOURCE
from lmtp import Daemon
from manpage import literal_blocks

ALICE = "alice@example.org"
LIBC = ctypes.CDLL(None, use_errno=True)
SYS_LANDLOCK_CREATE_RULESET = 444

landlock = pytest.mark.skipif(LIBC.syscall(SYS_LANDLOCK_CREATE_RULESET, None, 0, 1) < 2,
                              reason="this kernel has no Landlock, or not that of Linux 5.19")


@pytest.fixture
def alice(site):
    site.add(ALICE)
    return site


class Elsewhere:
    """A directory that no Site has to do with."""

    def __enter__(self):
        self.place = tempfile.TemporaryDirectory(prefix="elsewhere-", dir=MODULES.parent)
        return self.place.name

    def __exit__(self, *exception):
        self.place.cleanup()


def deliver(daemon, message=SAMPLE):
    with daemon.client() as client:
        return client.deliver(message, ALICE)[0]


def log_of(site):
    return site.log.read_text()


@landlock
@pytest.mark.parametrize("durability", ["fsync", "journal"])
def test_it_works_within_its_directories_and_says_which(alice, durability):
    alice.configure(delivery__durability=durability)
    with Daemon(alice) as daemon:
        said = [line for line in log_of(alice).splitlines() if "confined" in line]
        assert len(said) == 1 and " confined: writes below " in said[0]
        for each in (alice.mail, alice.state, alice.path, daemon.home.name):
            assert f" {each}" in said[0]
        assert deliver(daemon).startswith("250 ")
        assert deliver(daemon, SAMPLE + b"x" * 79 * 100000 + b"\n").startswith("250 ")  # spooled
        alice.log.rename(alice.path / "log.1")
        daemon.reload()
        assert deliver(daemon, SAMPLE + b"2\n").startswith("250 ")
        assert "verdict=delivered" in log_of(alice)
        assert daemon.stop() == 0
    assert len(alice.messages(ALICE)) == 3


@landlock
def test_mbox_works_within_its_directories(alice):
    alice.configure({"store.mda": "mbox", "mbox.path": f"{alice.path}/a/%{{local}}/inbox",
                     "mbox.folders": f"{alice.path}/b/%{{local}}"})
    (alice.path / "a").mkdir()
    (alice.path / "b").mkdir()
    with Daemon(alice) as daemon:
        assert f"{alice.path}/a" in log_of(alice) and f"{alice.path}/b" in log_of(alice)
        assert deliver(daemon).startswith("250 ")


@landlock
def test_a_directory_that_is_not_there_yet_can_be_made(alice):
    alice.configure({"maildir.path": f"{alice.mail}/deep/%{{domain}}/%{{local}}"})
    with Daemon(alice) as daemon:
        assert deliver(daemon).startswith("250 ")
    assert list((alice.mail / "deep/example.org/alice/new").iterdir())


@landlock
def test_nothing_is_written_elsewhere_until_the_configuration_says_so(alice):
    with Elsewhere() as elsewhere:
        alice.sql("UPDATE users SET settings = json_object('maildir.path', ?)", (f"{elsewhere}/%{{local}}",))
        with Daemon(alice) as daemon:
            assert deliver(daemon).startswith("451 ")
            assert os.listdir(elsewhere) == []
        for change in ({"store.directories": elsewhere}, {"store.directories": None, "store.confine": "no"}):
            alice.configure(change)
            with Daemon(alice) as daemon:
                assert deliver(daemon, SAMPLE + str(change).encode() + b"\n").startswith("250 ")
        assert "not confined to its directories: store.confine is no" in log_of(alice)


@landlock
@pytest.mark.parametrize("what", ["maildir", "volumes", "database", "state", "log", "socket", "modules", "directories"])
def test_a_reload_that_leads_elsewhere_is_refused_and_a_restart_does_it(alice, what):
    with Elsewhere() as elsewhere:
        shutil.copy(alice.db, f"{elsewhere}/users.db")
        changes = {
            "maildir": {"maildir.path": f"{elsewhere}/%{{local}}"},
            "volumes": {"maildir.path": "%{local}", "maildir.volumes": elsewhere},
            "database": {"users.database": f"sqlite:{elsewhere}/users.db"},
            "state": {"store.state": f"{elsewhere}/state"},
            "log": {"log.target": f"{elsewhere}/log"},
            "socket": {"lmtp.listen": f"unix:{elsewhere}/s"},
            "modules": {"store.modules": elsewhere},
            "directories": {"store.directories": elsewhere},
        }[what]
        if what == "modules":
            for module in MODULES.iterdir():
                shutil.copy(module, elsewhere)
        if what == "socket" and len(elsewhere) > 100:
            pytest.skip("the path of a socket would be too long here")
        old = dict(alice.settings)
        with Daemon(alice) as daemon:
            alice.configure(changes)
            daemon.reload()
            last = log_of(alice).splitlines()[-1]
            assert "the old configuration stays in force" in last and "restart" in last
            assert deliver(daemon).startswith("250 ")
        alice.configure({**old, **changes})
        with Daemon(alice) as daemon:
            if what == "socket":
                daemon.socket = f"{elsewhere}/s"
            assert deliver(daemon, SAMPLE + b"2\n").startswith("250 ")


@landlock
def test_a_percent_sign_in_a_template_is_one_in_the_directory(alice):
    with Elsewhere() as elsewhere:
        for name in ("100%", "100%%"):
            os.makedirs(f"{elsewhere}/{name}/mail")
        alice.configure({"maildir.path": f"{elsewhere}/100%%/mail/%{{user}}",
                         "quota-clone.dict": f"file:{elsewhere}/100%%/dict/%u"})
        with Daemon(alice) as daemon:
            (said,) = [line for line in log_of(alice).splitlines() if "confined" in line]
            assert "100%%" not in said and f" {elsewhere}/100%/dict" in said and f" {elsewhere}/100%/mail" in said
            assert deliver(daemon).startswith("250 ")
            end = time.monotonic() + 10
            while not os.path.exists(f"{elsewhere}/100%/dict/{ALICE}") and time.monotonic() < end:
                time.sleep(0.05)
        assert os.path.exists(f"{elsewhere}/100%/dict/{ALICE}"), log_of(alice)
        assert "warning" not in log_of(alice)


@landlock
def test_a_reload_within_the_directories_is_as_ever(alice):
    (alice.path / "more").mkdir()
    with Daemon(alice) as daemon:
        alice.configure({"maildir.path": f"{alice.mail}/more/%{{local}}", "log.target": f"{alice.path}/log2"})
        daemon.reload()
        assert deliver(daemon).startswith("250 ")
    assert list((alice.mail / "more/alice/new").iterdir())


@landlock
def test_a_module_that_does_not_say_where_it_writes_works_unconfined(alice):
    modules = alice.path / "modules"
    shutil.copytree(MODULES, modules)
    source = alice.path / "mda-flat.cpp"
    source.write_text(next(block for block in literal_blocks("roost-modules.7") if block.startswith("// MDA module")))
    subprocess.run(["c++", "-std=c++20", "-fPIC", "-fvisibility=hidden", f"-I{SOURCE}/lib", "-c", source, "-o",
                    alice.path / "flat.o"], check=True)
    subprocess.run(["cc", "-shared", "-o", modules / "mda-flat.so", alice.path / "flat.o"], check=True)
    alice.configure({"store.modules": modules, "store.mda": "flat", "maildir.path": None,
                     "flat.path": f"{alice.path}/flat/%{{local}}"})
    with Daemon(alice) as daemon:
        assert "not confined to its directories: the MDA module flat does not say where it writes" in log_of(alice)
        assert deliver(daemon).startswith("250 ")


def refuse_landlock(code):
    """Has the kernel answer Landlock's calls with this error, in this process and what it starts (seccomp(2))."""

    def install():
        instructions = [
            struct.pack("HBBI", 0x20, 0, 0, 0),  # load the call's number
            struct.pack("HBBI", 0x35, 0, 2, SYS_LANDLOCK_CREATE_RULESET),  # below: allow
            struct.pack("HBBI", 0x25, 1, 0, SYS_LANDLOCK_CREATE_RULESET + 2),  # above: allow
            struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | code),
            struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000),
        ]
        program = ctypes.create_string_buffer(b"".join(instructions))
        filter_ = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(instructions), ctypes.addressof(program)))
        LIBC.prctl(38, 1, 0, 0, 0)
        if LIBC.prctl(22, 2, filter_, 0, 0) != 0:
            os._exit(99)

    return install


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter knows one machine's numbers of system calls")
@pytest.mark.parametrize("code, said", [(38, "this kernel has no Landlock"), (95, "this kernel has no Landlock"),
                                        (1, "Landlock may not be used here")])
def test_without_landlock_it_works_unconfined_and_says_so(alice, code, said):
    with Daemon(alice, preexec_fn=refuse_landlock(code)) as daemon:
        assert f"not confined to its directories: {said}" in log_of(alice)
        assert deliver(daemon).startswith("250 ")
        daemon.reload()
        assert "read again" in log_of(alice)
