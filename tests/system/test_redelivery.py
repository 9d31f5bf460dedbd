"""A message whose verdict got lost is not stored twice, and no other message is ever taken for it."""

import signal
import socket

import pytest
from conftest import SAMPLE
from lmtp import Daemon, wait_for, wire

ALICE, BOB = "alice@example.org", "bob@example.org"


@pytest.fixture
def site_(site):
    site.add(ALICE)
    site.add(BOB)
    return site


def lose_verdict(daemon, message, *recipients, **envelope):
    """Sends a message and is gone behind the final dot; returns when it is delivered and the loss was noticed."""
    log = daemon.site.log
    before = log.read_text().count("verdict=")
    with daemon.client() as client:
        client.envelope(*recipients, **envelope)
        assert client.say("DATA").startswith("354 ")
        client.send(wire(message))
    wait_for(lambda: log.read_text().count("verdict=") == before + len(recipients), "the delivery")


def send(daemon, message, *recipients, **envelope):
    with daemon.client() as client:
        return [reply[:10] for reply in client.deliver(message, *recipients, **envelope)]


DONE = "250 2.0.0 "


def test_the_second_copy_is_acknowledged_and_not_stored(site_):
    with Daemon(site_) as daemon:
        lose_verdict(daemon, SAMPLE, ALICE, BOB)
        assert send(daemon, SAMPLE, ALICE, BOB) == [DONE, DONE]
        assert len(site_.messages(ALICE)) == len(site_.messages(BOB)) == 1
        assert site_.log.read_text().count("stored=delivered before") == 2


def test_a_copy_for_one_of_the_recipients_is_recognised_too(site_):
    with Daemon(site_) as daemon:
        lose_verdict(daemon, SAMPLE, ALICE, BOB)
        assert send(daemon, SAMPLE, BOB) == [DONE]
        assert len(site_.messages(BOB)) == 1


def test_a_recipient_that_did_not_get_it_does_now(site_):
    site_.sql("UPDATE users SET settings = ? WHERE name = ?", ('{"quota.message": 1, "quota.when-full": "defer"}', BOB))
    with Daemon(site_) as daemon:
        lose_verdict(daemon, SAMPLE, ALICE, BOB)
        site_.sql("UPDATE users SET settings = '{}'")
        assert send(daemon, SAMPLE, ALICE, BOB) == [DONE, DONE]
    assert len(site_.messages(ALICE)) == len(site_.messages(BOB)) == 1


def test_the_copy_that_made_the_mailbox_full_is_no_reason_to_refuse_the_second(site_):
    site_.configure(quota__messages=1)
    with Daemon(site_) as daemon:
        lose_verdict(daemon, SAMPLE, ALICE)
        with daemon.client() as other:  # of another sender, or another message, it is
            other.envelope(sender="eve@example.net")
            assert other.say(f"RCPT TO:<{ALICE}>").startswith("552 5.2.2 ")
        assert send(daemon, SAMPLE + b"x\n", ALICE) == ["552 5.2.2 "]
        with daemon.client() as client:
            assert client.deliver(SAMPLE, ALICE)[0].startswith(DONE)
            client.say("QUIT")
        line = site_.log.read_text().splitlines()[-1]
        assert f" user={ALICE} " in line and "stored=delivered before" in line
        with daemon.client() as other:  # that verdict was read
            other.envelope()
            assert other.say(f"RCPT TO:<{ALICE}>").startswith("552 5.2.2 ")
    assert len(site_.messages(ALICE)) == 1


@pytest.mark.parametrize(
    "message, recipient, sender",
    [(SAMPLE + b"x\n", ALICE, "bob@example.net"), (SAMPLE, BOB, "bob@example.net"), (SAMPLE, ALICE, "eve@example.net")],
)
def test_another_message_recipient_or_sender_is_another_delivery(site_, message, recipient, sender):
    with Daemon(site_) as daemon:
        lose_verdict(daemon, SAMPLE, ALICE)
        assert send(daemon, message, recipient, sender=sender) == [DONE]
    assert len(site_.messages(ALICE) + site_.messages(BOB)) == 2


def test_the_original_recipient_that_names_the_folder_tells_copies_apart(site_):
    with Daemon(site_) as daemon:
        for times, detail in enumerate(("one", "two", "one"), 1):
            with daemon.client() as client:
                client.envelope()
                assert client.say(f"RCPT TO:<{ALICE}> ORCPT=rfc822;alice+2B{detail}@example.org").startswith("250 ")
                assert client.say("DATA").startswith("354 ")
                client.send(wire(SAMPLE))
            wait_for(lambda times=times: site_.log.read_text().count("verdict=") == times, "the delivery")
    assert [len(site_.messages(ALICE, folder)) for folder in ("one", "two", "")] == [1, 1, 0]


