"""A real Postfix that delivers by pipe(8), configured with the very text of etc/recipes/postfix."""

import re

import pytest

from chamber import RECIPES, Chamber, fields_of
from conftest import SAMPLE

ALICE, BOB = "alice@example.org", "bob@example.org"  # Bob sends, and gets the bounces
LOG = "/var/log/mail.log"

MAIN = """
compatibility_level = 3.6
myhostname = mx.example.net
mydestination =
inet_interfaces = loopback-only
default_transport = error:nothing leaves this machine
maillog_file = /var/log/mail.log
disable_dns_lookups = yes
local_recipient_maps =
"""


@pytest.fixture(scope="module")
def postfix(module_path):
    chamber = Chamber(module_path, "postfix")
    try:
        chamber.check("groupadd", "--system", "postdrop")
        chamber.check("useradd", "--system", "--home-dir", "/var/spool/postfix", "postfix")
        master = chamber.read("/usr/share/postfix/master.cf.dist")
        # No network and no chroot of Postfix's own: the machine is private as it is.
        master = re.sub(r"^smtp +inet.*\n", "", master, flags=re.M)
        master = re.sub(r"^(\w+ +unix +\S+ +\S+ +)y", r"\1n", master, flags=re.M)
        chamber.write("/etc/postfix/main.cf", MAIN + (RECIPES / "postfix/main.cf").read_text())
        chamber.write("/etc/postfix/master.cf", master + (RECIPES / "postfix/master.cf").read_text())
        chamber.write("/etc/postfix/roost-users.cf", (RECIPES / "postfix/roost-users.cf").read_text())
        chamber.write("/etc/postfix/dynamicmaps.cf", "sqlite postfix-sqlite.so dict_sqlite_open\n")
        chamber.write("/etc/aliases", "")
        chamber.check("install", "-d", "-o", "postfix", "/var/lib/postfix")
        chamber.check("postfix", "start")
        chamber.add(ALICE, BOB)
        yield chamber
    finally:
        chamber.close()


def send(chamber, *recipients, sender=BOB, message=SAMPLE):
    """Hands a message to Postfix; returns its queue id."""
    before = len(re.findall(r"postfix/pickup\[\d+\]: ([0-9A-F]+):", chamber.read(LOG)))
    chamber.check("sendmail", "-f", sender, *recipients, stdin=message)
    return chamber.wait_for(LOG, rf"(?s)(?:postfix/pickup\[\d+\]: [0-9A-F]+:.*?){{{before}}}postfix/pickup\[\d+\]: ([0-9A-F]+):")[1]


def verdict(chamber, queue_id, recipient, after=0):
    """What Postfix logged for a recipient: (enhanced status code, status, reason)."""
    pattern = rf"{queue_id}: to=<{re.escape(recipient)}>,.*? dsn=(\S+), status=(\w+) \((.*)\)"
    found = chamber.wait_for(LOG, rf"(?:{pattern}[\s\S]*?){{{after}}}{pattern}" if after else pattern)
    return found.groups()[-3:]


def test_mail_is_delivered_into_a_mailbox_that_did_not_exist(postfix):
    queue_id = send(postfix, ALICE)
    assert verdict(postfix, queue_id, ALICE)[:2] == ("2.0.0", "sent")
    (message,) = postfix.wait_for_messages(1, ALICE)
    assert message.endswith(SAMPLE.partition(b"\n\n")[2])
    assert fields_of(message, "Return-Path") == [f"<{BOB}>"]
    assert fields_of(message, "Delivered-To") == [ALICE]
    assert len([field for field in fields_of(message, "Received") if "(Roost)" in field]) == 1


def test_unknown_user_bounces_with_5_1_1(postfix):
    postfix.add("sender1@example.org")
    queue_id = send(postfix, "nobody@example.org", sender="sender1@example.org")
    code, status, reason = verdict(postfix, queue_id, "nobody@example.org")
    assert (code, status) == ("5.1.1", "bounced") and "no such user" in reason
    (bounce,) = postfix.wait_for_messages(1, "sender1@example.org")
    assert fields_of(bounce, "Return-Path") == ["<>"]
    assert b"Status: 5.1.1" in bounce and b"no such user" in bounce


