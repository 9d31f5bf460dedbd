"""A real OpenSMTPD that delivers by an mda action, configured with the very text of etc/recipes/opensmtpd."""

import pytest

from chamber import fields_of
from conftest import SAMPLE
from mtas import ALICE, BOB, OpenSmtpd, recipe


@pytest.fixture(scope="module")
def smtpd(module_path):
    made = OpenSmtpd(module_path, recipe("opensmtpd/smtpd.conf"))
    yield made
    made.close()


def test_mail_is_delivered_into_a_mailbox_that_did_not_exist(smtpd):
    before = smtpd.send(ALICE)
    assert smtpd.verdict(before, ALICE)[0] == "Ok"
    (message,) = smtpd.wait_for_messages(1, ALICE)
    assert message.endswith(SAMPLE.partition(b"\n\n")[2])
    assert fields_of(message, "Return-Path") == [f"<{BOB}>"]
    assert fields_of(message, "Delivered-To") == [ALICE]


def test_unknown_user_bounces(smtpd):
    smtpd.add("sender1@example.org")
    before = smtpd.send("nobody@example.org", sender="sender1@example.org")
    assert smtpd.verdict(before, "nobody@example.org")[0] == "PermFail"
    (bounce,) = smtpd.wait_for_messages(1, "sender1@example.org")
    assert fields_of(bounce, "Return-Path") == ["<>"]
    assert b"no such user" in bounce


def test_full_mailbox_bounces(smtpd):
    smtpd.sql("INSERT INTO users(name, settings) VALUES (?, ?)", ("full@example.org", '{"quota.storage": 1}'))
    assert smtpd.verdict(smtpd.send("full@example.org"), "full@example.org")[0] == "PermFail"


def test_temporary_trouble_stays_queued_and_is_delivered_later(smtpd):
    smtpd.add("patient@example.org")
    smtpd.break_database()
    try:
        before = smtpd.send("patient@example.org")
        assert smtpd.verdict(before, "patient@example.org")[0] == "TempFail"
        assert "patient@example.org" in smtpd.queued()
    finally:
        smtpd.mend_database()
    smtpd.flush()
    smtpd.wait_for_messages(1, "patient@example.org")


def test_detail_becomes_a_folder(smtpd):
    smtpd.add("tagged@example.org")
    smtpd.send("tagged+lists@example.org")
    smtpd.wait_for_messages(1, "tagged@example.org", "lists")


def test_null_sender_gives_an_empty_return_path(smtpd):
    smtpd.add("null@example.org")
    smtpd.send("null@example.org", sender="<>")
    (message,) = smtpd.wait_for_messages(1, "null@example.org")
    assert fields_of(message, "Return-Path") == ["<>"]


def test_two_recipients_get_a_copy_each(smtpd):
    one, two = "one@example.org", "two@example.org"
    smtpd.add(one, two)
    smtpd.send(one, two)
    for user in (one, two):
        (message,) = smtpd.wait_for_messages(1, user)
        assert fields_of(message, "Delivered-To") == [user]
