"""Counters in a real Redis as the authority, and services that share a user's limits through it."""

import concurrent.futures
import json
import signal
import threading
import time

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


FREE = [f"free{n}@example.org" for n in range(4)]


@pytest.fixture
def kept(alice, tmp_path):
    """Alice may have 50 messages, others what they like; all have counters, and so has their domain, in a Redis that
    keeps them while it is away. Each has one message."""
    with Redis(tmp_path / "kept", appendonly="yes", appendfsync="always") as server:
        alice.configure({"quota.authority": "dict", "quota.dict": server.uri})
        alice.roost("user", "set", ALICE, "quota.messages=50")
        alice.roost("domain", "set", "example.org", "domain-quota.messages=1000")
        for user in FREE:
            alice.add(user)
        for user in [ALICE, *FREE]:
            assert outcome(alice.deliver(user)) == DELIVERED
        assert alice.roost("quota", "show", "--all").returncode == 0
        alice.roost("domain", "unset", "example.org", "domain-quota.messages")
        alice.redis = server
        yield alice


def counted_as(site, **messages):
    """Whether the counters say so: of the users of this local part, or of the domain."""
    keys = site.redis.keys()
    names = {name: f"{name}@example.org" if name != "domain" else "@example.org" for name in messages}
    return all((keys.get(f"{names[name]}/quota/messages"), keys.get(f"{names[name]}/quota/storage")) ==
               (str(count), str(count * len(SAMPLE))) for name, count in messages.items())


def marks(site):
    return sorted(path.name for path in (site.state / "recount").glob("[!.]*"))


AFTER_OUTAGE = {"alice": 1, "free0": 4, "free1": 4, "free2": 4, "free3": 4, "domain": 17}


def test_roostd_counts_anew_whom_an_outage_missed_with_nobodys_help(kept):
    with Daemon(kept) as daemon, daemon.client() as client:
        kept.redis.stop()
        for i in range(3):
            replies = client.deliver(SAMPLE, *FREE)
            assert all(reply.startswith("250 ") for reply in replies), replies
        assert marks(kept) == sorted([*FREE, "@example.org"])
        kept.redis.start()
        until(lambda: not marks(kept), "the marks to go")
        assert counted_as(kept, **AFTER_OUTAGE)
        assert [reply[:3] for reply in client.deliver(SAMPLE, ALICE)] == ["250"]
    assert "counted anew" in kept.log.read_text()


def test_marks_outlive_processes_and_one_that_ends_while_it_counts(kept):
    kept.redis.stop()
    for user in 3 * FREE:
        assert outcome(kept.deliver(user)) == DELIVERED
    with Daemon(kept) as daemon:
        daemon.stop(signal.SIGKILL)
    assert marks(kept) == sorted([*FREE, "@example.org"])
    with Daemon(kept):
        kept.redis.start()
        until(lambda: not marks(kept), "the marks to go")
    assert counted_as(kept, **AFTER_OUTAGE)


def test_a_recount_of_all_counts_anew_whom_an_outage_missed(kept):
    kept.redis.stop()
    for user in 3 * FREE:
        assert outcome(kept.deliver(user)) == DELIVERED
    assert kept.roost("quota", "recount", "--all").returncode == 1
    assert marks(kept) == sorted([*FREE, "@example.org"])
    kept.sql("DELETE FROM users WHERE name = ?", (FREE[3],))
    kept.redis.start()
    result = kept.roost("quota", "recount", "--all")
    assert (result.returncode, result.stderr) == (0, b"")
    assert marks(kept) == []
    assert counted_as(kept, alice=1, free0=4, free1=4, free2=4, domain=13)
    assert f"{FREE[3]}/quota/messages" not in kept.redis.keys()


def test_who_has_no_counters_gets_none_by_an_outage(kept):
    kept.add("new@example.net")
    kept.redis.stop()
    assert outcome(kept.deliver("new@example.net")) == DELIVERED
    assert marks(kept) == ["@example.net", "new@example.net"]
    with Daemon(kept):
        kept.redis.start()
        until(lambda: not marks(kept), "the marks to go")
    assert not [key for key in kept.redis.keys() if "example.net" in key]


def test_a_mailbox_that_cannot_be_counted_keeps_its_mark_and_nobody_elses(kept):
    kept.redis.stop()
    for user in FREE:
        assert outcome(kept.deliver(user)) == DELIVERED
    box = kept.maildir(FREE[1])
    box.rename(box.with_name("away"))
    with Daemon(kept) as daemon:
        kept.redis.start()
        until(lambda: marks(kept) == sorted([FREE[1], "@example.org"]), "the others' marks to go")
        box.with_name("away").rename(box)
        daemon.stop()
    with Daemon(kept):
        until(lambda: not marks(kept), "the marks to go")
    assert counted_as(kept, free0=2, free1=2, domain=9)


