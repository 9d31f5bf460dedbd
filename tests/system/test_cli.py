"""roost(8): the command line itself; users, domains and plans."""

import json
import os
import re
import subprocess
import sys

import pytest

from commands import fails, fresh, ok, row, settings
from conftest import BUILD, PROGRAMS, clean_env

ALICE = "alice@example.org"


# The command line


def dumped(site):
    return json.loads(ok(site.run("roost", "--dump-options")))


def test_help_explains_every_command(site):
    everything = ok(site.run("roost", "--help"))
    for words, row_ in dumped(site).items():
        assert words in everything
        text = ok(site.run("roost", *words.split(), "--help"))
        for option in row_["options"]:
            assert option["name"] in text and option["help"] in text
        if words:
            assert f"usage: roost {words} {row_['operands']}".rstrip() in text


def test_version_is_said(site):
    assert re.fullmatch(r"roost \d+\.\d+\.\d+\n", ok(site.run("roost", "--version")))


@pytest.mark.parametrize(
    "words, parts",
    [
        ([], ["no command", "--help"]),
        (["usr"], ["command usr", "did you mean user?"]),
        (["frobnicate"], ["command frobnicate", "--help"]),
        (["user"], ["command user", "add, set, unset"]),
        (["user", "ad", "x"], ["command user ad", "did you mean add?"]),
        (["user", "add"], ["operand is missing", "usage: roost user add NAME"]),
        (["user", "set", ALICE], ["operand is missing"]),
        (["user", "show", "a", "b"], ["'b' is one operand too many"]),
        (["modules", "x"], ["'x' is one operand too many"]),
        (["user", "list", "--jsn"], ["option --jsn", "did you mean --json?"]),
        (["user", "list", "--js"], ["option --js"]),  # no abbreviations
        (["user", "list", "-x"], ["option -x"]),
        (["user", "list", "--purge"], ["option --purge", '"roost user list" does not take it']),
        (["user", "list", "--json=yes"], ["command line", "--json"]),
        (["user", "list", "--json", "--json"], ["option --json", "twice"]),
        (["user", "list", "-c"], ["command line"]),
        (["user", "list", "-c", "a", "-c", "b"], ["option --config", "twice"]),
        (["user", "list", "--domain"], ["command line", "--domain"]),
        (["user", "list", "-q", "-v"], ["contradict"]),
        (["user", "list", "-o", "quota"], ["-o quota", "key=value"]),
        (["user", "list", "--domain", "a@b"], ["domain 'a@b'"]),
        (["user", "remove", ALICE, "--yes"], ["option --yes", "--purge"]),
        (["quota", "show", ALICE, "--all"], ["exclude each other"]),
        (["quota", "recount"], ["--all"]),
        (["quota", "recount", "--domain", "example.org", "--all"], ["exclude each other"]),
        (["explain", ALICE, "--size", "big"], ["--size", "'big' is not a size"]),
        (["explain", ALICE, "--size", "unlimited"], ["--size"]),
        (["-o", "quota.storage", "config", "show"], ["-o quota.storage", "key=value"]),
        (["-o", "quota.storage=much", "config", "show"], ["quota.storage", "'much'"]),
        (["-o", "quota.storag=1G", "config", "show"], ["quota.storag", "no such setting"]),
    ],
)
def test_a_mistyped_command_line_is_64_and_says_what_would_be_right(site, words, parts):
    config = [] if "-c" in words else ["-c", site.conf]
    fails(site.run("roost", *config, *words), 64, *parts)


def test_options_stand_anywhere_and_operands_after_two_dashes(site):
    ok(site.run("roost", "user", "-c", site.conf, "add", "--verbose", "--", "-dash@example.org"), "added -dash@example.org\n")
    ok(site.roost("user", "list"), "-dash@example.org\n")


def test_control_characters_of_the_command_line_never_reach_the_terminal(site):
    text = fails(site.roost("user", "add", "a\x1b[31m@example.org"), 64)
    assert "\x1b" not in text
    assert "\x1b" not in fails(site.roost("\x1b[31m"), 64)
    assert "\x1b" not in fails(site.run("roost", "-c", "/no\x1b[31mwhere", "user", "list"), 1)


