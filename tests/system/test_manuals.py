"""Holds the manuals against the programs, their tables and their database, both ways.

With ROOST_UPDATE=1 in the environment, the parts that are generated from the settings tables, etc/roost.conf and the
settings in man/roost.conf.5, are written anew instead of compared.
"""

import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import SAMPLE, SOURCE
from manpage import MAN, literal_block, literal_blocks, plain, section

PAGES = sorted(path.name for path in MAN.glob("*.[1-9]"))
SAMPLE_CONF = SOURCE / "etc" / "roost.conf"
BEGIN, END = '.\\" BEGIN SETTINGS\n', '.\\" END SETTINGS\n'


def generated(site, what):
    result = site.roost("config", what)
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout.decode()


def same(path, wanted, begin="", end=""):
    """`wanted` is what stands in the file, between `begin` and `end` if they are given."""
    text = path.read_text() if path.exists() else ""
    head, tail = "", ""
    if begin:
        assert text.count(begin) == 1 and text.count(end) == 1
        head, rest = text.split(begin)
        head, tail = head + begin, end + rest.split(end)[1]
    if os.environ.get("ROOST_UPDATE"):
        path.write_text(head + wanted + tail)
        return
    assert text == head + wanted + tail, f"{path.name} is behind the settings tables: run this test with ROOST_UPDATE=1"


def settings_of(site):
    """Every setting there is, "section.key"."""
    keys, where = [], None
    for line in generated(site, "sample").splitlines():
        if match := re.fullmatch(r"\[(.+)\]", line):
            where = match[1]
        elif match := re.match(r"#([^ ]+) =", line):
            keys.append(f"{where}.{match[1]}")
    assert "quota.storage" in keys
    return keys


# The pages as such


@pytest.mark.parametrize("page", PAGES)
def test_the_linter_finds_nothing(page):
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not installed")
    result = subprocess.run(["mandoc", "-Tlint", "-Wall", MAN / page], capture_output=True, text=True, check=False)
    # It looks for the pages named in SEE ALSO in the system; the next test looks for ours.
    found = [line for line in result.stdout.splitlines() if "referenced manual not found" not in line]
    assert not found


def test_every_page_is_there_and_every_reference_leads_to_one():
    assert set(PAGES) == {"roost.8", "roost-deliver.8", "roostd.8", "roost.conf.5", "roost-users.5", "roost-modules.7", "roost-quota.7"}
    for page in PAGES:
        for name, part in re.findall(r"^\.Xr (roost\S*) (\d)", (MAN / page).read_text(), re.MULTILINE):
            assert f"{name}.{part}" in PAGES, f"{page} refers to {name}({part})"


# roost.conf(5) and etc/roost.conf


def test_the_settings_in_the_manual_are_those_of_the_tables(site):
    same(MAN / "roost.conf.5", generated(site, "man"), BEGIN, END)


def test_the_sample_configuration_is_that_of_the_tables(site):
    same(SAMPLE_CONF, generated(site, "sample"))


def test_the_sample_configuration_and_an_empty_one_say_the_same(site):
    shown = []
    for text in (SAMPLE_CONF.read_text(), ""):
        conf = site.path / "other.conf"
        conf.write_text(text)
        flags = [f"-ostore.modules={site.settings['store.modules']}"] if "store.modules" in site.settings else []
        result = site.run("roost", "-c", conf, *flags, "config", "show", "--json")
        assert result.returncode == 0, result.stderr
        shown.append(json.loads(result.stdout))
    assert shown[0] == shown[1]


def test_every_kind_of_value_is_explained(site):
    explained = re.findall(r"^\.It Ar (\S+)$", section("roost.conf.5", "VALUES"), re.MULTILINE)
    used = re.findall(r"^\.It Cm \S+ No = Ar (\S+)$", generated(site, "man"), re.MULTILINE)
    assert set(used) <= set(explained)


def test_every_setting_that_a_manual_names_exists(site):
    known = settings_of(site)
    for page in PAGES:
        text = (MAN / page).read_text()
        for key in re.findall(r"^\.Ic ([a-z-]+\.[A-Za-z.-]+)", text, re.MULTILINE):
            assert key in known, f"{page} names {key}"
        for key in re.findall(r'["\'](?:\$\.")?((?:quota|delivery|lmtp|log|users|store)\.[a-z-]+)["\']', plain(text)):
            assert key in known, f"{page} names {key}"


# roost-deliver(8) and roost(8)


