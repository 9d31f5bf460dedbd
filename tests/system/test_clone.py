"""Usage goes from deliveries into the clone: behind the verdict, losing nothing, whatever becomes of the dict."""

import itertools
import json
import signal
import threading

import pytest

from clones import Redis, keys, pending, quiet, usage
from conftest import SAMPLE
from lmtp import Daemon, wait_for

ALICE, BOB, CAROL = (f"{name}@example.org" for name in ("alice", "bob", "carol"))


@pytest.fixture
def redis(site):
    for name in (ALICE, BOB, CAROL):
        site.add(name)
    with Redis(site.path / "redis") as server:
        site.configure({"quota-clone.dict": server.uri("prefix=q/")})
        yield server


def told(site, text):
    return sum(text in line for line in site.log.read_text().splitlines()) if site.log.exists() else 0


def in_step(site, redis):
    return redis.everything() == {
        key: value for key, value in keys(usage(site), "q/").items() if key in redis.everything() or value != "0"}


# roost-deliver


def test_a_delivery_by_pipe_writes_both_keys_as_dovecot_does(site, redis):
    for _ in range(2):
        assert site.deliver(ALICE).returncode == 0
    stored = usage(site)[ALICE]
    assert stored[1] == 2
    assert redis.everything() == {"q/alice@example.org/quota/storage": str(stored[0]), "q/alice@example.org/quota/messages": "2"}
    assert redis("TTL", "q/alice@example.org/quota/storage") == -1
    assert not pending(site)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_delivery_by_pipe_leaves_its_name_when_the_dict_is_away_and_the_next_one_sends_it(site, redis, how):
    redis.kill() if how == "killed" else redis.stop()
    for user in (ALICE, BOB):
        assert site.deliver(user).returncode == 0
        assert len(site.messages(user)) == 1
    assert pending(site) == {ALICE, BOB}
    # The failure is known now, so the second one did not wait for the dict, and it is told once.
    assert told(site, "the clone falls behind") == 1
    redis.start() if how == "killed" else redis.go_on()
    (site.state / "clone.lock").write_bytes(b"")  # as if that had been a while ago
    assert site.deliver(CAROL).returncode == 0
    assert redis.everything() == keys(usage(site), "q/")
    assert not pending(site)


def test_a_dict_that_is_back_is_told_once(site, redis):
    redis.kill()
    assert site.deliver(ALICE).returncode == 0
    redis.start()
    with Daemon(site):
        quiet(site)
        wait_for(lambda: told(site, "takes usage again") == 1, "the line in the log")
    assert in_step(site, redis)


def test_what_roost_deliver_left_is_sent_by_roostd(site, redis):
    redis.kill()
    with Daemon(site):
        assert site.deliver(ALICE).returncode == 0
        assert pending(site) == {ALICE}
        redis.start()
        quiet(site)
        wait_for(lambda: in_step(site, redis), "the clone")


def test_without_a_dict_nothing_is_noted(site):
    site.add(ALICE)
    assert site.deliver(ALICE).returncode == 0
    with Daemon(site) as daemon, daemon.client() as client:
        assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
    assert not list(site.state.glob("clone.*"))


def test_a_mistyped_dict_stops_the_start_and_names_the_setting(site):
    site.configure({"quota-clone.dict": "rediss:host=x"})
    result = site.roost("quota", "show", "--all")
    assert result.returncode == 1
    assert b"quota-clone.dict" in result.stderr and b"redis:" in result.stderr


# roostd


NUMBERS = itertools.count()


def deliver_many(daemon, users, count):
    with daemon.client() as client:
        for i in range(count):
            message = b"X-Number: %d\n" % next(NUMBERS) + SAMPLE  # else it would be a repetition
            assert client.deliver(message, users[i % len(users)])[0].startswith("250 ")


