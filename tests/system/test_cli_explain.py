"""roost(8): what it shows of a delivery before it happens, usage, configuration and modules."""

import json
import os
import re
import shutil
import stat

import pytest

from commands import as_nobody, fails, ok, on_terminal, row
from conftest import MODULES, PROGRAMS, SAMPLE, Site

ALICE = "alice@example.org"

MODULE_KEYS = ["kind", "name", "summary", "file", "selected", "loadable", "error"]


def tree(path):
    """Everything below a directory that a side effect would change, but for what SQLite makes for its readers: the
    memory that they share, and an empty log."""
    found = {}
    for entry in sorted(path.rglob("*")):
        if entry.name.endswith(".db-shm") or (entry.name.endswith(".db-wal") and entry.stat().st_size == 0):
            continue
        info = entry.lstat()
        content = entry.read_bytes() if stat.S_ISREG(info.st_mode) else None
        found[str(entry)] = (info.st_ino, info.st_mode, info.st_uid, info.st_nlink, info.st_mtime_ns, content)
    return found


def explain(site, address, *flags, code=0):
    result = site.roost("explain", address, "--json", *flags)
    assert (result.returncode, result.stderr.decode()) == (code, "")
    return json.loads(result.stdout)


def modules_are_linked_in():
    return not MODULES.is_dir()


# Explain


def test_an_explanation_has_stable_keys(site):
    site.add(ALICE)
    keys = ["address", "user", "mailbox", "detail", "settings", "folder", "warning", "size", "usage", "limits", "outcome"]
    assert list(explain(site, ALICE)) == keys
    assert list(explain(site, "nobody")) == keys


def test_it_says_by_which_rule_the_user_is_found(site):
    site.add(ALICE)
    site.add("alice+exact@example.org")
    exact = explain(site, "Alice@EXAMPLE.org")
    assert (exact["user"]["name"], exact["user"]["rule"], exact["detail"]) == (ALICE, "exact", "")
    stripped = explain(site, "alice+lists@example.org")
    assert (stripped["user"]["name"], stripped["user"]["rule"], stripped["detail"]) == (ALICE, "detail stripped", "lists")
    assert stripped["folder"] == "lists" and exact["folder"] == "INBOX"
    assert explain(site, "alice+exact@example.org")["user"]["rule"] == "exact"
    assert "found by the exact address" in ok(site.roost("explain", ALICE))
    assert "after the detail was taken off" in ok(site.roost("explain", "alice+x@example.org"))


def test_it_says_domain_plan_and_where_each_setting_comes_from(site):
    ok(site.roost("plan", "set", "gold", "quota.storage=10G"))
    ok(site.roost("domain", "set", "example.org", "plan=gold", "quota.messages=100"))
    site.add(ALICE, settings='{"delivery.detail": "inbox"}')
    found = explain(site, "alice+lists@example.org")
    assert (found["user"]["domain"], found["user"]["plan"]) == ("example.org", "gold")
    origins = {s["key"]: (s["value"], s["origin"]) for s in found["settings"]}
    assert origins["quota.storage"] == ("10G", "plan gold")
    assert origins["quota.messages"] == ("100", "domain example.org")
    assert origins["delivery.detail"] == ("inbox", "user")
    assert origins["quota.grace"] == ("0", "default")
    assert found["folder"] == "INBOX"
    assert found["limits"] == {"storage": 10 << 30, "messages": 100, "message": None}
    assert "  quota.storage = 10G  (plan gold)\n" in ok(site.roost("explain", ALICE))


def test_it_says_whether_there_is_a_mailbox_and_who_would_make_it(site):
    site.add(ALICE)
    assert explain(site, ALICE)["mailbox"] == {
        "complete": False,
        "missing": ["maildir.path"],
        "mda": "maildir",
        "creator": "lock",
        "allocation": None,
    }
    assert "creator lock would let module maildir make it" in ok(site.roost("explain", ALICE))
    assert site.deliver(ALICE).returncode == 0
    found = explain(site, ALICE)
    assert found["mailbox"]["complete"] and found["mailbox"]["allocation"] == {"maildir.path": str(site.maildir(ALICE))}
    assert found["usage"]["messages"] == 1 and found["usage"]["storage"] == site.messages(ALICE)[0].stat().st_size


