"""Folders with limits of their own, from the message to the answer, by pipe, LMTP and beside other programs."""

import json

import pytest
from conftest import SAMPLE
from lmtp import Daemon
from stores import STORES

ALICE = "alice@example.org"


@pytest.fixture(name="alice", params=["maildir", "mbox"])
def fixture_alice(request, site):
    site.configure(STORES[request.param].settings(site))
    site.add(ALICE)

    def limits(**settings):
        site.sql(
            "UPDATE users SET settings = ?",
            (json.dumps({f"quota.{key.replace('__', '.')}": str(value) for key, value in settings.items()}),),
        )

    site.limits = limits
    return site


def put(site, folder, count=1):
    """The exit statuses of deliveries into a folder."""
    return [site.deliver(ALICE, SAMPLE, "-m", folder).returncode for _ in range(count)]


def test_a_full_user_can_still_delete_to_trash_within_its_room(alice):
    alice.limits(messages=2, folder__Trash__messages="+1")
    alice.configure({"maildir.count-trash": "yes"})
    assert put(alice, "INBOX", 3) == [0, 0, 77]
    assert put(alice, "Trash", 2) == [0, 77]
    assert put(alice, "INBOX") == [77]


@pytest.mark.parametrize("watched", [False, True])
def test_in_a_folders_extra_room_the_mailbox_is_not_counted_for_each_message(site, watched):
    site.add(ALICE, json.dumps({"quota.messages": 3, "quota.folder.Later.messages": "+20"}))
    if watched:  # whoever looks behind the verdict does not count either
        site.configure({"quota.warning": "messages>50% messages>200%", "quota-clone.dict": f"file:{site.path}/clone/%u"})
    assert put(site, "INBOX", 3) == [0, 0, 0]
    assert put(site, "Later", 1) == [0]
    books = site.maildir(ALICE) / "maildirsize"
    before = books.stat().st_ino
    (site.maildir(ALICE) / "cur" / "1.stray,S=10:2,").write_text("123456789\n")
    assert put(site, "Later", 5) == 5 * [0]
    assert books.stat().st_ino == before
    assert len(site.messages(ALICE, "Later")) == 6
    # Before a message is refused the store is looked at, as always.
    assert put(site, "INBOX") == [77]
    assert books.read_text() == f"3C\n{sum(path.stat().st_size for path in site.maildir(ALICE).rglob('*,S=*'))} 10\n"


def test_spam_does_not_fill_the_mailbox_and_has_a_limit_of_its_own(alice):
    alice.limits(messages=2, folder__Spam__messages=3)
    assert put(alice, "Spam", 4) == [0, 0, 0, 77]
    assert put(alice, "INBOX", 3) == [0, 0, 77]
    assert b"Spam" in alice.deliver(ALICE, SAMPLE, "-m", "Spam").stderr


def test_an_ignored_folder_takes_mail_when_all_else_is_full(alice):
    alice.limits(messages=1, folder__Archive__ignore="yes")
    assert put(alice, "Archive", 3) == [0, 0, 0]
    assert put(alice, "INBOX", 2) == [0, 77]
    assert put(alice, "Archive") == [0]


def test_a_folder_that_cannot_be_made_is_charged_as_what_it_becomes(alice):
    alice.limits(messages=1, folder__Spam__messages=5)
    alice.configure({"delivery.create-folders": "no"})
    assert put(alice, "Spam") == [0]
    shown = json.loads(alice.roost("quota", "show", "--json").stdout)[0]
    assert (shown["usage"]["messages"], shown["folders"][0]["usage"]["messages"]) == (1, 0)


def test_other_rules_hold_for_the_next_message_without_a_recount(alice):
    alice.limits(messages=3)
    assert put(alice, "Spam", 4) == [0, 0, 0, 77]
    alice.limits(messages=3, folder__Spam__storage="unlimited")
    assert put(alice, "INBOX", 4) == [0, 0, 0, 77]
    assert put(alice, "Spam") == [0]
    alice.limits(messages=8)
    assert put(alice, "INBOX", 2) == [0, 77]
    alice.limits(messages=8, folder__Spam__messages=5)
    assert put(alice, "Spam", 2) == [0, 77]
    assert alice.roost("quota", "recount", "--all", "--check").returncode == 0


def test_forty_deliveries_at_once_into_a_folder_fill_it_exactly(alice):
    alice.limits(messages=5, folder__spam__messages=20)
    alice.configure({"lmtp.user-concurrency": 100})
    with Daemon(alice) as daemon:
        clients = [daemon.client() for _ in range(40)]
        for client in clients:
            client.envelope("alice+spam@example.org")
            assert client.say("DATA").startswith("354")
        for number, client in enumerate(clients):
            client.send(SAMPLE.replace(b"sample@", b"%d@" % number).replace(b"\n", b"\r\n") + b".\r\n")
        replies = [client.reply() for client in clients]
        assert sorted(reply.split()[0] for reply in replies) == ["250"] * 20 + ["552"] * 20
        for client in clients:
            client.say("QUIT")
