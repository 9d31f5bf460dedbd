"""Dicts in the real Redis: keys as Dovecot writes them, every way to reach a server, and what happens in trouble."""

import contextlib
import signal

import pytest

from dicts import MESSAGES, STORAGE, Dict, DictError
from redis_servers import Redis, free_port, until


@pytest.fixture(scope="module")
def shared(module_path):
    with Redis(module_path / "shared") as server:
        yield server


@pytest.fixture
def redis(shared):
    shared.cli("FLUSHALL")
    return shared


def fails(call, *args, outcome="trouble", **more):
    """The text of the Error that the call ends in."""
    with pytest.raises(DictError) as caught:
        call(*args, **more)
    assert caught.value.outcome == outcome
    return caught.value.text


def refused(uri):
    """The text of the Error (misconfigured) that making the dict ends in."""
    with pytest.raises(DictError) as caught, Dict(uri):
        pass
    assert caught.value.outcome == "misconfigured"
    return caught.value.text


# Keys and values


def test_keys_are_those_of_dovecot(redis):
    with Dict(redis.uri + ":prefix=q/") as dict:
        dict.set("good@x.test", 9667146, 789)
        dict.commit(("good@x.test", ("set", "shared/total", "5"), ("set", STORAGE + "/files", "7")))
        assert redis.keys() == {
            "q/good@x.test/quota/storage": "9667146",
            "q/good@x.test/quota/messages": "789",
            "q/good@x.test/quota/storage/files": "7",
            "q/total": "5",
        }
        assert redis.cli("TTL", "q/good@x.test/quota/storage") == "-1"
        assert dict.usage("good@x.test") == ["9667146", "789"]
        assert dict.get("good@x.test", "shared/total") == ["5"]
        assert dict.get("nobody@x.test", STORAGE, MESSAGES, STORAGE) == [None, None, None]


def test_without_a_prefix_keys_begin_with_the_user(redis):
    with Dict(redis.uri) as dict:
        dict.set("a", 1, 2)
    assert redis.keys() == {"a/quota/storage": "1", "a/quota/messages": "2"}


def test_unset_removes_and_add_leaves_an_absent_key_absent(redis):
    with Dict(redis.uri) as dict:
        dict.set("a", 1000, 2)
        dict.commit(("a", ("add", STORAGE, -400), ("add", MESSAGES, 1)), ("b", ("add", STORAGE, 5)))
        assert dict.usage("a") == ["600", "3"]
        assert dict.usage("b") == [None, None]
        dict.commit(("a", ("unset", STORAGE), ("unset", "priv/never")))
        assert dict.usage("a") == [None, "3"]
        dict.commit(("a", ("set", MESSAGES, "9223372036854775807")), ("a", ("add", MESSAGES, -9223372036854775807)))
        assert dict.usage("a") == [None, "0"]


def test_expire_secs_sets_a_time_to_live_at_each_set_and_add(redis):
    with Dict(redis.uri + ":expire_secs=1000") as dict:
        dict.set("a", 1, 2)
        redis.cli("PERSIST", "a/quota/storage")
        dict.commit(("a", ("add", STORAGE, 1)))
    for key in "a/quota/storage", "a/quota/messages":
        assert 0 < int(redis.cli("TTL", key)) <= 1000
    with Dict(redis.uri) as dict:
        dict.set("a", 1, 2)  # SET alone takes it away, as in Dovecot
    assert redis.cli("TTL", "a/quota/storage") == "-1"


def test_a_transaction_is_applied_as_a_whole_in_order(redis):
    with Dict(redis.uri) as dict:
        dict.commit(("a", ("set", STORAGE, "1"), ("unset", STORAGE), ("set", STORAGE, "2"), ("add", STORAGE, 40)),
                    ("a", ("set", MESSAGES, "1")), ("a", ("set", MESSAGES, "2")), ("b",))
        assert dict.usage("a") == ["42", "2"]
        text = fails(dict.commit, ("a", ("set", MESSAGES, "3"), ("set", "x/y", "4")), outcome="misconfigured")
        assert "'x/y'" in text and "priv/" in text
        assert dict.usage("a") == ["42", "2"]


