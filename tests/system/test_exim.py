"""A real Exim that delivers by its pipe transport, configured with the very text of etc/recipes/exim."""

import re

import pytest

from chamber import RECIPES, Chamber, fields_of
from conftest import SAMPLE

ALICE, BOB = "alice@example.org", "bob@example.org"
LOG = "/var/log/exim4/mainlog"

HEAD = """
primary_hostname = mx.example.net
exim_user = Debian-exim
exim_group = Debian-exim
log_file_path = /var/log/exim4/%slog
local_interfaces = 127.0.0.1
domainlist local_domains = example.org
host_lookup =
keep_environment =
tls_advertise_hosts =
untrusted_set_sender = *
begin routers
"""

REST = """
rest:
  driver = redirect
  data = :fail: nothing leaves this machine
  allow_fail
"""

RETRY = """
begin retry
*  *  F,1h,1m
"""


@pytest.fixture(scope="module")
def exim(module_path):
    chamber = Chamber(module_path, "exim")
    try:
        chamber.check("useradd", "--system", "--home-dir", "/var/spool/exim4", "--user-group", "Debian-exim")
        for folder in ("/var/log/exim4", "/var/spool/exim4"):
            chamber.check("install", "-d", "-o", "Debian-exim", "-g", "Debian-exim", "-m", "750", folder)
        router, transport = ((RECIPES / "exim" / name).read_text() for name in ("router", "transport"))
        chamber.write("/etc/exim4/exim4.conf", HEAD + router + REST + "begin transports\n" + transport + RETRY)
        chamber.add(ALICE, BOB)
        yield chamber
    finally:
        chamber.close()


def send(chamber, *recipients, sender=BOB, message=SAMPLE):
    """Hands a message to Exim, which tries to deliver it at once; returns what it logged meanwhile."""
    before = len(chamber.read(LOG))
    chamber.check("exim4", "-odf", "-i", "-f", sender, *recipients, stdin=message)
    return chamber.read(LOG)[before:]


def test_mail_is_delivered_into_a_mailbox_that_did_not_exist(exim):
    log = send(exim, ALICE)
    assert re.search(r"=> alice <alice@example\.org> .*T=roost", log) and "Completed" in log
    (message,) = exim.wait_for_messages(1, ALICE)
    assert message.endswith(SAMPLE.partition(b"\n\n")[2])
    assert fields_of(message, "Return-Path") == [f"<{BOB}>"]
    assert fields_of(message, "Delivered-To") == [ALICE]


def test_unknown_user_bounces_with_the_reason(exim):
    exim.add("sender1@example.org")
    log = send(exim, "nobody@example.org", sender="sender1@example.org")
    assert re.search(r"\*\* nobody@example\.org .*T=roost", log) and "5.1.1" in log
    (bounce,) = exim.wait_for_messages(1, "sender1@example.org")
    assert fields_of(bounce, "Return-Path") == ["<>"]
    assert b"5.1.1" in bounce and b"no such user" in bounce


def test_full_mailbox_bounces(exim):
    exim.sql("INSERT INTO users(name, settings) VALUES (?, ?)", ("full@example.org", '{"quota.storage": 1}'))
    log = send(exim, "full@example.org")
    assert re.search(r"\*\* full@example\.org", log) and "5.2.2" in log


def test_disabled_user_bounces(exim):
    exim.sql("INSERT INTO users(name, enabled) VALUES (?, 0)", ("gone@example.org",))
    log = send(exim, "gone@example.org")
    assert re.search(r"\*\* gone@example\.org", log) and "5.2.1" in log


def test_temporary_trouble_stays_queued_and_is_delivered_later(exim):
    exim.add("patient@example.org")
    exim.break_database()
    try:
        log = send(exim, "patient@example.org")
        assert "== patient@example.org" in log and "4.3." in log
        assert "patient@example.org" in exim.check("exim4", "-bp")
    finally:
        exim.mend_database()
    exim.check("exim4", "-qff")
    exim.wait_for_messages(1, "patient@example.org")
    assert exim.check("exim4", "-bp") == ""


def test_detail_becomes_a_folder(exim):
    exim.add("tagged@example.org")
    send(exim, "Tagged+lists@Example.ORG")
    (message,) = exim.wait_for_messages(1, "tagged@example.org", "lists")
    assert fields_of(message, "Delivered-To")[0].lower() == "tagged+lists@example.org"


def test_null_sender_gives_an_empty_return_path(exim):
    exim.add("null@example.org")
    send(exim, "null@example.org", sender="<>")
    (message,) = exim.wait_for_messages(1, "null@example.org")
    assert fields_of(message, "Return-Path") == ["<>"]


def test_two_recipients_get_a_copy_each_and_the_unknown_third_bounces_alone(exim):
    one, two, none = "one@example.org", "two@example.org", "none@example.org"
    exim.add(one, two)
    log = send(exim, one, none, two)
    for user in (one, two):
        (message,) = exim.wait_for_messages(1, user)
        assert fields_of(message, "Delivered-To") == [user]
    assert re.search(r"\*\* none@example\.org", log)


def test_sender_and_recipient_with_awkward_characters_arrive_as_they_are(exim):
    odd = "o'brien&co$x@example.org"
    exim.add(odd)
    send(exim, odd, sender="a$x`id`&y|z@example.net")
    (message,) = exim.wait_for_messages(1, odd)
    assert fields_of(message, "Return-Path") == ["<a$x`id`&y|z@example.net>"]