@pytest.mark.parametrize("limit", ["unlimited", "1000000"])
def test_a_recount_while_mail_comes_counts_each_message_once(kept, limit):
    kept.roost("user", "set", FREE[0], f"quota.messages={limit}")
    kept.roost("domain", "set", "example.org", "domain-quota.messages=1000000")
    done = threading.Event()
    with Daemon(kept) as daemon, concurrent.futures.ThreadPoolExecutor(6) as pool:

        def send(number):
            sent = 0
            with daemon.client() as client:
                while not done.is_set():
                    [reply] = client.deliver(SAMPLE + b"%d\n" % number, FREE[0])
                    assert reply.startswith("250 "), reply
                    sent += 1
            return sent

        clients = [pool.submit(send, number) for number in range(6)]
        try:
            for _ in range(15):
                assert kept.roost("quota", "recount", "--all").returncode == 0
        finally:
            done.set()
        sent = sum(client.result() for client in clients)
    assert marks(kept) == []
    result = kept.roost("quota", "recount", "--all", "--check")
    assert (result.returncode, result.stdout) == (0, b"")
    assert kept.redis.keys()[f"{FREE[0]}/quota/messages"] == str(1 + sent)


@pytest.mark.parametrize("flags", [[], ["--purge", "--yes"]])
def test_a_user_who_is_removed_leaves_neither_counters_nor_state_behind(kept, flags):
    kept.configure({"quota.unified.dict": kept.redis.uri, "quota.unified.services": "files", "quota.unified": "yes",
                    "quota.warning": "messages>1%"})
    kept.roost("domain", "set", "example.org", "domain-quota.messages=1000", "domain-quota.warning=messages>90%")
    assert outcome(kept.deliver(ALICE)) == DELIVERED
    assert kept.roost("quota", "report", ALICE, "files", "messages=7").returncode == 0
    assert outcome(kept.deliver(ALICE)) == DELIVERED
    (kept.state / "recount" / ALICE).write_text("")
    assert {path.parent.name for path in kept.state.rglob(ALICE)} == {"users", "recount", "unified"}
    result = kept.roost("user", "remove", ALICE, *flags)
    assert (result.returncode, result.stderr) == (0, b"")
    assert list(kept.state.rglob(ALICE)) == []
    # What another service holds is that service's business.
    assert [key for key in kept.redis.keys() if key.startswith(ALICE)] == [f"{ALICE}/quota/messages/files"]
    # The domain has less in it now, and a new user of that name has what is in the mailbox.
    assert outcome(kept.deliver(FREE[0])) == DELIVERED
    assert counted_as(kept, domain=5)
    kept.add(ALICE, '{"quota.messages": "9"}')
    kept.roost("user", "allocate", ALICE)
    [row] = json.loads(kept.roost("quota", "show", ALICE, "--json").stdout)
    assert row["usage"]["messages"] == (0 if flags else 3)


def test_counters_of_a_user_who_is_removed_during_an_outage_go_once_the_dict_is_back(kept):
    kept.redis.stop()
    result = kept.roost("user", "remove", ALICE)
    assert result.returncode == 0
    assert b"roostd" in result.stderr
    assert marks(kept) == sorted([ALICE, "@example.org"])
    with Daemon(kept):
        kept.redis.start()
        until(lambda: not marks(kept), "the marks to go")
    assert not [key for key in kept.redis.keys() if key.startswith(ALICE)]
    assert counted_as(kept, domain=4)


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


def explained(site, *flags):
    before = {path: path.read_bytes() for path in site.state.rglob("*") if path.is_file()}
    shown = site.roost("explain", ALICE, *flags)
    assert (shown.returncode, shown.stderr) == (0, b"")
    found = site.roost("explain", ALICE, "--json", *flags)
    assert (found.returncode, found.stderr) == (0, b"")
    assert before == {path: path.read_bytes() for path in site.state.rglob("*") if path.is_file()}
    return shown.stdout.decode(), json.loads(found.stdout)


def line(text, name):
    return next(row[11:] for row in text.splitlines() if row.startswith(name.ljust(11)))


