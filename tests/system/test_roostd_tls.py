"""STARTTLS on roostd."""

import contextlib
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess

import pytest
from conftest import SAMPLE, clean_env
from lmtp import WAIT, Client, Daemon, free_port, wait_for

ALICE = "alice@example.org"


def certificate(path, name):
    """A throwaway certificate: PATH.pem and PATH.key."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", f"{path}.key", "-out",
         f"{path}.pem"],
        check=True, capture_output=True,
    )


@pytest.fixture
def alice(site):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    site.add(ALICE)
    site.port = free_port()
    certificate(site.path / "tls", "mail.example.org")
    site.configure(
        {
            "lmtp.listen": f"tcp:127.0.0.1:{site.port}",
            "lmtp.tls-certificate": site.path / "tls.pem",
            "lmtp.tls-key": site.path / "tls.key",
        }
    )
    return site


def trusting(site):
    return ssl.create_default_context(cafile=site.path / "tls.pem")


def secured(client, site):
    """STARTTLS and LHLO on a raw client."""
    assert client.say("STARTTLS").startswith("220 ")
    context = trusting(site)
    client.socket = context.wrap_socket(client.socket, server_hostname="mail.example.org")
    client.capabilities = client.say("LHLO client.example")
    return client


def test_a_standard_client_delivers_encrypted(alice):
    with Daemon(alice), smtplib.LMTP("127.0.0.1", alice.port) as client:
        client._host = "mail.example.org"  # what the certificate must name
        assert client.starttls(context=trusting(alice))[0] == 220
        client.ehlo()
        assert not client.has_extn("starttls")
        large = SAMPLE + b"x\n" * 1_000_000
        assert client.sendmail("bob@example.net", [ALICE], large.replace(b"\n", b"\r\n")) == {}
    assert alice.message(ALICE).endswith(large)


def test_without_a_certificate_or_with_no_it_is_not_offered(alice):
    for change in ({"lmtp.tls": "no"}, {"lmtp.tls": None, "lmtp.tls-certificate": None, "lmtp.tls-key": None}):
        alice.configure(change)
        with Daemon(alice), Client(("127.0.0.1", alice.port)) as client:
            assert "STARTTLS" not in client.capabilities
            assert client.say("STARTTLS").startswith("502 ")


def test_what_came_behind_starttls_in_the_clear_is_dropped(alice):
    with Daemon(alice), Client(("127.0.0.1", alice.port)) as client:
        assert "STARTTLS" in client.capabilities
        client.send(b"STARTTLS\r\nMAIL FROM:<>\r\n")
        assert client.reply().startswith("220 ")
        client.socket = trusting(alice).wrap_socket(client.socket, server_hostname="mail.example.org")
        client.say("LHLO x")
        assert client.say(f"RCPT TO:<{ALICE}>").startswith("503 ")


def test_tls_can_be_required_of_peers_at_tcp_sockets(alice):
    alice.configure(store__confine="no")  # the reload names another directory for sockets
    with Daemon(alice) as daemon, Client(("127.0.0.1", alice.port)) as early:
        alice.configure({"lmtp.tls": "require", "lmtp.listen": f"tcp:127.0.0.1:{alice.port} unix:{daemon.socket}"})
        daemon.reload()
        with Client(("127.0.0.1", alice.port)) as client:
            for command in ("MAIL FROM:<>", f"RCPT TO:<{ALICE}>", "RSET"):
                assert client.say(command).startswith("530 5.7.0 ")
            assert secured(client, alice).deliver(SAMPLE, ALICE)[0].startswith("250 ")
        assert early.say("MAIL FROM:<>").startswith("530 5.7.0 ")
        with daemon.client() as client:
            assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")


def test_the_key_may_be_in_the_certificates_file(alice):
    both = alice.path / "both.pem"
    both.write_bytes((alice.path / "tls.pem").read_bytes() + (alice.path / "tls.key").read_bytes())
    alice.configure({"lmtp.tls-certificate": both, "lmtp.tls-key": None})
    with Daemon(alice), Client(("127.0.0.1", alice.port)) as client:
        assert secured(client, alice).deliver(SAMPLE, ALICE)[0].startswith("250 ")


def test_a_key_of_another_certificate_is_refused_by_name(alice):
    certificate(alice.path / "other", "x")
    alice.configure({"lmtp.tls-key": alice.path / "other.key"})
    result = alice.run("roostd", "-c", alice.conf)
    assert result.returncode == 1
    assert b"other.key" in result.stderr and b"key values mismatch" in result.stderr


def test_a_reload_takes_the_new_certificate_and_no_session_notices(alice):
    with Daemon(alice) as daemon, Client(("127.0.0.1", alice.port)) as old, Client(("127.0.0.1", alice.port)) as clear:
        secured(old, alice)
        certificate(alice.path / "tls", "new.example.org")
        daemon.reload()
        assert old.deliver(SAMPLE, ALICE)[0].startswith("250 ")
        with Client(("127.0.0.1", alice.port)) as client:
            client.say("STARTTLS")
            trusting(alice).wrap_socket(client.socket, server_hostname="new.example.org").close()
        assert clear.say("STARTTLS").startswith("220 ")
        trusting(alice).wrap_socket(clear.socket, server_hostname="new.example.org").close()
        (alice.path / "tls.pem").write_text("broken")
        daemon.reload()
        with Client(("127.0.0.1", alice.port)) as client:
            assert "STARTTLS" in client.capabilities


def test_a_reload_offers_tls_to_open_sessions_or_does_so_no_more(alice):
    alice.configure({"lmtp.tls": "no"})
    with Daemon(alice) as daemon, Client(("127.0.0.1", alice.port)) as client:
        assert client.say("STARTTLS").startswith("502 ")
        alice.configure({"lmtp.tls": "offer"})
        daemon.reload()
        assert "STARTTLS" in client.say("LHLO x")
        alice.configure({"lmtp.tls": "no"})
        daemon.reload()
        assert client.say("STARTTLS").startswith("502 ")
        alice.configure({"lmtp.tls": "offer"})
        daemon.reload()
        assert secured(client, alice).deliver(SAMPLE, ALICE)[0].startswith("250 ")
        daemon.reload()
        assert "STARTTLS" not in client.say("LHLO x")


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"this is no TLS at all\r\n" * 10])
def test_a_handshake_that_fails_ends_the_connection_alone(alice, said):
    alice.configure(lmtp__idle_timeout="500ms")
    with Daemon(alice) as daemon:
        with Client(("127.0.0.1", alice.port)) as client:
            assert client.say("STARTTLS").startswith("220 ")
            client.send(said)
            with contextlib.suppress(ConnectionResetError):
                while client.socket.recv(4096):
                    pass
        assert "TLS" in alice.log.read_text()
        with Client(("127.0.0.1", alice.port)) as client:
            assert secured(client, alice).deliver(SAMPLE, ALICE)[0].startswith("250 ")


def test_a_handshake_that_is_under_way_does_not_hold_up_the_end(alice):
    with Daemon(alice) as daemon, Client(("127.0.0.1", alice.port)) as client:
        assert client.say("STARTTLS").startswith("220 ")
        client.send(b"\x16\x03\x01")
        assert daemon.stop() == 0
    assert "under way" not in alice.log.read_text()


@contextlib.contextmanager
def stdio_on_a_socket(site):
    """A roostd --stdio whose standard input and output are one socket, as of inetd: the process, a client that has
    said LHLO."""
    ours, theirs = socket.socketpair()
    with Client(ours, greeting=False) as client:
        process = subprocess.Popen(
            [site.programs["roostd"], "-c", site.conf, "--stdio"], stdin=theirs, stdout=theirs, env=clean_env()
        )
        theirs.close()
        assert client.reply().startswith("220 ")
        client.capabilities = client.say("LHLO x")
        yield process, client


@pytest.mark.parametrize("when", ["before", "in", "behind"])
def test_stdio_waits_for_no_part_of_a_record_longer_than_the_idle_timeout(alice, when):
    alice.configure(lmtp__idle_timeout="1s")
    with stdio_on_a_socket(alice) as (process, client):
        if when == "behind":
            raw = socket.socket(fileno=socket.dup(client.socket.fileno()))
            secured(client, alice)
            raw.sendall(b"\x17\x03\x03\x00")
        else:
            assert client.say("STARTTLS").startswith("220 ")
            client.send(b"\x16\x03\x01" if when == "in" else b"")
        assert process.wait(WAIT) == 0


def test_stdio_offers_tls_on_a_socket_but_not_on_a_pair_of_pipes(alice):
    alice.configure(lmtp__idle_timeout="1s")
    result = alice.run("roostd", "-c", alice.conf, "--stdio", stdin=b"LHLO x\r\nSTARTTLS\r\n")
    assert b"STARTTLS\r\n" not in result.stdout and b"\r\n502 5.5.1 " in result.stdout
    with stdio_on_a_socket(alice) as (process, client):
        assert "STARTTLS" in client.capabilities
        assert secured(client, alice).deliver(SAMPLE, ALICE)[0].startswith("250 ")
        assert client.reply().startswith("421 4.4.2 ")
        assert client.reply() is None
        assert process.wait(WAIT) == 0


def test_protocols_older_than_1_2_are_refused(alice):
    with Daemon(alice), Client(("127.0.0.1", alice.port)) as client:
        client.say("STARTTLS")
        context = trusting(alice)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            context.wrap_socket(client.socket, server_hostname="mail.example.org")


def test_idle_encrypted_sessions_end_with_the_daemon_and_time_out(alice):
    alice.configure(lmtp__idle_timeout="500ms")
    with Daemon(alice), Client(("127.0.0.1", alice.port)) as client:
        assert secured(client, alice).reply().startswith("421 4.4.2 ")
    alice.configure(lmtp__idle_timeout=None)
    with Daemon(alice) as daemon, Client(("127.0.0.1", alice.port)) as client:
        secured(client, alice)
        daemon.send_signal(signal.SIGTERM)
        assert client.reply().startswith("421 4.3.2 ")
        assert client.reply() is None


def test_a_verdict_lost_on_an_encrypted_connection_is_remembered(alice):
    with Daemon(alice) as daemon:
        with Client(("127.0.0.1", alice.port)) as client:
            secured(client, alice).envelope(ALICE)
            client.say("DATA")
            client.send(SAMPLE.replace(b"\n", b"\r\n") + b".\r\n")
            client.socket.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: "verdict=" in alice.log.read_text(), "the delivery")
        with Client(("127.0.0.1", alice.port)) as client:
            assert secured(client, alice).deliver(SAMPLE, ALICE)[0].startswith("250 ")
        assert daemon.stop() == 0
    assert len(alice.messages(ALICE)) == 1