def verdict_of(site, address, message=SAMPLE):
    """What a real delivery ends in."""
    result = site.deliver(address, message)
    return result.returncode, result.stderr.decode()[:5]


@pytest.mark.parametrize(
    "settings, enabled, address, size, name",
    [
        ({}, 1, ALICE, "10K", "delivered"),
        ({}, 1, "nobody@example.org", "10K", "no-such-user"),
        ({}, 1, "", "10K", "no-such-user"),
        ({}, 0, ALICE, "10K", "user-disabled"),
        ({"delivery.detail": "ignore"}, 1, "alice+x@example.org", "10K", "no-such-user"),
        ({"quota.storage": "9K"}, 1, ALICE, "10K", "over-quota"),
        ({"quota.storage": "9K", "quota.when-full": "defer"}, 1, ALICE, "10K", "over-quota-deferred"),
        ({"quota.storage": "9K", "quota.grace": "10K"}, 1, ALICE, "10K", "delivered"),
        ({"quota.storage": "11K", "quota.message": "11K"}, 1, ALICE, "10K", "delivered"),
        ({"quota.messages": "0"}, 1, ALICE, "10K", "over-quota"),
        ({"quota.message": "9K"}, 1, ALICE, "10K", "message-too-large"),
        ({"quota.storage": "lots"}, 1, ALICE, "10K", "misconfigured"),
    ],
)
def test_the_outcome_is_that_of_a_delivery(site, settings, enabled, address, size, name):
    site.add(ALICE, settings=json.dumps(settings), enabled=enabled)
    outcome = explain(site, address, "--size", size)["outcome"]
    assert outcome["name"] == name
    assert list(outcome) == ["name", "reply", "enhanced", "exit", "text"]
    assert (outcome["text"] == "") == (name == "delivered")
    text = ok(site.roost("explain", address, "--size", size))
    assert f"{name} ({outcome['reply']} {outcome['enhanced']}, exit {outcome['exit']})" in text
    if address:
        code, enhanced = verdict_of(site, address, SAMPLE + b"x" * 9900 + b"\n")
        assert code == outcome["exit"]
        assert enhanced == (outcome["enhanced"] if code else "")


def test_without_a_size_the_message_is_taken_to_have_8_kibibytes(site):
    site.add(ALICE)
    assert explain(site, ALICE)["size"] == 8192
    assert explain(site, ALICE, "--size", "10K")["size"] == 10240


def test_a_full_mailbox_is_foreseen_from_its_usage(site):
    site.add(ALICE, settings='{"quota.messages": 1}')
    assert explain(site, ALICE)["outcome"]["name"] == "delivered"
    assert site.deliver(ALICE).returncode == 0
    found = explain(site, ALICE)
    assert found["outcome"]["name"] == "over-quota" and found["usage"]["messages"] == found["limits"]["messages"] == 1


def test_a_mailbox_that_has_vanished_is_foreseen_as_temporary_trouble(site):
    site.add(ALICE, settings='{"quota.messages": 10}')
    assert site.deliver(ALICE).returncode == 0
    shutil.rmtree(site.maildir(ALICE))
    outcome = explain(site, ALICE)["outcome"]
    assert outcome["exit"] == 75 and str(site.maildir(ALICE)) in outcome["text"]


def test_an_unusable_folder_is_foreseen_as_inbox_with_the_reason(site):
    site.add(ALICE)
    found = explain(site, "alice+a..b@example.org")
    assert found["folder"] == "INBOX" and found["warning"]
    assert "\nwarning " in ok(site.roost("explain", "alice+a..b@example.org"))


