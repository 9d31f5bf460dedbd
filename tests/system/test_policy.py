"""The policy service of roostd, spoken to as Postfix does."""

import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest
from clones import Redis
from conftest import SAMPLE, clean_env
from lmtp import WAIT, Client, Daemon, free_port, wait_for

ALICE, BOB = "alice@example.org", "bob@example.org"


class Policy:
    """One connection to a policy service."""

    def __init__(self, to):
        if isinstance(to, tuple):
            self.socket = socket.create_connection(to)
        else:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect(str(to))
        self.socket.settimeout(WAIT)
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.socket.close()

    def send(self, text):
        self.socket.sendall(text.encode())

    def action(self):
        """The next answer's action; None at the end of the connection."""
        while b"\n\n" not in self.rest:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                assert not self.rest
                return None
            self.rest += more
        answer, self.rest = self.rest.split(b"\n\n", 1)
        assert answer.startswith(b"action=") and b"\n" not in answer
        return answer[len(b"action="):].decode()

    def ask(self, recipient, state="RCPT", size=0, instance="i1", count=0):
        self.send(request(recipient, state, size, instance, count))
        return self.action()


def request(recipient, state="RCPT", size=0, instance="i1", count=0):
    return (f"request=smtpd_access_policy\nprotocol_state={state}\nprotocol_name=ESMTP\nsender=bob@example.net\n"
            f"recipient={recipient}\nsize={size}\ninstance={instance}\nrecipient_count={count}\n\n")


@pytest.fixture
def service(site):
    """The Site, with a Daemon in `daemon` and the place of its policy service in `policy`."""
    site.policy = pathlib.Path("/tmp") / f"roost-policy-{os.getpid()}-{site.path.name}"
    site.configure(policy__listen=f"unix:{site.policy}")
    with Daemon(site) as daemon:
        site.daemon = daemon
        yield site


def test_without_the_setting_there_is_none(site):
    with Daemon(site) as daemon:
        assert [path.name for path in pathlib.Path(daemon.home.name).iterdir() if path.name != "notify"] == ["lmtp"]


def test_what_a_mailbox_says_at_rcpt(service):
    service.add(ALICE, '{"quota.storage": "1K"}')
    service.add(BOB, '{"quota.messages": 0, "quota.when-full": "defer"}')
    service.add("full@example.org", '{"quota.messages": 0}')
    service.add("picky@example.org", '{"quota.message": 100}')
    with Policy(service.policy) as policy:
        assert policy.ask(ALICE) == "DUNNO"
        assert policy.ask(ALICE, size=1000) == "DUNNO"
        assert policy.ask(ALICE, size=1025).startswith("554 5.2.2 the mailbox is full")
        assert policy.ask(ALICE) == "DUNNO"  # no size is left of the request before
        assert policy.ask(BOB).startswith("452 4.2.2 ")
        assert policy.ask("full@example.org").startswith("554 5.2.2 ")
        assert policy.ask("full+detail@example.org").startswith("554 5.2.2 ")
        assert policy.ask("picky@example.org", size=101).startswith("554 5.2.3 ")
        assert policy.ask("full@example.org", state="DATA") == "DUNNO"
    [line] = [line for line in service.log.read_text().splitlines() if "to=<picky@example.org>" in line]
    for word in ("policy state=RCPT", "peer=unix", "instance=i1", "from=<bob@example.net>", "verdict=message-too-large"):
        assert word in line


def test_what_was_delivered_counts(service):
    service.add(ALICE, '{"quota.messages": 1}')
    with Policy(service.policy) as policy, service.daemon.client() as client:
        assert policy.ask(ALICE) == "DUNNO"
        assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
        assert policy.ask(ALICE).startswith("554 5.2.2 ")


def test_the_end_of_the_message_for_one_and_for_several(service):
    for name in (ALICE, BOB):
        service.add(name, '{"quota.storage": "1K"}')
    service.add("roomy@example.org")
    with Policy(service.policy) as policy:
        assert policy.ask(ALICE, "END-OF-MESSAGE", 1025, count=1).startswith("554 5.2.2 ")
        assert [policy.ask(ALICE), policy.ask(BOB)] == ["DUNNO", "DUNNO"]
        # By whatever connection the end comes: Postfix closes those that are idle for too long.
        with Policy(service.policy) as other:
            assert other.ask("", "END-OF-MESSAGE", 1025, count=2).startswith("554 5.2.2 ")
            assert other.ask("", "END-OF-MESSAGE", 900, count=2) == "DUNNO"
            assert other.ask("", "END-OF-MESSAGE", 1025, count=3) == "DUNNO"
            assert other.ask("", "END-OF-MESSAGE", 1025, count=2, instance="i2") == "DUNNO"
        assert policy.ask("roomy@example.org") == "DUNNO"
        assert policy.ask("", "END-OF-MESSAGE", 1025, count=3) == "DUNNO"