def test_names_and_values_are_bytes(redis):
    everything = "".join(map(chr, range(256)))
    with Dict(redis.uri + ":prefix=\xff{*}\\:") as dict:
        user = everything.replace("/", "")
        dict.commit((user, ("set", "priv/" + everything, everything), ("set", STORAGE, "")))
        assert dict.get(user, "priv/" + everything, STORAGE) == [everything, ""]
        assert dict.each(key="priv/" + everything) == [[user, everything]]
    assert redis.cli("EXISTS", b"\xff{*}:" + user.replace("\x00", "").encode("latin-1")) == "0"
    assert redis.cli("DBSIZE") == "2"


NAMES = ["a b", "a*", "a?", "[ab]", "a\\b", "a/b", "a\\/b", "-", "a\tb", "\u00e4@x", "{a}", "'\"", "^a", "a-b", "/"]


def test_odd_user_names_stay_apart(redis):
    with Dict(redis.uri + ":prefix=p*[") as dict:
        for n, name in enumerate(NAMES):
            dict.set(name, n, n + 100)
        for n, name in enumerate(NAMES):
            assert dict.usage(name) == [str(n), str(n + 100)]
        assert dict.each() == sorted([name, str(n)] for n, name in enumerate(NAMES))
    assert redis.cli("EXISTS", "p*[a\\-b/quota/storage", "p*[a\\\\\\-b/quota/storage", "p*[a\\b/quota/storage") == "3"


# Every user


def test_each_finds_every_user_and_no_other_key(redis):
    names = [f"user{n}@x" for n in range(3000)]
    with Dict(redis.uri + ":prefix=q/") as dict:
        dict.commit(*[(name, ("set", STORAGE, str(n))) for n, name in enumerate(names)])
        dict.commit(("only@x", ("set", MESSAGES, "1")), ("user1@x", ("set", STORAGE + "/files", "1")))
        noise = "".join(f"SET noise{n} 1\nSET q/user{n}@x/quota/messages 5\n" for n in range(3000))
        for other in "x/quota/storage", "q//quota/storage", "q/quota/storage", "q/a/b/quota/storage", "Q/a/quota/storage":
            noise += f"SET {other} 1\n"
        noise += "LPUSH q/list@x/quota/storage 1\n"
        redis.cli(stdin=noise.encode())
        expected = sorted([name, str(n)] for n, name in enumerate(names))
        found = dict.each()
        assert [list(pair) for pair in dict_of(found)] == expected
        assert len(dict.each(stop=7)) == 7
        assert dict.usage("user1@x") == ["1", "5"]
        assert dict.each(key=STORAGE + "/files") == [["user1@x", "1"]]
        assert dict.each(key="shared/total") == []


def dict_of(pairs):
    """SCAN may find a key twice."""
    return sorted(dict(pairs).items())


def test_ten_thousand_transactions_go_in_one_call(redis):
    users = [f"u{n}@example.org" for n in range(10000)]
    before = int(info(redis, "total_reads_processed"))
    with Dict(redis.uri) as dict:
        dict.commit(*[(user, ("set", STORAGE, str(n)), ("set", MESSAGES, "1")) for n, user in enumerate(users)],
                    ms=60000)
        assert redis.cli("DBSIZE") == "20000"
        assert dict.usage("u9999@example.org") == ["9999", "1"]
    # Far fewer than one a transaction: they were not waited for one by one.
    assert int(info(redis, "total_reads_processed")) - before < 2000


def info(redis, key):
    for line in redis.cli("INFO").splitlines():
        if line.startswith(key + ":"):
            return line.partition(":")[2].strip()
    raise AssertionError(key)


# Ways to a server


@pytest.mark.parametrize("place", ["host=127.0.0.1:port={port}", "host=localhost:port={port}", "port={port}", "path={socket}"])
def test_a_server_is_reached_by_address_name_and_socket(redis, place):
    with Dict("redis:" + place.format(port=redis.port, socket=redis.socket)) as dict:
        dict.set("a", 1, 2)
        assert dict.usage("a") == ["1", "2"]
    assert redis.cli("DBSIZE") == "2"


def test_an_ipv6_address_stands_in_brackets(tmp_path):
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(Redis(tmp_path / "r", bind="127.0.0.1 ::1"))
        except AssertionError:
            pytest.skip("no IPv6 on this machine's loopback")
        with Dict(f"redis:host=[::1]:port={server.port}") as dict:
            dict.set("a", 1, 2)
            assert dict.usage("a") == ["1", "2"]