@pytest.mark.parametrize("mda", ["maildir", "mbox"])
def test_explaining_changes_nothing_whatever_state_the_mailbox_is_in(site, mda):
    site.configure({"store.mda": mda, "mbox.path": f"{site.mail}/%{{user}}" if mda == "mbox" else None,
                    "mbox.folders": f"{site.mail}/%{{user}}.folders" if mda == "mbox" else None})  # fmt: skip
    site.add(ALICE, settings='{"quota.storage": "1M"}')
    site.add("new@example.org", settings='{"quota.storage": "1M"}')
    site.add("off@example.org", enabled=0)
    assert site.deliver("alice+folder@example.org").returncode == 0
    assert site.deliver(ALICE).returncode == 0

    def check():
        before = tree(site.path)
        usage = explain(site, ALICE)["usage"]
        explain(site, ALICE, "--size", "2M")
        for address in ["new@example.org", "alice+fresh@example.org", "off@example.org", "nobody@example.org"]:
            ok(site.roost("explain", address))
        assert tree(site.path) == before
        return usage

    truth = check()
    assert truth["messages"] == 2
    # Books that are gone, or that a delivery would write anew: the answer is the same.
    for book in [p for p in site.mail.rglob("*") if p.name == "maildirsize"]:
        book.unlink()
        assert check() == truth
        book.write_text("1S,1C\n99999999 77\n")
        os.utime(book, (1, 1))
        assert check()["messages"] in (2, 77)
    site.sql("UPDATE users SET settings = ?", ('{"quota.storage": "2M"}',))
    assert check() == truth


def test_books_are_checked_without_changing_anything(site):
    site.add(ALICE, settings='{"quota.storage": "1M"}')
    assert site.deliver(ALICE).returncode == 0
    size = site.messages(ALICE)[0].stat().st_size
    ok(site.roost("quota", "recount", "--check", "--all"), "")
    assert json.loads(ok(site.roost("quota", "recount", "--check", "--all", "--json"))) == []
    with open(site.maildir(ALICE) / "maildirsize", "a") as books:
        books.write("1000 3\n")
    before = tree(site.path)
    result = site.roost("quota", "recount", "--check", ALICE)
    assert result.returncode == 1 and ALICE in result.stdout.decode()
    result = site.roost("quota", "recount", "--check", "--domain", "example.org", "--json")
    assert (result.returncode, result.stderr) == (1, b"")
    wrong = {"storage": size + 1000, "messages": 4}
    right = {"storage": size, "messages": 1}
    assert json.loads(result.stdout) == [{"name": ALICE, "books": wrong, "store": right}]
    assert tree(site.path) == before

    told = json.loads(ok(site.roost("quota", "recount", "--all", "--json")))
    assert told == [{"name": ALICE, "books": wrong, "store": right}]
    assert json.loads(ok(site.roost("quota", "show", ALICE, "--json")))[0]["usage"] == right
    ok(site.roost("quota", "recount", "--all"), "")
    ok(site.roost("quota", "recount", "--check", "--all"), "")


# Quota


def test_usage_and_limits_are_shown_for_one_a_domain_or_all(site):
    site.add(ALICE, settings='{"quota.storage": "1K", "quota.messages": 10, "quota.message": "2K"}')
    site.add("bob@example.net")
    assert site.deliver(ALICE).returncode == 0
    size = site.messages(ALICE)[0].stat().st_size
    alice = {
        "name": ALICE,
        "mailbox": True,
        "usage": {"storage": size, "messages": 1},
        "limits": {"storage": 1024, "messages": 10, "message": 2048},
    }
    bob = {
        "name": "bob@example.net",
        "mailbox": False,
        "usage": {"storage": 0, "messages": 0},
        "limits": {"storage": None, "messages": None, "message": None},
    }
    for selection, rows in [([], [alice, bob]), (["--all"], [alice, bob]), ([ALICE], [alice]),
                            (["--domain", "example.net"], [bob])]:  # fmt: skip
        assert json.loads(ok(site.roost("quota", "show", "--json", *selection))) == rows
    text = ok(site.roost("quota", "show"))
    share = size * 100 // 1024
    assert text == f"{ALICE}\t{size}B of 1.0K ({share}%)\t1 of 10 messages\nbob@example.net\tno mailbox yet\n"