def options_in(page, title):
    """The options that the items of a section describe, as "-d USER" or "--help"."""
    found = []
    for line in re.findall(r"^\.It (Fl .*)$", section(page, title), re.MULTILINE):
        words = plain(line).replace(" Ns = Ns Ar ", "=").split()
        text = ""
        for word, before in zip(words, [None, *words]):
            if word in ("Fl", "Ar", ","):
                continue
            text += f" -{word}" if before == "Fl" else f" {word.upper()}"
        found.append(text.strip())
    return found


@pytest.mark.parametrize("program", ["roost-deliver", "roostd"])
def test_the_options_are_those_of_the_manual(site, program):
    result = site.run(program, "--dump-options")
    assert result.returncode == 0
    assert sorted(options_in(f"{program}.8", "OPTIONS")) == sorted(result.stdout.decode().splitlines())


@pytest.mark.parametrize("program", ["roost-deliver", "roostd"])
def test_the_synopsis_names_every_option(site, program):
    synopsis = plain(section(f"{program}.8", "SYNOPSIS"))
    for line in site.run(program, "--dump-options").stdout.decode().splitlines():
        flag = line.split()[0]
        if flag.startswith("--"):
            assert f"Fl {flag[1:]}" in synopsis
        else:
            assert re.search(rf"Fl \w*{flag[1]}", synopsis), flag


def test_the_environment_that_roost_deliver_reads_is_that_of_its_manual():
    source = "".join(path.read_text() for path in (SOURCE / "cmd" / "roost-deliver").glob("*.cpp"))
    read = set(re.findall(r'(?:value|environment)\("([A-Z_]+)"\)', source))
    described = set(re.findall(r"Ev ([A-Z_]+)", section("roost-deliver.8", "ENVIRONMENT")))
    assert read == described


def outcomes():
    """The rows of the table of outcomes: (enhanced code, exit status) as a pipe sees them."""
    source = (SOURCE / "lib" / "base" / "outcome.cpp").read_text()
    exits = {name: int(code) for name, code in re.findall(r"constexpr int (\w+) = (\d+);", source)}
    rows = re.findall(r'OutcomeRow\{Outcome::\w+, "[\w-]+", \d+, "([\d.]+)", (\w+)\}', source)
    assert len(rows) == len(re.findall(r"OutcomeRow\{", source)) - source.count("constexpr OutcomeRow")
    for enhanced, name in rows:
        status = exits[name] if name in exits else int(name)
        yield (f"4{enhanced[1:]}" if status == 75 else enhanced), status


def test_the_exit_statuses_and_codes_in_the_manual_are_those_of_the_table_of_outcomes():
    text = section("roost-deliver.8", "EXIT STATUS")
    statuses = {int(code) for code in re.findall(r"^\.It (\d+)$", text, re.MULTILINE)}
    assert statuses == {status for _, status in outcomes()} | {64}
    described = re.findall(r"^\.It (\d\.\d\.\d)\n.*\((\d+)[,)]", text, re.MULTILINE)
    assert {(code, int(status)) for code, status in described} == {row for row in outcomes() if row[1]}


@pytest.mark.parametrize(
    ("page", "begin", "recipe"),
    [
        ("roost-deliver.8", "roost unix", "postfix/master.cf"),
        ("roost-deliver.8", "virtual_mailbox_domains", "postfix/main.cf"),
        ("roost-deliver.8", "roost:", "exim/transport"),
        ("roost-deliver.8", "action", "opensmtpd/smtpd.conf"),
        ("roostd.8", "virtual_mailbox_domains", "postfix/lmtp.cf"),
        ("roostd.8", "virtual_transport = lmtp:inet", "postfix/lmtp.cf"),
        ("roostd.8", "roost:\n  driver = lmtp\n  socket", "exim/lmtp-socket"),
        ("roostd.8", "roost:\n  driver = smtp", "exim/lmtp-tcp"),
        ("roostd.8", "roost:\n  driver = lmtp\n  command", "exim/lmtp-command"),
        ("roostd.8", "action", "opensmtpd/lmtp.conf"),
    ],
)
def test_the_examples_for_mtas_say_what_the_recipes_say(page, begin, recipe):
    text = (SOURCE / "etc" / "recipes" / recipe).read_text()
    text = text.replace("@ROOST_DELIVER@", "/usr/local/libexec/roost-deliver")
    text = text.replace("@ROOSTD@", "/usr/local/sbin/roostd")
    # Settings that are commented out are choices; what follows "# " is said to the reader.
    text = " ".join(line.removeprefix("#") for line in text.splitlines() if not re.match("#( |$)", line))
    text = " ".join(text.split())
    for line in literal_block(page, begin).splitlines():
        assert " ".join(line.removesuffix("\\").split()) in text


