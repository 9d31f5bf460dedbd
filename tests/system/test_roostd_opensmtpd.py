"""A real OpenSMTPD that delivers to roostd, configured with the very text of etc/recipes/opensmtpd/lmtp.conf."""

import signal

import pytest

from chamber import fields_of
from conftest import SAMPLE
from lmtp import wait_for
from mtas import BOB, Fates, OpenSmtpd, recipe

RECIPE = recipe("opensmtpd/lmtp.conf")


@pytest.fixture(scope="module", name="how", params=["unix", "tcp"])
def fixture_how(request):
    return request.param


def start(path, configuration):
    path.mkdir()
    made = OpenSmtpd(path, configuration)
    try:
        made.start_roostd()
    except BaseException:
        made.close()
        raise
    return made


@pytest.fixture(scope="module")
def smtpd(module_path, how):
    text = RECIPE.replace("/run/roost/lmtp", "127.0.0.1:24") if how == "tcp" else RECIPE
    made = start(module_path / how, text)
    yield made
    made.close()


def test_whoever_can_have_it_has_it_and_every_refusal_is_tried_again(smtpd):
    fates = Fates(smtpd, "five")
    before = smtpd.send(*fates.all)
    verdicts = {user: smtpd.verdict(before, user) for user in fates.all}
    assert verdicts[fates.good][0] == "Ok"
    for user, code in ((fates.unknown, "550 5.1.1"), (fates.full, "552 5.2.2"), (fates.later, "452 4.2.2"),
                       (fates.disabled, "550 5.2.1")):
        result, reason = verdicts[user]
        assert result == "TempFail" and code in reason
    assert fates.arrived() == [1, 0, 0, 0, 0]
    assert sorted(smtpd.queued()) == sorted(set(fates.all) - {fates.good})
    smtpd.add(fates.unknown)
    smtpd.sql("UPDATE users SET enabled = 1 WHERE name = ?", (fates.disabled,))
    smtpd.sql("UPDATE users SET settings = '{}' WHERE name = ?", (fates.full,))
    fates.make_room()
    smtpd.flush()
    wait_for(lambda: fates.arrived() == [1, 1, 1, 1, 1], "their arrival")
    wait_for(lambda: smtpd.queued() == [], "the end of the queue")
    assert smtpd.messages(BOB) == []


def test_detail_and_null_sender_arrive_as_they_are(smtpd):
    smtpd.add("tagged@example.org")
    smtpd.send("tagged+lists@example.org", sender="<>")
    (message,) = smtpd.wait_for_messages(1, "tagged@example.org", "lists")
    assert fields_of(message, "Return-Path") == ["<>"]
    assert fields_of(message, "Delivered-To") == ["tagged+lists@example.org"]
    assert message.endswith(SAMPLE.partition(b"\n\n")[2])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_mail_waits_for_a_roostd_that_is_down(smtpd, number):
    user = f"patient-{number.name.lower()}@example.org"
    smtpd.add(user)
    smtpd.stop_roostd(number)
    try:
        assert smtpd.verdict(smtpd.send(user), user)[0] == "TempFail"
        assert smtpd.queued() == [user]
    finally:
        smtpd.start_roostd()
    smtpd.flush()
    smtpd.wait_for_messages(1, user)
    wait_for(lambda: smtpd.queued() == [], "the end of the queue")


def test_its_relay_action_which_reads_one_of_many_verdicts_gives_nobody_a_second_copy(module_path):
    smtpd = start(module_path / "relay", 'action "roost" relay host "lmtp://127.0.0.1:24"\n'
                                         'match from any for domain "example.org" action "roost"\n')
    try:
        users = [f"user{number}@example.org" for number in range(2)]
        smtpd.add(*users)
        smtpd.send(*users)

        def is_done():
            smtpd.flush()
            return smtpd.queued() == []

        wait_for(is_done, "the end of the queue")
        assert [len(smtpd.messages(user)) for user in users] == [1, 1]
        assert len(smtpd.deliveries(verdict="delivered")) > 2, "it has learned to read; this test is of no use any more"
    finally:
        smtpd.close()
