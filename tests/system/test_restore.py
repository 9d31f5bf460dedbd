"""Backups of the user database, with the very commands of roost-users(5), and what is refused in between."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess

import pytest

from commands import fails, ok
from conftest import SAMPLE
from lmtp import Daemon
from manpage import literal_block

ALICE = "alice@example.org"

@pytest.fixture(params=[".backup", "VACUUM INTO"])
def backed_up(site, request):
    """A Site with 300 users and a backup of them."""
    site.backups = site.path / "backups"
    site.backups.mkdir()
    site.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
        "INSERT INTO users (name) SELECT 'u' || i || '@example.org' FROM n"
    )
    if request.param == ".backup":
        follow(site, 'sqlite3 /var/lib/roost/users.db ".backup /var/backups/users.db"\n')
    else:
        site.sql(f"VACUUM INTO '{site.backups}/users.db'")
    return site


def manual(site, begin):
    """A literal block of the manual, with this site's paths and user."""
    text = literal_block("roost-users.5", begin)
    for theirs, ours in {
        "/var/lib/roost": site.path,
        "/var/backups": site.backups,
        "/var/mail/roost": site.mail,
        "/tmp/mailboxes": site.path / "mailboxes",
        "-o roost -g roost": f"-o {os.geteuid()} -g {os.getegid()}",
        "roost config": f"{site.programs['roost']} -c {site.conf} config",
        "roost user": f"{site.programs['roost']} -c {site.conf} user",
    }.items():
        text = text.replace(theirs, str(ours))
    return text


