"""The clone in PostfixAdmin's table quota2, on SQLite and the real PostgreSQL and MariaDB."""

import json

import pytest

from clones import pending, quiet, usage
from lmtp import Daemon, wait_for
from sql_servers import SERVERS
from test_clone import ALICE, BOB, deliver_many


@pytest.fixture(name="server", scope="module", params=SERVERS)
def fixture_server(request):
    made = SERVERS[request.param]()
    yield made
    made.close()


@pytest.fixture(name="db")
def fixture_db(server, site):
    """An empty quota2, which the clone of the site is in."""
    server.create()
    for name in (ALICE, BOB):
        site.add(name)
    site.configure({"quota-clone.dict": server.uri()})
    return server


def rows(site):
    """What the table must hold."""
    return sorted((name, str(storage), str(messages)) for name, (storage, messages) in usage(site).items() if messages)


@pytest.mark.parametrize("unset", ["no", "yes"])
def test_usage_goes_into_the_table_and_out_of_it(site, db, unset):
    site.configure({"quota-clone.unset": unset})
    for _ in range(2):
        assert site.deliver(ALICE).returncode == 0
    assert db.rows() == rows(site) and len(db.rows()) == 1
    with Daemon(site) as daemon:
        deliver_many(daemon, [ALICE, BOB], 20)
        quiet(site)
        wait_for(lambda: db.rows() == rows(site), "the clone")
    assert site.roost("user", "remove", ALICE).returncode == 0
    assert db.rows() == rows(site) and len(db.rows()) == 1


def test_publish_fills_the_table_shows_drift_and_removes_orphans(site, db):
    for user in (ALICE, BOB):
        assert site.deliver(user).returncode == 0
    right = db.rows()
    db.sql(f"UPDATE quota2 SET bytes = 1 WHERE username = '{ALICE}'")
    db.sql("INSERT INTO quota2 (username, bytes, messages) VALUES ('gone@example.org', 1, 1)")
    result = site.roost("quota", "publish", "--check", "--json")
    assert {row["name"]: row["drift"] for row in json.loads(result.stdout)} == {
        ALICE: "differs", "gone@example.org": "orphan"}
    assert site.roost("quota", "publish", "--all", "--prune").returncode == 0
    assert db.rows() == right
    assert site.roost("quota", "publish", "--check").returncode == 0


def test_a_server_that_is_down_for_a_while_misses_nothing(site, db):
    if not hasattr(db, "stop"):
        pytest.skip("there is no server to stop")
    with Daemon(site) as daemon:
        deliver_many(daemon, [ALICE], 1)
        quiet(site)
        db.stop()
        deliver_many(daemon, [ALICE, BOB], 20)
        assert pending(site)
        db.start()
        quiet(site)
        wait_for(lambda: db.rows() == rows(site), "the clone")
