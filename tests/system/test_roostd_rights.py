"""What roostd may do: which capabilities it keeps, and that mail users get nothing through it that is not theirs."""

import os
import pathlib
import re
import shutil
import stat
import threading

import pytest
from conftest import SAMPLE
from lmtp import Daemon, free_port
from manpage import section

ALICE, BOB = "alice@example.org", "bob@example.org"
CAPABILITIES = {"chown": 0, "dac_override": 1, "fowner": 3, "setgid": 6, "setuid": 7, "net_bind_service": 10}
NOBODY = 65534

root_only = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as the users whom mailboxes belong to")


def mask(*names):
    return sum(1 << CAPABILITIES[name] for name in names)


def statuses(daemon):
    """The fields of /proc/PID/status, of each thread."""
    threads = pathlib.Path(f"/proc/{daemon.process.pid}/task").iterdir()
    return [dict(line.split(":\t", 1) for line in (each / "status").read_text().splitlines() if ":\t" in line)
            for each in threads]


class As(Daemon):
    """A roostd that is started by setpriv(1) with these flags."""

    def __init__(self, site, *setpriv, **more):
        program = site.programs["roostd"]
        launcher = site.path / "launcher"
        launcher.write_text(f"#!/bin/sh\nexec setpriv {' '.join(setpriv)} -- {program} \"$@\"\n")
        launcher.chmod(0o755)
        site.programs = {**site.programs, "roostd": launcher}
        # Whoever may not look at other threads' memory cannot look for leaks.
        options = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        try:
            super().__init__(site, env={"ASAN_OPTIONS": options}, **more)
        finally:
            site.programs = {**site.programs, "roostd": program}


@pytest.fixture
def shared(site):
    """A Site whose mailboxes get uids of their own."""
    site.configure({"maildir.uids": "5000-5099"})
    for user in (ALICE, BOB):
        site.add(user)
    site.state.chmod(0o700)
    site.path.chmod(0o755)
    return site


def deliver(daemon, user, message=SAMPLE):
    with daemon.client() as client:
        return client.deliver(message, user)[0]


@root_only
@pytest.mark.parametrize("durability", ["fsync", "journal"])
def test_root_keeps_what_it_needs_and_nothing_else_in_every_thread(shared, durability):
    shared.configure(delivery__durability=durability, metrics__listen=f"tcp:127.0.0.1:{free_port()}")
    with As(shared, "--groups", "4,12345") as daemon:
        for user in (ALICE, BOB):
            assert deliver(daemon, user).startswith("250 ")
        found = statuses(daemon)
    assert len(found) > 1
    for status in found:
        for each in ("CapPrm", "CapEff", "CapBnd"):
            assert int(status[each], 16) == mask(*CAPABILITIES)
        assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
        assert (status["NoNewPrivs"], status["Groups"].strip()) == ("1", "")


def test_the_manual_names_the_capabilities():
    text = section("roostd.8", "OPERATION")
    assert all(f"CAP_{name.upper()}" in text for name in CAPABILITIES)
    lines = re.search(r"^CapabilityBoundingSet=((.*\\e\n)*.*)$", text, re.MULTILINE)[1]
    assert set(lines.replace("\\e\n", "").split()) == {f"CAP_{name.upper()}" for name in CAPABILITIES}
    assert text.count("CAP_") == 2 * len(CAPABILITIES)


@root_only
@pytest.mark.parametrize("name", ["chown", "setuid", "setgid", "dac_override"])
def test_no_delivery_can_do_without(shared, name):
    os.chown(shared.db, 4242, 4242)
    os.chown(shared.state, 4242, 4242)
    os.chown(shared.path, 4242, 4242)
    shared.path.chmod(0o755)
    port = free_port()
    shared.configure(lmtp__listen=f"tcp:127.0.0.1:{port}", log__target="stderr")
    with As(shared, "--bounding-set", f"-{name}", ready=name != "dac_override") as daemon:
        daemon.socket = ("127.0.0.1", port)
        if name == "dac_override":
            assert daemon.wait() == 1
        else:
            assert deliver(daemon, ALICE).startswith("451 ")
    with As(shared) as daemon:
        daemon.socket = ("127.0.0.1", port)
        assert deliver(daemon, ALICE).startswith("250 ")


