"""Warnings: given once, by whichever process notices, and never in the way of mail."""

import concurrent.futures
import json
import os
import re
import shutil
import signal
import socketserver
import threading

import pytest
from conftest import SAMPLE, SOURCE
from lmtp import Daemon, wait_for
from manpage import literal_block

ALICE, BOB = "alice@example.org", "bob@example.org"
# Appends its arguments to a file, one line a run.
NOTE = """#!/bin/sh
echo "$@" >> {notes}
echo "environment: $(env | sort | tr '\\n' ' ')"
"""


@pytest.fixture
def alice(site):
    """The Site; `notes` are the arguments of the commands that were run. Alice may have ten messages."""
    path = site.path / "notes"
    program = site.path / "note"
    program.write_text(NOTE.format(notes=path))
    program.chmod(0o755)
    site.note = program
    site.configure({"store.directories": str(site.path)})  # where commands of roostd may write
    site.notes = lambda: path.read_text().splitlines() if path.exists() else []
    site.add(ALICE, json.dumps({"quota.messages": 10, "quota.warning": "messages>50% messages>80% messages<50%"}))
    site.configure({"quota.warning-command": f"{program} %{{user}} %{{threshold}} %{{percent}} %{{kind}} %{{used}}/%{{limit}}"})
    return site


def state(site):
    return sorted(path.name for path in (site.state / "warnings").glob("*/*"))


def by_command(site):
    """The thresholds that commands have told Alice's user of."""
    path = site.state / "warnings" / "users" / ALICE
    lines = path.read_text().split("\n")[:-1] if path.exists() else [""]
    return lines[-1].split()


def told(site, text):
    return sum(text in line for line in site.log.read_text().splitlines()) if site.log.exists() else 0


def deliver(site, count=1, user=ALICE):
    for _ in range(count):
        assert site.deliver(user).returncode == 0


def remove(site, count):
    for path in site.messages(ALICE)[:count]:
        path.unlink()
    assert site.roost("quota", "recount", ALICE).returncode == 0


def waiting(site, *notes):
    wait_for(lambda: len(site.notes()) >= len(notes), f"{notes}")
    assert site.notes() == list(notes)


UP, HIGH, DOWN = (f"{ALICE} 50 50 messages 5/10", f"{ALICE} 80 80 messages 8/10", f"{ALICE} 50 40 messages 4/10")


def test_each_threshold_is_told_once_until_usage_was_below_it(alice):
    deliver(alice, 4)
    assert state(alice) == []
    deliver(alice)
    waiting(alice, UP)
    assert state(alice) == [ALICE]
    deliver(alice, 2)
    assert alice.notes() == [UP]
    deliver(alice)
    waiting(alice, UP, HIGH)
    deliver(alice)
    remove(alice, 6)  # nobody has looked yet
    deliver(alice)
    waiting(alice, UP, HIGH, DOWN)
    assert state(alice) == []
    deliver(alice)
    waiting(alice, UP, HIGH, DOWN, UP)


def test_what_a_lowered_limit_or_another_program_did_is_noticed_at_a_check(alice):
    alice.add(BOB, '{"quota.messages": 10}')  # has no thresholds
    deliver(alice, 4)
    deliver(alice, 9, BOB)
    alice.sql("UPDATE users SET settings = ? WHERE name = ?", (json.dumps({"quota.messages": 5, "quota.warning": "messages>50% messages>80%"}), ALICE))
    result = alice.roost("quota", "check", "--all")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert alice.notes() == [f"{ALICE} 80 80 messages 4/5"]
    assert alice.roost("quota", "check", ALICE, "--json").stdout.strip() in (b"", b"[]")
    remove(alice, 3)
    assert alice.roost("quota", "check", "--domain", "example.org").returncode == 0
    assert state(alice) == []
    deliver(alice, 3)
    shown = json.loads(alice.roost("quota", "check", ALICE, "--json").stdout or b"[]")
    assert shown == []  # the deliveries have seen to it
    waiting(alice, f"{ALICE} 80 80 messages 4/5", f"{ALICE} 50 60 messages 3/5", f"{ALICE} 80 80 messages 4/5")


