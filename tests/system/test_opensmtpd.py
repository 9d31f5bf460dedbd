"""A real OpenSMTPD that delivers by an mda action, configured with the very text of etc/recipes/opensmtpd."""

import re
import subprocess

import pytest

from chamber import RECIPES, Chamber, fields_of
from conftest import SAMPLE, clean_env

ALICE, BOB = "alice@example.org", "bob@example.org"
LOG = "/var/log/smtpd.log"


@pytest.fixture(scope="module")
def smtpd(module_path):
    chamber = Chamber(module_path, "opensmtpd")
    server = None
    try:
        for user in ("opensmtpd", "opensmtpq"):
            chamber.check("useradd", "--system", "--user-group", "--home-dir", "/var/lib/opensmtpd/empty", user)
        chamber.check("install", "-d", "-m", "711", "/var/spool/smtpd")
        chamber.check("install", "-d", "-m", "755", "/var/lib/opensmtpd/empty", "/run/opensmtpd")
        chamber.check("chown", "root:opensmtpq", "/usr/sbin/smtpctl")
        chamber.check("chmod", "2755", "/usr/sbin/smtpctl")
        chamber.write("/etc/smtpd.conf", (RECIPES / "opensmtpd/smtpd.conf").read_text())
        chamber.write("/etc/mailname", "mx.example.net\n")
        with chamber.path(LOG).open("w") as log:
            server = subprocess.Popen(chamber.inside("smtpd", "-d", "-v"), stdin=subprocess.DEVNULL, stdout=log,
                                      stderr=log, env=clean_env())
        chamber.wait_for(LOG, "smtpd ready|info: OpenSMTPD .* starting")
        chamber.add(ALICE, BOB)
        yield chamber
    finally:
        chamber.close()
        if server:
            server.wait()


def send(chamber, *recipients, sender=BOB, message=SAMPLE):
    """Hands a message to smtpd; returns how long the log was before."""
    before = len(chamber.read(LOG))
    chamber.check("sendmail", "-f", sender, *recipients, stdin=message)
    return before


def verdict(chamber, before, recipient):
    """What smtpd logged for a recipient since then: (result, reason)."""
    found = chamber.wait_for(LOG, rf"(?s).{{{before}}}.*?mda delivery [^\n]*to=<{re.escape(recipient)}>[^\n]*"
                                  r'result="?(\w+)"? stat="?([^\n]*?)"?\n')
    return found.groups()


def test_mail_is_delivered_into_a_mailbox_that_did_not_exist(smtpd):
    before = send(smtpd, ALICE)
    assert verdict(smtpd, before, ALICE)[0] == "Ok"
    (message,) = smtpd.wait_for_messages(1, ALICE)
    assert message.endswith(SAMPLE.partition(b"\n\n")[2])
    assert fields_of(message, "Return-Path") == [f"<{BOB}>"]
    assert fields_of(message, "Delivered-To") == [ALICE]


def test_unknown_user_bounces(smtpd):
    smtpd.add("sender1@example.org")
    before = send(smtpd, "nobody@example.org", sender="sender1@example.org")
    assert verdict(smtpd, before, "nobody@example.org")[0] == "PermFail"
    (bounce,) = smtpd.wait_for_messages(1, "sender1@example.org")
    assert fields_of(bounce, "Return-Path") == ["<>"]
    assert b"no such user" in bounce


def test_full_mailbox_bounces(smtpd):
    smtpd.sql("INSERT INTO users(name, settings) VALUES (?, ?)", ("full@example.org", '{"quota.storage": 1}'))
    assert verdict(smtpd, send(smtpd, "full@example.org"), "full@example.org")[0] == "PermFail"


def test_temporary_trouble_stays_queued_and_is_delivered_later(smtpd):
    smtpd.add("patient@example.org")
    smtpd.break_database()
    try:
        before = send(smtpd, "patient@example.org")
        assert verdict(smtpd, before, "patient@example.org")[0] == "TempFail"
        assert "patient@example.org" in smtpd.check("smtpctl", "show", "queue")
    finally:
        smtpd.mend_database()
    smtpd.check("smtpctl", "schedule", "all")
    smtpd.wait_for_messages(1, "patient@example.org")


def test_detail_becomes_a_folder(smtpd):
    smtpd.add("tagged@example.org")
    send(smtpd, "tagged+lists@example.org")
    smtpd.wait_for_messages(1, "tagged@example.org", "lists")


def test_null_sender_gives_an_empty_return_path(smtpd):
    smtpd.add("null@example.org")
    send(smtpd, "null@example.org", sender="<>")
    (message,) = smtpd.wait_for_messages(1, "null@example.org")
    assert fields_of(message, "Return-Path") == ["<>"]


def test_two_recipients_get_a_copy_each(smtpd):
    one, two = "one@example.org", "two@example.org"
    smtpd.add(one, two)
    send(smtpd, one, two)
    for user in (one, two):
        (message,) = smtpd.wait_for_messages(1, user)
        assert fields_of(message, "Delivered-To") == [user]