def test_one_user_with_a_fault_does_not_keep_the_others_from_being_shown_or_recounted(site):
    for name in ["a@example.org", "b@example.org", "c@example.org"]:
        site.add(name)
        assert site.deliver(name).returncode == 0
    shutil.rmtree(site.maildir("b@example.org"))
    result = site.roost("quota", "show", "--json")
    assert result.returncode == 1 and b"b@example.org" in result.stderr.replace(b"/b:", b"b@example.org")
    assert [row["name"] for row in json.loads(result.stdout)] == ["a@example.org", "c@example.org"]
    site.sql("UPDATE users SET settings = '{oops' WHERE name = 'b@example.org'")
    for words in ["recount --all", "recount --all --check"]:
        result = site.roost("quota", *words.split())
        assert (result.returncode, result.stdout) == (1, b"") and b"user b@example.org" in result.stderr


def test_progress_is_shown_on_a_terminal_alone_and_wiped(site):
    site.add(ALICE)
    assert site.deliver(ALICE).returncode == 0
    status, shown = on_terminal(site, ["quota", "recount", "--all"], b"")
    assert status == 0 and "recounted: 1" in shown and shown.endswith("\r\033[K")
    assert on_terminal(site, ["quota", "recount", "--all", "--quiet"], b"") == (0, "")
    ok(site.roost("quota", "recount", "--all"), "")


# Configuration


def test_the_effective_configuration_tells_where_each_value_comes_from(site):
    site.configure({"quota.storage": "1G"})
    shown = json.loads(ok(site.roost("-o", "quota.messages=7", "config", "show", "--json")))
    assert all(list(entry) == ["key", "value", "origin"] for entry in shown)
    values = {entry["key"]: (entry["value"], entry["origin"]) for entry in shown}
    number = site.conf.read_text().splitlines().index("storage = 1G") + 1
    assert values["quota.storage"] == ("1G", f"{site.conf}:{number}")
    assert values["quota.messages"] == ("7", "command line")
    assert values["quota.message"] == ("unlimited", "default")
    assert values["maildir.path"][0] == site.settings["maildir.path"]
    assert f"quota.storage = 1G  ({site.conf}:{number})\n" in ok(site.roost("config", "show"))


@pytest.mark.parametrize("words", ["config show", "user list", "user add x", "explain x", "database show", "quota show"])
@pytest.mark.parametrize(
    "line, parts",
    [
        ("[quota]\nstorge = 1G", [":2", "quota.storge", "did you mean quota.storage?"]),
        ("[quota]\nstorage = lots", [":2", "quota.storage", "'lots'"]),
        ("[store]\nmda = nonesuch", ["nonesuch"]),
        ("nonsense", [":1", "nonsense"]),
    ],
)
def test_a_bad_configuration_stops_every_command_with_one_line(site, words, line, parts):
    modules = f"[store]\nmodules = {MODULES}\n" if MODULES.is_dir() else ""
    site.write_conf(f"{line}\n{modules}")
    fails(site.roost(*words.split()), 1, *parts)


def test_a_missing_configuration_is_named(site):
    site.conf.unlink()
    fails(site.roost("config", "show"), 1, str(site.conf))
    fails(site.roost("config", "check"), 1, str(site.conf))


def test_a_good_configuration_passes_the_check_in_silence(site):
    ok(site.roost("config", "check"), "")
    site.add(ALICE)
    before = tree(site.path)
    ok(site.roost("config", "check", "--records", "-v"), f"{site.conf}: no problem found\n")
    assert tree(site.path) == before


def problems(result):
    assert (result.returncode, result.stdout) == (1, b"")
    lines = result.stderr.decode().splitlines()
    assert all(line.startswith("roost: ") for line in lines)
    return lines


def test_the_check_reports_every_problem_on_a_line_of_its_own(site):
    (site.path / "file").write_text("")
    modules = site.settings.get("store.modules")
    site.write_conf(
        f"[users]\ndatabase = sqlite:{site.path}/nowhere/users.db\nbusy-time = soon\n"
        f"[store]\nmda = nonesuch\ncreator = lok\nstate = {site.path}/file/state\n"
        + (f"modules = {modules}\n" if modules else "")
        + "[quota]\nstorage = lots\nstorge = 1G\n[maildir]\npath = /var/mail/%{user}\n[nonesuch]\nwhat = ever\n"
        "[log]\ntarget = somewhere\n"
    )
    found = problems(site.roost("config", "check"))
    expected = ["nonesuch", "lok", " users.busy-time:", " quota.storage:", " quota.storge:", "store.state", "log.target",
                "nowhere"]  # fmt: skip
    for part in expected:
        assert len([line for line in found if part in line]) == 1, (part, found)
    assert len(found) == len(expected), found