def test_a_check_shows_what_it_warned_of(alice):
    deliver(alice, 4)
    alice.sql("UPDATE users SET settings = ? WHERE name = ?", ('{"quota.messages": 4, "quota.warning": "messages>90%"}', ALICE))
    rows = json.loads(alice.roost("quota", "check", ALICE, "--json").stdout)
    assert rows == [{"name": ALICE, "threshold": "messages>90%", "percent": 100, "used": 4, "limit": 4}]
    for flags in ([], [ALICE, "--all"]):
        assert alice.roost("quota", "check", *flags).returncode == 64
    assert alice.roost("quota", "check", "nobody@example.org").returncode != 0


def test_the_command_sees_no_shell_and_next_to_no_environment(alice):
    evil = "$(touch evil)`id`;x@example.org"
    alice.add(evil, '{"quota.messages": 1, "quota.warning": "messages>100%"}')
    deliver(alice, 1, evil)
    waiting(alice, f"{evil} 100 100 messages 1/1")
    wait_for(lambda: told(alice, "says: environment:"), "the command's words in the log")
    [line] = [line for line in alice.log.read_text().splitlines() if "says: environment:" in line]
    names = {word.partition("=")[0] for word in line.partition("environment: ")[2].split()}
    assert names <= {"PATH", "PWD", "_", "SHLVL", "OLDPWD"}
    assert not (alice.path / "evil").exists()


@pytest.mark.parametrize("command, said", [
    ("/bin/false", "/bin/false: it ended with status 1"),
    ("/bin/sleep 1000", "/bin/sleep: it took longer"),
    ("/nonexistent/program", "/nonexistent/program: No such file"),
])
def test_a_command_that_fails_hinders_no_mail_and_is_tried_again_until_it_works(alice, command, said):
    works = alice.settings["quota.warning-command"]
    alice.configure({"quota.warning-command": command.format(note=alice.note), "quota.warning-timeout": "300ms"})
    deliver(alice, 5)
    for times in (1, 2):
        wait_for(lambda: told(alice, said) == times and "messages>50%" not in by_command(alice), "the failure")
        if times == 1:
            deliver(alice)
    assert len(alice.messages(ALICE)) == 6 and alice.notes() == []
    alice.configure({"quota.warning-command": works, "quota.warning-timeout": "30s"})
    deliver(alice)
    waiting(alice, f"{ALICE} 50 70 messages 7/10")
    assert state(alice) == [ALICE]
    deliver(alice, 1)
    waiting(alice, f"{ALICE} 50 70 messages 7/10", HIGH)


def test_a_falling_threshold_is_tried_again_too(alice):
    deliver(alice, 5)
    waiting(alice, UP)
    works = alice.settings["quota.warning-command"]
    alice.configure({"quota.warning-command": "/bin/false"})
    remove(alice, 3)
    deliver(alice)
    wait_for(lambda: by_command(alice) == ["messages<50%"] and told(alice, "/bin/false"), "the failure")
    alice.configure({"quota.warning-command": works})
    deliver(alice)
    waiting(alice, UP, DOWN)
    assert state(alice) == []


def test_a_check_tries_again_and_fails_with_what_it_tried(alice):
    works = alice.settings["quota.warning-command"]
    alice.configure({"quota.warning-command": "/bin/false"})
    deliver(alice, 5)
    wait_for(lambda: told(alice, "/bin/false") and "messages>50%" not in by_command(alice), "the failure")
    for command in ("/bin/false", "relative"):
        alice.configure({"quota.warning-command": command})
        result = alice.roost("quota", "check", "--all")
        assert result.returncode == 1
        assert command.encode() in result.stderr or b"no absolute path" in result.stderr
    alice.configure({"quota.warning-command": works})
    result = alice.roost("quota", "check", "--all")
    assert (result.returncode, result.stderr) == (0, b"")
    assert alice.notes() == [UP]
    assert alice.roost("quota", "check", "--all").returncode == 0
    assert alice.notes() == [UP]


def test_a_message_that_failed_is_tried_again_and_what_worked_is_not(alice):
    works = alice.settings["quota.warning-command"]
    message(alice)
    alice.configure({"quota.warning-command": works, "quota.warning-message": str(alice.path / "missing.eml")})
    deliver(alice, 6)
    assert told(alice, "missing.eml") == 2
    waiting(alice, UP)
    message(alice)
    alice.configure({"quota.warning-command": works})
    deliver(alice)
    [text] = warnings_in(alice)
    assert "Subject: 70% of 10 messages" in text
    deliver(alice)
    waiting(alice, UP, f"{ALICE} 80 90 messages 9/10")
    assert len(warnings_in(alice)) == 2