def usage_of(line):
    """An .It line of roost(8) in the notation of --help: "user list [--domain DOMAIN] [--json]"."""
    text = plain(line).replace(" Ns = Ns Ar ", "=").replace("Oo ", "[").replace(" Oc", "]")
    text = re.sub(r"Op ((?:(?!Op |\[).)+?)(?= Op | \[|$)", r"[\1]", text)
    return re.sub(r"Fl -", "--", re.sub(r"\b(?:Ic|Ar) ", "", text)).lower()


def test_the_commands_of_roost_and_their_options_and_operands_are_those_of_its_manual(site):
    dumped = json.loads(site.run("roost", "--dump-options").stdout)
    wanted = {}
    for command, row in dumped.items():
        options = [f"[{o['name']}{' ' + o['value'] if o['value'] else ''}]" for o in row["options"]]
        wanted[command] = sorted(re.findall(r"\[[^\]]*\]|\S+", f"{row['operands']} {' '.join(options)}".lower()))
    common = wanted.pop("")
    described = {}
    for line in re.findall(r"^\.It Ic (.+)$", section("roost.8", "COMMANDS"), re.MULTILINE):
        command = re.match(r"[a-z ]*[a-z](?= [A-Z]|$)", line)[0]
        described[command] = sorted(re.findall(r"\[[^\]]*\]|\S+", usage_of(line)[len(command) :]))
    assert described == wanted
    items = []
    for line in options_in("roost.8", "OPTIONS"):
        name = re.findall(r"--\S+(?: \S+)?", line)[0].lower()
        if f"[{name}]" in common:
            items.append(f"[{name}]")
            letter = next(o["letter"] for o in dumped[""]["options"] if o["name"] == name.split()[0])
            assert line.startswith(f"{letter} " if letter else "--"), line
    assert sorted(items) == common


# roost-users(5)


def tables(site):
    found = {}
    for (name,) in site.sql("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"):
        found[name] = [row[1] for row in site.sql(f"PRAGMA table_info({name})")]
    return found


def test_the_tables_of_the_database_are_those_of_the_manual(site):
    described = {}
    for line in section("roost-users.5", "TABLES").splitlines():
        if line.startswith(".Ss "):
            columns = described.setdefault(line[4:], [])
        elif line.startswith(".It Va "):
            columns.append(line[7:])
    assert described == tables(site)
    version = site.sql("SELECT version FROM roost_schema")[0][0]
    assert f"this page describes {version}." in section("roost-users.5", "TABLES")


def effective(site, user, key):
    """What a delivery to the user would obey: (value, level)."""
    result = site.roost("config", "show", user, "--json")
    assert result.returncode == 0, result.stderr
    found = [row for row in json.loads(result.stdout) if row["key"] == key]
    assert len(found) == 1, result.stdout
    return found[0]["value"], found[0]["origin"]


def codes(site, user):
    return site.deliver(user, SAMPLE).returncode


# What each example promises, in the order in which they stand and are run here.
EXAMPLES = {
    "Add a user.": lambda site, rows: codes(site, "alice@example.org") == 0,
    "Add a user with limits.": lambda site, rows: (
        codes(site, "bob@example.org") == 0
        and effective(site, "bob@example.org", "quota.storage") == ("2G", "user")
        and effective(site, "bob@example.org", "quota.messages") == ("10000", "user")
    ),
    "Give a user a limit.": lambda site, rows: effective(site, "alice@example.org", "quota.storage") == ("5G", "user"),
    "Lift a limit, whatever domain, plan and file say.": lambda site, rows: (
        effective(site, "bob@example.org", "quota.messages") == ("unlimited", "user")
        and effective(site, "bob@example.org", "quota.storage") == ("2G", "user")
    ),
    "Let domain, plan and file decide again.": lambda site, rows: (
        effective(site, "alice@example.org", "quota.storage") == ("unlimited", "default")
    ),
    "Make a plan, or change it.": lambda site, rows: (
        site.sql("SELECT settings FROM plans WHERE name = 'gold'") == [('{"quota.storage":"10G"}',)]
    ),
    "Put a domain on a plan.": lambda site, rows: (
        effective(site, "alice@example.org", "quota.storage") == ("10G", "plan gold")
        and effective(site, "bob@example.org", "quota.storage") == ("2G", "user")
    ),
    "Give all users of a domain a limit for one message.": lambda site, rows: (
        effective(site, "bob@example.org", "quota.message") == ("20M", "domain example.org")
        and effective(site, "alice@example.org", "quota.storage") == ("10G", "plan gold")
    ),
    "Disable a user.": lambda site, rows: codes(site, "bob@example.org") == 77,
    "Enable the user again.": lambda site, rows: codes(site, "bob@example.org") == 0,
    "See where the mailboxes of a domain are.": lambda site, rows: (
        sorted(rows) == [(f"{name}@example.org", str(site.maildir(f"{name}@example.org"))) for name in ("alice", "bob")]
    ),
    "List the users who never had mail.": lambda site, rows: rows == [("never@example.org",)],
    "Find settings that are no JSON.": lambda site, rows: rows == [("broken@example.org",)],
    "End the delivery of mail to a user, and keep the mailbox.": lambda site, rows: (
        codes(site, "bob@example.org") == 67 and len(site.messages("bob@example.org")) == 2
    ),
}