@pytest.mark.parametrize("value, part", [("{path}/file", "cannot be written"), ("{path}/file/below", "Not a directory"),
                                         ("state", "not an absolute path")])  # fmt: skip
def test_a_state_directory_that_cannot_be_used_is_found(site, value, part):
    (site.path / "file").write_text("")
    site.configure({"store.state": value.format(path=site.path)})
    (line,) = problems(site.roost("config", "check"))
    assert "store.state" in line and part in line


@pytest.mark.parametrize("key, value, part", [
    ("log.target", "{path}/none/log", "No such file"), ("store.state", "", "empty"), ("delivery.deadline", "0s", "5m"),
    ("quota.warning-message", "{path}/none", "No such file"), ("quota.warning-command", "warn now", "absolute"),
    ("quota.warning-command", "{path}/none now", "No such file"), ("lmtp.tls-certificate", "{path}/none", "No such file"),
    ("maildir.path", "/a/%{{foo}}", "template"),
])
def test_what_only_its_use_would_show_is_found(site, key, value, part):
    site.configure({key: value.format(path=site.path)})
    (line,) = problems(site.roost("config", "check"))
    assert key in line and part in line


@pytest.mark.parametrize("change, key, part", [
    ({"lmtp.tls": "require"}, "lmtp.tls", "no certificate"),
    ({"lmtp.tls-certificate": "{path}/file"}, "lmtp.tls-certificate", "cannot use the certificate"),
    ({"lmtp.listen": "tcp:127.0.0.1:5000", "policy.listen": "tcp:127.0.0.1:5000"}, "policy.listen", "in lmtp.listen, too"),
    ({"policy.listen": "tcp:127.0.0.1:5000", "metrics.listen": "tcp:127.0.0.1:5000"}, "metrics.listen", "in policy.listen, too"),
    ({"policy.source": "clone"}, "policy.source", "no clone"),
    ({"lmtp.listen": ""}, "lmtp.listen", "no socket"),
    ({"lmtp.listen": "unix:{path}/none/lmtp"}, "lmtp.listen", "make the directory"),
    ({"lmtp.listen": "unix:{path}/file"}, "lmtp.listen", "what is there is a file"),
    ({"lmtp.listen": "unix:{path}/state"}, "lmtp.listen", "what is there is a directory"),
    ({"lmtp.listen": "tcp:no-such-host.invalid:24"}, "lmtp.listen", "cannot listen on"),
])  # fmt: skip
def test_the_check_says_what_roostd_would_end_with(site, change, key, part):
    (site.path / "file").write_text("no PEM\n")
    site.configure({name: value.format(path=site.path) for name, value in change.items()})
    (line,) = problems(site.roost("config", "check"))
    assert key in line and part in line
    daemon = site.run("roostd", "-c", site.conf, timeout=10)
    said = daemon.stderr.decode() + (site.log.read_text() if site.log.exists() else "")
    assert daemon.returncode == 1 and part in said, said


@pytest.mark.parametrize("listen", ["tcp:localhost:5000 tcp:[::1]:5001", "unix:/run/not-made-yet/lmtp", "unix:{path}/lmtp"])
def test_sockets_that_can_be_opened_pass_the_check(site, listen):
    site.configure({"lmtp.listen": listen.format(path=site.path)})
    ok(site.roost("config", "check"), "")


