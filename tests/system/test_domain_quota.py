"""Limits that all users of a domain share, with roost-deliver and roostd."""

import json
import subprocess
import threading

import pytest

from conftest import PROGRAMS, SAMPLE, clean_env
from lmtp import Daemon

ALICE, BOB, OTHER = "alice@example.org", "bob@example.org", "carol@example.net"


@pytest.fixture
def domain(site):
    """Three users of two domains, with mail stored as it comes."""
    for user in (ALICE, BOB, OTHER):
        site.add(user)
    site.configure(delivery__return_path="no", delivery__delivered_to="no", delivery__received="no")
    return site


def limit(site, **settings):
    assigned = [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]
    result = site.roost("domain", "set", "example.org", *(text.replace("domain.", "domain-quota.") for text in assigned))
    assert result.returncode == 0, result.stderr


def outcome(result):
    return result.returncode, result.stderr.decode().partition(" ")[0]


DELIVERED, FULL = (0, ""), (77, "5.2.2")


def shown(site, *scope):
    rows = json.loads(site.roost("quota", "show", *scope, "--json").stdout)
    return {row["name"]: row for row in rows}


def test_a_full_domain_refuses_mail_for_each_of_its_users_and_says_so(domain):
    limit(domain, domain__messages=2)
    assert outcome(domain.deliver(ALICE)) == DELIVERED
    assert outcome(domain.deliver(BOB)) == DELIVERED
    for user in (ALICE, BOB):
        refused = domain.deliver(user)
        assert outcome(refused) == FULL
        assert b"the domain example.org is full: 2 of 2 messages" in refused.stderr
    assert outcome(domain.deliver(OTHER)) == DELIVERED
    assert [len(domain.messages(user)) for user in (ALICE, BOB)] == [1, 1]


@pytest.mark.parametrize("room, expected", [(-1, FULL), (0, DELIVERED), (1, DELIVERED)])
def test_a_domains_storage_is_a_limit_to_the_byte(domain, room, expected):
    assert outcome(domain.deliver(ALICE)) == DELIVERED
    limit(domain, domain__storage=2 * len(SAMPLE) + room)
    assert outcome(domain.deliver(BOB)) == expected


def test_overcommit_is_allowed_and_the_users_own_limits_hold_too(domain):
    limit(domain, domain__messages=3)
    for user in (ALICE, BOB):
        domain.roost("user", "set", user, "quota.messages=2")
    assert [outcome(domain.deliver(ALICE)) for _ in range(3)] == [DELIVERED, DELIVERED, FULL]
    assert [outcome(domain.deliver(BOB)) for _ in range(2)] == [DELIVERED, FULL]


@pytest.mark.parametrize("flags", [[], ["--purge", "--yes"]])
def test_who_is_removed_leaves_room_in_the_domain_at_once(domain, flags):
    limit(domain, domain__messages=2)
    assert [outcome(domain.deliver(user)) for user in (ALICE, BOB, ALICE)] == [DELIVERED, DELIVERED, FULL]
    assert domain.roost("user", "remove", BOB, *flags).returncode == 0
    assert [outcome(domain.deliver(ALICE)) for _ in range(2)] == [DELIVERED, FULL]


def test_domain_limits_come_from_plan_and_file_too(domain):
    domain.configure({"domain-quota.messages": 0})
    assert outcome(domain.deliver(ALICE)) == FULL
    domain.roost("plan", "set", "gold", "domain-quota.messages=1")
    domain.roost("domain", "set", "example.org", "plan=gold")
    assert outcome(domain.deliver(ALICE)) == DELIVERED
    assert outcome(domain.deliver(ALICE)) == FULL
    domain.roost("domain", "set", "example.org", "domain-quota.messages=unlimited")
    assert outcome(domain.deliver(ALICE)) == DELIVERED


def test_a_user_cannot_be_given_a_domains_limit(domain):
    refused = domain.roost("user", "set", ALICE, "domain-quota.messages=1")
    assert refused.returncode != 0


