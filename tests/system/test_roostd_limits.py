"""What roostd bears from its clients, and what it says where that ends."""

import contextlib
import os
import time
import urllib.request

import pytest
from conftest import SAMPLE
from lmtp import WAIT, Daemon, free_port, wait_for, wire

ALICE = "alice@example.org"


@pytest.fixture
def alice(site):
    site.add(ALICE)
    return site


def test_one_connection_too_many_is_told_to_come_again(alice):
    alice.configure(lmtp__max_connections=2)
    with Daemon(alice) as daemon:
        with daemon.client() as first, daemon.client():
            third = daemon.client(greeting=False)
            assert third.reply().startswith("421 4.3.2 ")
            assert third.reply() is None
            first.say("QUIT")
        wait_for(lambda: daemon.client(greeting=False).reply().startswith("220 "), "room for a connection")
        assert "lmtp.max-connections" in alice.log.read_text()


def test_too_many_recipients(alice):
    alice.configure(lmtp__max_recipients=2)
    with Daemon(alice) as daemon, daemon.client() as client:
        client.envelope(ALICE, ALICE)
        assert client.say(f"RCPT TO:<{ALICE}>").startswith("452 4.5.3 ")
        assert len(client.data(SAMPLE, 2)) == 2


def test_too_many_errors(alice):
    alice.configure(lmtp__max_errors=3)
    with Daemon(alice) as daemon, daemon.client() as client:
        assert client.say("EHLO x").startswith("500 ")
        assert client.say("NONSENSE").startswith("500 ")
        assert client.say("NONSENSE").startswith("421 4.7.0 ")
        assert client.reply() is None


def test_a_message_too_large(alice):
    alice.configure(lmtp__max_message="1K")
    with Daemon(alice) as daemon, daemon.client() as client:
        assert "SIZE 1024" in client.capabilities
        assert client.say("MAIL FROM:<> SIZE=1025").startswith("552 5.3.4 ")
        [reply] = client.deliver(SAMPLE + b"x" * 1024 + b"\n", ALICE)
        assert reply.startswith("552 5.2.3 ")
        [line] = [line for line in alice.log.read_text().splitlines() if "verdict=" in line]
        assert f" to=<{ALICE}> user={ALICE} verdict=message-too-large code=552 5.2.3 " in line and "larger than 1024" in line
        [reply] = client.deliver(SAMPLE, ALICE)
        assert reply.startswith("250 ")
    assert len(alice.messages(ALICE)) == 1


def test_a_message_that_cannot_be_spooled_is_logged_and_counted(alice):
    (alice.state / "spool").mkdir(parents=True)
    port = free_port()
    alice.configure(metrics__listen=f"tcp:127.0.0.1:{port}")
    with Daemon(alice) as daemon, daemon.client() as client:
        (alice.state / "spool").rmdir()
        (alice.state / "spool").write_text("no directory")
        client.envelope(ALICE, ALICE)
        replies = client.data(SAMPLE + b"x" * 79 * 100000 + b"\n", 2)
        assert all(reply.startswith("451 4.3.") for reply in replies), replies
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    lines = [line for line in alice.log.read_text().splitlines() if "verdict=" in line]
    assert len(lines) == 2 and all(f" user={ALICE} verdict=trouble code=451 4.3." in line for line in lines), lines
    assert 'roost_deliveries_total{outcome="trouble"} 2' in page


def test_no_limit_for_messages_is_0_as_well_as_unlimited(alice):
    for written in ("0", "unlimited"):
        alice.configure(lmtp__max_message=written)
        with Daemon(alice) as daemon, daemon.client() as client:
            assert "SIZE\n" in client.capabilities
            assert client.deliver(SAMPLE, ALICE, parameters=" SIZE=1000000000")[0].startswith("250 ")


def test_too_many_deliveries_to_one_user_at_once(alice):
    alice.add("bob@example.org")
    alice.configure(lmtp__user_concurrency=2)
    with Daemon(alice) as daemon, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(daemon.client()) for _ in range(3)]
        clients[0].envelope(ALICE, ALICE)  # one message, so one delivery
        clients[1].envelope(ALICE)
        clients[2].say("MAIL FROM:<>")
        assert clients[2].say(f"RCPT TO:<{ALICE}>") == "451 4.3.0 too many deliveries at once"
        assert clients[2].say("RCPT TO:<bob@example.org>").startswith("250 ")
        clients[0].say("RSET")
        assert clients[2].say(f"RCPT TO:<{ALICE}>").startswith("250 ")
        assert [reply[:3] for reply in clients[2].data(SAMPLE, 2)] == ["250", "250"]
        clients[2].envelope(ALICE)


def test_the_slot_of_a_client_that_went_away_is_free_again(alice):
    alice.configure(lmtp__user_concurrency=1)
    with Daemon(alice) as daemon:
        with daemon.client() as client:
            client.envelope(ALICE)
        with daemon.client() as client:
            client.say("MAIL FROM:<>")
            wait_for(lambda: client.say(f"RCPT TO:<{ALICE}>").startswith("250 "), "a free slot")


@pytest.mark.parametrize("said", [[], ["MAIL FROM:<>"], ["MAIL FROM:<>", f"RCPT TO:<{ALICE}>", "DATA"]])
def test_a_silent_client_is_told_that_time_is_up(alice, said):
    alice.configure(lmtp__idle_timeout="300ms")
    with Daemon(alice) as daemon, daemon.client() as client:
        for command in said:
            client.say(command)
        assert client.reply().startswith("421 4.4.2 ")
        assert client.reply() is None