@pytest.mark.parametrize("change, part", [
    ({"maildir.path": "relative/%{{user}}"}, "not an absolute path"),
    ({"maildir.path": "{path}/file/%{{user}}"}, "Not a directory"),
    ({"maildir.volumes": "{path}/none {path}/state", "maildir.path": "%{{user}}"}, "make or mount it"),
    ({"maildir.volumes": "{path}/state"}, "this is absolute"),
    ({"store.mda": "mbox", "mbox.path": "x/%{{user}}"}, "not an absolute path"),
    ({"store.mda": "mbox", "mbox.path": "{path}/%{{user}}/inbox", "mbox.folders": "x/%{{user}}"}, "not an absolute path"),
    ({"log.target": "{path}/state"}, "Is a directory"),
])  # fmt: skip
def test_what_would_keep_mail_from_a_new_user_is_found_and_explained(site, change, part):
    (site.path / "file").write_text("")
    site.add(ALICE)
    site.configure({name: value.format(path=site.path) for name, value in change.items()})
    (line,) = problems(site.roost("config", "check"))
    assert part in line
    assert site.deliver(ALICE).returncode == 75
    explained = json.loads(ok(site.roost("explain", ALICE, "--json")))
    assert explained["outcome"]["exit"] == 75 and part in explained["outcome"]["text"]


@pytest.mark.parametrize("what, part", [("mail", "cannot make {path}/mail/"), ("log", "log.target"), ("users.db", "users.database")])
def test_what_the_user_that_runs_the_check_may_not_write_is_found_and_explained(site, what, part):
    site.log.touch()
    site.add(ALICE)
    nobody = as_nobody(site)
    for path in (site.path, *site.path.rglob("*")):
        os.chown(path, nobody.get("user", -1), -1)
    ok(site.roost("config", "check", **nobody), "")
    (site.path / what).chmod(0o555 if what == "mail" else 0o444)
    (line,) = problems(site.roost("config", "check", **nobody))
    assert part.format(path=site.path) in line and "Permission denied" in line
    assert site.deliver(ALICE, **nobody).returncode == 75
    assert json.loads(ok(site.roost("explain", ALICE, "--json", **nobody)))["outcome"]["exit"] == 75


def test_a_new_mailbox_is_tried_without_making_it(site):
    site.add(ALICE)
    for settings in ({}, {"maildir.path": f"{site.path}/a/b/%{{user}}"}, {"maildir.uids": "5000-5001", "maildir.gid": "7"},
                     {"maildir.volumes": f"{site.path}/mail", "maildir.path": "%{user}", "maildir.uids": None},
                     {"store.mda": "mbox", "mbox.path": f"{site.mail}/%{{user}}", "mbox.folders": f"{site.mail}/f/%{{user}}"}):  # fmt: skip
        site.configure(settings)
        before = tree(site.path)
        ok(site.roost("config", "check"), "")
        assert "delivered" in ok(site.roost("explain", ALICE))
        assert tree(site.path) == before
    assert row(site, "users", ALICE)[3] is None and not site.sql("SELECT * FROM numbers")


@pytest.mark.parametrize("text, part", [(None, "Is a directory"), ("Subject: x %{usr}\n\nhi\n", "%{usr}"), ("Subject: 100%\n\n", "'%'")])
def test_a_warning_that_could_never_be_given_is_found(site, text, part):
    message = site.path / "warning"
    message.mkdir() if text is None else message.write_text(text)
    site.configure({"quota.warning-message": message})
    (line,) = problems(site.roost("config", "check"))
    assert "quota.warning-message" in line and str(site.conf) in line and part in line


def test_a_template_is_looked_at_when_it_is_set(site):
    site.add("alice@example.org")
    result = site.roost("user", "set", "alice@example.org", "maildir.path=/a/%{foo}")
    assert result.returncode == 64 and b"maildir.path" in result.stderr and b"{foo}" in result.stderr


def test_a_state_directory_of_somebody_else_is_found(site):
    nobody = as_nobody(site)
    for path in [site.conf, *site.path.glob("users.db*")]:
        path.chmod(0o666)
    site.state.chmod(0o555)
    lines = problems(site.roost("config", "check", **nobody))
    assert any("store.state" in line and "Permission denied" in line for line in lines)
    site.state.chmod(0o755)


def test_a_module_setting_that_only_the_module_can_judge_is_found(site):
    site.configure({"maildir.path": "relative/%{user}"})
    result = site.roost("config", "check")
    site.add(ALICE)
    # Either the check finds it, or it is found when a mailbox is made; it never passes for good.
    assert result.returncode == 1 or site.roost("user", "allocate", ALICE).returncode == 1


