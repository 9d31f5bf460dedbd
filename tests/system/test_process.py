"""roost-deliver as a process: whatever the MTA does to it, the mail is delivered or kept, and never bounced."""

import array
import fcntl
import os
import resource
import signal
import subprocess
import termios
import time

import pytest
from conftest import SAMPLE, clean_env


@pytest.fixture
def alice(site):
    site.add("alice@example.org")
    return site


def start(site, *flags, **more):
    """roost-deliver waiting for its message on a pipe."""
    command = [site.programs["roost-deliver"], "-c", site.conf, "-d", "alice@example.org", *flags]
    return subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=clean_env(None), **more
    )


def wait_until_read(process):
    """Until the process has taken all that was written to it."""
    left = array.array("i", [1])
    while left[0]:
        time.sleep(0.01)
        fcntl.ioctl(process.stdin, termios.FIONREAD, left)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGSTKFLT", "SIGXCPU",
                                  "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR"])
def test_a_signal_that_ends_it_is_a_temporary_failure(alice, name):
    number = getattr(signal, name)
    process = start(alice, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))  # what nohup ignores stays ignored
    process.stdin.write(SAMPLE)
    process.stdin.flush()
    wait_until_read(process)
    process.send_signal(number)
    _, stderr = process.communicate()
    assert process.returncode == 75
    assert stderr.startswith(b"4.3.2 ")
    assert alice.messages("alice@example.org") == []


@pytest.mark.parametrize("name", ["SIGABRT", "SIGSYS"])  # a sanitizer reports others itself
def test_a_fault_is_a_temporary_failure(alice, name):
    process = start(alice)
    process.stdin.write(SAMPLE)
    process.stdin.flush()
    wait_until_read(process)
    process.send_signal(getattr(signal, name))
    _, stderr = process.communicate()
    assert process.returncode == 75
    assert stderr.startswith(b"4.3.0 ")
    assert alice.messages("alice@example.org") == []


def test_a_closed_standard_input_is_no_empty_message(alice):
    process = start(alice, preexec_fn=lambda: os.close(0))
    _, stderr = process.communicate()
    assert process.returncode == 75
    assert stderr.startswith(b"4.3.0 cannot read the message: ")
    assert alice.messages("alice@example.org") == []


@pytest.mark.parametrize("closed", [[1], [2], [1, 2]])
def test_closed_descriptors_do_no_harm(alice, closed):
    def close():
        for fd in closed:
            os.close(fd)

    process = start(alice, preexec_fn=close)
    process.communicate(SAMPLE)
    assert process.returncode == 0
    [stored] = alice.messages("alice@example.org")
    assert stored.read_bytes().endswith(SAMPLE)


def test_an_error_text_never_lands_in_a_file_that_took_the_place_of_stderr(alice):
    alice.configure(quota__message="1")
    before = alice.db.read_bytes()
    process = start(alice, preexec_fn=lambda: os.close(2))
    process.communicate(SAMPLE)
    assert process.returncode == 77
    assert alice.db.read_bytes() == before


def test_a_file_size_limit_is_a_temporary_failure_and_leaves_nothing_visible(alice):
    assert alice.deliver("alice@example.org").returncode == 0
    limit = 64 * 1024

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    result = alice.deliver("alice@example.org", SAMPLE + b"x" * 2 * limit, preexec_fn=limited)
    assert result.returncode == 75
    assert result.stderr.startswith(b"4.3.")
    assert len(alice.messages("alice@example.org")) == 1
    assert list((alice.maildir("alice@example.org") / "tmp").iterdir()) == []


def test_a_message_without_end_is_a_temporary_failure_before_the_deadline(alice):
    alice.configure(delivery__deadline="1s")
    process = start(alice)
    process.stdin.write(SAMPLE)
    process.stdin.flush()
    process.wait(timeout=60)
    assert process.returncode == 75
    assert process.stderr.read().startswith(b"4.3.0 ")
    assert alice.messages("alice@example.org") == []


@pytest.mark.parametrize("blocked", [[], [signal.SIGALRM]])
def test_it_ends_by_the_deadline_even_where_nothing_can_be_given_one(alice, blocked):
    alice.configure(delivery__deadline="1s")
    fifo = alice.path / "fifo"
    os.mkfifo(fifo)
    process = start(alice, "-p", str(fifo),  # open(2) of a FIFO waits for a writer
                    preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, blocked))
    process.wait(timeout=60)
    assert process.returncode == 75
    assert b"delivery.deadline" in process.stderr.read()


def test_many_recipients_do_not_run_out_of_descriptors(site):
    users = [f"user{i}@example.org" for i in range(400)]
    for user in users:
        site.add(user)

    def few():
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, most))

    words = [word for user in users for word in ("-d", user)]
    result = site.deliver(None, SAMPLE, *words, preexec_fn=few)
    assert result.returncode == 0, result.stderr
    assert all(len(site.messages(user)) == 1 for user in users)

    result = site.deliver(None, SAMPLE, *words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    assert result.returncode == 75
    assert b"ulimit -n" in result.stderr.splitlines()[0]
    assert all(len(site.messages(user)) == 1 for user in users)