def drip(client, piece):
    """Sends a little, and a little more, until the client is answered; the answer."""
    client.socket.settimeout(0.01)
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        with contextlib.suppress(BrokenPipeError):  # the answer is there to be read all the same
            client.send(piece)
        with contextlib.suppress(TimeoutError):
            return client.reply()
    raise AssertionError("it went on for ever")


def test_a_command_that_never_ends_does_not_buy_time(alice):
    alice.configure(lmtp__idle_timeout="1s")
    with Daemon(alice) as daemon, daemon.client() as client:
        assert drip(client, b"x").startswith("421 4.4.2 ")


def test_a_message_that_drips_is_ended(alice):
    alice.configure(lmtp__data_timeout="1s")
    with Daemon(alice) as daemon, daemon.client() as client:
        client.envelope(ALICE)
        client.say("DATA")
        assert drip(client, b"x\r\n").startswith("421 4.4.2 ")


@pytest.mark.parametrize(
    "said, begin, end, verdict",
    [
        (["MAIL FROM:<>", f"RCPT TO:<{ALICE}>", "DATA"], b"x" * 2000 + b"\r\n", b"\r\n.\r\n", "552 5.2.3 "),
        (["MAIL FROM:<>", f"RCPT TO:<{ALICE}>"], b"BDAT 2020 LAST\r\n" + b"x" * 2000, b"x" * 12, "552 5.2.3 "),
        ([], b"BDAT 20 LAST\r\n" + b"x" * 12, b"", "503 5.5.1 "),
    ],
)
def test_what_is_swallowed_may_take_as_long_as_what_is_kept(alice, said, begin, end, verdict):
    alice.configure(lmtp__idle_timeout="1s", lmtp__max_message="1K")
    with Daemon(alice) as daemon, daemon.client() as client:
        for command in said:
            client.say(command)
        client.send(begin)
        for _ in range(8):
            time.sleep(0.2)
            client.send(b"x")
        client.send(end)
        assert client.reply().startswith(verdict)


def test_a_message_that_is_too_large_drips_no_longer_than_another(alice):
    alice.configure(lmtp__data_timeout="1s", lmtp__max_message="1K")
    with Daemon(alice) as daemon, daemon.client() as client:
        client.envelope(ALICE)
        client.say("DATA")
        client.send(b"x" * 2000)
        assert drip(client, b"x\r\n").startswith("421 4.4.2 ")


def test_a_client_that_reads_nothing_is_given_up(alice):
    alice.configure(lmtp__idle_timeout="300ms", lmtp__max_errors="unlimited")
    with Daemon(alice) as daemon, daemon.client() as client:
        client.socket.settimeout(20)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                client.send(b"NOOP\r\n" * 10_000)


def test_a_thousand_idle_connections_cost_little_and_are_served_all_the_same(alice):
    count = 1000
    with Daemon(alice) as daemon, contextlib.ExitStack() as stack:
        with daemon.client() as client:
            client.deliver(SAMPLE, ALICE)
        clients = [stack.enter_context(daemon.client()) for _ in range(count)]
        for i, client in enumerate(clients):
            client.envelope(ALICE)
            client.data(SAMPLE + b"%d\n" % i)
        wait_for(lambda: daemon.threads() < 32, "the end of the threads")
        # As a user of the program sees it: all of its memory, its code included.
        if daemon.sanitized:
            pytest.skip("a sanitizer needs more memory than the program")
        assert daemon.memory() < 64 * 1024 * 1024
        assert clients[500].deliver(SAMPLE, ALICE)[0].startswith("250 ")
        for client in clients:
            client.send(wire(SAMPLE)[:10] + b"\r\nNOOP\r\n")
        for client in clients:
            assert client.reply().startswith("500 ")
            assert client.reply().startswith("250 ")


def test_running_out_of_descriptors_passes(alice):
    import resource

    with Daemon(
        alice, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    ) as daemon, contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(daemon.client(greeting=False)) for _ in range(60)]
        wait_for(lambda: "open files" in alice.log.read_text(), "running out")
        for client in waiting:
            client.socket.close()
        with daemon.client() as client:
            assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")


def test_no_mailbox_is_held_open_for_a_silent_peer(alice):
    """An administrator can unmount a volume that nobody delivers to."""
    assert alice.deliver("alice@example.org").returncode == 0  # so that there is a mailbox, with books
    alice.configure(quota__storage="1G")
    mailbox = str(alice.maildir("alice@example.org"))
    with Daemon(alice) as daemon, daemon.client() as client:
        held = f"/proc/{daemon.process.pid}/fd"

        def is_open():
            links = []
            for fd in os.listdir(held):
                with contextlib.suppress(FileNotFoundError):
                    links.append(os.readlink(f"{held}/{fd}"))
            return [link for link in links if link.startswith(mailbox)]

        assert client.say("MAIL FROM:<bob@example.net>").startswith("250 ")
        assert client.say("RCPT TO:<alice@example.org>").startswith("250 ")
        assert is_open(), "nothing is kept from RCPT to DATA: this test proves nothing"
        wait_for(lambda: not is_open(), "closing the mailbox")
        assert client.data(b"Subject: late\n\n")[0].startswith("250 ")
        assert len(alice.messages("alice@example.org")) == 2