@pytest.mark.parametrize("unknown", ["dunno", "reject"])
def test_who_is_unknown_may_be_an_alias_unless_the_setting_says_otherwise(site, unknown):
    site.add(ALICE, enabled=0)
    port = free_port()
    site.configure(policy__listen=f"tcp:127.0.0.1:{port}", policy__unknown=unknown)
    with Daemon(site), Policy(("127.0.0.1", port)) as policy:
        nobody, disabled = policy.ask("nobody@example.org"), policy.ask(ALICE)
    if unknown == "dunno":
        assert (nobody, disabled) == ("DUNNO", "DUNNO")
    else:
        assert nobody.startswith("550 5.1.1 ") and disabled.startswith("550 5.2.1 ")


def test_trouble_of_ours_defers_and_is_told_in_the_log_alone(service):
    service.add(ALICE)
    service.sql("ALTER TABLE users RENAME TO gone")
    with Policy(service.policy) as policy:
        answer = policy.ask(ALICE)
        assert answer.startswith("DEFER_IF_PERMIT 4.3.0 ") and "users" not in answer
        service.sql("ALTER TABLE gone RENAME TO users")
        assert policy.ask(ALICE) == "DUNNO"
    [line] = [line for line in service.log.read_text().splitlines() if "verdict=trouble" in line]
    assert "users" in line.partition("why=")[2]


def test_requests_that_come_at_once_or_byte_by_byte_are_answered_in_order(service):
    service.add(ALICE)
    service.add("full@example.org", '{"quota.messages": 0}')
    with Policy(service.policy) as policy:
        policy.send("".join(request(each) for each in (ALICE, "full@example.org") * 50))
        assert [policy.action()[:5] for _ in range(100)] == ["DUNNO", "554 5"] * 50
        for byte in request("full@example.org"):
            policy.send(byte)
        assert policy.action().startswith("554 5.2.2 ")


@pytest.mark.parametrize("nonsense", ["hello\n", "LHLO x\r\n", "\n", "request=junk\n\n", "x=" + "y" * 5000, "x=y\n" * 20000])
def test_what_is_no_request_ends_the_connection_with_one_line_in_the_log(service, nonsense):
    with Policy(service.policy) as policy:
        try:
            policy.send(nonsense)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert policy.action() is None
    lines = [line for line in service.log.read_text().splitlines() if "not Postfix's policy protocol" in line]
    assert len(lines) == 1
    with Policy(service.policy) as policy:
        assert policy.ask(ALICE) == "DUNNO"


def test_a_connection_too_many_and_one_idle_too_long_are_closed_and_lmtp_has_limits_of_its_own(site):
    site.add(ALICE)
    port = free_port()
    site.configure(policy__listen=f"tcp:127.0.0.1:{port}", policy__max_connections=1, lmtp__max_connections=1,
                   policy__idle_timeout="3s")
    with Daemon(site) as daemon, Policy(("127.0.0.1", port)) as first, daemon.client() as client:
        assert first.ask(ALICE) == "DUNNO"
        with Policy(("127.0.0.1", port)) as second:
            assert second.action() is None
        assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
        assert "policy.max-connections" in site.log.read_text()
        first.send("request=smtpd_access_policy\n")  # and nothing more
        assert first.action() is None
        assert client.deliver(SAMPLE + b"2\n", ALICE)[0].startswith("250 ")


def test_a_reload_opens_and_closes_the_service_and_its_settings_rule_at_once(service):
    service.add(ALICE)
    with Policy(service.policy) as policy:
        assert policy.ask("nobody@example.org") == "DUNNO"
        port = free_port()
        service.configure(policy__listen=f"tcp:127.0.0.1:{port}", policy__unknown="reject")
        service.daemon.reload()
        assert not service.policy.exists()
        assert policy.ask("nobody@example.org").startswith("550 5.1.1 ")
        with Policy(("127.0.0.1", port)) as other:
            assert other.ask(ALICE) == "DUNNO"
        service.configure(policy__listen=None)
        service.daemon.reload()
        with pytest.raises(OSError):
            Policy(("127.0.0.1", port))


