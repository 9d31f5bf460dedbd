"""roostd delivers what an MTA brings by LMTP, and answers for each recipient."""

import smtplib
import socket

import pytest
from conftest import SAMPLE, body_of
from lmtp import Client, Daemon, free_port, wire

ALICE, BOB, CAROL, DAVE = (f"{name}@example.org" for name in ("alice", "bob", "carol", "dave"))


@pytest.fixture
def daemon(site):
    site.add(ALICE)
    site.add(BOB)
    with Daemon(site) as made:
        yield made


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def log_lines(site):
    return [line for line in site.log.read_text().splitlines() if "verdict=" in line]


def test_a_message_arrives_and_one_line_tells_of_it(daemon):
    site = daemon.site
    with daemon.client() as client:
        [reply] = client.deliver(SAMPLE, ALICE)
        assert reply.startswith("250 2.0.0 ")
        assert client.say("QUIT").startswith("221 2.0.0 ")
        assert client.reply() is None
    stored = site.message(ALICE)
    header = body_of(stored, SAMPLE)
    assert header.startswith(b"Return-Path: <bob@example.net>\nDelivered-To: alice@example.org\nReceived: ")
    [line] = log_lines(site)
    for word in ("peer=unix", "from=<bob@example.net>", f"to=<{ALICE}>", f"user={ALICE}", "msgid=<sample@example.net>",
                 f"size={len(SAMPLE)}", "verdict=delivered", "code=250 2.0.0", "lookup=", "store=", "sync=",
                 "mailbox=new", f"file={site.messages(ALICE)[0]}"):
        assert word in line, line
    # What names the delivery is in the reply, in the log and in the message.
    name = line.partition("session=")[2].split()[0]
    assert f"<{name}>" in reply and name.encode() in header


@pytest.mark.parametrize("family", ["unix", "tcp", "tcp6"])
def test_a_standard_client_delivers(site, family):
    site.add(ALICE)
    port = free_port()
    if family != "unix":
        site.configure(lmtp__listen="tcp:127.0.0.1:%d" % port if family == "tcp" else "tcp:[::1]:%d" % port)
    if family == "tcp6" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with Daemon(site) as daemon:
        host, number = {"unix": (str(daemon.socket), 0), "tcp": ("127.0.0.1", port), "tcp6": ("::1", port)}[family]
        with smtplib.LMTP(host, number) as client:
            assert client.sendmail("bob@example.net", [ALICE], SAMPLE.replace(b"\n", b"\r\n")) == {}
    assert site.message(ALICE).endswith(SAMPLE)


def test_each_recipient_has_an_answer_of_its_own_in_order(daemon):
    site = daemon.site
    site.add(CAROL, '{"quota.message": "10"}')
    site.add(DAVE, enabled=0)
    with daemon.client() as client:
        assert client.say("MAIL FROM:<>").startswith("250 ")
        for recipient, code in ((CAROL, "250 2.1.5"), ("nobody@example.org", "550 5.1.1"), (ALICE, "250 2.1.5"),
                                (DAVE, "550 5.2.1"), (BOB, "250 2.1.5")):
            reply = client.say(f"RCPT TO:<{recipient}>")
            assert reply.startswith(code + " "), reply
        replies = client.data(SAMPLE, 3)
    assert [reply[:10] for reply in replies] == ["552 5.2.3 ", "250 2.0.0 ", "250 2.0.0 "]
    assert len(site.messages(ALICE)) == len(site.messages(BOB)) == 1
    assert site.messages(CAROL) == site.messages(DAVE) == []
    lines = log_lines(site)
    assert len(lines) == 5
    assert "from=<>" in lines[0] and "to=<nobody@example.org>" in lines[0] and "code=550 5.1.1" in lines[0]
    assert len({line.partition("session=")[2].split()[0] for line in lines}) == 1


def test_a_repeated_recipient_has_the_message_once_and_an_answer_each_time(daemon):
    with daemon.client() as client:
        replies = client.deliver(SAMPLE, ALICE, BOB, ALICE, "Alice@Example.ORG")
    assert [reply[:10] for reply in replies] == ["250 2.0.0 "] * 4
    assert len(daemon.site.messages(ALICE)) == len(daemon.site.messages(BOB)) == 1


