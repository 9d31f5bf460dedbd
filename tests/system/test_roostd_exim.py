"""A real Exim that delivers to roostd in three ways, configured with the very text of etc/recipes/exim."""

import re
import signal
import subprocess

import pytest

from chamber import fields_of
from conftest import SAMPLE, clean_env
from lmtp import wait_for
from mtas import BOB, Exim, Fates, recipe

PROGRAM = "/usr/local/sbin/roostd"


@pytest.fixture(scope="module")
def machine(module_path):
    made = Exim(module_path, recipe("exim/router"), recipe("exim/lmtp-socket"))
    try:
        made.start_roostd()
        yield made
    finally:
        made.close()


@pytest.fixture(params=["socket", "command", "tcp"], name="how")
def fixture_how(request):
    return request.param


@pytest.fixture
def exim(machine, how):
    machine.configure(recipe("exim/router"), recipe(f"exim/lmtp-{how}"))
    return machine


def test_each_recipient_of_one_message_bounces_waits_or_has_it(exim, how):
    fates = Fates(exim, how)
    sender = f"sender-{how}@example.org"
    exim.add(sender)
    log = exim.send(*fates.all, sender=sender)
    assert re.search(rf"=> \S+ <{fates.good}> .*T=roost", log) or re.search(rf"=> {fates.good} .*T=roost", log)
    for user, code in ((fates.unknown, "550 5.1.1"), (fates.full, "552 5.2.2"), (fates.disabled, "550 5.2.1")):
        assert re.search(rf"\*\* {user} .*{code}", log), log
    assert re.search(rf"== {fates.later} .*452 4\.2\.2", log), log
    assert fates.arrived() == [1, 0, 0, 0, 0]
    (bounce,) = exim.wait_for_messages(1, sender)
    assert sorted(re.findall(rb"^Final-Recipient: rfc822;(\S+)$", bounce, re.M)) == sorted(
        user.encode() for user in (fates.disabled, fates.full, fates.unknown))
    assert b"5.2.2 the mailbox is full" in bounce and b"5.1.1 no such user" in bounce
    assert exim.queued() == [fates.later]
    fates.make_room()
    exim.flush()
    assert exim.queued() == []
    assert fates.arrived() == [1, 0, 0, 1, 0]
    # One transaction for all, and one for the mail that had waited.
    transactions = [line["session"] for user in fates.all for line in exim.deliveries(to=f"<{user}>")]
    assert len(transactions) == 6 and len(set(transactions)) == 2


def test_detail_and_null_sender_arrive_as_they_are(exim, how):
    user = f"tagged-{how}@example.org"
    exim.add(user)
    exim.send(user.replace("@", "+lists@"), sender="<>")
    (message,) = exim.wait_for_messages(1, user, "lists")
    assert fields_of(message, "Return-Path") == ["<>"]
    assert fields_of(message, "Delivered-To") == [user.replace("@", "+lists@")]
    assert message.endswith(SAMPLE.partition(b"\n\n")[2])


def test_mail_waits_for_a_roostd_that_is_not_there(exim, how):
    user = f"patient-{how}@example.org"
    exim.add(user)
    if how == "command":
        exim.check("mv", PROGRAM, f"{PROGRAM}.away")
    else:
        exim.stop_roostd()
    try:
        log = exim.send(user)
        assert re.search(rf"== {user} ", log) and "Completed" not in log
        assert exim.queued() == [user]
    finally:
        if how == "command":
            exim.check("mv", f"{PROGRAM}.away", PROGRAM)
        else:
            exim.start_roostd()
    exim.flush()
    exim.wait_for_messages(1, user)
    assert exim.queued() == []


COUNT = 20


@pytest.mark.parametrize("how", ["socket", "tcp"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_mail_under_way_when_roostd_ends_is_delivered_by_the_next_one(exim, how, number):
    user = f"stream-{how}-{number.name.lower()}@example.org"
    exim.add(user)
    exim.check("sh", "-c", f"for i in $(seq {COUNT}); do printf 'Subject: %d\\n\\ntext\\n' $i | exim4 -odq {user}; done")
    with subprocess.Popen(exim.inside("exim4", "-qff"), stdin=subprocess.DEVNULL, env=clean_env()) as run:
        wait_for(lambda: exim.messages(user), "the first one")
        exim.stop_roostd(number)
        assert run.wait(60) == 0
    assert user in exim.queued()
    exim.start_roostd()
    exim.flush()
    assert exim.queued() == []
    subjects = [fields_of(file.read_bytes(), "Subject")[0] for file in exim.messages(user)]
    assert set(subjects) == set(map(str, range(1, COUNT + 1)))
    if number == signal.SIGTERM:  # which lets it tell every verdict
        assert len(subjects) == COUNT
    assert not re.search(rf"\*\* {user}", exim.read(exim.LOG))


@pytest.mark.parametrize("how", ["command"])
def test_mail_stays_queued_when_the_process_ends_in_the_middle_of_it(exim):
    user = "cut@example.org"
    exim.add(user)
    exim.check("mv", PROGRAM, f"{PROGRAM}.real")
    try:
        exim.write(PROGRAM, f"#!/bin/sh\ndd bs=1 count=200 status=none | {PROGRAM}.real --stdio\n")
        exim.check("chmod", "755", PROGRAM)
        exim.send(user)
        assert exim.queued() == [user] and exim.messages(user) == []
    finally:
        exim.check("mv", f"{PROGRAM}.real", PROGRAM)
    exim.flush()
    exim.wait_for_messages(1, user)
