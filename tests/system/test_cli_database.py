"""roost(8): trouble with the database, and the database itself."""

import json
import os
import re

import pytest

from commands import as_nobody, fails, fresh, ok, row

ALICE = "alice@example.org"


# Trouble with the database


EVERY_COMMAND_ON_A_DATABASE = [
    "user set x quota.storage=1",
    "user unset x quota.storage",
    "user show x",
    "user list",
    "user remove x",
    "user remove x --purge --yes",
    "user allocate x",
    "domain unset x plan",
    "domain show x",
    "domain list",
    "domain remove x",
    "plan unset x quota.storage",
    "plan show x",
    "plan list",
    "plan remove x",
    "quota show",
    "quota recount --all",
    "quota recount --all --check",
    "config check",
    "config show x",
    "explain x",
    "database upgrade",
    "database show",
]


@pytest.mark.parametrize("words", EVERY_COMMAND_ON_A_DATABASE)
def test_a_missing_database_is_no_missing_user_and_is_not_made(tmp_path, words):
    site = fresh(tmp_path)
    fails(site.roost(*words.split()), 1, str(site.db), "roost database create")
    assert not site.db.exists()


@pytest.mark.parametrize("words", ["user list", "user add x", "database show"])
def test_a_file_that_is_no_database_is_left_alone(tmp_path, words):
    site = fresh(tmp_path)
    site.db.write_bytes(b"something else entirely\n" * 100)
    fails(site.roost(*words.split()), 1, str(site.db))
    assert site.db.read_bytes() == b"something else entirely\n" * 100


@pytest.mark.parametrize("url", ["sqlite:relative.db", "mysql:db=roost", "users.db", ""])
def test_a_database_url_that_cannot_be_is_a_clear_failure(site, url):
    fails(site.roost("-o", f"users.database={url}", "user", "add", ALICE), 1, "sqlite:")


@pytest.mark.parametrize("words", ["user show NAME", "user set NAME quota.storage=1G", "user unset NAME quota.storage",
                                   "config show NAME", "quota show NAME", "user allocate NAME"])  # fmt: skip
@pytest.mark.parametrize("text", ["{oops", "[]", '{"quota.storage": {}}', '{"quota.storage": 1.5}'])
def test_bad_json_in_a_record_is_named_and_left_alone(site, words, text):
    site.add(ALICE, settings=text)
    fails(site.roost(*words.replace("NAME", ALICE).split()), 1, ALICE)
    assert site.sql("SELECT settings FROM users")[0][0] == text


@pytest.mark.parametrize("words", ["config show NAME", "quota show NAME", "user allocate NAME"])
@pytest.mark.parametrize(
    "table, name, label", [("users", ALICE, f"user {ALICE}"), ("domains", "example.org", "domain example.org"),
                           ("plans", "gold", "plan gold")]
)  # fmt: skip
@pytest.mark.parametrize(
    "text, key", [('{"quota.storge": "1G"}', "quota.storge"), ('{"quota.storage": "lots"}', "quota.storage"),
                  ('{"log.level": "debug"}', "log.level")]
)  # fmt: skip
def test_a_bad_setting_in_a_record_is_named_with_its_level(site, words, table, name, label, text, key):
    site.add(ALICE)
    site.sql("INSERT INTO plans(name) VALUES ('gold')")
    site.sql("INSERT INTO domains(name, plan) VALUES ('example.org', 'gold')")
    site.sql(f"UPDATE {table} SET settings = ? WHERE name = ?", (text, name))
    fails(site.roost(*words.replace("NAME", ALICE).split()), 1, label, key)
    # It can be seen and mended.
    kind = table.removesuffix("s")
    assert key in ok(site.roost(kind, "show", name))
    ok(site.roost(kind, "unset", name, key), "")
    ok(site.roost("config", "show", ALICE))


def test_a_database_that_cannot_be_written_is_a_clear_failure(site):
    site.add(ALICE)
    nobody = as_nobody(site)
    site.conf.chmod(0o644)
    for path in site.path.glob("users.db*"):
        path.chmod(0o444)
    site.path.chmod(0o555)
    before = row(site, "users", ALICE)
    for words in ["user add bob", f"user set {ALICE} enabled=no", f"user remove {ALICE}", "domain set x", "plan set x"]:
        fails(site.roost(*words.split(), **nobody), 1, str(site.db))
    site.path.chmod(0o755)
    for path in site.path.glob("users.db*"):
        path.chmod(0o644)
    assert row(site, "users", ALICE) == before


def test_a_database_that_another_program_keeps_locked_is_waited_for_and_then_given_up(site):
    import sqlite3

    site.add(ALICE)
    site.configure({"users.busy-time": "200ms"})
    connection = sqlite3.connect(site.db, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    fails(site.roost("user", "set", ALICE, "enabled=no"), 1, str(site.db))
    connection.execute("COMMIT")
    connection.close()
    ok(site.roost("user", "set", ALICE, "enabled=no"))


# The database itself


def test_the_database_is_made_once_and_described(tmp_path):
    site = fresh(tmp_path)
    ok(site.roost("database", "create"), "")
    ok(site.roost("database", "create", "-v"), f"{site.db}: schema version 1\n")
    site.add(ALICE)
    site.add("bob")
    ok(site.roost("user", "allocate", "bob"))
    ok(site.roost("database", "upgrade"), "")
    ok(site.roost("plan", "set", "gold"))
    ok(site.roost("domain", "set", "example.org"))
    assert json.loads(ok(site.roost("database", "show", "--json"))) == {
        "path": str(site.db),
        "schema": 1,
        "users": 2,
        "mailboxes": 1,
        "domains": 1,
        "plans": 1,
    }
    assert re.search(r"^users +2$", ok(site.roost("database", "show")), re.M)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_what_root_makes_belongs_to_whom_the_directory_does(tmp_path):
    site = fresh(tmp_path)
    os.chown(site.path, 4242, 4343)
    ok(site.roost("database", "create"), "")
    ok(site.roost("user", "add", ALICE), "")
    made = list(site.path.glob("users.db*"))
    assert site.db in made
    assert {(file.stat().st_uid, file.stat().st_gid) for file in made} == {(4242, 4343)}


def test_a_newer_database_is_refused(site):
    site.sql("UPDATE roost_schema SET version = 99")
    for words in ["user list", "database upgrade", "database show", "user add x"]:
        fails(site.roost(*words.split()), 1, str(site.db), "99")
    assert site.sql("SELECT version FROM roost_schema") == [(99,)]


def test_a_directory_for_the_database_that_is_not_there_is_a_clear_failure(tmp_path):
    site = fresh(tmp_path)
    site.configure({"users.database": f"sqlite:{site.path}/nowhere/users.db"})
    fails(site.roost("database", "create"), 1, f"{site.path}/nowhere")
    fails(site.roost("user", "add", ALICE), 1, f"{site.path}/nowhere")