def test_the_check_of_records_finds_each_bad_setting_of_every_level(site):
    site.sql("""INSERT INTO plans(name, settings) VALUES ('gold', '{"quota.storge": "1G"}')""")
    site.sql("""INSERT INTO domains(name, settings) VALUES ('example.org', '{"quota.storage": "lots"}')""")
    site.add(ALICE, settings='{"log.level": "debug", "quota.messages": "-1"}')
    site.add("bob@example.org", settings="{oops")
    ok(site.roost("config", "check"), "")
    found = problems(site.roost("config", "check", "--records"))
    for parts in [("plan gold", "quota.storge"), ("domain example.org", "quota.storage"), (ALICE, "log.level"),
                  (ALICE, "quota.messages"), ("bob@example.org", "")]:  # fmt: skip
        assert len([line for line in found if all(part in line for part in parts)]) == 1, (parts, found)
    assert len(found) == 5


@pytest.mark.parametrize("what", ["sample", "man"])
def test_sample_and_manual_come_without_a_configuration(tmp_path, what):
    site = Site(tmp_path)
    site.conf.unlink()
    modules = ["-o", f"store.modules={MODULES}"] if MODULES.is_dir() else []
    if os.path.exists("/etc/roost/roost.conf"):
        pytest.skip("this machine has a configuration of its own")
    text = ok(site.run("roost", *modules, "config", what))
    assert "storage" in text and "maildir" in text


# Modules


def test_the_installed_modules_are_listed(site):
    rows = json.loads(ok(site.roost("modules", "--json")))
    assert all(list(row) == MODULE_KEYS for row in rows)
    assert [(row["kind"], row["name"]) for row in rows if row["selected"]] == [("mda", "maildir"), ("creator", "lock")]
    assert {row["name"] for row in rows} >= {"maildir", "lock", "trial", "none"}
    assert all(row["loadable"] and row["summary"] and row["error"] is None for row in rows)
    text = ok(site.roost("modules"))
    assert re.search(r"^\* mda +maildir +\S", text, re.M) and re.search(r"^  creator +trial +\S", text, re.M)


def test_a_broken_module_is_shown_with_its_error_and_the_rest_goes_on(site):
    if modules_are_linked_in():
        pytest.skip("modules are linked into the programs")
    own = site.path / "modules"
    shutil.copytree(MODULES, own)
    for path in own.iterdir():
        path.chmod(0o644)
    (own / "mda-broken.so").write_bytes(b"no shared object")
    (own / "creator-open.so").write_bytes((own / "creator-lock.so").read_bytes())
    (own / "creator-open.so").chmod(0o666)
    site.configure({"store.modules": str(own)})
    rows = {row["name"]: row for row in json.loads(ok(site.roost("modules", "--json")))}
    assert not rows["broken"]["loadable"] and "mda-broken.so" in rows["broken"]["error"]
    assert not rows["open"]["loadable"] and rows["open"]["file"] == str(own / "creator-open.so")
    assert rows["maildir"]["loadable"] and rows["maildir"]["file"] == str(own / "mda-maildir.so")
    ok(site.roost("config", "check"), "")  # it is not selected

    site.configure({"store.mda": "broken"})
    result = site.roost("modules")
    assert (result.returncode, result.stderr) == (1, b"")
    assert re.search(r"^\* mda +broken +BROKEN: ", result.stdout.decode(), re.M)
    fails(site.roost("user", "list"), 1, "mda-broken.so")


def test_a_selected_module_that_is_not_there_is_listed_as_broken(site):
    site.configure({"store.creator": "nonesuch"})
    result = site.roost("modules", "--json")
    assert result.returncode == 1
    (row,) = [row for row in json.loads(result.stdout) if row["name"] == "nonesuch"]
    assert row["selected"] and not row["loadable"] and "nonesuch" in row["error"]


def test_a_module_directory_that_is_not_there_is_a_failure(site):
    if modules_are_linked_in():
        pytest.skip("modules are linked into the programs")
    site.configure({"store.modules": f"{site.path}/nowhere"})
    result = site.roost("modules", "--json")
    assert result.returncode == 1 and f"{site.path}/nowhere".encode() in result.stderr
    assert PROGRAMS["roost"].exists() and json.loads(result.stdout)