def test_a_stop_parts_with_idle_connections(service):
    with Policy(service.policy) as policy:
        assert policy.ask(ALICE) == "DUNNO"
        service.daemon.send_signal(signal.SIGTERM)
        assert policy.action() is None
        assert service.daemon.wait() == 0
    assert not service.policy.exists()


def test_a_socket_cannot_serve_both(site):
    site.configure(lmtp__listen="tcp:127.0.0.1:1", policy__listen="tcp:127.0.0.1:1")
    assert site.run("roostd", "-c", site.conf).returncode == 1
    assert "give each service its own socket" in site.run("roostd", "-c", site.conf, "-o", "log.target=stderr").stderr.decode()


LAUNCHER = """
import os, sys
names, *sockets = sys.argv[1].split(",")
program = sys.argv[2:]
for i, each in enumerate(sockets): os.dup2(int(each), 100 + i)
for i in range(len(sockets)):
    os.dup2(100 + i, 3 + i)
    os.set_inheritable(3 + i, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sockets)), LISTEN_FDNAMES=names)
os.execv(program[0], program)
"""


def test_a_socket_of_the_service_manager_that_is_named_policy_is_for_it(site):
    site.add(ALICE)
    site.configure(lmtp__listen=f"unix:{site.path}/not-this-one", policy__listen=f"unix:{site.path}/nor-this-one")
    with socket.create_server(("127.0.0.1", 0)) as lmtp, socket.create_server(("127.0.0.1", 0)) as policy:
        fds = (lmtp.fileno(), policy.fileno())
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, f"roostd.socket:policy,{fds[0]},{fds[1]}", site.programs["roostd"], "-c",
             site.conf], pass_fds=fds, env=clean_env(), stderr=subprocess.PIPE)
        try:
            for turn in range(2):
                with Policy(policy.getsockname()) as asking, Client(lmtp.getsockname()) as client:
                    assert asking.ask(ALICE) == "DUNNO"
                    assert client.deliver(SAMPLE + b"%d\n" % turn, ALICE)[0].startswith("250 ")
                process.send_signal(signal.SIGHUP)
                wait_for(lambda: site.log.read_text().count("read again") > turn, "the reload")
            assert not list(site.path.glob("*-this-one"))
        finally:
            process.terminate()
            process.communicate(timeout=WAIT)
        assert process.returncode == 0


def test_a_machine_without_the_mail_answers_from_the_clone(site):
    """Node `site` stores the mail and feeds the dict; the other one has the user database and the dict alone."""
    for name, settings in ((ALICE, '{"quota.messages": 1}'), (BOB, '{"quota.message": 100}'), ("new@example.org", '{"quota.messages": 1}')):
        site.add(name, settings)
    with Redis(site.path / "redis") as redis:
        site.configure({"quota-clone.dict": redis.uri("prefix=q/")})
        assert site.deliver(ALICE).returncode == 0
        port = free_port()
        (site.path / "elsewhere").mkdir()
        site.configure({"policy.source": "clone", "policy.listen": f"tcp:127.0.0.1:{port}",
                        "maildir.path": f"{site.path}/elsewhere/%{{domain}}/%{{local}}"})
        with Daemon(site), Policy(("127.0.0.1", port)) as policy:
            assert policy.ask(ALICE).startswith("554 5.2.2 ")
            assert policy.ask("new@example.org") == "DUNNO"  # not in the dict
            assert policy.ask(BOB, size=101).startswith("554 5.2.3 ")
            redis("SET", f"q/{ALICE}/quota/messages", "0")
            assert policy.ask(ALICE) == "DUNNO"
            redis("SET", f"q/{ALICE}/quota/messages", "5")
            assert policy.ask("", "END-OF-MESSAGE", 5, count=2) == "DUNNO"
            redis.kill()
            assert policy.ask(ALICE) == "DUNNO"
            assert policy.ask(BOB, size=101).startswith("554 5.2.3 ")
            assert "is let through" in site.log.read_text()
            redis.start()
            redis("SET", f"q/{ALICE}/quota/messages", "5")
            redis("SET", f"q/{ALICE}/quota/storage", "5")
            assert policy.ask(ALICE).startswith("554 5.2.2 ")
    assert not list((site.path / "elsewhere").iterdir())


def test_the_clone_is_no_source_while_it_is_off(site):
    site.configure(policy__source="clone")
    result = site.run("roostd", "-c", site.conf, "-o", "log.target=stderr")
    assert result.returncode == 1 and b"set quota-clone.dict" in result.stderr