def test_full_mailbox_bounces_with_5_2_2(postfix):
    postfix.sql("INSERT INTO users(name, settings) VALUES (?, ?)", ("full@example.org", '{"quota.storage": 1}'))
    queue_id = send(postfix, "full@example.org")
    code, status, reason = verdict(postfix, queue_id, "full@example.org")
    assert (code, status) == ("5.2.2", "bounced") and "full" in reason


def test_full_mailbox_that_defers_stays_queued_with_4_2_2(postfix):
    postfix.sql("INSERT INTO users(name, settings) VALUES (?, ?)",
                ("later@example.org", '{"quota.messages": 0, "quota.when-full": "defer"}'))
    queue_id = send(postfix, "later@example.org")
    assert verdict(postfix, queue_id, "later@example.org")[:2] == ("4.2.2", "deferred")
    postfix.sql("UPDATE users SET settings = '{}' WHERE name = 'later@example.org'")
    postfix.check("postqueue", "-f")
    postfix.wait_for_messages(1, "later@example.org")


def test_disabled_user_bounces_with_5_2_1(postfix):
    postfix.sql("INSERT INTO users(name, enabled) VALUES (?, 0)", ("gone@example.org",))
    assert verdict(postfix, send(postfix, "gone@example.org"), "gone@example.org")[:2] == ("5.2.1", "bounced")


def test_temporary_trouble_stays_queued_and_is_delivered_later(postfix):
    postfix.add("patient@example.org")
    postfix.break_database()
    try:
        queue_id = send(postfix, "patient@example.org")
        code, status, _ = verdict(postfix, queue_id, "patient@example.org")
        assert code.startswith("4.3.") and status == "deferred"
        assert queue_id in postfix.check("postqueue", "-p")
    finally:
        postfix.mend_database()
    postfix.check("postqueue", "-f")
    postfix.wait_for_messages(1, "patient@example.org")
    assert verdict(postfix, queue_id, "patient@example.org", after=1)[1] == "sent"


def test_detail_becomes_a_folder(postfix):
    postfix.add("tagged@example.org")
    send(postfix, "Tagged+lists@Example.ORG")
    (message,) = postfix.wait_for_messages(1, "tagged@example.org", "lists")
    assert fields_of(message, "Delivered-To") == ["Tagged+lists@Example.ORG"]


def test_null_sender_gives_an_empty_return_path(postfix):
    postfix.add("null@example.org")
    send(postfix, "null@example.org", sender="<>")
    (message,) = postfix.wait_for_messages(1, "null@example.org")
    assert fields_of(message, "Return-Path") == ["<>"]


def test_two_recipients_get_a_copy_each_and_the_unknown_third_bounces_alone(postfix):
    one, two, none = "one@example.org", "two@example.org", "none@example.org"
    postfix.add(one, two)
    queue_id = send(postfix, one, none, two)
    for user in (one, two):
        (message,) = postfix.wait_for_messages(1, user)
        assert fields_of(message, "Delivered-To") == [user]
        assert verdict(postfix, queue_id, user)[1] == "sent"
    assert verdict(postfix, queue_id, none)[:2] == ("5.1.1", "bounced")


def test_sender_and_recipient_with_awkward_characters_arrive_as_they_are(postfix):
    odd = "o'brien&co|x@example.org"
    postfix.add(odd)
    send(postfix, odd, sender="-f$x`id`&y|z@example.net")
    (message,) = postfix.wait_for_messages(1, odd)
    assert fields_of(message, "Return-Path") == ["<-f$x`id`&y|z@example.net>"]


@pytest.mark.parametrize("address, found", [(ALICE, True), ("nobody@example.org", False), ("' OR '1'='1", False)])
def test_users_are_known_to_postfix_before_it_takes_the_mail(postfix, address, found):
    postfix.check("usermod", "--append", "--groups", "roost", "postfix")
    postfix.check("chmod", "-R", "g+rwX", "/var/lib/roost")
    result = postfix.run("runuser", "-u", "postfix", "--", "postmap", "-q", address,
                         "sqlite:/etc/postfix/roost-users.cf")
    assert (result.returncode, result.stdout.decode()) == ((0, f"{address}\n") if found else (1, ""))
