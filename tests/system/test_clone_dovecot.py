"""The clone is one that a real Dovecot with quota_clone writes in turn, key by key."""

import json

import pytest

from chamber import Chamber
from clones import Redis
from conftest import SAMPLE
from lmtp import wait_for

ALICE = "alice@example.org"
STORAGE, MESSAGES = (f"q/{ALICE}/quota/{kind}" for kind in ("storage", "messages"))
EXPIRY = 5000

DOVECOT = """
protocols =
mail_location = maildir:/var/lib/roost/mail/%d/%n
mail_uid = roost
mail_gid = roost
first_valid_uid = 1
mail_plugins = quota quota_clone
log_path = /var/log/dovecot
ssl = no
hostname = dovecot.test
postmaster_address = postmaster@example.org
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=roost gid=roost home=/var/lib/roost/mail/%d/%n/home
}
service auth {
  unix_listener auth-userdb {
    mode = 0666
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
service dict {
  unix_listener dict {
    mode = 0666
  }
}
dict {
  quota = sqlite:/etc/dovecot/dict-sql.conf
}
plugin {
  quota = maildir:User quota
  quota_rule = *:bytes=1000000
  quota_clone_dict = %CLONE%
}
"""

MAPS = """
connect = /var/lib/dict/quota.db
map {
  pattern = priv/quota/storage
  table = quota2
  username_field = username
  value_field = bytes
}
map {
  pattern = priv/quota/messages
  table = quota2
  username_field = username
  value_field = messages
}
"""
# PostfixAdmin's.
TABLE = "CREATE TABLE quota2 (username VARCHAR(100) PRIMARY KEY, bytes BIGINT NOT NULL DEFAULT 0, " \
        "messages INTEGER NOT NULL DEFAULT 0)"


@pytest.fixture(name="dovecot")
def fixture_dovecot(tmp_path):
    made = Chamber(tmp_path, "dovecot", "dovecot-sqlite")
    try:
        for name in ("dovecot", "dovenull"):
            made.check("useradd", "--system", "--shell", "/usr/sbin/nologin", name)
        made.sql("INSERT INTO users(name, settings) VALUES (?, ?)", (ALICE, '{"quota.storage": 1000000}'))
        yield made
    finally:
        made.close()


def start(dovecot, uri):
    """Dovecot and Roost with the same dict."""
    dovecot.write("/etc/dovecot/dovecot.conf", DOVECOT.replace("%CLONE%", uri))
    conf = dovecot.path("/etc/roost/roost.conf")
    conf.write_text(conf.read_text() + f"\n[quota-clone]\ndict = {uri}\n")
    dovecot.check("sh", "-c", "dovecot >/dev/null 2>&1")  # its processes would hold on to our pipes


def roost(dovecot, program, *args, **more):
    return dovecot.check("runuser", "-u", "roost", "--", program, *args, **more)


def deliver(dovecot, program, number):
    message = b"X-Number: %d\n" % number + b"X-Filler: " + b"x" * (7 * number) + b"\n" + SAMPLE
    if program == "dovecot":
        dovecot.check("/usr/lib/dovecot/dovecot-lda", "-e", "-d", ALICE, "-f", "bob@example.net", stdin=message)
    else:
        roost(dovecot, "/usr/local/libexec/roost-deliver", "-d", ALICE, stdin=message)


def usage(dovecot):
    shown = json.loads(roost(dovecot, "/usr/local/sbin/roost", "quota", "show", ALICE, "--json"))[0]["usage"]
    return shown["storage"], shown["messages"]


@pytest.mark.parametrize("expiry", ["", f":expire_secs={EXPIRY}"])
def test_dovecot_and_roost_write_the_same_keys_in_turn(dovecot, tmp_path, expiry):
    place = dovecot.path("/run/redis-socket")
    with Redis(tmp_path / "redis", place) as redis:
        start(dovecot, f"redis:path=/run/redis-socket:prefix=q/{expiry}")
        turns = ["roost", "dovecot", "dovecot", "roost", "roost", "dovecot"]
        for number, program in enumerate(turns, 1):
            redis("FLUSHALL")
            deliver(dovecot, program, number)
            storage, messages = usage(dovecot)
            assert messages == number
            wait_for(lambda: len(redis.everything()) == 2, f"{program}: {dovecot.read('/var/log/dovecot')}")
            assert redis.everything() == {STORAGE: str(storage), MESSAGES: str(messages)}, program
            for key in (STORAGE, MESSAGES):
                assert redis("TYPE", key) == "string"
                left = redis("TTL", key)
                assert EXPIRY - 100 < left <= EXPIRY if expiry else left == -1, program
        # What Dovecot wrote is no drift for Roost.
        roost(dovecot, "/usr/local/sbin/roost", "quota", "publish", "--check")


def test_dovecots_dict_server_takes_the_clone_into_the_table_of_postfixadmin(dovecot):
    dovecot.write("/etc/dovecot/dict-sql.conf", MAPS)
    dovecot.check("install", "-d", "-o", "dovecot", "/var/lib/dict")
    dovecot.check("runuser", "-u", "dovecot", "--", "sqlite3", "/var/lib/dict/quota.db", TABLE)
    start(dovecot, "proxy:/run/dovecot/dict:quota")

    def rows():
        return dovecot.check("sqlite3", "/var/lib/dict/quota.db", "SELECT * FROM quota2").split()

    for number, program in enumerate(["roost", "dovecot", "roost"], 1):
        deliver(dovecot, program, number)
        storage, messages = usage(dovecot)
        assert messages == number
        wait_for(lambda: rows() == [f"{ALICE}|{storage}|{messages}"], f"{program}: {dovecot.read('/var/log/dovecot')}")
    roost(dovecot, "/usr/local/sbin/roost", "user", "remove", ALICE)
    assert rows() == []
