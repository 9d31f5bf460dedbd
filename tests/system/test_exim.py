"""A real Exim that delivers by its pipe transport, configured with the very text of etc/recipes/exim."""

import re

import pytest

from chamber import fields_of
from conftest import SAMPLE
from mtas import ALICE, BOB, Exim, recipe


@pytest.fixture(scope="module")
def exim(module_path):
    made = Exim(module_path, recipe("exim/router"), recipe("exim/transport"))
    yield made
    made.close()


def test_mail_is_delivered_into_a_mailbox_that_did_not_exist(exim):
    log = exim.send(ALICE)
    assert re.search(r"=> alice <alice@example\.org> .*T=roost", log) and "Completed" in log
    (message,) = exim.wait_for_messages(1, ALICE)
    assert message.endswith(SAMPLE.partition(b"\n\n")[2])
    assert fields_of(message, "Return-Path") == [f"<{BOB}>"]
    assert fields_of(message, "Delivered-To") == [ALICE]


def test_unknown_user_bounces_with_the_reason(exim):
    exim.add("sender1@example.org")
    log = exim.send("nobody@example.org", sender="sender1@example.org")
    assert re.search(r"\*\* nobody@example\.org .*T=roost", log) and "5.1.1" in log
    (bounce,) = exim.wait_for_messages(1, "sender1@example.org")
    assert fields_of(bounce, "Return-Path") == ["<>"]
    assert b"5.1.1" in bounce and b"no such user" in bounce


def test_full_mailbox_bounces(exim):
    exim.sql("INSERT INTO users(name, settings) VALUES (?, ?)", ("full@example.org", '{"quota.storage": 1}'))
    log = exim.send("full@example.org")
    assert re.search(r"\*\* full@example\.org", log) and "5.2.2" in log


def test_disabled_user_bounces(exim):
    exim.sql("INSERT INTO users(name, enabled) VALUES (?, 0)", ("gone@example.org",))
    log = exim.send("gone@example.org")
    assert re.search(r"\*\* gone@example\.org", log) and "5.2.1" in log


def test_temporary_trouble_stays_queued_and_is_delivered_later(exim):
    exim.add("patient@example.org")
    exim.break_database()
    try:
        log = exim.send("patient@example.org")
        assert "== patient@example.org" in log and "4.3." in log
        assert exim.queued() == ["patient@example.org"]
    finally:
        exim.mend_database()
    exim.flush()
    exim.wait_for_messages(1, "patient@example.org")
    assert exim.queued() == []


def test_detail_becomes_a_folder(exim):
    exim.add("tagged@example.org")
    exim.send("Tagged+lists@Example.ORG")
    (message,) = exim.wait_for_messages(1, "tagged@example.org", "lists")
    assert fields_of(message, "Delivered-To")[0].lower() == "tagged+lists@example.org"


def test_null_sender_gives_an_empty_return_path(exim):
    exim.add("null@example.org")
    exim.send("null@example.org", sender="<>")
    (message,) = exim.wait_for_messages(1, "null@example.org")
    assert fields_of(message, "Return-Path") == ["<>"]


def test_two_recipients_get_a_copy_each_and_the_unknown_third_bounces_alone(exim):
    one, two, none = "one@example.org", "two@example.org", "none@example.org"
    exim.add(one, two)
    log = exim.send(one, none, two)
    for user in (one, two):
        (message,) = exim.wait_for_messages(1, user)
        assert fields_of(message, "Delivered-To") == [user]
    assert re.search(r"\*\* none@example\.org", log)


def test_sender_and_recipient_with_awkward_characters_arrive_as_they_are(exim):
    odd = "o'brien&co$x@example.org"
    exim.add(odd)
    exim.send(odd, sender="a$x`id`&y|z@example.net")
    (message,) = exim.wait_for_messages(1, odd)
    assert fields_of(message, "Return-Path") == ["<a$x`id`&y|z@example.net>"]