def test_deliveries_by_roostd_go_into_the_clone(site, redis):
    with Daemon(site) as daemon:
        deliver_many(daemon, [ALICE, BOB], 20)
        quiet(site)
        wait_for(lambda: in_step(site, redis), "the clone")
    assert usage(site)[ALICE][1] == 10


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_an_outage_delays_no_delivery_and_afterwards_the_clone_is_the_authority(site, redis, how):
    with Daemon(site) as daemon:
        deliver_many(daemon, [ALICE], 1)
        quiet(site)
        redis.kill() if how == "killed" else redis.stop()
        deliver_many(daemon, [ALICE, BOB], 60)
        assert usage(site)[ALICE][1] + usage(site)[BOB][1] == 61
        # Coalesced: one record for each user, or one more for one that got mail while it was being sent.
        lines = (site.state / "clone.pending").read_text().split()
        assert {ALICE, BOB} == set(lines) and len(lines) <= 4
        redis.start() if how == "killed" else redis.go_on()
        quiet(site)
        wait_for(lambda: in_step(site, redis), "the clone")


def test_roostd_killed_with_names_pending_sends_them_after_its_restart(site, redis):
    with Daemon(site) as daemon:
        redis.stop()
        deliver_many(daemon, [ALICE, BOB, CAROL], 30)
        daemon.stop(signal.SIGKILL)
    assert pending(site) == {ALICE, BOB, CAROL}
    redis.go_on()
    with Daemon(site):
        quiet(site)
        wait_for(lambda: redis.everything() == keys(usage(site), "q/"), "the clone")


def test_roostd_that_ends_sends_what_is_pending_or_leaves_it(site, redis):
    with Daemon(site) as daemon:
        deliver_many(daemon, [ALICE, BOB], 4)
        assert daemon.stop() == 0
    assert not pending(site)
    assert in_step(site, redis)
    redis.kill()
    with Daemon(site) as daemon:
        deliver_many(daemon, [ALICE], 1)
        assert daemon.stop() == 0
    assert pending(site) == {ALICE}
    assert not (site.state / "clone.boot").exists()


def test_a_session_on_standard_input_publishes_at_its_end(site, redis):
    talk = b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n"
    result = site.run("roostd", "-c", site.conf, "--stdio", stdin=talk)
    assert b"250 2.0.0" in result.stdout
    assert redis("GET", "q/alice@example.org/quota/messages") == "1"


def test_a_power_cut_makes_everything_be_published_again(site, redis):
    for user in (ALICE, BOB):
        assert site.deliver(user).returncode == 0
    redis("SET", "q/bob@example.org/quota/messages", "77")
    (site.state / "clone.boot").write_text("00000000-0000-0000-0000-000000000000\n")
    with Daemon(site):
        wait_for(lambda: redis("GET", "q/bob@example.org/quota/messages") == "1", "the clone")


def test_a_flushed_redis_is_filled_again_at_the_next_delivery_and_also_without_one(site, redis):
    for user in (ALICE, BOB):
        assert site.deliver(user).returncode == 0
    with Daemon(site) as daemon:
        deliver_many(daemon, [ALICE], 1)
        quiet(site)
        redis("FLUSHALL")
        deliver_many(daemon, [ALICE], 1)
        wait_for(lambda: redis.everything() == keys(usage(site), "q/"), "the clone")
        quiet(site)
        redis("FLUSHALL")
        wait_for(lambda: redis.everything() == keys(usage(site), "q/"), "the clone")


def test_a_clone_that_is_switched_on_while_there_is_mail_fills_itself(site, redis):
    uri = site.settings["quota-clone.dict"]
    site.configure({"quota-clone.dict": None})
    for user in (ALICE, BOB):
        assert site.deliver(user).returncode == 0
    site.configure({"quota-clone.dict": uri})
    with Daemon(site) as daemon:
        wait_for(lambda: redis.everything() == keys(usage(site), "q/"), "the clone")
        site.configure({"quota-clone.dict": None})
        daemon.reload()
        deliver_many(daemon, [ALICE], 1)
    assert redis("GET", "q/alice@example.org/quota/messages") == "1"
    assert not pending(site)


def test_a_reload_takes_the_clone_to_another_dict_which_is_filled(site, redis):
    with Redis(site.path / "other") as other, Daemon(site) as daemon:
        deliver_many(daemon, [ALICE, BOB], 3)
        quiet(site)
        wait_for(lambda: in_step(site, redis), "the clone")
        before = redis.everything()
        site.configure({"quota-clone.dict": other.uri("prefix=q/")})
        daemon.reload()
        deliver_many(daemon, [ALICE], 1)
        wait_for(lambda: other.everything() == keys(usage(site), "q/"), "the other dict")
        assert redis.everything() == before
    assert not pending(site)


