"""32 processes deliver the first mail of one user at the same moment: one mailbox, every message once, no orphan."""

import array
import contextlib
import fcntl
import json
import os
import subprocess
import termios
import time

import pytest

from conftest import PROGRAMS, clean_env
from stores import STORES, tally, text

PROCESSES = 32
ROUNDS = int(os.environ.get("ROOST_RACE_ROUNDS", "3"))


def unread(pipe):
    """How many bytes nobody has taken out of a pipe yet."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def rush(site, user, messages):
    """Delivers all messages to the user at once; returns (exit status, stderr) of each process.

    Each process has its message but not the end of its input, and waits for that; then all inputs are closed.
    """
    command = [str(PROGRAMS["roost-deliver"]), "-c", str(site.conf), "-f", "bob@example.net", "-d", user]
    with contextlib.ExitStack() as stack:
        running = []
        for message in messages:
            process = stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env(), cwd=site.path, bufsize=0
                )
            )
            stack.callback(process.kill)
            process.stdin.write(message)
            running.append(process)
        until = time.monotonic() + 120
        while any(unread(process.stdin) for process in running):
            assert time.monotonic() < until, "a process does not read its message"
            time.sleep(0.01)
        for process in running:
            process.stdin.close()
        return [(process.wait(timeout=300), process.stderr.read().decode()) for process in running]


def mount_tmpfs(path, size):
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "roost-test", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting file systems of different size takes root")


@pytest.fixture
def volumes(request, site):
    """Two volumes: directories of one file system, or file systems of equal or different size; or none."""
    kind = request.param
    tops = [site.path / "v1", site.path / "v2"]
    if kind == "path":
        yield None
    elif kind == "directories":
        for top in tops:
            top.mkdir()
        yield tops
    else:
        with contextlib.ExitStack() as stack:
            for top, size in zip(tops, ("64m", "64m" if kind == "equal" else "96m")):
                mount_tmpfs(top, size)
                stack.callback(subprocess.run, ["umount", "--lazy", str(top)], check=True)
            yield tops


CASES = [
    *((mda, creator, "path") for mda in ("maildir", "mbox") for creator in ("lock", "trial", "none")),
    *(("maildir", creator, kind) for creator in ("lock", "trial") for kind in ("directories", "equal", "different")),
]


@pytest.mark.parametrize(
    "mda, creator, volumes", CASES, ids=["-".join(case) for case in CASES], indirect=["volumes"]
)
def test_the_first_mails_of_a_user_at_once_make_one_mailbox_with_each_message_once(site, mda, creator, volumes):
    store = STORES[mda]
    site.configure({**store.settings(site), "store.creator": creator, "quota.storage": "1G", "quota.messages": "1000"})
    tops = [site.mail]
    if volumes:
        tops = volumes
        site.configure({"maildir.volumes": " ".join(map(str, volumes)), "maildir.path": "%{domain}/%{local}"})
    for turn in range(ROUNDS):
        user = f"user{turn}@example.org"
        site.add(user)
        messages = [text(1000 * turn + number) for number in range(PROCESSES)]

        ended = rush(site, user, messages)

        assert ended == [(0, "")] * PROCESSES
        own = [box for top in tops for box in store.mailboxes([top]) if os.path.basename(box) == f"user{turn}"]
        assert len(own) == 1, f"one mailbox expected: {own}"
        assert tally(store.stored(own), user) == dict.fromkeys(messages, 1)
        assert not store.strangers(tops)
        check_record(site, mda, user, own[0])
        check_usage(site, user)
        if volumes:
            check_volumes(tops, own[0], turn)


def check_record(site, mda, user, box):
    """The database has one allocation, and it is the mailbox that holds the mail."""
    [(allocation, enabled, settings)] = site.sql("SELECT allocation, enabled, settings FROM users WHERE name=?", (user,))
    assert json.loads(allocation)[f"{mda}.path"] == box
    assert (enabled, settings) == (1, "{}")


def check_usage(site, user):
    """The books that 32 processes kept at once agree with the store."""
    checked = site.roost("quota", "recount", "--check", user)
    assert checked.returncode == 0, (checked.stdout + checked.stderr).decode()


def check_volumes(tops, box, turn):
    """Nothing on any volume but the domain's directory, the users' mailboxes of so far, and their parts."""
    below = [
        path
        for top in tops
        for path, folders, files in os.walk(top)
        if os.path.relpath(path, top).count(os.sep) == 1
    ]
    assert sorted(os.path.basename(path) for path in below) == sorted(f"user{n}" for n in range(turn + 1))
    assert box in below