@root_only
def test_a_state_that_a_group_shares_takes_all_of_them(shared):
    os.chown(shared.state, 4242, 4242)
    shared.state.chmod(0o770)
    shared.configure({"quota-clone.dict": "redis:host=127.0.0.1:port=1", "delivery.durability": "fsync"})
    modes = {}
    for flags in ((), ("--bounding-set", "-fowner")):
        with As(shared, *flags) as daemon:
            assert deliver(daemon, ALICE, SAMPLE + repr(flags).encode() + b"\n").startswith("250 ")
        file = shared.state / "clone.pending"
        modes[flags] = (stat.S_IMODE(file.stat().st_mode), file.stat().st_uid) if file.exists() else None
        for file in shared.state.glob("clone.*"):
            file.unlink()
    assert modes[()] == (0o660, 4242)
    assert modes[("--bounding-set", "-fowner")] != modes[()]


@pytest.fixture
def given_away(site):
    """A Site that belongs to nobody."""
    if os.getuid() != 0:
        pytest.skip("only root can start programs as another user")
    site.add(ALICE)
    for top, _, names in os.walk(site.path):
        for path in (top, *(os.path.join(top, name) for name in names)):
            os.chown(path, NOBODY, NOBODY)
    port = free_port()
    site.configure(lmtp__listen=f"tcp:127.0.0.1:{port}")
    site.endpoint = ("127.0.0.1", port)
    return site


@pytest.mark.parametrize("more, kept", [((), ()), (("--inh-caps", "+net_bind_service,+kill", "--ambient-caps",
                                                   "+net_bind_service,+kill"), ("net_bind_service",))])
def test_another_user_needs_no_privileges(given_away, more, kept):
    with As(given_away, "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", *more) as daemon:
        daemon.socket = given_away.endpoint
        assert deliver(daemon, ALICE).startswith("250 ")
        for status in statuses(daemon):
            assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == mask(*kept)
            assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
            assert status["NoNewPrivs"] == "1"
    assert given_away.messages(ALICE)[0].stat().st_uid == NOBODY


@root_only
def test_with_many_users_at_once_every_file_has_its_owner(shared):
    users = [f"user{number}@example.org" for number in range(12)]
    for user in users:
        shared.add(user)
    replies = []
    with As(shared) as daemon:
        def talk(number):
            with daemon.client() as client:
                for turn in range(len(users)):
                    # Two recipients each time, so that groups of users are synced together, too.
                    to = [users[(number + turn) % len(users)], users[(number + turn + 5) % len(users)]]
                    replies.extend(client.deliver(SAMPLE + b"%d %d\n" % (number, turn), *to))

        talkers = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
        for each in talkers:
            each.start()
        for each in talkers:
            each.join()
    assert len(replies) == 2 * 8 * len(users) and all(reply.startswith("250 ") for reply in replies)
    uids = dict(shared.sql("SELECT name, json_extract(allocation, '$.\"maildir.uid\"') FROM users"))
    assert len({uids[user] for user in users}) == len(users)
    for user in users:
        uid = int(uids[user])
        found = [shared.maildir(user), *shared.maildir(user).rglob("*")]
        assert len([path for path in found if path.is_file() and path.parent.name == "new"]) == 2 * 8
        assert {(path.lstat().st_uid, path.lstat().st_gid) for path in found} == {(uid, uid)}


@root_only
@pytest.mark.parametrize("folder", ["new", "tmp", "cur"])
def test_a_link_into_another_mailbox_lets_nothing_through(shared, folder):
    with As(shared) as daemon:
        for user in (ALICE, BOB):
            assert deliver(daemon, user).startswith("250 ")
        before = sorted(shared.maildir(BOB).rglob("*"))
        target = shared.maildir(ALICE) / folder
        shutil.rmtree(target)
        target.symlink_to(shared.maildir(BOB) / folder)
        assert deliver(daemon, ALICE, SAMPLE + b"again\n").startswith("451 ")
        assert sorted(shared.maildir(BOB).rglob("*")) == before


@root_only
@pytest.mark.parametrize("owner, mode", [((0, 0), 0o700), ((0, 12345), 0o770), ((0, 0), 0o770), ((5001, 5001), 0o700)],
                         ids=["root's", "a supplementary group's", "root's group's", "another user's"])
def test_what_roostd_could_reach_a_thread_that_acts_as_a_user_cannot(shared, owner, mode):
    with As(shared, "--groups", "12345") as daemon:
        assert deliver(daemon, ALICE).startswith("250 ")
        target = shared.maildir(ALICE) / "new"
        shutil.rmtree(target)
        target.mkdir()
        os.chown(target, *owner)
        target.chmod(mode)
        assert deliver(daemon, ALICE, SAMPLE + b"again\n").startswith("451 ")
        assert list(target.iterdir()) == []
        os.chown(target, 5000, 5000)
        assert deliver(daemon, ALICE, SAMPLE + b"again\n").startswith("250 ")