def test_roostd_tries_a_failed_command_again_at_the_next_delivery(alice):
    program = alice.path / "flaky"
    program.write_text(f'#!/bin/sh\n[ -e {alice.path}/good ] || exit 3\nexec {alice.note} "$@"\n')
    program.chmod(0o755)
    alice.configure({"quota.warning-command": f"{program} %{{user}} %{{used}}"})
    with Daemon(alice) as daemon, daemon.client() as client:

        def send(count):
            for _ in range(count):
                assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")

        send(5)
        wait_for(lambda: told(alice, "it ended with status 3") == 1 and "messages>50%" not in by_command(alice), "the failure")
        send(1)
        wait_for(lambda: told(alice, "it ended with status 3") == 2 and "messages>50%" not in by_command(alice), "the next failure")
        (alice.path / "good").touch()
        send(1)
        waiting(alice, f"{ALICE} 7")


def message(site, **more):
    template = site.path / "warning.eml"
    template.write_text(more.get("text", "Subject: %{percent}%% of %{limit} %{kind}\n\n%{user}: %{used}\n"))
    site.configure({"quota.warning-command": None, "quota.warning-message": str(template)})


def warnings_in(site, user=ALICE):
    return [text for text in (path.read_bytes().decode() for path in site.messages(user)) if "Auto-Submitted" in text]


def test_a_message_is_put_into_the_mailbox_though_it_is_full_and_makes_no_other(alice):
    message(alice)
    alice.sql("UPDATE users SET settings = ? WHERE name = ?", ('{"quota.messages": 2, "quota.warning": "messages>100% messages>150%"}', ALICE))
    deliver(alice, 2)
    [text] = warnings_in(alice)
    header, body = text.split("\n\n", 1)
    assert body == f"{ALICE}: 2\n"
    fields = dict(line.split(": ", 1) for line in header.splitlines())
    assert fields["Return-Path"] == "<>" and fields["Auto-Submitted"] == "auto-generated"
    assert fields["Subject"] == "100% of 2 messages" and fields["To"] == ALICE
    assert {"From", "Date", "Message-ID"} <= fields.keys()
    assert len(alice.messages(ALICE)) == 3
    # It counts, and it is beyond the limit now: refusals warn of nothing, and none came of the message itself.
    assert alice.deliver(ALICE).returncode == 77
    assert len(alice.messages(ALICE)) == 3
    # The other threshold, which the message itself reached, is said at the next look, once.
    assert alice.roost("quota", "check", "--all").returncode == 0
    assert alice.roost("quota", "check", "--all").returncode == 0
    assert len(warnings_in(alice)) == 2


def test_the_template_that_is_shipped_works(alice):
    message(alice, text=(SOURCE / "etc" / "warning.eml").read_text())
    deliver(alice, 5)
    [text] = warnings_in(alice)
    assert "Subject: Your mailbox is 50% full\n" in text and f"your mailbox {ALICE} holds 5 of the 10 (messages)" in text
    assert len(re.findall(r"^Date: ", text, re.MULTILINE)) == len(re.findall(r"^From: ", text, re.MULTILINE)) == 1


@pytest.mark.parametrize("text, said", [("no header\n", "does not begin with a header"), ("Subject: 50% x\n\n", "begins no variable"),
                                        ("Subject: %{nosuch}\n\n", "unknown variable")])
def test_a_bad_template_is_told_in_the_log_and_mail_goes_on(alice, text, said):
    message(alice, text=text)
    deliver(alice, 6)
    assert told(alice, said) == 2
    assert len(alice.messages(ALICE)) == 6


def test_many_deliveries_at_once_give_one_warning(alice):
    alice.sql("UPDATE users SET settings = ? WHERE name = ?", ('{"quota.messages": 100, "quota.warning": "messages>10%"}', ALICE))
    deliver(alice)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(result.returncode == 0 for result in pool.map(lambda _: alice.deliver(ALICE), range(24)))
    wait_for(alice.notes, "the warning")
    assert len(alice.notes()) == 1


def test_roostd_warns_behind_the_verdict_and_once(alice):
    with Daemon(alice) as daemon, daemon.client() as client:
        for i in range(5):
            assert client.deliver(SAMPLE + b"%d\n" % i, ALICE)[0].startswith("250 ")
        waiting(alice, UP)
        for i in range(3):
            assert client.deliver(SAMPLE + b"x%d\n" % i, ALICE)[0].startswith("250 ")
        waiting(alice, UP, HIGH)