def test_a_detail_is_a_folder(daemon):
    with daemon.client() as client:
        assert client.deliver(SAMPLE, "alice+Lists@example.org")[0].startswith("250 ")
    assert len(daemon.site.messages(ALICE, "Lists")) == 1


def test_a_session_takes_one_message_after_the_other(daemon):
    with daemon.client() as client:
        for i in range(20):
            assert client.deliver(SAMPLE + b"%d\n" % i, ALICE)[0].startswith("250 ")
        client.envelope(ALICE)
        assert client.say("RSET").startswith("250 ")
        assert client.say("DATA").startswith("503 ")
    assert len(daemon.site.messages(ALICE)) == 20


def test_a_pipelining_client_sends_all_at_once(daemon):
    with daemon.client(lhlo=False) as client:
        body = wire(SAMPLE)
        client.send(
            b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n" + body
            + b"MAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nBDAT 6 LAST\r\nhello\nQUIT\r\n"
        )
        codes = []
        while reply := client.reply():
            codes.append(reply[:3])
    assert codes == ["250", "250", "250", "250", "354", "250", "250", "250", "250", "250", "221"]
    assert len(daemon.site.messages(ALICE)) == 2


# NUL, bytes above 127, bare CR, dots, lines without end.
AWKWARD = (
    b"Subject: \xff\xfe raw\nX: \x00\x01\n\n.\n..\n.x\n" + bytes(range(256)).replace(b"\n", b"").replace(b"\r", b"")
    + b"\n" + b"y" * 100_000 + b"\n\rz\r\n"
)


@pytest.mark.parametrize("how", ["DATA", "BDAT"])
def test_bytes_arrive_unharmed(daemon, how):
    message = AWKWARD.replace(b"\r\n", b"\n") if how == "DATA" else AWKWARD
    with daemon.client() as client:
        client.envelope(ALICE)
        if how == "DATA":
            [reply] = client.data(message)
        else:
            sent = message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            half = len(sent) // 2
            client.send(b"BDAT %d\r\n" % half + sent[:half])
            assert client.reply().startswith("250 ")
            client.send(b"BDAT %d LAST\r\n" % (len(sent) - half) + sent[half:])
            reply = client.reply()
        assert reply.startswith("250 2.0.0 "), reply
    assert daemon.site.message(ALICE).endswith(message.replace(b"\r\n", b"\n"))


def test_a_byte_at_a_time_is_as_good_as_all_at_once(daemon):
    with daemon.client(lhlo=False) as client:
        for byte in b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n":
            client.send(bytes([byte]))
        assert [client.reply()[:3] for _ in range(4)] == ["250", "250", "250", "354"]
        for byte in wire(SAMPLE):
            client.send(bytes([byte]))
        assert client.reply().startswith("250 2.0.0 ")
    assert daemon.site.message(ALICE).endswith(SAMPLE)


def test_a_large_message_passes_through_a_file_and_little_memory(daemon):
    site = daemon.site
    with daemon.client() as client:
        client.deliver(SAMPLE, ALICE)
        before = daemon.memory()
        large = SAMPLE + (b"x" * 999 + b"\n") * 100_000
        client.envelope(BOB)
        assert client.say("DATA").startswith("354 ")
        sent = wire(large)
        client.send(sent[:-5])
        if not daemon.sanitized:  # sanitizers keep what is freed
            assert daemon.memory() - before < 16 * 1024 * 1024
        client.send(sent[-5:])
        assert client.reply().startswith("250 2.0.0 ")
    assert site.message(BOB).endswith(large)
    assert list((site.state / "spool").iterdir()) == []


def test_mail_that_a_client_gave_up_leaves_nothing(daemon):
    with daemon.client() as client:
        client.envelope(ALICE)
        client.say("DATA")
        client.send(b"Subject: half\r\n\r\nhal")
    with daemon.client() as client:
        client.envelope(ALICE)
    with daemon.client() as client:
        assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
    assert len(daemon.site.messages(ALICE)) == 1
    assert list((daemon.site.maildir(ALICE) / "tmp").iterdir()) == []