def test_a_recount_of_the_domain_sees_what_readers_removed(domain):
    limit(domain, domain__messages=1)
    assert outcome(domain.deliver(ALICE)) == DELIVERED
    domain.messages(ALICE)[0].unlink()
    assert outcome(domain.deliver(BOB)) == FULL
    differing = domain.roost("quota", "recount", "--domain", "example.org", "--check", "--json")
    assert differing.returncode == 1
    assert "@example.org" in [row["name"] for row in json.loads(differing.stdout)]
    assert outcome(domain.deliver(BOB)) == FULL
    assert domain.roost("quota", "recount", "--domain", "example.org").returncode == 0
    assert domain.roost("quota", "recount", "--domain", "example.org", "--check").returncode == 0
    assert outcome(domain.deliver(BOB)) == DELIVERED


def test_quota_show_has_a_line_for_the_domain(domain):
    limit(domain, domain__messages=10, domain__storage="1M")
    for user in (ALICE, BOB, OTHER):
        domain.deliver(user)
    row = shown(domain, "--domain", "example.org")["@example.org"]
    assert row == {"name": "@example.org", "domain": True,
                   "usage": {"storage": 2 * len(SAMPLE), "messages": 2},
                   "limits": {"storage": 1048576, "messages": 10}}
    everybody = shown(domain, "--all")
    assert set(everybody) == {ALICE, BOB, OTHER, "@example.org"}
    assert set(shown(domain, ALICE)) == {ALICE}
    text = domain.roost("quota", "show", "--domain", "example.org").stdout.decode()
    assert "@example.org" in text and "2 of 10 messages" in text


def test_explain_foresees_a_full_domain_and_counts_nothing(domain):
    limit(domain, domain__messages=1)
    domain.deliver(ALICE)
    before = sorted(path.name for path in (domain.state / "domain-quota").iterdir())
    explained = json.loads(domain.roost("explain", BOB, "--json").stdout)
    assert explained["outcome"]["name"] == "over-quota"
    assert "the domain example.org is full: 1 of 1 messages" in explained["outcome"]["text"]
    assert sorted(path.name for path in (domain.state / "domain-quota").iterdir()) == before
    assert not domain.maildir(BOB).exists()


def test_a_domain_without_users_is_shown_too(domain):
    domain.roost("domain", "set", "empty.example", "domain-quota.storage=1M")
    assert shown(domain, "--domain", "empty.example")["@empty.example"]["usage"] == {"storage": 0, "messages": 0}


def test_processes_at_once_count_each_message_of_the_domain(domain):
    limit(domain, domain__messages=1000)
    count = 12
    command = [PROGRAMS["roost-deliver"], "-c", domain.conf, "-d"]
    running = [
        subprocess.Popen([*command, user], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env(), cwd=domain.path)
        for user in (ALICE, BOB) for _ in range(count)
    ]
    for process in running:
        assert process.communicate(SAMPLE, timeout=120)[1] == b""
    assert shown(domain, "--domain", "example.org")["@example.org"]["usage"]["messages"] == 2 * count


def test_a_killed_delivery_leaves_the_domain_right_after_a_recount(domain):
    limit(domain, domain__messages=1000)
    command = [PROGRAMS["roost-deliver"], "-c", domain.conf, "-d", ALICE]
    domain.deliver(ALICE)
    for _ in range(10):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_env(), cwd=domain.path)
        process.stdin.write(SAMPLE)
        process.stdin.close()
        process.kill()
        process.wait()
    assert outcome(domain.deliver(BOB)) == DELIVERED
    domain.roost("quota", "recount", "--domain", "example.org")
    held = sum(len(domain.messages(user)) for user in (ALICE, BOB))
    assert shown(domain, "--domain", "example.org")["@example.org"]["usage"]["messages"] == held


def test_200_deliveries_at_once_to_different_users_fill_room_for_100_exactly(domain):
    """Within one roostd."""
    users = [f"user{number}@example.org" for number in range(200)]
    for user in users:
        domain.add(user)
    limit(domain, domain__messages=100)
    replies = []
    with Daemon(domain) as daemon:

        def send(mine):
            with daemon.client() as client:
                for user in mine:
                    client.say("MAIL FROM:<>")
                    reply = client.say(f"RCPT TO:<{user}>")
                    if reply.startswith("250 "):
                        [reply] = client.data(SAMPLE, 1)
                    else:
                        client.say("RSET")
                    replies.append(reply)

        threads = [threading.Thread(target=send, args=(users[start::20],)) for start in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(reply.startswith("250 ") for reply in replies) == 100
    assert sum(reply.startswith("552 5.2.2 ") for reply in replies) == 100
    assert sum(len(domain.messages(user)) for user in users) == 100