def test_db_selects_a_database(redis):
    with Dict(redis.uri + ":db=3") as dict:
        dict.set("a", 1, 2)
    assert redis.cli("DBSIZE") == "0"
    assert redis.cli("-n", "3", "DBSIZE") == "2"
    with Dict(redis.uri + ":db=99") as dict:
        assert "db=" in fails(dict.usage, "a")


# What roost-quota(7) says that a user needs.
COMMANDS = "+get +set +del +expire +eval +exists +incrby +scan +multi +exec"


def test_password_and_acl_user_are_given(tmp_path):
    with Redis(tmp_path / "r", requirepass='"se cret"', login=("-a", "se cret", "--no-auth-warning"),
               user=[f"roost on >pa$$:word ~q/* {COMMANDS}", "reader on >x ~* +get +multi +exec"]) as server:
        with Dict(server.uri + ":prefix=q/:password=se cret") as dict:
            assert "se cret" not in dict.name
            dict.set("a", 1, 2)
        with Dict(server.uri + ":prefix=q/:user=roost:password=pa$$\\:word") as dict:
            assert dict.usage("a") == ["1", "2"]
            dict.set("a", 3, 4)
        with Dict(server.uri + ":prefix=q/:db=0:expire_secs=9:user=roost:password=pa$$\\:word") as dict:
            dict.commit(("a", ("add", STORAGE, 1), ("set", MESSAGES, "4"), ("unset", "priv/x")))
            assert dict.each() == [["a", "4"]]
            dict.set("a", 3, 4)
        with Dict(server.uri + ":prefix=other/:user=roost:password=pa$$\\:word") as dict:
            assert "NOPERM" in fails(dict.set, "a", 1, 2, outcome="misconfigured")
        with Dict(server.uri + ":prefix=q/:user=reader:password=x") as dict:
            assert dict.usage("a") == ["3", "4"]
            assert "ACL" in fails(dict.set, "a", 1, 2, outcome="misconfigured")
            assert dict.usage("a") == ["3", "4"]


def test_a_wrong_or_missing_password_is_an_error_that_does_not_show_it(tmp_path):
    with Redis(tmp_path / "r", requirepass="right", login=("-a", "right", "--no-auth-warning")) as server:
        with Dict(server.uri + ":password=wr0ng") as dict:
            text = fails(dict.usage, "a", outcome="misconfigured")
            assert "WRONGPASS" in text and "check user= and password=" in text and "wr0ng" not in text
            assert "WRONGPASS" in fails(dict.set, "a", 1, 2, outcome="misconfigured")
        with Dict(server.uri) as dict:
            assert "add password=" in fails(dict.usage, "a", outcome="misconfigured")
            assert "add password=" in fails(dict.set, "a", 1, 2, outcome="misconfigured")
            assert "add password=" in fails(dict.each, outcome="misconfigured")


# Trouble


def test_a_server_that_is_not_there_is_an_error_until_it_is(tmp_path):
    port = free_port()
    with Dict(f"redis:port={port}") as dict:
        text = fails(dict.usage, "a")
        assert f"127.0.0.1:{port}: cannot connect: Connection refused" in text and "is Redis running there?" in text
        with Redis(tmp_path / "r", port=port):
            dict.set("a", 1, 2)
            assert dict.usage("a") == ["1", "2"]
    with Dict(f"redis:path={tmp_path}/none") as dict:
        assert "No such file" in fails(dict.usage, "a")
    with Dict("redis:host=nowhere.invalid") as dict:
        assert "cannot resolve the name" in fails(dict.usage, "a")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_of_the_server_between_calls_is_not_noticed(tmp_path, how):
    server = Redis(tmp_path / "r")
    with server, Dict(server.uri) as dict:
        for n in range(3):
            dict.set("a", n, n)
            dict.commit(("a", ("add", STORAGE, 1)))
            assert dict.usage("a") == [str(n + 1), str(n)]
            server.stop(how)
            server.start()
        assert dict.each() == []


def test_a_server_that_closes_idle_connections_is_not_noticed(redis):
    with Dict(redis.uri) as dict:
        for n in range(3):
            dict.set("a", n, n)
            redis.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_a_server_that_stops_answering_ends_the_call_at_its_deadline(tmp_path):
    with Redis(tmp_path / "r") as server, Dict(server.uri) as dict, Dict(server.uri + ":timeout_msecs=200") as hasty:
        dict.set("a", 1, 2)
        hasty.set("a", 1, 2)
        server.pause()
        assert "no answer in time" in fails(dict.usage, "a", ms=200)
        assert "no answer in time" in fails(dict.set, "a", 3, 4, ms=200)
        assert "no answer in time" in fails(dict.each, ms=200)
        assert "no answer in time" in fails(hasty.usage, "a", ms=600000)
        server.resume()
        # Nobody knows what became of the calls; those after them are answered.
        dict.set("a", 5, 6)
        assert dict.usage("a") == ["5", "6"]
        assert hasty.usage("a") == ["5", "6"]


