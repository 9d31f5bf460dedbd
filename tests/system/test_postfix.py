"""A real Postfix that delivers by pipe(8), configured with the very text of etc/recipes/postfix."""

import pytest

from chamber import fields_of
from conftest import SAMPLE
from mtas import ALICE, BOB, Postfix, recipe


@pytest.fixture(scope="module")
def postfix(module_path):
    made = Postfix(module_path, recipe("postfix/main.cf"), recipe("postfix/master.cf"))
    yield made
    made.close()


def test_mail_is_delivered_into_a_mailbox_that_did_not_exist(postfix):
    queue_id = postfix.send(ALICE)
    assert postfix.verdict(queue_id, ALICE)[:2] == ("2.0.0", "sent")
    (message,) = postfix.wait_for_messages(1, ALICE)
    assert message.endswith(SAMPLE.partition(b"\n\n")[2])
    assert fields_of(message, "Return-Path") == [f"<{BOB}>"]
    assert fields_of(message, "Delivered-To") == [ALICE]
    assert len([field for field in fields_of(message, "Received") if "(Roost)" in field]) == 1


def test_unknown_user_bounces_with_5_1_1(postfix):
    postfix.add("sender1@example.org")
    queue_id = postfix.send("nobody@example.org", sender="sender1@example.org")
    code, status, reason = postfix.verdict(queue_id, "nobody@example.org")
    assert (code, status) == ("5.1.1", "bounced") and "no such user" in reason
    (bounce,) = postfix.wait_for_messages(1, "sender1@example.org")
    assert fields_of(bounce, "Return-Path") == ["<>"]
    assert b"Status: 5.1.1" in bounce and b"no such user" in bounce


def test_full_mailbox_bounces_with_5_2_2(postfix):
    postfix.sql("INSERT INTO users(name, settings) VALUES (?, ?)", ("full@example.org", '{"quota.storage": 1}'))
    queue_id = postfix.send("full@example.org")
    code, status, reason = postfix.verdict(queue_id, "full@example.org")
    assert (code, status) == ("5.2.2", "bounced") and "full" in reason


def test_full_mailbox_that_defers_stays_queued_with_4_2_2(postfix):
    postfix.sql("INSERT INTO users(name, settings) VALUES (?, ?)",
                ("later@example.org", '{"quota.messages": 0, "quota.when-full": "defer"}'))
    queue_id = postfix.send("later@example.org")
    assert postfix.verdict(queue_id, "later@example.org")[:2] == ("4.2.2", "deferred")
    postfix.sql("UPDATE users SET settings = '{}' WHERE name = 'later@example.org'")
    postfix.flush()
    postfix.wait_for_messages(1, "later@example.org")


def test_disabled_user_bounces_with_5_2_1(postfix):
    postfix.sql("INSERT INTO users(name, enabled) VALUES (?, 0)", ("gone@example.org",))
    assert postfix.verdict(postfix.send("gone@example.org"), "gone@example.org")[:2] == ("5.2.1", "bounced")


def test_temporary_trouble_stays_queued_and_is_delivered_later(postfix):
    postfix.add("patient@example.org")
    postfix.break_database()
    try:
        queue_id = postfix.send("patient@example.org")
        code, status, _ = postfix.verdict(queue_id, "patient@example.org")
        assert code.startswith("4.3.") and status == "deferred"
        assert postfix.queued() == ["patient@example.org"]
    finally:
        postfix.mend_database()
    postfix.flush()
    postfix.wait_for_messages(1, "patient@example.org")
    assert postfix.verdict(queue_id, "patient@example.org", after=1)[1] == "sent"


def test_detail_becomes_a_folder(postfix):
    postfix.add("tagged@example.org")
    postfix.send("Tagged+lists@Example.ORG")
    (message,) = postfix.wait_for_messages(1, "tagged@example.org", "lists")
    assert fields_of(message, "Delivered-To") == ["Tagged+lists@Example.ORG"]


def test_null_sender_gives_an_empty_return_path(postfix):
    postfix.add("null@example.org")
    postfix.send("null@example.org", sender="<>")
    (message,) = postfix.wait_for_messages(1, "null@example.org")
    assert fields_of(message, "Return-Path") == ["<>"]


def test_two_recipients_get_a_copy_each_and_the_unknown_third_bounces_alone(postfix):
    one, two, none = "one@example.org", "two@example.org", "none@example.org"
    postfix.add(one, two)
    queue_id = postfix.send(one, none, two)
    for user in (one, two):
        (message,) = postfix.wait_for_messages(1, user)
        assert fields_of(message, "Delivered-To") == [user]
        assert postfix.verdict(queue_id, user)[1] == "sent"
    assert postfix.verdict(queue_id, none)[:2] == ("5.1.1", "bounced")


def test_sender_and_recipient_with_awkward_characters_arrive_as_they_are(postfix):
    odd = "o'brien&co|x@example.org"
    postfix.add(odd)
    postfix.send(odd, sender="-f$x`id`&y|z@example.net")
    (message,) = postfix.wait_for_messages(1, odd)
    assert fields_of(message, "Return-Path") == ["<-f$x`id`&y|z@example.net>"]


@pytest.mark.parametrize("address, found", [(ALICE, True), ("nobody@example.org", False), ("' OR '1'='1", False)])
def test_users_are_known_to_postfix_before_it_takes_the_mail(postfix, address, found):
    postfix.check("usermod", "--append", "--groups", "roost", "postfix")
    postfix.check("chmod", "-R", "g+rwX", "/var/lib/roost")
    result = postfix.run("runuser", "-u", "postfix", "--", "postmap", "-q", address,
                         "proxy:sqlite:/etc/postfix/roost-users.cf")
    assert (result.returncode, result.stdout.decode()) == ((0, f"{address}\n") if found else (1, ""))