def test_a_half_closed_client_still_gets_its_verdict(daemon):
    with daemon.client() as client:
        client.envelope(ALICE)
        client.say("DATA")
        client.send(wire(SAMPLE))
        client.socket.shutdown(1)
        assert client.reply().startswith("250 2.0.0 ")
        assert client.reply() is None
    assert len(daemon.site.messages(ALICE)) == 1


def test_a_full_mailbox_is_told_at_rcpt(daemon):
    site = daemon.site
    site.sql("UPDATE users SET settings = ? WHERE name = ?", ('{"quota.messages": 1}', ALICE))
    site.sql("UPDATE users SET settings = ? WHERE name = ?", ('{"quota.storage": "1K", "quota.when-full": "defer"}', BOB))
    with daemon.client() as client:
        assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
        client.say("MAIL FROM:<>")
        assert client.say(f"RCPT TO:<{ALICE}>").startswith("552 5.2.2 ")
        client.say("RSET")
        client.say("MAIL FROM:<> SIZE=5000")
        assert client.say(f"RCPT TO:<{BOB}>").startswith("452 4.2.2 ")
        client.say("RSET")
        # Without a size only the end of the data can tell.
        [reply] = client.deliver(SAMPLE + b"x" * 2000 + b"\n", BOB)
        assert reply.startswith("452 4.2.2 ")
    assert site.messages(BOB) == []


def test_a_limit_for_one_message_is_told_at_rcpt_when_the_size_is(daemon):
    daemon.site.sql("UPDATE users SET settings = ? WHERE name = ?", ('{"quota.message": "1K"}', ALICE))
    with daemon.client() as client:
        client.say("MAIL FROM:<> SIZE=1025")
        assert client.say(f"RCPT TO:<{ALICE}>").startswith("552 5.2.3 ")


def test_trouble_with_the_database_is_temporary(daemon):
    daemon.site.sql("ALTER TABLE users RENAME TO gone")
    with daemon.client() as client:
        client.say("MAIL FROM:<>")
        assert client.say(f"RCPT TO:<{ALICE}>").startswith("451 4.3.")


def test_where_the_mail_came_from_is_logged_if_a_trusted_client_tells(daemon):
    site = daemon.site
    with daemon.client() as client:
        assert "XFORWARD" in client.capabilities and "XCLIENT" in client.capabilities
        assert client.say("XFORWARD NAME=mx.example.net ADDR=192.0.2.1 HELO=mail IDENT=4ABCDEF").startswith("250 ")
        client.say("MAIL FROM:<>")
        assert client.say(f"RCPT TO:<{ALICE}> ORCPT=rfc822;Info+2Btag@example.org").startswith("250 ")
        client.data(SAMPLE)
    [line] = log_lines(site)
    assert " peer=unix client=mx.example.net[192.0.2.1] helo=mail queue-id=4ABCDEF " in line
    assert " orig-to=<Info+tag@example.org> " in line


def test_what_a_sender_writes_makes_no_field_of_the_log(daemon):
    message = SAMPLE.replace(b"Message-ID: <sample@example.net>", b"Message-ID: <x@y> verdict=delivered code=250 2.0.0")
    assert message != SAMPLE
    with daemon.client() as client:
        client.deliver(message, ALICE, sender='"x> user=eve@example.org "@x')
    [line] = log_lines(daemon.site)
    assert " verdict=delivered " in line and line.count(" verdict=") == line.count(" user=") == line.count(" code=") == 1
    assert " msgid=<x@y>\\x20verdict=delivered\\x20code=250\\x202.0.0 " in line


def test_a_client_that_is_not_trusted_is_not_believed(site):
    site.add(ALICE)
    port = free_port()
    site.configure(lmtp__listen=f"tcp:127.0.0.1:{port}", lmtp__trusted="unix 192.0.2.0/24 2001:db8::/32")
    with Daemon(site), Client(("127.0.0.1", port)) as client:
        assert "XFORWARD" not in client.capabilities and "XCLIENT" not in client.capabilities
        assert client.say("XCLIENT NAME=x").startswith("550 5.7.14 ")
    site.configure(lmtp__trusted="127.0.0.1")
    with Daemon(site), Client(("127.0.0.1", port)) as client:
        assert "XFORWARD" in client.capabilities