def test_a_server_killed_during_a_call_is_an_error(tmp_path):
    with Redis(tmp_path / "r") as server, Dict(server.uri) as dict:
        dict.set("a", 1, 2)
        server.pause()
        dict.start("get", user="a", keys=[STORAGE])
        until(lambda: server.process.poll() is None, "")
        server.stop()
        with pytest.raises(DictError) as caught:
            dict.answer()
        assert caught.value.outcome == "trouble"
        server.start()
        assert dict.usage("a") == [None, None]


def test_what_redis_refuses_is_an_error_and_the_connection_goes_on(redis):
    with Dict(redis.uri) as dict:
        dict.set("a", 1, 2)
        redis.cli("CONFIG", "SET", "maxmemory", "1")
        try:
            assert "OOM" in fails(dict.set, "a", 3, 4)
        finally:
            redis.cli("CONFIG", "SET", "maxmemory", "0")
        assert dict.usage("a") == ["1", "2"]
        redis.cli("LPUSH", "l/quota/storage", "1")
        assert "WRONGTYPE" in fails(dict.usage, "l")
        redis.cli("SET", "t/quota/storage", "text")
        assert "not an integer" in fails(dict.commit, ("t", ("add", STORAGE, 1)))
        assert dict.usage("a") == ["1", "2"]


def test_a_replica_is_refused_for_writing(tmp_path):
    with Redis(tmp_path / "m") as master, Redis(tmp_path / "s", replicaof=f"127.0.0.1 {master.port}") as replica:
        with Dict(replica.uri) as dict:
            assert "name the master" in fails(dict.set, "a", 1, 2)


def test_a_server_that_does_not_speak_redis_is_an_error(tmp_path):
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:
        def greet():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 mail.example.org ESMTP\r\n")
                connection.recv(4096)

        thread = threading.Thread(target=greet)
        thread.start()
        with Dict(f"redis:port={listener.getsockname()[1]}") as dict:
            assert "not the Redis protocol" in fails(dict.usage, "a")
        thread.join()


# What a URI must not say


@pytest.mark.parametrize("uri, part", [
    ("redis:hots=x", "did you mean host?"),
    ("redis:port=0", "port=0 is not a number from 1 to 65535"),
    ("redis:port=x", "port=x is not a number"),
    ("redis:host=", "host= is empty"),
    ("redis:db=-1", "db=-1 is not a number"),
    ("redis:expire_secs=0", "expire_secs=0 is not a number"),
    ("redis:timeout_msecs=1s", "timeout_msecs=1s is not a number"),
    ("redis:path=socket", "no absolute path"),
    ("redis:path=/" + "x" * 200, "no absolute path"),
    ("redis:path=/s:host=x", "more than one place"),
    ("redis:sentinel=x:cluster=y:master=m", "more than one place"),
    ("redis:sentinel=127.0.0.1", "master= is missing"),
    ("redis:master=m", "master= is for sentinel= alone"),
    ("redis:sentinel=a,b:master=m", "'a,b' in sentinel= is no server"),
    ("redis:cluster=a;;b", "'' in cluster= is no server"),
    ("redis:cluster=", "in cluster= is no server"),
    ("redis:cluster=a:db=1", "a cluster has no databases"),
    ("redis:user=x", "add password="),
    ("redis:sentinel=a:master=m:sentinel_user=x", "add sentinel_password="),
    ("redis:tls=on", "neither yes nor no"),
    ("redis:tls_ca=/x", "add tls=yes"),
    ("redis:tls=yes:tls_ca=x", "no absolute path"),
    ("redis:tls=yes:tls_key=/x", "add tls_cert="),
    ("redis:tls=yes:path=/s", "no TLS on a Unix socket"),
    ("redis:tls=yes:tls_ca=/nowhere", "tls_ca= /nowhere"),
    ("redis:tls=yes:tls_cert=/nowhere", "tls_cert= /nowhere"),
])
def test_a_uri_that_makes_no_sense_is_refused(uri, part):
    assert part in refused(uri)
