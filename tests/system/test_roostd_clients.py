"""Clients that others wrote, and very many at once."""

import collections
import os
import re
import smtplib
import subprocess
import threading

import pytest

from chamber import PEERS
from conftest import SAMPLE, clean_env
from lmtp import Daemon, free_port

ALICE, BOB = "alice@example.org", "bob@example.org"
WIRE = SAMPLE.replace(b"\n", b"\r\n")


@pytest.fixture(name="daemon", params=["unix", "tcp"])
def fixture_daemon(site, request):
    """A roostd at `address`, (host, port) as smtplib takes it."""
    site.add(ALICE)
    site.add(BOB)
    port = free_port()
    if request.param == "tcp":
        site.configure(lmtp__listen=f"tcp:127.0.0.1:{port}")
    with Daemon(site) as made:
        made.address = ("127.0.0.1", port) if request.param == "tcp" else (str(made.socket), 0)
        yield made


# Python's smtplib


def replies(client, recipients, message=WIRE, sender="bob@example.net", options=()):
    """A transaction; the codes of the replies to RCPT and to the message. smtplib itself reads one reply to a message."""
    client.ehlo_or_helo_if_needed()
    assert client.mail(sender, options)[0] == 250
    at_once = [client.rcpt(recipient)[0] for recipient in recipients]
    taken = at_once.count(250)
    answers = [client.data(message)] + [client.getreply() for _ in range(taken - 1)]
    return at_once, [code for code, _ in answers]


def test_smtplib_has_an_answer_for_each_of_many_recipients(daemon):
    site = daemon.site
    users = [f"user{number}@example.org" for number in range(120)]
    for user in users[::3]:
        site.add(user)
    with smtplib.LMTP(*daemon.address) as client:
        at_once, answers = replies(client, users)
        assert at_once == [550 if number % 3 else 250 for number in range(120)]
        assert answers == [250] * 40
        assert replies(client, [ALICE]) == ([250], [250])
    for number, user in enumerate(users):
        assert len(site.messages(user)) == (0 if number % 3 else 1)


def test_smtplib_delivers_to_an_address_in_utf8(daemon):
    site = daemon.site
    user, sender = "jürgen.müller@bücher.example", "ольга@example.net"
    site.add(user)
    with smtplib.LMTP(*daemon.address) as client:
        client.ehlo()
        assert client.has_extn("SMTPUTF8") and client.has_extn("8BITMIME")
        client.command_encoding = "utf-8"
        message = f"From: {sender}\r\nTo: {user}\r\nSubject: Grüße\r\n\r\nпривет\r\n".encode()
        assert replies(client, [user], message, sender, ["SMTPUTF8", "BODY=8BITMIME"]) == ([250], [250])
    stored = site.message(user)
    assert stored.startswith(f"Return-Path: <{sender}>\nDelivered-To: {user}\n".encode())
    assert stored.endswith(message.replace(b"\r\n", b"\n"))


def test_smtplib_delivers_one_message_after_the_other(daemon):
    with smtplib.LMTP(*daemon.address) as client:
        for number in range(20):
            assert client.sendmail("bob@example.net", [ALICE], WIRE + b"%d\r\n" % number) == {}
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("bob@example.net", ["nobody@example.org"], WIRE)
        assert client.sendmail("bob@example.net", [ALICE, "nobody@example.org"], WIRE).keys() == {"nobody@example.org"}
    assert len(daemon.site.messages(ALICE)) == 21


# swaks


def swaks(daemon, *flags):
    program = PEERS / "swaks" / "usr" / "bin" / "swaks"
    if not program.exists():
        pytest.skip("swaks is not unpacked: run tests/peers swaks")
    host, port = daemon.address
    server = ["--server", f"{host}:{port}"] if port else ["--socket", host]
    return subprocess.run(
        ["perl", program, "--protocol", "LMTP", *server, "--helo", "client.example.net", *flags], capture_output=True,
        text=True, timeout=60, check=False, env=clean_env({"HOME": str(daemon.site.path)}),
    )


def test_swaks_delivers_to_those_who_can_have_it(daemon):
    result = swaks(daemon, "--from", "bob@example.net", "--to", f"{ALICE},nobody@example.org,{BOB}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "<** 550 5.1.1 no such user: nobody@example.org" in result.stdout
    assert len(re.findall(r"^<-  250 2\.0\.0 ", result.stdout, re.M)) == 2
    for user in (ALICE, BOB):
        assert daemon.site.message(user).startswith(b"Return-Path: <bob@example.net>\n")


def test_swaks_pipelines_to_many_recipients(daemon):
    result = swaks(daemon, "--pipeline", "--from", "<>", "--to", ",".join([ALICE, BOB] * 20))
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(re.findall(r"^<-  250 2\.0\.0 ", result.stdout, re.M)) == 40
    assert len(daemon.site.messages(ALICE)) == len(daemon.site.messages(BOB)) == 1


# Very many at once


@pytest.mark.parametrize("together", ["MAIL", "DATA"])
def test_two_hundred_deliveries_at_once_into_room_for_a_hundred_store_exactly_a_hundred(site, together):
    count, room = 200, 100
    site.configure(lmtp__user_concurrency=count)
    site.add(ALICE, f'{{"quota.messages": {room}}}')
    barrier = threading.Barrier(count)
    answers = [None] * count  # each client's last

    def meet(where):
        if where == together:
            barrier.wait(60)

    with Daemon(site) as daemon:

        def deliver(number):
            message = SAMPLE + b"number %d\n" % number
            with daemon.client() as client:
                meet("MAIL")
                assert client.say(f"MAIL FROM:<> SIZE={len(message)}").startswith("250 ")
                answers[number] = client.say(f"RCPT TO:<{ALICE}>")
                meet("DATA")
                if answers[number].startswith("250 "):
                    [answers[number]] = client.data(message)

        threads = [threading.Thread(target=deliver, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    codes = collections.Counter(answer and answer[:9] for answer in answers)
    assert codes == {"250 2.0.0": room, "552 5.2.2": count - room}
    stored = [int(re.search(rb"number (\d+)\n\Z", file.read_bytes())[1]) for file in site.messages(ALICE)]
    assert sorted(stored) == [number for number in range(count) if answers[number].startswith("250")]
    assert os.listdir(site.maildir(ALICE) / "tmp") == []
    shown = site.roost("quota", "show", ALICE).stdout.decode()
    assert f"{room} of {room} messages" in shown