def test_every_sql_example_does_what_it_says(site):
    blocks = {block.splitlines()[0][3:]: block for block in literal_blocks("roost-users.5") if block.startswith("-- ")}
    assert list(blocks) == list(EXAMPLES)
    for title, block in blocks.items():
        if title == "List the users who never had mail.":
            site.add("Never@Example.ORG")
        if title == "Find settings that are no JSON.":
            site.add("broken@example.org", settings="{")
        rows = site.sql(block)
        assert EXAMPLES[title](site, rows), f"{title}: {rows}"



def test_the_examples_that_insert_or_update_can_be_repeated(site):
    for title in (
        "Make a plan, or change it.",
        "Put a domain on a plan.",
        "Give all users of a domain a limit for one message.",
    ):
        block = literal_block("roost-users.5", f"-- {title}")
        site.sql(block)
        before = site.sql("SELECT * FROM domains"), site.sql("SELECT * FROM plans")
        site.sql(block)
        assert (site.sql("SELECT * FROM domains"), site.sql("SELECT * FROM plans")) == before


def test_the_schema_file_makes_the_same_database_as_the_command(site):
    if not shutil.which("sqlite3"):
        pytest.skip("sqlite3 is not installed")
    other = site.path / "other.db"
    schema = (SOURCE / "etc" / "schema" / "sqlite.sql").read_bytes()
    subprocess.run(["sqlite3", other], input=schema, check=True, capture_output=True)
    made_by_file, made_by_command = (
        subprocess.run(["sqlite3", db, ".schema"], check=True, capture_output=True).stdout for db in (other, site.db)
    )
    assert made_by_file == made_by_command


def test_mail_for_a_record_that_is_not_valid_waits_and_the_line_names_row_and_key(site):
    site.add("alice@example.org")
    site.add("bob@example.org")
    for settings, said in (
        ("{", "settings"),
        ('{"quota.nosuch": 1}', "quota.nosuch"),
        ('{"quota.storage": "much"}', "quota.storage"),
        ('{"users.database": "x"}', "users.database"),
        ('{"quota.storage": [1]}', "quota.storage"),
    ):
        site.sql("UPDATE users SET settings = ? WHERE name = 'alice@example.org'", (settings,))
        for result, code in (
            (site.deliver("alice@example.org"), 75),
            (site.roost("config", "show", "alice@example.org"), 1),
        ):
            assert result.returncode == code, result.stderr
            text = result.stderr.decode()
            assert "user alice@example.org" in text and said in text, text
        assert codes(site, "bob@example.org") == 0


def test_mail_for_a_domain_on_a_plan_that_does_not_exist_waits(site):
    site.add("alice@example.org")
    site.sql("INSERT INTO domains (name, plan) VALUES ('example.org', 'nosuch')")
    result = site.deliver("alice@example.org")
    assert result.returncode == 75
    assert b"nosuch" in result.stderr


def test_booleans_and_integers_stand_for_yes_no_and_numbers(site):
    site.add("alice@example.org", settings='{"delivery.create-folders": false, "quota.messages": 7}')
    assert effective(site, "alice@example.org", "delivery.create-folders") == ("no", "user")
    assert effective(site, "alice@example.org", "quota.messages") == ("7", "user")
    site.sql("UPDATE users SET settings = NULL")
    assert effective(site, "alice@example.org", "quota.messages") == ("unlimited", "default")


def test_a_name_stands_once_whatever_its_case(site):
    site.add("Alice@Example.ORG")
    with pytest.raises(Exception, match="UNIQUE"):
        site.add("alice@example.org")
    assert codes(site, "aLICE@eXAMPLE.org") == 0
    assert json.loads(site.roost("user", "show", "alice@example.org", "--json").stdout)["name"] == "alice@example.org"


def test_a_user_removed_with_sql_and_added_again_finds_the_mailbox(site):
    site.add("alice@example.org")
    assert codes(site, "alice@example.org") == 0
    site.sql("DELETE FROM users")
    site.add("alice@example.org")
    assert codes(site, "alice@example.org") == 0
    assert len(site.messages("alice@example.org")) == 2