def test_deliveries_by_pipe_and_by_roostd_at_once_leave_the_clone_right(site, redis):
    with Daemon(site) as daemon:
        def pipe():
            for _ in range(8):
                assert site.deliver(ALICE).returncode == 0
        threads = [threading.Thread(target=pipe) for _ in range(2)]
        threads += [threading.Thread(target=deliver_many, args=(daemon, [ALICE, BOB], 30)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        quiet(site)
        wait_for(lambda: in_step(site, redis), "the clone")
    assert usage(site)[ALICE][1] == 46


def test_keys_of_a_dict_with_expiry_expire_and_are_not_taken_for_a_flush(site, redis):
    site.configure({"quota-clone.dict": redis.uri("prefix=q/", "expire_secs=1000")})
    assert site.deliver(ALICE).returncode == 0
    assert site.deliver(BOB).returncode == 0
    assert 0 < redis("TTL", "q/alice@example.org/quota/storage") <= 1000
    with Daemon(site) as daemon:
        deliver_many(daemon, [ALICE], 1)
        quiet(site)
        redis("DEL", "q/alice@example.org/quota/storage", "q/bob@example.org/quota/storage")
        deliver_many(daemon, [ALICE], 1)
        wait_for(lambda: redis("GET", "q/alice@example.org/quota/messages") == "3", "the clone")
        quiet(site)
    assert redis("GET", "q/bob@example.org/quota/storage") is None


# Users that go


@pytest.mark.parametrize("purge", [[], ["--purge", "--yes"]])
def test_a_removed_user_has_no_keys(site, redis, purge):
    for user in (ALICE, BOB):
        assert site.deliver(user).returncode == 0
    assert site.roost("user", "remove", ALICE, *purge).returncode == 0
    assert redis.everything() == keys({BOB: usage(site)[BOB]}, "q/")


def test_the_keys_of_a_user_that_is_removed_while_the_dict_is_away_go_later(site, redis):
    for user in (ALICE, BOB):
        assert site.deliver(user).returncode == 0
    redis.stop()
    assert site.roost("user", "remove", ALICE).returncode == 0
    assert pending(site) == {ALICE}
    redis.go_on()
    with Daemon(site):
        quiet(site)
        assert redis.everything() == keys({BOB: usage(site)[BOB]}, "q/")


# roost quota publish


def test_publish_writes_the_usage_of_whom_it_names(site, redis):
    site.configure({"quota-clone.dict": None})
    site.add("dave@example.net")
    for user in (ALICE, BOB, "dave@example.net"):
        assert site.deliver(user).returncode == 0
    site.configure({"quota-clone.dict": redis.uri("prefix=q/")})
    all_of_it = usage(site)

    def published(*arguments):
        redis("FLUSHALL")
        result = site.roost("quota", "publish", *arguments)
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
        return redis.everything()

    assert published(ALICE, "dave@example.net") == keys({name: all_of_it[name] for name in (ALICE, "dave@example.net")}, "q/")
    assert published("--domain", "example.net") == keys({"dave@example.net": all_of_it["dave@example.net"]}, "q/")
    assert published("--all") == keys(all_of_it, "q/")
    assert site.roost("quota", "publish", "nobody@example.org").returncode == 67
    assert site.roost("quota", "publish").returncode == 64


def test_check_shows_differences_missing_keys_and_orphans_and_prune_removes_those(site, redis):
    for user in (ALICE, BOB):
        assert site.deliver(user).returncode == 0
    right = usage(site)
    assert site.roost("quota", "publish", "--check").returncode == 0
    redis("SET", "q/alice@example.org/quota/storage", "5")
    redis("DEL", "q/bob@example.org/quota/messages")
    redis("SET", "q/gone@example.org/quota/storage", "9")
    redis("SET", "q/gone@example.org/quota/messages", "3")
    redis("SET", "q/other@example.net/quota/storage", "9")
    before = redis.everything()
    result = site.roost("quota", "publish", "--check", "--json")
    assert result.returncode == 1
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert {name: row["drift"] for name, row in rows.items()} == {
        ALICE: "differs", BOB: "missing", "gone@example.org": "orphan", "other@example.net": "orphan"}
    assert rows[ALICE]["clone"] == {"storage": 5, "messages": 1}
    assert rows[ALICE]["mailbox"] == {"storage": right[ALICE][0], "messages": 1}
    assert rows["gone@example.org"]["mailbox"] is None
    lines = site.roost("quota", "publish", "--check", "--domain", "example.org").stdout.decode().splitlines()
    assert [line.split("\t")[:2] for line in lines] == [[ALICE, "differs"], [BOB, "missing"], ["gone@example.org", "orphan"]]
    for name in (ALICE, BOB, "gone@example.org"):
        assert site.roost("quota", "publish", "--check", name).returncode == 1
    assert redis.everything() == before

    assert site.roost("quota", "publish", "--prune", "--domain", "example.org").returncode == 0
    assert "q/gone@example.org/quota/storage" not in redis.everything()
    assert "q/other@example.net/quota/storage" in redis.everything()
    assert site.roost("quota", "publish", "--prune").returncode == 0
    assert site.roost("quota", "publish", "--all").returncode == 0
    assert redis.everything() == keys(right, "q/")
    assert site.roost("quota", "publish", "--check").returncode == 0


def test_publishing_beside_a_roostd_that_takes_mail_leaves_the_clone_right(site, redis):
    with Daemon(site) as daemon:
        thread = threading.Thread(target=deliver_many, args=(daemon, [ALICE, BOB], 200))
        thread.start()
        while thread.is_alive():
            assert site.roost("quota", "publish", "--all").returncode == 0
        thread.join()
        assert site.roost("user", "remove", BOB).returncode == 0
        quiet(site)
        wait_for(lambda: in_step(site, redis), "the clone")
    assert "q/bob@example.org/quota/storage" not in redis.everything()


def test_what_the_clone_holds_is_shown_without_opening_mailboxes(site, redis):
    for user in (ALICE, ALICE, BOB):
        assert site.deliver(user).returncode == 0
    redis("SET", "q/bob@example.org/quota/messages", "7")
    site.maildir(ALICE).rename(site.path / "away")
    result = site.roost("quota", "show", "--from", "clone", "--json")
    assert result.returncode == 0, result.stderr
    shown = {row["name"]: row["usage"]["messages"] for row in json.loads(result.stdout)}
    assert shown == {ALICE: 2, BOB: 7, CAROL: 0}
    lines = dict(line.split("\t", 1) for line in site.roost("quota", "show", "--from", "clone").stdout.decode().splitlines())
    assert lines[CAROL] == "not in the clone" and "7 of unlimited" in lines[BOB]
    assert site.roost("quota", "show", "--from", "mailbox").returncode == 64
    site.configure({"quota-clone.dict": None})
    assert b"quota-clone.dict" in site.roost("quota", "show", "--from", "clone").stderr


def test_a_user_that_another_program_removed_is_pruned(site, redis):
    assert site.deliver(ALICE).returncode == 0
    site.sql("DELETE FROM users WHERE name = ?", (ALICE,))
    assert site.roost("quota", "publish", "--prune").returncode == 0
    assert redis.everything() == {}


def test_a_hundred_thousand_users_are_published_in_one_go(site, redis):
    site.sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
             "INSERT INTO users(name) SELECT 'u' || i || '@example.com' FROM n")
    assert site.roost("quota", "publish", "--domain", "example.com").returncode == 0
    assert redis("DBSIZE") == 200_000
    assert site.roost("quota", "publish", "--check", "--domain", "example.com").returncode == 0


def test_publish_says_why_it_cannot(site, redis):
    redis.kill()
    result = site.roost("quota", "publish", "--all")
    assert result.returncode == 1
    assert result.stderr.startswith(b"roost: ") and b"redis:" in result.stderr
    site.configure({"quota-clone.dict": None})
    result = site.roost("quota", "publish", "--all")
    assert (result.returncode, b"quota-clone.dict" in result.stderr) == (1, True)
