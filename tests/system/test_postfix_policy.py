"""A real Postfix that asks the policy service of roostd, configured with the very text of etc/recipes/postfix: what is
full is refused while the client is there, and never gets into the queue."""

import json
import re

import pytest

from conftest import SAMPLE
from mtas import Postfix, recipe

# As the recipe says; smtpd is chrooted, as Debian has it.
POLICY = "\n[policy]\nlisten = " + re.search("listen = (.*)", recipe("postfix/policy.cf"))[1] + "\n"
ROOM = 3000  # bytes, of users with little room

# Speaks SMTP: one reply for each command, and one for the message.
TALK = r"""
import json, smtplib, sys
sender, size, recipients, message = json.load(sys.stdin)
client = smtplib.SMTP("127.0.0.1", 25, timeout=60)
client.ehlo("client.example.net")
replies = [client.docmd(f"MAIL FROM:<{sender}>" + (f" SIZE={size}" if size else ""))]
replies += [client.docmd(f"RCPT TO:<{each}>") for each in recipients]
if any(code == 250 for code, _ in replies[1:]):
    try:
        replies.append(client.data(message))
    except smtplib.SMTPDataError as error:
        replies.append((error.smtp_code, error.smtp_error))
client.close()
print(json.dumps([f"{code} {text.decode()}" for code, text in replies[1:]]))
"""


@pytest.fixture(scope="module")
def postfix(module_path):
    # SQLite's files are not to be shared here.
    lmtp = re.sub(r"^virtual_mailbox_maps = .*", "virtual_mailbox_maps =", recipe("postfix/lmtp.cf"), flags=re.M)
    made = Postfix(module_path, f"{lmtp}{recipe('postfix/policy.cf')}smtpd_policy_service_retry_delay = 1s\n")
    try:
        assert made.check("postconf", "-Fh", "smtp/inet/chroot").strip() == "y"
        made.let_lmtp_out()
        made.start_roostd(POLICY)
        yield made
    finally:
        made.close()


def user(chamber, name, **settings):
    values = {key.replace("__", ".").replace("_", "-"): value for key, value in settings.items()}
    chamber.sql("INSERT INTO users(name, settings) VALUES (?, ?)", (f"{name}@example.org", json.dumps(values)))
    return f"{name}@example.org"


def talk(chamber, *recipients, size=0, message=SAMPLE, sender=""):
    """The replies to each RCPT and, if any was taken, to the message."""
    said = json.dumps([sender, size, recipients, message.decode()])
    return json.loads(chamber.check("/usr/bin/python3", "-c", TALK, stdin=said.encode()))


LARGE = SAMPLE + b"x" * 70 + (b"\n" + b"y" * 70) * 60 + b"\n"  # more than ROOM


def test_good_mail_passes(postfix):
    free, large = user(postfix, "free"), user(postfix, "large", quota__storage=100_000)
    assert [reply[:3] for reply in talk(postfix, free, large, size=500)] == ["250"] * 3
    assert [reply[:3] for reply in talk(postfix, large, message=LARGE)] == ["250"] * 2
    postfix.wait_for_messages(1, free)
    postfix.wait_for_messages(2, large)


def test_a_full_mailbox_is_refused_at_rcpt_and_nothing_is_queued(postfix):
    full = user(postfix, "full", quota__messages=0)
    [reply] = talk(postfix, full)
    assert reply.startswith("554 5.2.2 ") and "the mailbox is full" in reply
    later = user(postfix, "later", quota__messages=0, quota__when_full="defer")
    [reply] = talk(postfix, later)
    assert reply.startswith("452 4.2.2 ")
    assert postfix.queued() == []
    # The other recipients of the message get it.
    fine = user(postfix, "fine")
    assert [reply[:3] for reply in talk(postfix, full, fine)] == ["554", "250", "250"]
    postfix.wait_for_messages(1, fine)


def test_a_size_that_does_not_fit_is_refused_at_rcpt(postfix):
    small, picky = user(postfix, "small", quota__storage=ROOM), user(postfix, "picky", quota__message=1000)
    [reply] = talk(postfix, small, size=ROOM + 1)
    assert reply.startswith("554 5.2.2 ")
    [reply] = talk(postfix, picky, size=1001)
    assert reply.startswith("554 5.2.3 ")
    assert postfix.queued() == []


def test_without_a_size_the_end_of_the_message_tells_one_recipient(postfix):
    one, strict = user(postfix, "one", quota__storage=ROOM), user(postfix, "strict", quota__message=1000)
    taken, end = talk(postfix, one, message=LARGE)
    assert taken.startswith("250 ") and end.startswith("554 5.2.2 ")
    taken, end = talk(postfix, strict, message=LARGE)
    assert taken.startswith("250 ") and end.startswith("552 5.2.3 ")
    assert postfix.queued() == []


def test_without_a_size_the_end_of_the_message_tells_several_recipients(postfix):
    few = [user(postfix, f"several{i}", quota__storage=ROOM) for i in range(3)]
    *taken, end = talk(postfix, *few, message=LARGE)
    assert [reply[:3] for reply in taken] == ["250"] * 3 and end.startswith("554 5.2.2 ")
    assert postfix.queued() == []
    # One that can take it is reason enough: the others are told by LMTP, each for itself.
    roomy = user(postfix, "roomy")
    assert [reply[:3] for reply in talk(postfix, *few, roomy, message=LARGE)] == ["250"] * 5
    postfix.wait_for_messages(1, roomy)
    for each in few:
        postfix.wait_for(postfix.LOG, rf"to=<{re.escape(each)}>,.* dsn=5\.2\.2, status=bounced")
    # A recipient's refusal at RCPT has no part in the end of the message.
    assert [reply[:3] for reply in talk(postfix, user(postfix, "none", quota__messages=0), *few, message=LARGE)] == [
        "554", "250", "250", "250", "554"]


def test_trouble_of_ours_defers(postfix):
    troubled = user(postfix, "troubled")
    postfix.sql("UPDATE users SET settings = ? WHERE name = ?", ('{"quota.storage": "nonsense"}', troubled))
    [reply] = talk(postfix, troubled)
    assert reply.startswith("450 4.3.0 ") and "nonsense" not in reply
    assert re.search(r"policy state=RCPT .*to=<troubled@example\.org> verdict=misconfigured .*nonsense", postfix.read("/var/lib/roost/log"))


def test_without_roostd_postfix_defers(postfix):
    away = user(postfix, "away")
    postfix.stop_roostd()
    try:
        [reply] = talk(postfix, away)
        assert reply.startswith("451 4.3.5 ")
        assert postfix.queued() == []
    finally:
        postfix.start_roostd(POLICY)
    # It comes back by itself.
    assert [reply[:3] for reply in talk(postfix, away)] == ["250", "250"]
    postfix.wait_for_messages(1, away)
