"""A real Postfix whose lmtp(8) delivers to roostd, configured with the very text of etc/recipes/postfix/lmtp.cf."""

import contextlib
import re
import signal

import pytest

from chamber import fields_of
from conftest import SAMPLE
from lmtp import Client, wait_for
from mtas import BOB, Fates, Postfix, recipe

RECIPE = recipe("postfix/lmtp.cf")
SOCKETS = ["unix", "inet"]


def chosen(text, *settings):
    """The recipe with these of its lines in force, of those that are commented out."""
    for setting in settings:
        text, count = re.subn(rf"^#({re.escape(setting)})", r"\1", text, flags=re.M)
        assert count == 1, setting
    return text


def wiring(how, socket):
    """The text for main.cf."""
    if how == "mailbox_transport":
        # Domains are the administrator's own business.
        text = chosen(RECIPE, f"mailbox_transport = lmtp:{socket}", "local_recipient_maps")
        return re.sub(r"^virtual_(mailbox_domains|transport) .*\n", "", text, flags=re.M) + "mydestination = example.org\n"
    return RECIPE if socket == "unix" else chosen(RECIPE, f"virtual_transport = lmtp:{socket}")


@pytest.fixture(scope="module", params=SOCKETS, name="socket")
def fixture_socket(request):
    return request.param


@pytest.fixture(scope="module", params=["virtual_transport", "mailbox_transport"], name="how")
def fixture_how(request):
    return request.param


@pytest.fixture(scope="module")
def postfix(module_path, how, socket):
    place = module_path / f"{how}-{socket}"
    place.mkdir()
    made = Postfix(place, wiring(how, socket))
    try:
        made.check("usermod", "--append", "--groups", "roost", "postfix")
        made.check("chmod", "-R", "g+rwX", "/var/lib/roost")
        if socket == "unix":
            made.let_lmtp_out()
        made.start_roostd()
        yield made
    finally:
        made.close()


def test_each_recipient_of_one_message_bounces_waits_or_has_it(postfix, how):
    fates = Fates(postfix, "five")
    queue_id = postfix.send(*fates.all)
    assert {user: postfix.verdict(queue_id, user)[:2] for user in fates.all} == {
        fates.good: ("2.0.0", "sent"), fates.unknown: ("5.1.1", "bounced"), fates.full: ("5.2.2", "bounced"),
        fates.later: ("4.2.2", "deferred"), fates.disabled: ("5.2.1", "bounced"),
    }
    assert fates.arrived() == [1, 0, 0, 0, 0]
    (bounce,) = postfix.wait_for_messages(1, BOB)
    reported = re.findall(rb"^Final-Recipient: rfc822; (\S+)$[\s\S]*?^Status: (\S+)$", bounce, re.M)
    assert sorted(reported) == [(fates.disabled.encode(), b"5.2.1"), (fates.full.encode(), b"5.2.2"),
                                (fates.unknown.encode(), b"5.1.1")]
    assert b"mailbox is full" in bounce and b"no such user" in bounce
    assert postfix.queued() == [fates.later]
    fates.make_room()
    postfix.flush()
    assert postfix.verdict(queue_id, fates.later, after=1)[:2] == ("2.0.0", "sent")
    assert fates.arrived() == [1, 0, 0, 1, 0]
    # One transaction for all, which is more than local(8) can do, and one for the mail that had waited.
    transactions = [line["session"] for user in fates.all for line in postfix.deliveries(to=f"<{user}>")]
    assert len(transactions) == 6
    assert len(set(transactions)) == (2 if how == "virtual_transport" else 6)


def test_mail_from_the_network_is_refused_for_unknown_users_and_found_in_roosts_log_by_its_queue_id(postfix):
    user = "network@example.org"
    postfix.add(user)
    assert postfix.bring(user, "nobody@example.org") == {"nobody@example.org": 550}
    postfix.wait_for_messages(1, user)
    queue_id = postfix.wait_for(postfix.LOG, rf"([0-9A-F]+): to=<{user}>.*status=sent")[1]
    assert [line["verdict"] for line in postfix.deliveries(queue_id=queue_id)] == ["delivered"]


def test_detail_and_null_sender_arrive_as_they_are(postfix):
    postfix.add("tagged@example.org")
    postfix.send("tagged+lists@example.org", sender="<>")
    (message,) = postfix.wait_for_messages(1, "tagged@example.org", "lists")
    assert fields_of(message, "Return-Path") == ["<>"]
    assert fields_of(message, "Delivered-To") == ["tagged+lists@example.org"]
    assert message.endswith(SAMPLE.partition(b"\n\n")[2])


def test_mail_waits_for_a_roostd_that_is_down(postfix):
    user = "patient@example.org"
    postfix.add(user)
    postfix.stop_roostd()
    try:
        queue_id = postfix.send(user)
        code, status, reason = postfix.verdict(queue_id, user)
        assert (code, status) == ("4.4.1", "deferred") and "refused" in reason or "No such file" in reason
    finally:
        postfix.start_roostd()
    assert postfix.queued() == [user]
    postfix.flush()
    postfix.wait_for_messages(1, user)
    assert postfix.verdict(queue_id, user, after=1)[1] == "sent"


def test_one_user_may_have_as_many_messages_under_way_as_postfix_sends_at_once(postfix):
    user = "burst@example.org"
    postfix.add(user)
    count = int(postfix.check("postconf", "-xh", "lmtp_destination_concurrency_limit"))
    with contextlib.ExitStack() as stack:
        for client in [stack.enter_context(Client(postfix.path("/run/roost/lmtp"))) for _ in range(count)]:
            client.envelope(user)


COUNT = 40


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_mail_under_way_when_roostd_ends_is_delivered_by_the_next_one(postfix, number):
    user = f"stream-{number.name.lower()}@example.org"
    postfix.add(user)
    postfix.stop_roostd()
    postfix.check("sh", "-c", f"for i in $(seq {COUNT}); do printf 'Subject: %d\n\ntext\n' $i | sendmail {user}; done")

    def is_done():
        postfix.flush()
        return user not in postfix.queued()

    for _ in range(3):
        before = len(postfix.messages(user))
        postfix.start_roostd(f"user-concurrency = {COUNT}\n")
        postfix.flush()
        wait_for(lambda seen=before: len(postfix.messages(user)) > seen or is_done(), "the next one")
        postfix.stop_roostd(number)
    postfix.start_roostd(f"user-concurrency = {COUNT}\n")
    wait_for(is_done, "the end of the queue")
    subjects = [fields_of(file.read_bytes(), "Subject")[0] for file in postfix.messages(user)]
    assert set(subjects) == set(map(str, range(1, COUNT + 1)))
    if number == signal.SIGTERM:  # which lets it tell every verdict
        assert len(subjects) == COUNT
    assert not re.search(rf"to=<{user}>.*status=bounced", postfix.read(postfix.LOG))