def test_explain_goes_by_the_counters_and_changes_nothing(counted, redis):
    counted.deliver(ALICE)
    counted.roost("domain", "set", "example.org", "domain-quota.messages=5")
    redis.cli("MSET", STORAGE, "2048", MESSAGES, "3", "@example.org/quota/storage", "0", "@example.org/quota/messages", "4")
    before = redis.keys()
    text, found = explained(counted)
    assert found["usage"] == {"storage": 2048, "messages": 3}
    assert found["counters"] == {"dict": redis.uri, "usage": {"storage": 2048, "messages": 3}, "error": None}
    assert found["domain"]["usage"]["messages"] == 4 and found["domain"]["limits"]["messages"] == 5
    assert found["outcome"]["name"] == "over-quota"
    assert line(text, "usage") == "2.0K of unlimited, 3 of 3 messages"
    assert line(text, "counters") == f"2.0K, 3 messages, in {redis.uri}"
    assert line(text, "domain use") == "0B of unlimited, 4 of 5 messages"
    redis.cli("SET", MESSAGES, "2")
    assert explained(counted)[1]["outcome"]["name"] == "delivered"
    redis.cli("SET", "@example.org/quota/messages", "5")
    assert explained(counted)[1]["outcome"]["name"] == "over-quota"
    # Counters that are missing, or doubted, are counted and not set.
    redis.cli("MSET", *(word for pair in before.items() for word in pair))
    redis.cli("DEL", MESSAGES)
    text, found = explained(counted)
    assert (found["usage"]["messages"], found["counters"]["usage"]) == (1, None)
    assert line(text, "counters") == f"none yet in {redis.uri}: the store is counted"
    assert MESSAGES not in redis.keys()
    redis.cli("SET", MESSAGES, "3")
    (counted.state / "recount" / ALICE).touch()
    text, found = explained(counted)
    assert (found["usage"]["messages"], found["counters"]["usage"]["messages"]) == (1, 3)
    assert line(text, "counters").endswith("to be counted anew")
    assert redis.keys()[MESSAGES] == "3"


def test_explain_says_that_the_dict_cannot_be_asked_and_what_follows(counted, redis):
    counted.deliver(ALICE)
    redis.stop()
    text, found = explained(counted)
    assert found["usage"] is None and found["counters"]["usage"] is None
    assert redis.uri in found["counters"]["error"]
    assert found["outcome"]["name"] == "trouble" and redis.uri in found["outcome"]["text"]
    assert line(text, "usage") == "unknown of unlimited, unknown of 3 messages"
    assert line(text, "counters").startswith(f"not known: cannot use the dict {redis.uri}")
    assert outcome(counted.deliver(ALICE)) == WAIT
    counted.roost("user", "set", ALICE, "quota.messages=unlimited")
    _, found = explained(counted)
    assert found["outcome"]["name"] == "delivered" and redis.uri in found["counters"]["error"]
    assert outcome(counted.deliver(ALICE)) == DELIVERED


def test_explain_counts_what_other_services_hold(shared, redis):
    shared.deliver(ALICE)
    shared.roost("quota", "report", ALICE, "files", "storage=1M", "messages=5")
    shared.roost("quota", "report", ALICE, "calendar", "messages=4")
    text, found = explained(shared)
    assert found["usage"]["messages"] == 1
    assert found["services"] == {"dict": redis.uri, "usage": {"storage": 1048576, "messages": 9}, "error": None}
    assert found["outcome"]["name"] == "over-quota" and "other services included" in found["outcome"]["text"]
    assert line(text, "services") == f"1.0M, 9 messages, in {redis.uri}"
    assert outcome(shared.deliver(ALICE)) == FULL
    redis.stop()
    for age, wanted, said in ((100, "over-quota", ", and what was known last counts"), (3700, "delivered", ", and none of it counts")):
        shared.configure({"quota.unified.max-age": "1h"})
        (shared.state / "unified" / ALICE).write_text(f"{int(time.time()) - age} 1 9\n")
        text, found = explained(shared)
        assert found["outcome"]["name"] == wanted
        assert redis.uri in found["services"]["error"]
        assert line(text, "services").startswith(f"not known{said}: cannot use the dict {redis.uri}")


@pytest.mark.parametrize("key", ["quota.dict", "quota.unified.dict", "quota-clone.dict"])
def test_a_check_of_the_configuration_asks_its_dicts(alice, redis, key):
    alice.configure({key: redis.uri})
    if key == "quota.dict":
        alice.configure({"quota.authority": "dict"})
    checked = alice.roost("config", "check")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    assert redis.keys() == {}
    redis.stop()
    checked = alice.roost("config", "check")
    assert checked.returncode == 1
    [text] = checked.stderr.decode().splitlines()
    assert f"{key}: cannot use the dict {redis.uri}" in text


def test_a_check_of_the_configuration_asks_no_dict_that_is_not_used(alice, redis):
    alice.configure({"quota.dict": redis.uri})
    redis.stop()
    assert alice.roost("config", "check").returncode == 0
    alice.configure({"quota.authority": "dict", "quota.dict": None})
    checked = alice.roost("config", "check")
    assert checked.returncode == 1 and b"quota.dict is empty" in checked.stderr


def test_a_report_on_nobody_is_refused(shared, redis):
    assert shared.roost("quota", "report", "nobody@example.org", "files", "storage=1").returncode == 67
    assert redis.keys() == {}
