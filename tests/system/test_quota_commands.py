"""roost quota show and recount: many users, folders counted apart, and deliveries that go on meanwhile."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import threading

import pytest
from commands import fails, ok, on_terminal
from conftest import PROGRAMS, SAMPLE, clean_env

ALICE = "alice@example.org"
from lmtp import Daemon
from stores import STORES

BOB, CAROL, DAVE = "bob@example.org", "carol@example.net", "dave@example.com"
RULES = {"quota.storage": "1M", "quota.folder.Spam.storage": "10K", "quota.folder.Drafts.ignore": "yes"}


def told(site, *words, code=0):
    result = site.roost("quota", *words, "--json")
    assert (result.returncode, result.stderr.decode()) == (code, "")
    return json.loads(result.stdout)


def size_of(site, user, folder=""):
    return sum(file.stat().st_size for file in site.messages(user, folder))


def distort(site, user, folder=""):
    """Makes the books say one message of a byte too much."""
    with open(site.maildir(user, folder) / "maildirsize", "a") as books:
        books.write("1 1\n")


@pytest.fixture(name="four")
def fixture_four(site):
    """Four users, each with a message and books that are wrong."""
    for user in (ALICE, BOB, CAROL, DAVE):
        site.add(user, settings='{"quota.storage": "1M"}')
        assert site.deliver(user).returncode == 0
        distort(site, user)
    return site


@pytest.mark.parametrize(
    "words, users",
    [
        ([ALICE], [ALICE]),
        ([BOB, ALICE], [BOB, ALICE]),
        ([BOB, ALICE, "Bob@Example.ORG"], [BOB, ALICE]),
        (["--domain", "example.org"], [ALICE, BOB]),
        (["--domain", "example.net", "--domain", "example.com"], [CAROL, DAVE]),
        (["--domain", "example.org", ALICE, DAVE], [DAVE, ALICE, BOB]),
        (["--all"], [ALICE, BOB, CAROL, DAVE]),
    ],
)
def test_several_users_and_domains_are_one_command(four, words, users):
    checked = told(four, "recount", "--check", *words, code=1)
    assert [row["name"] for row in checked] == users
    for row in checked:
        assert row["books"] == {"storage": row["store"]["storage"] + 1, "messages": 2}
    for jobs in ([], ["--jobs", "1"], ["--jobs", "7"]):
        assert [row["name"] for row in told(four, "recount", *words, *jobs)] == users
    assert told(four, "recount", "--check", *words) == []
    others = [user for user in (ALICE, BOB, CAROL, DAVE) if user not in users]
    assert [row["name"] for row in told(four, "recount", "--check", "--all", code=1 if others else 0)] == others
    assert sorted(row["name"] for row in told(four, "show", *words)) == sorted(users)


def test_one_unknown_name_among_several_stops_before_anything_is_done(four):
    fails(four.roost("quota", "recount", ALICE, "nobody@example.org"), 67, "user nobody@example.org")
    assert len(told(four, "recount", "--check", "--all", code=1)) == 4


@pytest.mark.parametrize(
    "words, parts",
    [
        (["recount", "--jobs", "0", "--all"], ["--jobs", "write --jobs 4"]),
        (["recount", "--jobs", "many", "--all"], ["--jobs", "'many'"]),
        (["show", "--over", "much"], ["--over", "90%"]),
        (["show", "--json", "--csv"], ["exclude each other"]),
        (["show", "--domain", "example.org", "--all"], ["exclude each other"]),
    ],
)
def test_a_mistyped_option_is_64_and_says_what_would_be_right(site, words, parts):
    fails(site.roost("quota", *words), 64, *parts)


def test_many_users_at_a_time_are_told_of_in_the_order_of_names(site):
    users = [f"user{number:03}@example.org" for number in range(60)]
    for user in users:
        site.add(user)
    for user in users[::3]:
        assert site.deliver(user).returncode == 0
    assert [row["name"] for row in told(site, "recount", "--all", "--jobs", "8")] == users[::3]


# Folders that are counted apart


@pytest.fixture(name="folders")
def fixture_folders(site):
    site.add(ALICE, settings=json.dumps(RULES))
    for folder in ("INBOX", "Spam", "Spam", "Drafts"):
        assert site.deliver(ALICE, SAMPLE, "-m", folder).returncode == 0
    return site


def test_a_folder_counted_apart_is_shown_below_its_user(folders):
    [row] = told(folders, "show")
    inbox, spam = size_of(folders, ALICE), size_of(folders, ALICE, "Spam")
    assert row["usage"] == {"storage": inbox, "messages": 1}
    assert row["folders"] == [
        {"folder": "Spam", "usage": {"storage": spam, "messages": 2}, "limits": {"storage": 10240, "messages": None}}
    ]
    text = ok(folders.roost("quota", "show")).splitlines()
    assert text == [
        f"{ALICE}\t{inbox}B of 1.0M (0%)\t1 of unlimited messages",
        f"  Spam\t{spam}B of 10.0K ({spam * 100 // 10240}%)\t2 of unlimited messages",
    ]


def test_a_folder_counted_apart_is_recounted_and_checked(folders):
    told(folders, "show")
    distort(folders, ALICE, "Spam")
    spam = {"storage": size_of(folders, ALICE, "Spam"), "messages": 2}
    wrong = {"storage": spam["storage"] + 1, "messages": 3}
    assert told(folders, "recount", "--check", "--all", code=1) == [
        {"name": ALICE, "folder": "Spam", "books": wrong, "store": spam}
    ]
    assert f"{ALICE}/Spam\tbooks: " in ok(folders.roost("quota", "recount", "--all", "-v"))
    assert told(folders, "recount", "--check", "--all") == []


def test_the_books_of_a_domain_are_put_right_with_those_of_its_users(site):
    site.sql("INSERT INTO domains(name, settings) VALUES ('example.org', ?)", ('{"domain-quota.messages": 3}',))
    for user in (ALICE, BOB):
        site.add(user)
        assert site.deliver(user).returncode == 0
    site.messages(ALICE)[0].unlink()
    assert site.deliver(BOB).returncode == 0
    assert site.deliver(BOB).returncode != 0, "the domain's books do not know what was removed"
    ok(site.roost("quota", "recount", "--domain", "example.org"), "")
    assert site.deliver(BOB).returncode == 0


# quota show


@pytest.fixture(name="fuller")
def fixture_fuller(site):
    """Users at different shares of their limits, not in the order of names."""
    for user, limits in (
        (ALICE, {"quota.messages": 100}),
        (BOB, {"quota.messages": 1}),
        (CAROL, {"quota.messages": 2, "quota.storage": "1G"}),
        (DAVE, {}),
    ):
        site.add(user, settings=json.dumps(limits))
        assert site.deliver(user).returncode == 0
    site.add("new@example.org")
    return site


def test_the_fullest_come_first_whatever_limit_it_is(fuller):
    wanted = [BOB, CAROL, ALICE, DAVE, "new@example.org"]
    assert [row["name"] for row in told(fuller, "show")] == wanted
    assert [line.split("\t")[0] for line in ok(fuller.roost("quota", "show")).splitlines()] == wanted


@pytest.mark.parametrize("over, users", [("0", [BOB, CAROL, ALICE]), ("1%", [BOB, CAROL]), ("50%", [BOB]), ("100%", [])])
def test_over_leaves_out_who_has_used_no_more(fuller, over, users):
    assert [row["name"] for row in told(fuller, "show", "--over", over)] == users


def test_over_finds_a_user_by_a_folder_that_is_full(folders):
    assert told(folders, "show", "--over", "50%") == []
    folders.sql("UPDATE users SET settings = ?", (json.dumps({**RULES, "quota.folder.Spam.messages": "2"}),))
    assert [row["name"] for row in told(folders, "show", "--over", "50%")] == [ALICE]


def test_csv_has_a_line_for_each_account_and_survives_any_name(folders):
    odd = 'o"dd,name@example.org'
    folders.add(odd)
    rows = list(csv.reader(io.StringIO(ok(folders.roost("quota", "show", "--csv")), newline="")))
    inbox, spam = size_of(folders, ALICE), size_of(folders, ALICE, "Spam")
    assert rows == [
        ["name", "folder", "mailbox", "storage", "storage-limit", "messages", "messages-limit"],
        [ALICE, "", "yes", str(inbox), str(1 << 20), "1", ""],
        [ALICE, "Spam", "yes", str(spam), "10240", "2", ""],
        [odd, "", "no", "0", "", "0", ""],
    ]


@pytest.mark.parametrize("locale, full, empty", [("C", "#", "-"), ("C.UTF-8", "\u2588", "\u2591")])
def test_bars_on_a_terminal_in_characters_that_the_locale_has(fuller, locale, full, empty):
    status, shown = on_terminal(fuller, ["quota", "show", "--quiet"], b"", {"LC_ALL": locale})
    assert status == 0
    lines = shown.replace("\r", "").splitlines()
    bars = [match[0] for line in lines if (match := re.search(r"\[.{20}\] +\d+%", line))]
    assert bars == [f"[{full * 20}]   100%", f"[{full * 10}{empty * 10}]    50%", f"[{full}{empty * 19}]     1%"]
    assert len({line.index(" of ") for line in lines[:4]}) <= 2 and len({len(line.split("[")[0]) for line in lines[:3]}) == 1
    assert lines[-1].endswith("no mailbox yet")


# Recounts beside deliveries


@pytest.mark.parametrize("mda", ["maildir", "mbox"])
def test_recounts_in_a_loop_beside_deliveries_count_nothing_twice_and_drop_nothing(site, mda):
    site.configure({**STORES[mda].settings(site), "quota.storage": "1M", "quota.folder.spam.storage": "1M"})
    site.add(ALICE)
    site.add(BOB)
    assert site.deliver(ALICE).returncode == 0
    stop = threading.Event()
    wrong = []

    def recount():
        while not stop.is_set():
            result = site.roost("quota", "recount", "--all", "--jobs", "2")
            if result.returncode != 0:
                wrong.append(result.stderr)

    def pipe(count):
        for number in range(count):
            result = site.deliver(ALICE, SAMPLE, "-m", ("INBOX", "spam")[number % 2])
            if result.returncode != 0:
                wrong.append(result.stderr)

    def lmtp(daemon, user, count):
        with daemon.client() as client:
            for number in range(count):
                # No message twice: roostd might take the second for one whose verdict got lost.
                message = SAMPLE.replace(b"sample@", f"{threading.get_ident()}.{number}@".encode())
                [reply] = client.deliver(message, user)
                if not reply.startswith("250"):
                    wrong.append(reply)

    with Daemon(site) as daemon:
        recounting = threading.Thread(target=recount)
        recounting.start()
        work = [threading.Thread(target=pipe, args=(12,)) for _ in range(2)]
        recipients = (ALICE, ALICE, BOB, ALICE.replace("@", "+spam@"))
        work += [threading.Thread(target=lmtp, args=(daemon, user, 40)) for user in recipients]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        stop.set()
        recounting.join()
    assert wrong == []
    held = {}
    for row in told(site, "show"):
        held[row["name"]] = row["usage"]["messages"], row.get("folders", [{}])[0].get("usage", {}).get("messages")
    assert held == {ALICE: (1 + 12 + 80, 12 + 40), BOB: (40, 0)}
    assert told(site, "recount", "--check", "--all") == []
    rows = told(site, "recount", "--all")
    assert all(row["books"] == row["store"] for row in rows) and len(rows) == 4


def test_a_recount_of_messages_with_their_size_in_the_name_looks_at_no_message(site):
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    site.add(ALICE, settings=json.dumps(RULES))
    assert site.deliver(ALICE, SAMPLE, "-m", "Spam").returncode == 0
    for folder in ("", "Spam"):
        for number in range(500):
            (site.maildir(ALICE, folder) / "cur" / f"{number}.M1P1.host,S=10,W=11:2,S").touch()
    trace = site.path / "trace"
    subprocess.run(
        ["strace", "-f", "-o", trace, "-e", "trace=%file,%desc", PROGRAMS["roost"], "-c", site.conf, "quota", "recount", ALICE],
        env=clean_env({"LSAN_OPTIONS": "detect_leaks=0"}), check=True, timeout=120,
    )
    text = trace.read_text()
    assert "getdents64" in text and "maildirsize" in text
    assert ",S=" not in text, "a message was looked at"
    calls = [line for line in text.splitlines() if "stat" in line.split("(")[0] and os.path.basename(site.mail) in line]
    assert len(calls) < 100
    assert told(site, "show")[0]["usage"] == {"storage": 5000, "messages": 500}