def follow(site, begin):
    """Runs a literal block of the manual in a shell; what it prints."""
    done = subprocess.run(
        ["sh", "-e", "-c", manual(site, begin)], capture_output=True, text=True, timeout=60, check=False, cwd=site.path
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@contextlib.contextmanager
def changed(site, added=200):
    """After the backup 40 users go and others come, by a program that stays connected and is killed in the end."""
    statements = [f"DELETE FROM users WHERE name = 'u{i}@example.org';" for i in range(1, 41)]
    statements += [f"INSERT INTO users (name) VALUES ('n{i}@example.org');" for i in range(1, added + 1)]
    other = subprocess.Popen(["sqlite3", site.db], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        print("PRAGMA synchronous = OFF;", *statements, "SELECT 'done';", sep="\n", file=other.stdin, flush=True)
        assert other.stdout.readline() == "done\n"
        yield
    finally:
        other.kill()
        other.communicate()


def answers(client):
    """How what a client is told of everybody in the backup begins."""
    out = set()
    for i in range(1, 301):
        client.envelope()
        out.add(client.say(f"RCPT TO:<u{i}@example.org>")[:9])
        assert client.say("RSET").startswith("250 ")
    return out


def is_restored(site):
    ok(site.roost("config", "check", "--records"))
    return (
        site.sql("PRAGMA integrity_check") == [("ok",)]
        and site.sql("SELECT count(*) FROM users") == [(300,)]
        and site.sql("PRAGMA journal_mode") == [("wal",)]
    )


def put_back(site, how):
    """As people do it."""
    if how == "cp":
        shutil.copyfile(site.backups / "users.db", site.db)
    else:
        shutil.copy(site.backups / "users.db", site.path / "new.db")
        (site.path / "new.db").rename(site.db)
    return site.db.read_bytes()


RESTORE = 'sqlite3 /var/lib/roost/users.db ".backup /var/backups/before.db"\n'
INSTALL = "rm -f /var/lib/roost/users.db-wal"


@pytest.mark.parametrize("added", [30, 200])
def test_a_backup_is_put_back_while_roostd_runs(backed_up, added):
    site = backed_up
    owner_and_mode = os.stat(site.db).st_uid, os.stat(site.db).st_mode
    with Daemon(site) as daemon, daemon.client() as client, changed(site, added):
        assert answers(client) == {"250 2.1.5", "550 5.1.1"}
        follow(site, RESTORE)
        assert answers(client) == {"250 2.1.5"}
        client.envelope()
        assert client.say("RCPT TO:<n1@example.org>").startswith("550 5.1.1")
        client.say("RSET")
        assert client.deliver(SAMPLE, "u1@example.org")[0].startswith("250 ")
    assert is_restored(site)
    assert (os.stat(site.db).st_uid, os.stat(site.db).st_mode) == owner_and_mode


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_backup_is_put_back_while_roostd_is_stopped(backed_up, how):
    site = backed_up
    with Daemon(site) as daemon:
        with changed(site):
            daemon.stop(how)
    follow(site, INSTALL)
    with Daemon(site) as daemon, daemon.client() as client:
        assert answers(client) == {"250 2.1.5"}
    assert is_restored(site)


TOLD = "remove that file and "  # what to do about the log of a former file


def is_noted(site):
    """Whether the file system takes notes."""
    try:
        return os.getxattr(f"{site.db}-wal", "user.roost.database")
    except OSError:
        pytest.skip("no extended attributes")


@pytest.mark.parametrize("how", ["cp", "mv"])
def test_a_backup_put_beside_the_log_of_a_crash_bounces_nothing_and_stays_whole(backed_up, how):
    site = backed_up
    with Daemon(site) as daemon, changed(site):
        daemon.stop(signal.SIGKILL)
    assert is_noted(site)
    content = put_back(site, how)
    for words in ("user list", "user add x", "config check", "database show"):
        fails(site.roost(*words.split()), 1, TOLD)
    for i in range(1, 301, 23):
        assert site.deliver(f"u{i}@example.org").returncode == 75
    with Daemon(site, ready=False) as daemon:
        assert daemon.wait() == 1
        assert TOLD in site.log.read_text() + daemon.errors.decode()
    assert site.db.read_bytes() == content
    for part in ("-wal", "-shm"):
        os.remove(f"{site.db}{part}")
    with Daemon(site) as daemon, daemon.client() as client:
        assert answers(client) == {"250 2.1.5"}


@pytest.mark.parametrize("how", ["cp", "mv"])
def test_a_backup_put_in_place_under_roostd_bounces_nothing_and_no_reload_takes_it(backed_up, how):
    site = backed_up
    with Daemon(site) as daemon, daemon.client() as client, changed(site):
        assert is_noted(site)
        content = put_back(site, how)
        assert "550 5.1.1" not in answers(client)
        daemon.reload()
        assert "the old configuration stays in force" in site.log.read_text()
        assert TOLD in site.log.read_text()
        assert "550 5.1.1" not in answers(client)
    assert site.db.read_bytes() == content
    for part in ("-wal", "-shm"):
        os.remove(f"{site.db}{part}")
    put_back(site, how)
    with Daemon(site) as daemon, daemon.client() as client:
        assert answers(client) == {"250 2.1.5"}


@pytest.mark.parametrize("how", ["cp", "mv"])
def test_after_an_orderly_stop_a_backup_may_just_be_copied(backed_up, how):
    site = backed_up
    with Daemon(site) as daemon:
        with changed(site):
            pass
        assert os.stat(f"{site.db}-wal").st_size > 0
        daemon.stop()
    assert os.stat(f"{site.db}-wal").st_size == 0
    put_back(site, how)
    with Daemon(site) as daemon, daemon.client() as client:
        assert answers(client) == {"250 2.1.5"}


def test_a_stop_that_waits_for_nobody_leaves_no_filled_log_either(site):
    site.add(ALICE)
    with Daemon(site) as daemon, daemon.client() as client, changed(site):
        client.envelope(ALICE)
        assert client.say("DATA").startswith("354 ")
        daemon.send_signal(signal.SIGTERM)
        daemon.stop()
        assert os.stat(f"{site.db}-wal").st_size == 0


def test_a_log_that_a_crash_left_is_used(site):
    site.add(ALICE)
    with Daemon(site) as daemon, changed(site):
        daemon.stop(signal.SIGKILL)
    assert os.stat(f"{site.db}-wal").st_size > 0
    assert is_noted(site)
    with Daemon(site) as daemon, daemon.client() as client:
        assert client.deliver(SAMPLE, "n200@example.org")[0].startswith("250 ")


def test_what_came_after_the_backup_is_taken_over_from_the_former_database(backed_up):
    site = backed_up
    with changed(site, 2):
        pass
    for user in ("n1@example.org", "n2@example.org", "u100@example.org"):
        assert site.deliver(user).returncode == 0
    site.sql("INSERT INTO numbers (pool, number, name) VALUES ('uid', 1, 'n1@example.org')")
    kept = site.sql("SELECT name, allocation FROM users WHERE allocation IS NOT NULL ORDER BY name")
    follow(site, RESTORE)
    assert follow(site, "cd /var/mail/roost\n").split() == ["n1@example.org", "n2@example.org"]
    with contextlib.closing(sqlite3.connect(site.db)) as connection:
        connection.executescript(manual(site, "ATTACH "))
        back = connection.execute(manual(site, "SELECT name FROM users\n  WHERE name NOT IN")).fetchall()
    assert len(back) == 40
    assert site.sql("SELECT name, allocation FROM users WHERE allocation IS NOT NULL ORDER BY name") == kept
    assert site.sql("SELECT count(*) FROM users") == [(302,)]
    assert site.sql("SELECT name FROM numbers") == [("n1@example.org",)]


def test_damage_is_found_by_config_check_and_ends_no_listing(site):
    site.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
        "INSERT INTO users (name) SELECT char(65 + 32 * (i * 17 % 101 % 2) + i % 8) || i || '@x' FROM n"
    )
    with contextlib.closing(sqlite3.connect(site.db)) as connection:
        connection.executescript(
            "CREATE TABLE t (name TEXT NOT NULL PRIMARY KEY, enabled, settings, allocation, version) WITHOUT ROWID;"
            "INSERT INTO t SELECT * FROM users; PRAGMA writable_schema = ON;"
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 't') "
            "WHERE name = 'users'; DELETE FROM sqlite_master WHERE name = 't'"
        )
    fails(site.roost("config", "check", timeout=30), 1, "it is damaged", "roost-users(5)")
    for words in ("config check --records", "user list"):
        result = site.roost(*words.split(), timeout=30)
        assert result.returncode == 1 and b"not in the order of names" in result.stderr
