"""roost(8): removing users with and without their mail, and making mailboxes ahead."""

import json
import shutil
import subprocess

import pytest

from commands import fails, ok, on_terminal, row
from conftest import PROGRAMS, SAMPLE, clean_env
from lmtp import Daemon
from manpage import literal_block

ALICE, BOB = "alice@example.org", "bob@example.org"


# Removing


def test_removing_a_user_keeps_the_mail_and_says_where(site):
    site.add(ALICE)
    assert site.deliver(ALICE).returncode == 0
    assert ok(site.roost("user", "remove", ALICE, "-v")).splitlines() == [
        f"removed {ALICE}",
        f"the mail stays: maildir.path={site.maildir(ALICE)}",
    ]
    assert len(site.messages(ALICE)) == 1


@pytest.mark.parametrize("answer, gone", [(b"y\n", True), (b"YES\n", True), (b"\n", False), (b"n\n", False), (b"\x04", False)])
def test_purging_asks_on_a_terminal_and_no_is_the_default(site, answer, gone):
    site.add(ALICE)
    assert site.deliver(ALICE).returncode == 0
    status, shown = on_terminal(site, ["user", "remove", ALICE, "--purge"], answer)
    assert ALICE in shown and "[y/N]" in shown
    if gone:
        assert status == 0 and row(site, "users", ALICE) is None and not site.maildir(ALICE).exists()
    else:
        assert status == 1 and "nothing was changed" in shown
        assert row(site, "users", ALICE)[1] == 1 and len(site.messages(ALICE)) == 1


def test_purging_needs_yes_where_nobody_can_answer(site):
    site.add(ALICE)
    assert site.deliver(ALICE).returncode == 0
    fails(site.roost("user", "remove", ALICE, "--purge", stdin=b"y\n"), 64, "--yes")
    assert len(site.messages(ALICE)) == 1 and row(site, "users", ALICE)
    ok(site.roost("user", "remove", ALICE, "--purge", "--yes"), "")
    assert not site.maildir(ALICE).exists() and row(site, "users", ALICE) is None


def test_purging_does_not_ask_with_yes_on_a_terminal(site):
    site.add(ALICE)
    status, shown = on_terminal(site, ["user", "remove", ALICE, "--purge", "--yes"], b"")
    assert (status, shown) == (0, "") and row(site, "users", ALICE) is None


# One mailbox per user


@pytest.mark.parametrize("creator", ["lock", "trial", "none"])
def test_a_template_without_the_domain_never_puts_two_users_into_one_mailbox(site, creator):
    site.configure({"maildir.path": f"{site.mail}/%{{local}}", "store.creator": creator, "quota.messages": "1"})
    for user in ("info@a.org", "info@b.org", "info"):
        site.add(user)
    assert site.deliver("info@a.org").returncode == 0
    ok(site.roost("config", "check", "--records"), "")
    for user in ("info@b.org", "info"):
        told = site.deliver(user)
        assert told.returncode == 75 and told.stderr.startswith(b"4.3.5 "), told
        for part in ("info@a.org", "maildir.path", "%{domain}"):
            assert part in told.stderr.decode()
        explained = ok(site.roost("explain", user))
        assert "misconfigured" in explained and "info@a.org" in explained
        fails(site.roost("user", "allocate", user), 1, "info@a.org")
        assert row(site, "users", user)[3] is None
    assert len(list((site.mail / "info" / "new").iterdir())) == 1
    # Shared before it was refused, or by the will of an administrator.
    site.sql("UPDATE users SET allocation = (SELECT allocation FROM users WHERE name = 'info@a.org')")
    found = site.roost("config", "check", "--records")
    assert found.returncode == 1 and found.stderr.decode().count("the mailbox of info lies there, too") == 2, found
    for user in ("info@a.org", "info@b.org"):
        ok(site.roost("user", "set", user, f"maildir.path={site.mail}/info"))
    ok(site.roost("config", "check", "--records"), "")


@pytest.mark.parametrize("path", ["{mail}/%{{domain}}", "{mail}/one", "{mail}/%{{hash}}"])
def test_a_template_that_is_one_place_for_many_is_refused_above_the_user(site, path):
    path = path.format(mail=site.mail)
    site.add(ALICE)
    for level, name in (("plan", "gold"), ("domain", "example.org")):
        fails(site.roost(level, "set", name, f"maildir.path={path}"), 64, "maildir.path", "several users")
    ok(site.roost("user", "set", ALICE, f"maildir.path={path}"))
    site.configure({"maildir.path": path})
    line = next(n for n, text in enumerate(site.conf.read_text().splitlines(), 1) if path in text)
    fails(site.roost("config", "check"), 1, f"{site.conf}:{line}: maildir.path", "several users")
    assert site.deliver(ALICE).stderr.startswith(b"4.3.5 ")
    assert not list(site.mail.iterdir())


@pytest.mark.parametrize("where", ["{path}/shared", "{path}/shared/below"])
def test_a_purge_never_takes_somebody_elses_mailbox_along(site, where):
    site.add(ALICE)
    site.add(BOB)
    for user, place in ((ALICE, "{path}/shared"), (BOB, where)):
        ok(site.roost("user", "set", user, "maildir.path=" + place.format(path=site.path)), "")
        assert site.deliver(user).returncode == 0
    text = fails(site.roost("user", "remove", ALICE, "--purge", "--yes"), 1, "shared", BOB)
    assert "without --purge" in text
    assert site.sql("SELECT enabled FROM users WHERE name=?", (ALICE,)) == [(1,)]
    assert (site.path / "shared/new").is_dir()
    if where.endswith("below"):
        ok(site.roost("user", "remove", BOB, "--purge", "--yes"), "")
        ok(site.roost("user", "remove", ALICE, "--purge", "--yes"), "")


