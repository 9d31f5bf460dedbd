"""roostd as a service: started, reloaded and stopped by a service manager, without losing a session or a message."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time

import pytest
from conftest import SAMPLE, clean_env
from lmtp import WAIT, Client, Daemon, free_port, wait_for, wire

ALICE, BOB = "alice@example.org", "bob@example.org"


@pytest.fixture
def alice(site):
    site.add(ALICE)
    return site


# The command line


def test_it_tells_what_it_is(site):
    for flag, said in (("--help", b"usage: roostd "), ("--version", b"roostd ")):
        result = site.run("roostd", flag)
        assert (result.returncode, result.stderr) == (0, b"")
        assert result.stdout.startswith(said)


@pytest.mark.parametrize("flags", [["--nosuch"], ["-x"], ["-c"], ["argument"], ["--stdio=yes"]])
def test_a_slip_on_the_command_line_is_named(site, flags):
    result = site.run("roostd", *flags)
    assert result.returncode == 64
    assert result.stderr.startswith(b"roost: ") and b"--help" in result.stderr


@pytest.mark.parametrize("given", ["lmtp.listen", "lmtp.listen=tcp:x", "nosuch.key=1"])
def test_a_wrong_setting_on_the_command_line_is_one_too(site, given):
    result = site.run("roostd", "-c", site.conf, "-o", given)
    assert (result.returncode, result.stdout) == (64, b"")
    assert given.split("=")[0].encode() in result.stderr


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"lmtp.listen": "unix:relative"}, "lmtp.listen"),
        ({"lmtp.listen": "tcp:::1:24"}, "needs brackets"),
        ({"lmtp.listen": "tcp:127.0.0.1"}, "the port is missing"),
        ({"lmtp.listen": "unix:/" + "x" * 120}, "at most 107 bytes"),
        ({"lmtp.listen": "unix:/nonexistent/lmtp"}, "make the directory"),
        ({"lmtp.listen": ""}, "no socket"),
        ({"lmtp.trusted": "10.0.0.0/33"}, "10.0.0.0/33"),
        ({"lmtp.trusted": "example.org"}, "this is no network"),
        ({"lmtp.tls-certificate": "/nonexistent.pem"}, "/nonexistent.pem"),
        ({"lmtp.tls": "require"}, "lmtp.tls-certificate"),
        ({"lmtp.max-connections": "0"}, "lmtp.max-connections: '0' is not 1 at least"),
        ({"lmtp.max-recipients": "0"}, "lmtp.max-recipients: '0'"),
        ({"lmtp.max-errors": "0"}, "lmtp.max-errors: '0'"),
        ({"lmtp.user-concurrency": "0"}, "lmtp.user-concurrency: '0'"),
        ({"policy.max-connections": "0"}, "policy.max-connections: '0'"),
        ({"users.database": "sqlite:/nonexistent/users.db"}, "/nonexistent/users.db"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_with_its_reason(site, settings, said):
    site.configure(settings)
    result = site.run("roostd", "-c", site.conf)
    assert result.returncode == 1
    text = result.stderr.decode() + (site.log.read_text() if site.log.exists() else "")
    assert said in text


# Sockets


def test_the_socket_has_the_mode_asked_for_and_goes_with_the_daemon(alice):
    alice.configure(lmtp__socket_mode="0620")
    with Daemon(alice) as daemon:
        mode = daemon.socket.stat().st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o620
        assert daemon.stop() == 0
        assert not daemon.socket.exists()


def test_a_socket_left_by_a_crash_is_replaced(alice):
    with Daemon(alice) as daemon:
        daemon.stop(signal.SIGKILL)
        assert daemon.socket.exists()
        with Daemon(alice), daemon.client() as client:
            assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")


def test_after_a_crash_the_log_tells_what_the_journal_brought_back(alice):
    def crash_after(messages):
        before = set(alice.messages(ALICE))
        with Daemon(alice) as daemon:
            with daemon.client() as client:
                for _ in range(messages):
                    assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
            daemon.stop(signal.SIGKILL)
        return [path for path in alice.messages(ALICE) if path not in before]

    first, *others = crash_after(3)
    first.unlink()
    with Daemon(alice):
        assert "journal: 3 deliveries were looked for, 1 of them brought back" in alice.log.read_text()
    assert sorted(alice.messages(ALICE)) == sorted([first, *others])

    crash_after(2)
    journal = alice.path / "state" / "journal"
    for segment in journal.glob("segment-*"):
        with segment.open("r+b") as file:
            if file.read(24)[16] == 0:  # nothing in it
                continue
            file.seek(4096 + 200)  # in the first message
            octet = file.read(1)[0]
            file.seek(4096 + 200)
            file.write(bytes([octet ^ 1]))
    with Daemon(alice):
        assert re.search(r" error: journal: .*/segment-\d is damaged: .* kept as damaged-\d+\n", alice.log.read_text())
    assert len(list(journal.glob("damaged-*"))) == 1
    assert len(alice.messages(ALICE)) == 5


def test_a_socket_that_somebody_listens_on_is_left_alone(alice):
    alice.configure(delivery__durability="fsync")  # a journal is somebody's, too
    with Daemon(alice) as daemon:
        result = alice.run("roostd", "-c", alice.conf)
        assert result.returncode == 1
        assert "Address already in use" in alice.log.read_text()
        with daemon.client() as client:
            assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")


def test_a_file_that_is_no_socket_is_left_alone(alice):
    precious = alice.path / "precious"
    precious.write_text("data")
    alice.configure(lmtp__listen=f"unix:{precious}")
    assert alice.run("roostd", "-c", alice.conf).returncode == 1
    assert precious.read_text() == "data"


LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = "1"
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_sockets_of_the_service_manager_are_taken_in_place_of_our_own(alice):
    port = free_port()
    alice.configure(lmtp__listen=f"unix:{alice.path}/not-this-one tcp:127.0.0.1:{port}")
    with socket.create_server(("127.0.0.1", port)) as listening, Client(("127.0.0.1", port), greeting=False) as early:
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(listening.fileno()), alice.programs["roostd"], "-c", alice.conf],
            pass_fds=[listening.fileno()], env=clean_env(), stderr=subprocess.PIPE,
        )
        try:
            assert early.reply().startswith("220 ")
            early.say("LHLO x")
            assert early.deliver(SAMPLE, ALICE)[0].startswith("250 ")
            assert not (alice.path / "not-this-one").exists()
            process.send_signal(signal.SIGHUP)
            wait_for(lambda: "read again" in alice.log.read_text(), "the reload")
            with Client(("127.0.0.1", port)) as client:
                assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
            # At the start and at the reload; what is open after all is not told of.
            told = re.findall(r"lmtp\.listen: nobody listens on .*", alice.log.read_text())
            assert len(told) == 2 and all(f"unix:{alice.path}/not-this-one: " in each for each in told)
            assert f"tcp:127.0.0.1:{port} here: add ListenStream= to roostd.socket" in told[0]
        finally:
            process.terminate()
            process.communicate(timeout=WAIT)
        assert process.returncode == 0


def test_a_port_that_takes_a_privilege_is_refused_with_what_helps(alice):
    if int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 24:
        pytest.skip("any user may have port 24 here")
    alice.configure(lmtp__listen="tcp:127.0.0.1:24", log__target="stderr")
    drop = ["setpriv", "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service"] if os.getuid() == 0 else []
    result = subprocess.run([*drop, alice.programs["roostd"], "-c", alice.conf], capture_output=True, env=clean_env(),
                            text=True, check=False, timeout=WAIT)
    assert result.returncode == 1
    assert "cannot listen on tcp:127.0.0.1:24: Permission denied: a port below 1024 takes a privilege" in result.stderr
    assert "ListenStream=" in result.stderr and "CAP_NET_BIND_SERVICE" in result.stderr


def test_descriptors_meant_for_another_process_are_not_touched(alice):
    with Daemon(alice, env={"LISTEN_PID": "1", "LISTEN_FDS": "1"}) as daemon, daemon.client() as client:
        assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")


def test_a_log_that_cannot_be_written_is_told_of_once(alice):
    alice.configure(log__target="/dev/full", lmtp__listen=f"unix:{alice.path}/nowhere/lmtp")
    result = alice.run("roostd", "-c", alice.conf)
    told = result.stderr.decode()
    assert result.returncode == 1 and told.startswith("roostd: cannot write the log: ") and told.count("\n") == 1
    assert "/dev/full: No space left on device" in told


# Reload


def test_a_reload_is_told_to_the_service_manager(alice):
    with Daemon(alice) as daemon:
        daemon.send_signal(signal.SIGHUP)
        assert daemon.expect("RELOADING", "1")["MONOTONIC_USEC"].isdigit()
        daemon.expect("READY", "1")
        assert daemon.stop() == 0
        daemon.expect("STOPPING", "1")


def test_a_reload_drops_no_session_and_rules_from_the_next_transaction_on(alice):
    with Daemon(alice) as daemon, daemon.client() as busy, daemon.client() as idle:
        busy.envelope(ALICE)
        alice.configure(quota__message="10")
        daemon.reload()
        assert busy.data(SAMPLE)[0].startswith("250 ")
        for client in (busy, idle):
            assert client.deliver(SAMPLE, ALICE)[0].startswith("552 5.2.3 ")


def test_a_reload_gives_open_sessions_new_terms_from_the_next_transaction_on(alice):
    alice.configure(lmtp__trusted="")
    with Daemon(alice) as daemon, daemon.client() as busy, daemon.client() as idle:
        busy.envelope(ALICE)
        alice.configure(lmtp__max_message="100", lmtp__max_recipients=1, lmtp__max_errors=1, lmtp__trusted="unix")
        daemon.reload()
        assert busy.say(f"RCPT TO:<{ALICE}>").startswith("250 ")
        assert [reply[:3] for reply in busy.data(SAMPLE, 2)] == ["250", "250"]
        for client in (busy, idle):
            assert client.say("MAIL FROM:<> SIZE=101").startswith("552 5.3.4 ")
            assert client.deliver(SAMPLE, ALICE)[0].startswith("552 5.2.3 ")
            client.envelope(ALICE)
            assert client.say(f"RCPT TO:<{ALICE}>").startswith("452 4.5.3 ")
            capabilities = client.say("LHLO x")
            assert "SIZE 100\n" in capabilities and "XCLIENT" in capabilities
            assert client.say("NONSENSE").startswith("421 4.7.0 ")


def test_a_reload_gives_open_sessions_new_timeouts(alice):
    with Daemon(alice) as daemon, daemon.client() as idle, daemon.client() as busy:
        alice.configure(lmtp__idle_timeout="300ms", lmtp__data_timeout="1s")
        busy.envelope(ALICE)
        daemon.reload()
        assert busy.say("DATA").startswith("354 ")
        time.sleep(1.5)
        busy.send(wire(SAMPLE))
        assert busy.reply().startswith("250 ")
        for client in (busy, idle):
            client.say("NOOP")
            assert client.reply().startswith("421 4.4.2 ")


def test_a_reload_with_a_broken_configuration_changes_nothing(alice):
    with Daemon(alice) as daemon, daemon.client() as client:
        good = alice.conf_text()
        for text in ("[quota]\nnosuch = 1\n", good.replace("lmtp]\n", "lmtp]\nmax-errors = many\n"),
                     good.replace("unix:", "unix:/nonexistent")):
            alice.write_conf(text)
            daemon.reload()
            assert "the old configuration stays in force" in alice.log.read_text().splitlines()[-1]
            assert client.deliver(SAMPLE + text.encode(), ALICE)[0].startswith("250 ")
            with daemon.client() as other:
                assert other.capabilities.startswith("250")


def test_a_reload_opens_and_closes_sockets(alice):
    port = free_port()
    with Daemon(alice) as daemon, daemon.client() as client:
        alice.configure(lmtp__listen=f"tcp:127.0.0.1:{port}")
        daemon.reload()
        assert not daemon.socket.exists()
        with pytest.raises(OSError):
            daemon.client()
        assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
        with Client(("127.0.0.1", port)) as other:
            assert other.deliver(SAMPLE, ALICE)[0].startswith("250 ")


def test_a_reload_that_fails_in_one_thing_changes_nothing_else(alice):
    with Daemon(alice) as daemon, daemon.client() as client:
        for change in ({"log__target": "/nonexistent/log"}, {"lmtp__listen": ""}):
            before = dict(alice.settings)
            alice.configure(**{"lmtp__listen": f"unix:{daemon.socket.parent}/other", **change})
            daemon.reload()
            assert "the old configuration stays in force" in alice.log.read_text().splitlines()[-1]
            assert not (daemon.socket.parent / "other").exists()
            with daemon.client() as other:
                assert other.capabilities.startswith("250")
            alice.settings.clear()
            alice.settings.update(before)
        assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")


def test_a_reload_brings_back_a_socket_file_that_was_removed_or_replaced(alice):
    with Daemon(alice) as daemon:
        daemon.socket.unlink()
        daemon.reload()
        with daemon.client() as client:
            assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
        daemon.socket.unlink()
        daemon.socket.write_text("precious")
        daemon.reload()
        assert "what is there is a file" in alice.log.read_text().splitlines()[-1]
        assert daemon.socket.read_text() == "precious"
        daemon.socket.unlink()


def test_a_reload_gives_the_socket_another_mode(alice):
    with Daemon(alice) as daemon, daemon.client() as client:
        alice.configure(lmtp__socket_mode="0620")
        daemon.reload()
        assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o620
        assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")


def test_a_replaced_database_bounces_nothing_and_a_reload_opens_it(alice):
    with Daemon(alice) as daemon, daemon.client() as client:
        assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
        alice.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        other = alice.path / "restored.db"
        shutil.copy(alice.db, other)
        with contextlib.closing(sqlite3.connect(other)) as restored, restored:
            restored.execute("INSERT INTO users(name) VALUES('new@example.org')")
        with contextlib.closing(sqlite3.connect(other)) as restored:
            restored.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.rename(alice.db)
        client.envelope(ALICE)
        assert client.say("RCPT TO:<new@example.org>").startswith("451 4.3.0 ")
        assert "was replaced or removed" in alice.log.read_text()
        assert client.say("RSET").startswith("250 ")
        daemon.reload()
        assert client.deliver(SAMPLE, "new@example.org")[0].startswith("250 ")


def test_a_file_of_the_journal_that_is_missing_after_a_crash_is_an_error_in_the_log(alice):
    alice.configure(log__level="error")
    for how in (signal.SIGTERM, signal.SIGKILL):
        with Daemon(alice) as daemon, daemon.client() as client:
            assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
            daemon.stop(how)
        with Daemon(alice) as daemon:
            daemon.stop()
        assert alice.log.read_text() == ""  # nothing is wrong after a stop, nor after a crash
    (alice.state / "journal/segment-1").unlink()
    with Daemon(alice):
        (line,) = alice.log.read_text().splitlines()
        assert "journal/segment-1 is missing" in line


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_what_comes_together_with_a_signal_is_answered(alice, number):
    with Daemon(alice) as daemon, daemon.client() as client, daemon.client() as idle:
        client.envelope(ALICE)
        assert client.say("DATA").startswith("354 ")
        time.sleep(0.3)  # until both wait for epoll, not for their thread
        daemon.send_signal(signal.SIGSTOP)
        daemon.send_signal(number)  # comes first, when it goes on
        client.send(wire(SAMPLE))
        idle.send(b"NOOP\r\n")
        daemon.send_signal(signal.SIGCONT)
        assert client.reply().startswith("250 ")
        assert idle.reply()[:4] in ("250 ", "421 ")
        if number == signal.SIGHUP:
            assert client.say("NOOP").startswith("250 ")
    assert len(alice.messages(ALICE)) == 1


def test_a_reload_to_an_address_that_holds_the_old_one_says_what_to_do(alice):
    port = free_port()
    alice.configure(lmtp__listen=f"tcp:127.0.0.1:{port}")
    with Daemon(alice) as daemon:
        alice.configure(lmtp__listen=f"tcp:*:{port}")
        daemon.reload()
        assert "roostd itself listens on that port: restart it" in alice.log.read_text()
        with Client(("127.0.0.1", port)) as client:
            assert client.say("NOOP").startswith("250 ")


def test_a_reload_opens_the_log_anew(alice):
    with Daemon(alice) as daemon, daemon.client() as client:
        alice.log.rename(alice.path / "log.1")
        daemon.reload()
        client.deliver(SAMPLE, ALICE)
        assert "verdict=delivered" in alice.log.read_text()


def test_user_settings_rule_at_once(alice):
    with Daemon(alice) as daemon, daemon.client() as client:
        assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
        alice.sql("UPDATE users SET enabled = 0")
        client.say("MAIL FROM:<>")
        assert client.say(f"RCPT TO:<{ALICE}>").startswith("550 5.2.1 ")


# Stopping


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_lets_a_transaction_end_and_parts_with_the_idle(alice, name):
    with Daemon(alice) as daemon, daemon.client() as idle, daemon.client() as busy:
        busy.envelope(ALICE)
        busy.say("DATA")
        busy.send(wire(SAMPLE)[:50])
        daemon.send_signal(getattr(signal, name))
        assert idle.reply().startswith("421 4.3.2 ")
        assert idle.reply() is None
        with pytest.raises(OSError):
            daemon.client()
        busy.send(wire(SAMPLE)[50:])
        assert busy.reply().startswith("250 2.0.0 ")
        assert busy.reply().startswith("421 4.3.2 ")
        assert busy.reply() is None
        assert daemon.wait() == 0
    assert alice.message(ALICE).endswith(SAMPLE)


def test_a_stop_is_told_at_its_beginning_and_no_reload_undoes_it(alice):
    with Daemon(alice) as daemon, daemon.client() as busy:
        busy.envelope(ALICE)
        busy.say("DATA")
        daemon.send_signal(signal.SIGTERM)
        daemon.expect("STOPPING", "1")
        daemon.send_signal(signal.SIGHUP)
        busy.send(wire(SAMPLE))
        assert busy.reply().startswith("250 2.0.0 ")
        assert daemon.wait() == 0
    assert not any("RELOADING" in message for message in daemon.messages)
    assert "read again" not in alice.log.read_text()


def test_a_stop_does_not_wait_longer_than_it_may(alice):
    alice.configure(lmtp__shutdown_timeout="200ms")
    with Daemon(alice) as daemon, daemon.client() as client:
        client.envelope(ALICE)
        client.say("DATA")
        client.send(b"Subject: never ends\r\n")
        daemon.send_signal(signal.SIGTERM)
        assert client.reply().startswith("421 4.3.2 ")
        assert client.reply() is None
        assert daemon.wait() == 0
    assert alice.messages(ALICE) == []


def test_a_second_signal_stops_at_once(alice):
    alice.configure(lmtp__shutdown_timeout="1h")
    with Daemon(alice) as daemon, daemon.client() as client, daemon.client() as idle:
        client.envelope(ALICE)
        daemon.send_signal(signal.SIGTERM)
        assert idle.reply().startswith("421 4.3.2 ")
        daemon.send_signal(signal.SIGTERM)
        # Nothing, if a thread was still with it.
        assert (client.reply() or "421 4.3.2 ").startswith("421 4.3.2 ")
        assert daemon.wait() == 0


# Standard input and output


def stdio(site, said, *flags, **more):
    return site.run("roostd", "-c", site.conf, "--stdio", *flags, stdin=said, **more)


TALK = b"LHLO x\r\nMAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n" + wire(SAMPLE)


@pytest.mark.parametrize("end", [b"QUIT\r\n", b""])
def test_stdio_serves_one_session(alice, end):
    alice.configure(log__target="stderr", log__level="debug")
    result = stdio(alice, TALK + end)
    assert (result.returncode, result.stderr) == (0, b"")
    codes = [line[:3] for line in result.stdout.decode().splitlines() if line[3:4] == " "]
    assert codes == ["220", "250", "250", "250", "354", "250"] + (["221"] if end else [])
    assert alice.message(ALICE).endswith(SAMPLE)


def test_stdio_is_trusted_like_a_unix_socket(alice):
    assert b"XCLIENT" in stdio(alice, b"LHLO x\r\n").stdout
    assert b"XCLIENT" not in stdio(alice, b"LHLO x\r\n", "-o", "lmtp.trusted=127.0.0.1").stdout


def test_stdio_with_a_broken_configuration_says_so_to_the_mta_alone(alice):
    alice.write_conf("[quota]\nnosuch = 1\n")
    result = stdio(alice, b"")
    assert result.stderr == b"" and result.stdout.startswith(b"421 4.3.2 ") and len(result.stdout) < 240


@pytest.mark.parametrize("slip", [["--bogus"], ["extra"], ["-x"], ["-o"], ["-c"]])
@pytest.mark.parametrize("last", [False, True])
def test_stdio_with_a_slip_on_the_command_line_says_so_to_the_mta_alone(site, slip, last):
    flags = [*slip, "--stdio"] if last else ["--stdio", *slip]
    if last and slip[0] in ("-o", "-c"):
        flags = [*slip, "--stdio", "extra"]  # which is the value then
    result = site.run("roostd", *flags)
    assert (result.returncode, result.stderr) == (64, b"")
    assert result.stdout.startswith(b"421 4.3.2 ") and result.stdout.endswith(b"see roostd --help\r\n")
    assert len(result.stdout) < 240


def test_stdio_may_be_one_socket(alice):
    ours, theirs = socket.socketpair()
    with Client(ours, greeting=False) as client:
        process = subprocess.Popen(
            [alice.programs["roostd"], "-c", alice.conf, "--stdio"], stdin=theirs, stdout=theirs, stderr=theirs,
            env=clean_env(),
        )
        theirs.close()
        assert client.reply().startswith("220 ")
        client.say("LHLO x")
        assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
        assert client.say("QUIT").startswith("221 ")
        assert client.reply() is None
        assert process.wait(WAIT) == 0


def test_stdio_ends_with_a_silent_client(alice):
    alice.configure(lmtp__idle_timeout="200ms")
    reading, writing = os.pipe()
    try:
        result = stdio(alice, os.fdopen(reading, "rb"))
    finally:
        os.close(writing)
    assert result.returncode == 0 and b"421 4.4.2 " in result.stdout