def test_two_messages_of_one_session_are_two_even_if_the_client_has_closed_its_side(site_):
    with Daemon(site_) as daemon, daemon.client() as client:
        chunk = SAMPLE.replace(b"\n", b"\r\n")
        once = f"MAIL FROM:<bob@example.net>\r\nRCPT TO:<{ALICE}>\r\nBDAT {len(chunk)} LAST\r\n".encode() + chunk
        client.send(2 * once + b"QUIT\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        replies = [client.reply() for _ in range(7)]
        assert replies[2].startswith(DONE) and replies[5].startswith(DONE)
    assert len(site_.messages(ALICE)) == 2


def test_what_came_before_the_verdict_was_told_does_not_show_that_it_was_read(site_):
    with Daemon(site_) as daemon:
        # One reading takes just the message; what the client says next lies behind it in the socket.
        fill = SAMPLE + b"x" * (65536 - len(wire(SAMPLE + b"\n"))) + b"\n"
        assert len(wire(fill)) == 65536
        log = site_.log
        for times in (1, 2):
            with daemon.client() as client:
                client.envelope(ALICE)
                assert client.say("DATA").startswith("354 ")
                client.send(wire(fill) + b"QUIT\r\n")
                wait_for(lambda: log.read_text().count("verdict=") == times, "the delivery")
    assert len(site_.messages(ALICE)) == 1


def test_a_verdict_that_was_read_is_forgotten(site_):
    with Daemon(site_) as daemon:
        with daemon.client() as client:
            client.deliver(SAMPLE, ALICE)
            client.say("NOOP")
            assert client.deliver(SAMPLE, ALICE)[0].startswith(DONE)
            client.say("QUIT")
        assert send(daemon, SAMPLE, ALICE) == [DONE]
    assert len(site_.messages(ALICE)) == 3


def test_clients_that_are_still_there_repeat_nothing(site_):
    with Daemon(site_) as daemon, daemon.client() as one, daemon.client() as two:
        for client in (one, two):
            assert client.deliver(SAMPLE, ALICE)[0].startswith(DONE)
    assert len(site_.messages(ALICE)) == 2


def test_the_second_copys_verdict_may_be_lost_as_well(site_):
    with Daemon(site_) as daemon:
        for _ in range(3):
            lose_verdict(daemon, SAMPLE, ALICE)
        assert send(daemon, SAMPLE, ALICE) == [DONE]
        assert len(site_.messages(ALICE)) == 1


def test_when_the_window_is_over_it_is_a_new_message(site_):
    site_.configure(lmtp__redelivery_window="1ms")
    with Daemon(site_) as daemon:
        lose_verdict(daemon, SAMPLE, ALICE)
        wait_for(lambda: send(daemon, SAMPLE, ALICE) == [DONE] and len(site_.messages(ALICE)) == 2, "a second copy")


def test_it_can_be_switched_off(site_):
    site_.configure(lmtp__redelivery_window="0s")
    with Daemon(site_) as daemon:
        lose_verdict(daemon, SAMPLE, ALICE)
        assert send(daemon, SAMPLE, ALICE) == [DONE]
    assert len(site_.messages(ALICE)) == 2


def test_an_orderly_restart_remembers(site_):
    with Daemon(site_) as daemon:
        lose_verdict(daemon, SAMPLE, ALICE)
        assert daemon.stop() == 0
    with Daemon(site_) as daemon:
        assert send(daemon, SAMPLE, ALICE) == [DONE]
        assert len(site_.messages(ALICE)) == 1
        # What the crashed one knew is not what a later one may believe.
        daemon.stop(signal.SIGKILL)
    with Daemon(site_) as daemon:
        assert send(daemon, SAMPLE, ALICE) == [DONE]
    assert len(site_.messages(ALICE)) == 2


def test_a_damaged_memory_does_not_keep_it_from_starting(site_):
    (site_.state / "redelivery").write_bytes(b"\xff\x00 nonsense\n99999999999 zz\n" * 100)
    with Daemon(site_) as daemon:
        assert send(daemon, SAMPLE, ALICE) == [DONE]


def test_a_start_that_fails_forgets_nothing(site_):
    with Daemon(site_) as daemon:
        lose_verdict(daemon, SAMPLE, ALICE)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        site_.configure(metrics__listen=f"tcp:127.0.0.1:{other.getsockname()[1]}")
        with Daemon(site_, ready=False) as daemon:
            assert daemon.wait() == 1
    site_.configure(metrics__listen=None)
    with Daemon(site_) as daemon:
        assert send(daemon, SAMPLE, ALICE) == [DONE]
        assert not (site_.state / "redelivery").exists()
    assert len(site_.messages(ALICE)) == 1