def test_a_purge_that_fails_leaves_the_user_disabled_and_can_be_repeated(site):
    site.add(ALICE)
    assert site.deliver(ALICE).returncode == 0
    allocation = row(site, "users", ALICE)[3]
    site.sql("UPDATE users SET allocation = ?", ('{"other.path": "/somewhere"}',))
    text = fails(site.roost("user", "remove", ALICE, "--purge", "--yes"), 1, "other.path=/somewhere", "disabled")
    assert "again" in text and len(site.messages(ALICE)) == 1
    assert row(site, "users", ALICE)[1] == 0 and site.deliver(ALICE).returncode == 77
    site.sql("UPDATE users SET allocation = ?", (allocation,))
    ok(site.roost("user", "remove", ALICE, "--purge", "--yes"), "")
    assert not site.maildir(ALICE).exists()


def test_a_record_that_cannot_be_read_can_be_removed(site):
    site.add(ALICE, settings="{oops")
    fails(site.roost("user", "remove", ALICE, "--purge", "--yes"), 1, ALICE)
    ok(site.roost("user", "remove", ALICE, "-v"), f"removed {ALICE}\n")


def test_a_delivery_that_races_a_purge_leaves_no_mailbox_without_a_user(site):
    for _ in range(8):
        site.sql("INSERT OR REPLACE INTO users(name) VALUES (?)", (ALICE,))
        deliver = [PROGRAMS["roost-deliver"], "-c", site.conf, "-d", ALICE]
        racing = [
            subprocess.Popen(deliver, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env()) for _ in range(8)
        ]
        for process in racing:
            process.stdin.write(SAMPLE)
            process.stdin.close()
        purged = site.roost("user", "remove", ALICE, "--purge", "--yes")
        statuses = {process.wait(60) for process in racing}
        for process in racing:
            process.stderr.close()
        ok(purged)
        assert statuses <= {0, 67, 75, 77}
        assert row(site, "users", ALICE) is None and not site.maildir(ALICE).exists()


# Allocating


def test_a_mailbox_is_made_ahead_of_the_first_mail_and_once(site):
    site.add(ALICE)
    made = f"maildir.path={site.maildir(ALICE)}\n"
    ok(site.roost("user", "allocate", ALICE, "-v"), made)
    assert (site.maildir(ALICE) / "new").is_dir()
    before = row(site, "users", ALICE)
    assert json.loads(before[3]) == {"maildir.path": str(site.maildir(ALICE))}
    ok(site.roost("user", "allocate", ALICE, "-v"), made)
    ok(site.roost("user", "allocate", ALICE), "")
    assert row(site, "users", ALICE) == before
    assert json.loads(ok(site.roost("user", "show", ALICE, "--json")))["allocation"] == json.loads(before[3])
    assert f"  maildir.path = {site.maildir(ALICE)}\n" in ok(site.roost("user", "show", ALICE))


@pytest.mark.parametrize("mda", ["maildir", "mbox"])
def test_a_lost_mailbox_is_no_mailbox_that_is_there(site, mda):
    site.configure({"store.mda": mda, "mbox.path": f"{site.mail}/%{{user}}/inbox", "mbox.folders": f"{site.mail}/%{{user}}/folders"})
    site.add(ALICE)
    assert site.deliver(ALICE).returncode == 0
    ok(site.roost("user", "allocate", ALICE), "")
    before = row(site, "users", ALICE)
    shutil.rmtree(site.mail)
    fails(site.roost("user", "allocate", ALICE), 1, ALICE, "MAILBOXES in roost-users(5)")
    assert row(site, "users", ALICE) == before and not site.mail.exists()
    if mda == "mbox":
        (site.mail / ALICE).mkdir(parents=True)
        fails(site.roost("user", "allocate", ALICE), 1, ALICE, "/inbox", "MAILBOXES in roost-users(5)")


def test_a_mailbox_is_moved_as_the_manual_says(site):
    site.configure(quota__messages="10")
    site.add(ALICE)
    assert site.deliver(ALICE).returncode == 0
    moved = site.path / "elsewhere"
    site.maildir(ALICE).rename(moved)
    site.maildir(ALICE).symlink_to(moved)
    refused = site.deliver(ALICE)
    assert refused.returncode == 75 and b"MAILBOXES in roost-users(5)" in refused.stderr
    site.sql(literal_block("roost-users.5", "UPDATE users\n  SET allocation").replace("/srv/mail/alice", str(moved)))
    assert site.deliver(ALICE).returncode == 0
    assert len(list((moved / "new").iterdir())) == 2
    ok(site.roost("user", "allocate", ALICE, "-v"), f"maildir.path={moved}\n")


def test_a_lost_mailbox_is_given_up_as_the_manual_says_while_roostd_runs(site):
    site.add(ALICE)
    with Daemon(site) as daemon, daemon.client() as client:
        assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
        shutil.rmtree(site.mail)
        assert client.deliver(SAMPLE + b"2\n", ALICE)[0].startswith("451 4.3.0 ")
        site.sql(literal_block("roost-users.5", "UPDATE users SET allocation = NULL"))
        assert client.deliver(SAMPLE + b"3\n", ALICE)[0].startswith("250 ")
    assert len(site.messages(ALICE)) == 1


def test_a_mailbox_that_cannot_be_made_is_a_clear_failure(site):
    site.add(ALICE)
    (site.path / "file").write_text("")
    site.configure({"maildir.path": f"{site.path}/file/%{{user}}"})
    fails(site.roost("user", "allocate", ALICE), 1, f"{site.path}/file")
    assert row(site, "users", ALICE)[3] is None
