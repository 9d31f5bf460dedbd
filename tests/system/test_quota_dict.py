"""Counters in a real Redis as the authority, and services that share a user's limits through it."""

import json

import pytest

from conftest import SAMPLE
from lmtp import Daemon
from redis_servers import Redis, until

ALICE = "alice@example.org"
STORAGE, MESSAGES = f"{ALICE}/quota/storage", f"{ALICE}/quota/messages"


@pytest.fixture
def redis(tmp_path):
    with Redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def alice(site, redis):
    """A user whose mail is stored as it comes, and a Redis beside."""
    site.add(ALICE)
    site.configure(delivery__return_path="no", delivery__delivered_to="no", delivery__received="no")
    return site


def outcome(result):
    return result.returncode, result.stderr.decode().partition(" ")[0]


DELIVERED, FULL, WAIT = (0, ""), (77, "5.2.2"), (75, "4.3.0")


@pytest.fixture
def counted(alice, redis):
    alice.configure({"quota.authority": "dict", "quota.dict": redis.uri, "quota.messages": 3})
    return alice


def test_the_counters_are_made_from_the_store_and_added_to(counted, redis):
    assert outcome(counted.deliver(ALICE)) == DELIVERED
    assert redis.keys() == {STORAGE: str(len(SAMPLE)), MESSAGES: "1"}
    assert outcome(counted.deliver(ALICE)) == DELIVERED
    assert redis.keys() == {STORAGE: str(2 * len(SAMPLE)), MESSAGES: "2"}


def test_the_counters_decide_whatever_the_mailbox_says(counted, redis):
    redis.cli("MSET", STORAGE, "0", MESSAGES, "3")
    assert outcome(counted.deliver(ALICE)) == FULL
    redis.cli("SET", MESSAGES, "2")
    assert [outcome(counted.deliver(ALICE)) for _ in range(2)] == [DELIVERED, FULL]


def test_without_the_dict_mail_for_a_limited_user_waits_and_others_is_delivered(counted, redis):
    counted.add("free@example.org", '{"quota.messages": "unlimited"}')
    redis.stop()
    assert outcome(counted.deliver(ALICE)) == WAIT
    assert outcome(counted.deliver("free@example.org")) == DELIVERED


def test_what_could_not_be_added_is_counted_when_the_dict_is_back(counted, redis):
    counted.add("free@example.org", '{"quota.messages": "unlimited"}')
    redis.cli("MSET", "free@example.org/quota/storage", "0", "free@example.org/quota/messages", "0")
    redis.stop()
    assert outcome(counted.deliver("free@example.org")) == DELIVERED
    redis.start()
    redis.cli("MSET", "free@example.org/quota/storage", "0", "free@example.org/quota/messages", "0")
    counted.roost("user", "set", "free@example.org", "quota.messages=5")
    assert outcome(counted.deliver("free@example.org")) == DELIVERED
    assert redis.keys()["free@example.org/quota/messages"] == "2"


def test_recount_and_show_go_by_the_counters(counted, redis):
    counted.deliver(ALICE)
    redis.cli("SET", MESSAGES, "7")
    [row] = json.loads(counted.roost("quota", "show", ALICE, "--json").stdout)
    assert row["usage"]["messages"] == 7
    assert counted.roost("quota", "recount", ALICE, "--check").returncode == 1
    assert redis.keys()[MESSAGES] == "7"
    assert counted.roost("quota", "recount", ALICE).returncode == 0
    assert redis.keys() == {STORAGE: str(len(SAMPLE)), MESSAGES: "1"}
    assert counted.roost("quota", "recount", ALICE, "--check").returncode == 0


def test_a_domains_counters(counted, redis):
    counted.add("bob@example.org")
    counted.roost("domain", "set", "example.org", "domain-quota.messages=2")
    assert [outcome(counted.deliver(user)) for user in (ALICE, "bob@example.org", ALICE)] == [DELIVERED, DELIVERED, FULL]
    assert redis.keys()["@example.org/quota/messages"] == "2"