def test_a_command_that_hangs_holds_up_neither_roostd_nor_its_stop(alice):
    alice.configure({"quota.warning-command": f"{alice.path}/hang", "quota.warning-timeout": "1h"})
    (alice.path / "hang").write_text(f"#!/bin/sh\necho $$ > {alice.path}/pid\nexec sleep 300\n")
    (alice.path / "hang").chmod(0o755)
    with Daemon(alice) as daemon, daemon.client() as client:
        for i in range(8):
            assert client.deliver(SAMPLE + b"%d\n" % i, ALICE)[0].startswith("250 ")
        wait_for(lambda: (alice.path / "pid").exists(), "the command")
        assert client.deliver(SAMPLE + b"more\n", ALICE)[0].startswith("250 ")
        client.say("QUIT")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait() == 0
    os.kill(int((alice.path / "pid").read_text()), signal.SIGKILL)


def test_a_session_on_standard_input_warns_too(alice):
    lines = [b"LHLO x\r\n"]
    for i in range(5):
        lines += [b"MAIL FROM:<>\r\n", f"RCPT TO:<{ALICE}>\r\n".encode(), b"DATA\r\n", b"Subject: %d\r\n\r\n.\r\n" % i]
    result = alice.run("roostd", "-c", alice.conf, "--stdio", stdin=b"".join([*lines, b"QUIT\r\n"]))
    assert result.returncode == 0
    waiting(alice, UP)


class Smtp(socketserver.TCPServer):
    """An SMTP server for one message: `took` has what the client said, and the message."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Talk)
        self.took = []

    class Talk(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 x\r\n")
            data = False
            for line in self.rfile:
                self.server.took.append(line.decode())
                data = data and line != b".\r\n"
                if not data:
                    data = line == b"DATA\r\n"
                    self.wfile.write(b"354 x\r\n" if data else b"250 x\r\n")
                if line == b"QUIT\r\n":
                    return


@pytest.mark.parametrize("confine", ["yes", "no"])
def test_the_command_of_the_manual_sends_mail_from_roostd_and_one_that_needs_privileges_does_not(alice, confine):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    with Smtp() as smtp:
        script = literal_block("roost-quota.7", "#!/bin/sh\n").replace("127.0.0.1", f"127.0.0.1:{smtp.server_address[1]}")
        alice.note.write_text(f"{script}grep NoNewPrivs /proc/self/status\n")
        command = re.search("^warning-command = .*?( .*)", literal_block("roost-quota.7", "[quota]\nwarning"), re.M)[1]
        alice.configure({"quota.warning-command": f"{alice.note}{command}", "store.confine": confine})
        deliver(alice, 4)
        serving = threading.Thread(target=smtp.handle_request, daemon=True)
        serving.start()
        with Daemon(alice) as daemon:
            with daemon.client() as client:
                assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
            serving.join(30)
            wait_for(lambda: told(alice, "says: NoNewPrivs:\\x091"), "the end of the command")
    assert "RCPT TO:<postmaster@example.org>\r\n" in smtp.took
    assert f"Subject: {ALICE} has used 50 %\r\n" in smtp.took


def test_a_domain_is_told_of_by_the_command_alone(alice):
    message(alice)
    alice.configure({"quota.warning-command": f"{alice.note} %{{user}} %{{threshold}}"})
    alice.sql("UPDATE users SET settings = '{}'")
    alice.sql("INSERT INTO domains(name, settings) VALUES ('example.org', ?)",
              ('{"domain-quota.messages": 4, "domain-quota.warning": "messages>50%"}',))
    alice.add(BOB)
    deliver(alice)
    deliver(alice, 1, BOB)
    waiting(alice, "@example.org 50")
    deliver(alice, 1, BOB)
    assert alice.notes() == ["@example.org 50"]
    assert state(alice) == ["example.org"]
    assert warnings_in(alice) == warnings_in(alice, BOB) == []


def test_thresholds_that_cannot_be_are_refused(site):
    site.add(ALICE)
    result = site.roost("user", "set", ALICE, "quota.warning=storage=80%")
    assert result.returncode != 0 and b"storage>80%" in result.stderr
