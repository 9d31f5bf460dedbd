"""Dovecot and Roost on the same dict, in Redis and in files: either reads what the other wrote."""

import signal

import pytest

from chamber import Chamber
from dicts import MESSAGES, STORAGE, Dict


@pytest.fixture(scope="module")
def dovecot(module_path):
    """A chamber with Dovecot's doveadm, whose `dict` commands use the drivers of its dict library."""
    made = Chamber(module_path, "dovecot", "redis")
    try:
        made.write("/etc/dovecot/dovecot.conf", "ssl = no\nlog_path = /dev/stderr\n")
        made.check("install", "-d", "/tmp/d", "/run/redis")
        made.check("sh", "-c", "redis-server --port 0 --unixsocket /run/redis/s --save '' --daemonize yes >/dev/null")
        made.check("sh", "-c", "until redis-cli -s /run/redis/s PING; do sleep 0.1; done >/dev/null 2>&1")
        yield made
    finally:
        made.close()


def doveadm(chamber, verb, user, uri, key, *value):
    done = chamber.run("doveadm", "dict", verb, "-u", user, "--", uri, key, *value)
    # With redis: the doveadm of Dovecot 2.3.19 crashes after the transaction is done.
    assert done.returncode == 0 or uri.startswith("redis:") and done.returncode == -signal.SIGSEGV, done.stderr.decode()
    return done.stdout.decode().strip()


def cli(chamber, *words):
    return chamber.check("redis-cli", "-s", "/run/redis/s", *words).removesuffix("\n")


def keys(chamber):
    """Each key in Redis with its value and what is left of its life."""
    return {key: (cli(chamber, "GET", key), cli(chamber, "TTL", key))
            for key in cli(chamber, "KEYS", "*").splitlines()}


CHANGES = [
    ("set", STORAGE, "9667146"), ("set", MESSAGES, "789"), ("set", "priv/a", "1"), ("set", "priv/quota/storage/files", "5"),
    ("inc", STORAGE, "-1000"), ("set", "priv/b", "two words"), ("unset", MESSAGES), ("set", MESSAGES, "790"),
    ("inc", MESSAGES, "10"), ("set", "priv/tab\tand\nline", "a\tb\r\nc\x01d"), ("unset", "priv/never"),
    *[("set", f"priv/key{n}", str(n)) for n in range(5)], ("unset", "priv/key3"),
]


def change(verb, key, *value):
    """One of CHANGES as Dict.commit takes it."""
    return ("add", key, int(value[0])) if verb == "inc" else (verb, key, *value)


def pairs(path):
    """The lines of keys and values, whose order is random in Dovecot."""
    data = path.read_bytes()
    assert data.endswith(b"\n") or not data
    lines = data.split(b"\n")[:-1]
    return sorted(zip(lines[::2], lines[1::2], strict=True))


def test_a_file_holds_line_by_line_what_dovecot_writes(dovecot):
    outside = dovecot.path("/tmp/d")
    with Dict(f"file:{outside}/%u.roost") as dict:
        for n, step in enumerate(CHANGES):
            doveadm(dovecot, step[0], "a@x", "file:/tmp/d/a@x.dovecot", *step[1:])
            dict.commit(("a@x", change(*step)))
            assert pairs(outside / "a@x.roost") == pairs(outside / "a@x.dovecot"), f"after {CHANGES[:n + 1]}"
    with Dict(f"file:{outside}/%u") as dict:
        for n, step in enumerate(CHANGES):  # in turn on one file
            if n % 2:
                doveadm(dovecot, step[0], "t@x", "file:/tmp/d/t@x", *step[1:])
            else:
                dict.commit(("t@x", change(*step)))
            assert dict.get("t@x", step[1])[0] is not None or step[0] == "unset"
    assert pairs(outside / "t@x") == pairs(outside / "a@x.dovecot")
    assert doveadm(dovecot, "get", "t@x", "file:/tmp/d/t@x", STORAGE) == "9666146"


@pytest.mark.parametrize("more", ["", ":expire_secs=100000"])
@pytest.mark.parametrize("user", ["good@x.test", "a/b", "a\\b", "a\\/b", "a b"])
def test_redis_holds_key_by_key_what_dovecot_writes(dovecot, user, more):
    inside = "redis:path=/run/redis/s:prefix=q/" + more
    found = []
    for writer in "dovecot", "roost":
        cli(dovecot, "FLUSHALL")
        with Dict(f"redis:path={dovecot.path('/run/redis/s')}:prefix=q/{more}") as dict:
            for verb, key, *value in [("set", STORAGE, "1000"), ("set", MESSAGES, "7"), ("inc", STORAGE, "-10"),
                                      ("set", "priv/gone", "1"), ("unset", "priv/gone"), ("set", "shared/all", "3")]:
                if writer == "dovecot":
                    doveadm(dovecot, verb, user, inside, key, *value)
                else:
                    dict.commit((user, change(verb, key, *value)))
            # What either wrote, the other reads.
            assert dict.get(user, STORAGE, MESSAGES, "shared/all") == ["990", "7", "3"]
            assert doveadm(dovecot, "get", user, inside, STORAGE) == "990"
        held = keys(dovecot)
        # A second may pass between the set and the look.
        assert all(int(life) == -1 if not more else 99900 < int(life) <= 100000 for _, life in held.values())
        found.append({key: value for key, (value, _) in held.items()})
    assert found[0] == found[1] and len(found[0]) == 3