def test_roostd_takes_mail_again_when_the_dict_is_back(counted, redis):
    counted.deliver(ALICE)
    with Daemon(counted) as daemon, daemon.client() as client:

        def say():
            client.say("MAIL FROM:<>")
            reply = client.say(f"RCPT TO:<{ALICE}>")
            client.say("RSET")
            return reply[:9]

        assert say() == "250 2.1.5"
        redis.stop()
        assert say() == "451 4.3.0"
        redis.start()
        until(lambda: say() == "250 2.1.5", "mail is taken again")


def test_an_authority_without_a_dict_is_refused_at_the_start(alice):
    alice.configure({"quota.authority": "dict"})
    refused = alice.deliver(ALICE)
    assert outcome(refused)[0] == 75
    assert b"quota.dict is empty" in refused.stderr


@pytest.fixture
def shared(alice, redis):
    alice.configure({
        "quota.unified": "yes", "quota.unified.dict": redis.uri, "quota.unified.services": "files calendar",
        "quota.messages": 10,
    })
    return alice


def test_services_share_the_limit_with_the_mail(shared, redis):
    assert outcome(shared.deliver(ALICE)) == DELIVERED
    assert shared.roost("quota", "report", ALICE, "files", "storage=5M", "messages=9").returncode == 0
    assert redis.cli("GET", f"{ALICE}/quota/storage/files") == str(5 * 1024 * 1024)
    assert redis.cli("GET", f"{ALICE}/quota/messages/files") == "9"
    refused = shared.deliver(ALICE)
    assert outcome(refused) == FULL
    assert b"10 of 10 messages, other services included" in refused.stderr
    assert shared.roost("quota", "report", ALICE, "files", "storage=1", "messages=8").returncode == 0
    assert outcome(shared.deliver(ALICE)) == DELIVERED


def test_the_mail_tells_what_it_holds(shared, redis):
    assert outcome(shared.deliver(ALICE)) == DELIVERED
    own = {f"{STORAGE}/mail": str(len(SAMPLE)), f"{MESSAGES}/mail": "1"}
    assert redis.keys() == own
    redis.cli("FLUSHALL")
    shared.roost("quota", "recount", ALICE)
    assert redis.keys() == own
    redis.cli("FLUSHALL")
    with Daemon(shared) as daemon, daemon.client() as client:
        [reply] = client.deliver(SAMPLE, ALICE)
        assert reply.startswith("250 ")
        until(lambda: redis.keys().get(f"{MESSAGES}/mail") == "2", "the mail's share")


def test_an_outage_falls_back_to_the_last_known_figures_and_never_refuses(shared, redis):
    shared.roost("quota", "report", ALICE, "files", "storage=1", "messages=10")
    assert outcome(shared.deliver(ALICE)) == FULL
    redis.stop()
    assert outcome(shared.deliver(ALICE)) == FULL
    shared.configure({"quota.unified.max-age": "0s"})
    (shared.state / "unified" / ALICE).write_text("1000000000 1 10\n")
    assert outcome(shared.deliver(ALICE)) == DELIVERED


@pytest.mark.parametrize("words, part", [
    (["mail", "storage=1"], b"the mail counts itself"),
    (["other", "storage=1"], b"quota.unified.services"),
    (["files", "storage=unlimited"], b"not understood"),
    (["files", "storage=1", "size=2"], b"not understood"),
    (["files"], b""),
])
def test_a_report_that_makes_no_sense_is_refused(shared, redis, words, part):
    refused = shared.roost("quota", "report", ALICE, *words)
    assert refused.returncode == 64
    assert part in refused.stderr
    assert redis.keys() == {}


def test_a_report_on_nobody_is_refused(shared, redis):
    assert shared.roost("quota", "report", "nobody@example.org", "files", "storage=1").returncode == 67
    assert redis.keys() == {}