def test_output_that_cannot_be_written_is_a_failure(site):
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [PROGRAMS["roost"], "-c", site.conf, "config", "show"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert result.returncode == 1 and b"standard output" in result.stderr


# Users


def test_a_user_is_added_shown_changed_and_removed(site):
    ok(site.roost("user", "add", "Alice@Example.ORG", "quota.storage=1G", "delivery.detail=inbox"), "")
    assert settings(site, "users", ALICE) == {"quota.storage": "1G", "delivery.detail": "inbox"}
    ok(site.roost("user", "set", ALICE, "quota.storage=unlimited", "enabled=no"), "")
    shown = json.loads(ok(site.roost("user", "show", "ALICE@example.org", "--json")))
    assert shown == {
        "name": ALICE,
        "enabled": False,
        "domain": "example.org",
        "plan": "",
        "settings": {"delivery.detail": "inbox", "quota.storage": "unlimited"},
        "allocation": None,
        "version": shown["version"],
    }
    ok(site.roost("user", "unset", ALICE, "quota.storage", "enabled"), "")
    text = ok(site.roost("user", "show", ALICE))
    assert re.search(r"^enabled +yes$", text, re.M) and "  delivery.detail = inbox\n" in text and "quota" not in text
    ok(site.roost("user", "remove", ALICE), "")
    assert row(site, "users", ALICE) is None


def test_a_disabled_user_can_be_added(site):
    ok(site.roost("user", "add", ALICE, "enabled=no"))
    assert site.deliver(ALICE).returncode == 77


@pytest.mark.parametrize("command", ["user add", "domain set", "plan set"])
def test_what_adds_makes_a_missing_database_but_not_for_a_mistake(tmp_path, command):
    site = fresh(tmp_path)
    fails(site.roost(*command.split(), "x", "quota.storage=lots"), 64)
    assert not site.db.exists()
    ok(site.roost(*command.split(), "x", "quota.storage=1G"), "")
    assert settings(site, command.split()[0] + "s", "x") == {"quota.storage": "1G"}


def test_adding_a_user_twice_is_an_error_and_changes_nothing(site):
    ok(site.roost("user", "add", ALICE, "quota.storage=1G"))
    fails(site.roost("user", "add", "ALICE@example.org", "quota.storage=2G"), 1, ALICE, "already", "roost user set")
    assert settings(site, "users", ALICE) == {"quota.storage": "1G"}


@pytest.mark.parametrize("name", ["", "@example.org", "a\nb@example.org", "a" * 400 + "@example.org", b"\xff@x"])
@pytest.mark.parametrize("command", ["add", "show", "remove", "allocate"])
def test_what_cannot_be_a_name_is_no_user(site, command, name):
    fails(site.roost("user", command, os.fsdecode(name)), 64)
    assert site.sql("SELECT * FROM users") == []


@pytest.mark.parametrize("name", ["", "two words", "a@b", "a\nb", "x" * 300, b"\xff"])
def test_what_cannot_be_a_domain_is_refused(site, name):
    fails(site.roost("domain", "set", os.fsdecode(name)), 64, "domain")


@pytest.mark.parametrize("name", ["", "two words", "a\x7fb", "x" * 300])
def test_what_cannot_be_a_plan_is_refused(site, name):
    fails(site.roost("plan", "set", name), 64, "plan")


@pytest.mark.parametrize(
    "kind, words",
    [
        ("user", "user set NAME quota.storage=1G"),
        ("user", "user unset NAME quota.storage"),
        ("user", "user show NAME"),
        ("user", "user remove NAME"),
        ("user", "user remove NAME --purge --yes"),
        ("user", "user allocate NAME"),
        ("user", "quota show NAME"),
        ("user", "quota recount NAME"),
        ("user", "quota recount NAME --check"),
        ("user", "config show NAME"),
        ("domain", "domain unset NAME plan"),
        ("domain", "domain show NAME"),
        ("domain", "domain remove NAME"),
        ("plan", "plan unset NAME quota.storage"),
        ("plan", "plan show NAME"),
        ("plan", "plan remove NAME"),
    ],
)
def test_what_does_not_exist_is_67(site, kind, words):
    fails(site.roost(*words.replace("NAME", "nobody").split()), 67, f"{kind} nobody", f"there is no such {kind}")


@pytest.mark.parametrize("kind, level", [("user", "user"), ("domain", "domain"), ("plan", "plan")])
@pytest.mark.parametrize(
    "assignment, parts",
    [
        ("quota.storge=1G", ["quota.storge", "did you mean quota.storage?"]),
        ("quota.storage=lots", ["quota.storage", "'lots' is not a size"]),
        ("quota.messages=-1", ["quota.messages", "'-1' is not a count"]),
        ("quota.grace=200%", ["quota.grace", "allowance"]),
        ("quota.when-full=explode", ["quota.when-full", "bounce", "defer"]),
        ("delivery.create-folders=maybe", ["delivery.create-folders", "yes or no"]),
        ("delivery.deadline=1m", ["delivery.deadline", "roost.conf"]),  # not below the file
        ("log.level=debug", ["log.level", "roost.conf"]),
        ("quota.storage", ["key=value"]),
        ("=1G", ["key=value"]),
    ],
)
def test_a_setting_is_checked_at_its_level_before_anything_is_written(site, kind, level, assignment, parts):
    name = ALICE if kind == "user" else "example"
    site.sql(f"INSERT INTO {kind}s(name) VALUES (?)", (name,))
    before = row(site, f"{kind}s", name)
    fails(site.roost(kind, "set", name, "quota.message=1M", assignment), 64, f"{kind} {name}", *parts)
    assert row(site, f"{kind}s", name) == before


def test_a_key_given_twice_is_an_error(site):
    site.add(ALICE)
    fails(site.roost("user", "set", ALICE, "quota.storage=1G", "quota.storage=2G"), 64, "quota.storage", "twice")
    fails(site.roost("user", "set", ALICE, "enabled=no", "enabled=yes"), 64, "enabled", "twice")
    fails(site.roost("user", "unset", ALICE, "quota.storage", "quota.storage"), 64, "quota.storage", "twice")


def test_enabled_is_yes_or_no_and_no_setting_of_a_domain(site):
    site.add(ALICE)
    fails(site.roost("user", "set", ALICE, "enabled=perhaps"), 64, f"user {ALICE}: enabled", "yes or no")
    fails(site.roost("domain", "set", "example.org", "enabled=no"), 64, "enabled", "no such setting")
    fails(site.roost("user", "set", ALICE, "plan=gold"), 64, "plan", "no such setting")


def test_a_key_that_nothing_knows_cannot_be_unset_unless_the_record_has_it(site):
    site.add(ALICE, settings='{"old.key": "x"}')
    fails(site.roost("user", "unset", ALICE, "quota.storge"), 64, "did you mean quota.storage?")
    ok(site.roost("user", "unset", ALICE, "quota.storage"), "")  # known, not set: nothing to do
    ok(site.roost("user", "unset", ALICE, "old.key"), "")
    assert settings(site, "users", ALICE) == {}


def test_settings_of_installed_modules_that_are_not_selected_can_be_set(site):
    site.add(ALICE)
    text = ok(site.roost("-o", "store.mda=mbox", "config", "show"))
    key, value = next(re.finditer(r"^(mbox\.\S+) = (.*?)  \(", text, re.M)).groups()
    result = site.roost("user", "set", ALICE, f"{key}={value}")
    # The key is known, whatever its narrowest level is.
    assert "there is no such setting" not in result.stderr.decode()


def test_verbose_says_what_was_done(site):
    assert ok(site.roost("-v", "user", "add", ALICE)) == f"added {ALICE}\n"
    assert ok(site.roost("-v", "user", "set", ALICE, "enabled=no")) == f"changed {ALICE}\n"
    assert ok(site.roost("-v", "plan", "set", "gold")) == "set gold\n"
    assert ok(site.roost("-v", "domain", "set", "example.org", "plan=gold")) == "set example.org\n"
    assert ok(site.roost("-v", "domain", "remove", "example.org")) == "removed example.org\n"
    assert ok(site.roost("-v", "user", "remove", ALICE)) == f"removed {ALICE}\n"


# Listings


def test_users_are_listed_in_order_and_by_domain(site):
    for name in ["carol@example.net", "Bob@example.org", ALICE]:
        site.add(name)
    ok(site.roost("user", "list"), f"{ALICE}\nbob@example.org\ncarol@example.net\n")
    ok(site.roost("user", "list", "--domain", "EXAMPLE.net"), "carol@example.net\n")
    ok(site.roost("user", "list", "--domain", "example"), "")
    listed = json.loads(ok(site.roost("user", "list", "--domain", "example.org", "--json")))
    assert [user["name"] for user in listed] == [ALICE, "bob@example.org"]
    assert list(listed[0]) == ["name", "enabled", "domain", "plan", "settings", "allocation", "version"]
    assert json.loads(ok(site.roost("user", "list", "--domain", "nowhere", "--json"))) == []
    site.add("dan@example.org", settings='{"quota.storage": "5M"}', enabled=0)
    assert "dan@example.org\tdisabled\tno mailbox yet\tquota.storage=5M\n" in ok(site.roost("-v", "user", "list"))


def test_a_record_that_cannot_be_read_does_not_end_a_listing(site):
    for name, text in [("a@example.org", "{}"), ("b@example.org", "{oops"), ("c@example.org", "{}")]:
        site.add(name, settings=text)
    for flags, names in [([], lambda out: out.split()), (["--json"], lambda out: [u["name"] for u in json.loads(out)])]:
        result = site.roost("user", "list", *flags)
        assert result.returncode == 1
        assert names(result.stdout.decode()) == ["a@example.org", "c@example.org"]
        assert result.stderr.decode().startswith("roost: user b@example.org") and result.stderr.count(b"\n") == 1


def test_a_long_listing_takes_constant_memory(site):
    def peak(count):
        import sqlite3

        with sqlite3.connect(site.db) as connection:
            connection.execute("DELETE FROM users")
            connection.executemany(
                "INSERT INTO users(name) VALUES (?)", ((f"user{i:07}@example.org",) for i in range(count))
            )
        connection.close()
        script = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        args = [sys.executable, "-c", script, PROGRAMS["roost"], "-c", site.conf, "user", "list", "--json"]
        return int(subprocess.run(args, capture_output=True, check=True, env=clean_env()).stdout)

    if (BUILD / "CMakeCache.txt").read_text().find("ROOST_SANITIZE:STRING=\n") < 0:
        pytest.skip("a sanitizer keeps freed memory")
    assert peak(50_000) < peak(1_000) + 4096  # KiB


# Domains and plans


def test_a_domain_and_a_plan_are_set_shown_and_removed(site):
    ok(site.roost("plan", "set", "Gold", "quota.storage=10G"), "")
    ok(site.roost("domain", "set", "Example.org", "plan=GOLD", "quota.messages=100"), "")
    site.add(ALICE, settings='{"quota.message": "1M"}')
    assert json.loads(ok(site.roost("plan", "show", "gold", "--json"))) == {
        "name": "gold",
        "settings": {"quota.storage": "10G"},
    }
    assert json.loads(ok(site.roost("domain", "list", "--json"))) == [
        {"name": "example.org", "plan": "gold", "settings": {"quota.messages": "100"}}
    ]
    assert json.loads(ok(site.roost("plan", "list", "--json"))) == [{"name": "gold", "settings": {"quota.storage": "10G"}}]
    assert json.loads(ok(site.roost("domain", "show", "example.ORG", "--json")))["plan"] == "gold"
    ok(site.roost("domain", "list"), "example.org\tgold\n")
    ok(site.roost("plan", "list"), "gold\n")
    assert "  quota.storage = 10G\n" in ok(site.roost("plan", "show", "gold"))
    assert re.search(r"^plan +gold$", ok(site.roost("domain", "show", "example.org")), re.M)

    effective = {s["key"]: (s["value"], s["origin"]) for s in json.loads(ok(site.roost("config", "show", ALICE, "--json")))}
    assert effective["quota.storage"] == ("10G", "plan gold")
    assert effective["quota.messages"] == ("100", "domain example.org")
    assert effective["quota.message"] == ("1M", "user")
    assert effective["store.mda"] == ("maildir", "default")
    assert effective["users.database"][1].startswith(f"{site.conf}:")

    fails(site.roost("plan", "remove", "gold"), 1, "plan gold", "example.org")
    ok(site.roost("domain", "unset", "example.org", "plan", "quota.messages"), "")
    assert json.loads(ok(site.roost("domain", "show", "example.org", "--json"))) == {
        "name": "example.org",
        "plan": "",
        "settings": {},
    }
    ok(site.roost("plan", "unset", "gold", "quota.storage"), "")
    ok(site.roost("plan", "remove", "gold"), "")
    ok(site.roost("domain", "remove", "example.org"), "")
    assert json.loads(ok(site.roost("domain", "list", "--json"))) == json.loads(ok(site.roost("plan", "list", "--json"))) == []


def test_a_domain_gets_no_plan_that_does_not_exist(site):
    fails(site.roost("domain", "set", "example.org", "plan=gold"), 67, "domain example.org", "gold", "roost plan set gold")
    assert row(site, "domains", "example.org") is None


def test_a_domain_or_plan_without_settings_can_be_made(site):
    ok(site.roost("domain", "set", "example.org"), "")
    ok(site.roost("plan", "set", "gold"), "")
    ok(site.roost("domain", "set", "example.org", "plan=gold"), "")
    ok(site.roost("domain", "set", "example.org", "plan="), "")
    assert row(site, "domains", "example.org")[1] is None
