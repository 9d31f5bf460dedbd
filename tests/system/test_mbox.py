"""mbox files shared with another program: Python's mailbox module reads, writes and locks them by rules of its own."""

import mailbox
import os
import resource
import signal
import threading

import pytest

from stores import STORES, tally, text

ALICE = "alice@example.org"


@pytest.fixture
def alice(site):
    site.configure({**STORES["mbox"].settings(site), "mbox.lock-timeout": "300ms"})
    site.add(ALICE)
    return site


def inbox(site):
    return site.mail / "example.org" / "alice"


def deliver(site, message, *flags):
    done = site.deliver(ALICE, message, "-f", "bob@example.net", *flags)
    assert (done.returncode, done.stderr.decode()) == (0, "")


def test_another_program_reads_what_was_delivered(alice):
    for number in range(3):
        deliver(alice, text(number))
    box = mailbox.mbox(inbox(alice), create=False)
    assert [message["Message-ID"] for message in box] == [f"<{number}@example.net>" for number in range(3)]
    assert all(message.get_from().startswith("bob@example.net ") for message in box)
    assert [message["Delivered-To"] for message in box] == [ALICE] * 3
    assert b">From here on\n>>From there on\n" in box.get_bytes(0)


def test_what_another_program_writes_and_removes_is_counted(alice):
    alice.configure(quota__messages="3")
    deliver(alice, text(1))
    box = mailbox.mbox(inbox(alice), create=False)
    box.lock()
    box.add(text(2))
    box.add(text(3))
    box.flush()
    box.unlock()
    assert alice.deliver(ALICE, text(4)).returncode == 77
    box.lock()
    box.remove(1)
    box.flush()  # another file of that name
    box.unlock()
    deliver(alice, text(4))
    box = mailbox.mbox(inbox(alice), create=False)
    assert [message["Message-ID"] for message in box] == [f"<{number}@example.net>" for number in (1, 3, 4)]


def test_while_another_program_holds_its_locks_mail_is_deferred(alice):
    deliver(alice, text(1))
    box = mailbox.mbox(inbox(alice), create=False)
    box.lock()
    done = alice.deliver(ALICE, text(2))
    assert done.returncode == 75
    assert f"process {os.getpid()} holds" in done.stderr.decode()
    box.unlock()
    deliver(alice, text(2))
    assert len(mailbox.mbox(inbox(alice), create=False)) == 2


def test_two_programs_that_write_at_once_lose_nothing(alice):
    alice.configure({"mbox.lock-timeout": "60s"})
    deliver(alice, text(0))
    own = [text(number) for number in range(100, 125)]

    def other_program():
        for message in own:
            box = mailbox.mbox(inbox(alice), create=False)
            while True:
                try:
                    box.lock()
                    break
                except mailbox.ExternalClashError:
                    continue
            box.add(message)
            box.flush()
            box.unlock()
            box.close()

    writer = threading.Thread(target=other_program)
    writer.start()
    for number in range(1, 25):
        deliver(alice, text(number))
    writer.join()
    found = [message["Message-ID"] for message in mailbox.mbox(inbox(alice), create=False)]
    assert sorted(found) == sorted(f"<{number}@example.net>" for number in (*range(25), *range(100, 125)))


def test_a_file_size_limit_is_a_temporary_failure_and_leaves_no_trace(alice):
    deliver(alice, text(1, 100_000))
    before = inbox(alice).read_bytes()

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and its children would
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20_000,) * 2)

    done = alice.deliver(ALICE, text(2, 50_000), preexec_fn=limited)
    assert done.returncode == 75, done
    assert inbox(alice).read_bytes() == before
    deliver(alice, text(3))
    assert tally(STORES["mbox"].stored([alice.mail]), ALICE) == {text(1, 100_000): 1, text(3): 1}
