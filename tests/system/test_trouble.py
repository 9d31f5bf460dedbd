"""roost-deliver where something is wrong: each time one clear line that names the object, a temporary failure where the
trouble is ours, nothing lost and nothing half visible."""

import os
import re
import shutil
import sqlite3
import subprocess

import pytest

from conftest import SAMPLE, body_of, clean_env

ALICE = "alice@example.org"


@pytest.fixture
def alice(site):
    site.add(ALICE)
    return site


@pytest.fixture
def known(alice):
    """A site whose user has a mailbox with one message."""
    assert alice.deliver(ALICE).returncode == 0
    return alice


def temporary(result, *named):
    """Asserts one line that begins with a temporary code and names each of `named`."""
    text = result.stderr.decode()
    assert result.returncode == 75, (result.returncode, text)
    assert re.match(r"4\.\d\.\d .+\n\Z", text), text
    for name in named:
        assert str(name) in text, f"{name} is not named in: {text}"


def files_below(path):
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if not file.is_dir())


def common_user(site):
    """How to run a program on the site as a user whom permissions bind: its owner from now on, if this is root."""
    if os.getuid() != 0:
        return {}
    nobody = 65534
    for path in (site.path, *site.path.rglob("*")):
        os.chown(path, nobody, nobody)
    user = {"user": nobody, "group": nobody, "extra_groups": []}
    try:
        site.run("roost-deliver", "--version", **user)
    except PermissionError:
        pytest.skip("the build tree is not open to other users")
    return user


# Configuration


def test_missing_configuration(alice):
    missing = alice.path / "none.conf"
    temporary(alice.run("roost-deliver", "-c", missing, "-d", ALICE, stdin=SAMPLE), missing)


def test_configuration_that_is_a_directory(alice):
    temporary(alice.run("roost-deliver", "-c", alice.path, "-d", ALICE, stdin=SAMPLE), alice.path)


def test_configuration_that_may_not_be_read(alice):
    user = common_user(alice)
    alice.conf.chmod(0)
    result = alice.run("roost-deliver", "-c", alice.conf, "-d", ALICE, stdin=SAMPLE, **user)
    temporary(result, alice.conf, "ermission")


@pytest.mark.parametrize("line, named", [
    ("nonsense", "nonsense"),
    ("[unclosed", "[unclosed"),
    ("= 5", "= 5"),
    ("[quota]\nstorage = 1G\nstorage = 2G", "quota.storage"),
    ("[quota]\nstorag = 1G", "quota.storage"),  # the nearest key is proposed
    ("[qouta]\nstorage = 1G", "qouta.storage"),
    ("[no-such-module]\nkey = 1", "no-such-module.key"),
    ("[quota]\nstorage = \x01", "quota.storage"),
])
def test_bad_line_is_named_with_its_number(alice, line, named):
    text = "# a comment\n" + alice.conf_text() + line + "\n"
    alice.write_conf(text)
    temporary(alice.deliver(ALICE), f"{alice.conf}:{text.count(chr(10))}", named)


def test_setting_outside_a_section_is_named(alice):
    alice.write_conf("storage = 1G\n" + alice.conf_text())
    temporary(alice.deliver(ALICE), f"{alice.conf}:1", "storage")


BAD_VALUES = {
    "size": ["", "lots", "-1", "1.5G", "1Q", "99999999999999999999", "16777216T", "1 G"],
    "count": ["", "many", "-1", "1K", "99999999999999999999"],
    "positive": ["", "many", "-1", "1K", "99999999999999999999", "0", "00"],
    "patience": ["", "soon", "5", "-1s", "0s", "0ms", "99999999999d"],
    "duration": ["", "soon", "5", "-1s", "5 minutes", "99999999999d"],
    "mode": ["", "rwx", "0999", "01777", "-1"],
    "share|size": ["", "much", "101%", "-1", "10 %"],
    "id": ["mail", "-1", "+1", "4294967295", "99999999999"],
    "FROM-TO": ["5000", "6000-5000", "0-5", "a-b", "1-99999999999"],
    "room": ["", "lots", "-1", "+", "+-1", "1 G"],
    "thresholds": ["nonsense", "storage", "storage>", "storage>80", "storage=80%", "bytes>80%", "storage>0%", "storage>80%,"],
    "text": ["\x01"],
    "command": ["relative", "x /y", "/x %", "/x 100%", "/x %{usr}", "/x %{user", "/x %u", "\x01"],
    "words": ["\x01"],
    "path": ["relative", "./here", "~/there"],
    "template": ["", "/a", "/a/%{domain}/%{hash}", "/a/", "/a/../b", "/a/%", "/a/%{foo}", "/a/%{user", "/%n"],
    "paths": ["relative", "/a b", "/a ./b"],
    "sockets": ["/run/x", "unix:x", "unix:/a tcp:1.2.3.4", "tcp:x:", "tcp::24", "tcp:::1:24", "tcp:[::1]", "tcp:*:65536", "unix:/" + 108 * "x"],
    "TCP socket": ["unix:/run/x", "tcp:x", "tcp:x:1 tcp:y:1", "1234", "tcp:x:99999", "tcp:x:4294967297"],
    "clients": ["localhost", "1.2.3.4/33", "::1/129", "1.2.3", "unix /x"],
}
CHOICE = ["", "nonsense", "YES|NO"]


def test_every_setting_refuses_what_it_cannot_take(alice):
    """The settings and their kinds are read off the sample that the program prints from its tables."""
    section = kind = None
    kinds = set()
    for line in alice.roost("config", "sample").stdout.decode().splitlines():
        if found := re.match(r"\[(\S+)\]", line):
            section = found[1]
        elif found := re.match(r"# \(([^)]+)\)", line):
            kind = found[1]
        elif (found := re.match(r"#?([A-Za-z.-]+) =", line)) and kind:
            key = f"{section}.{found[1]}".replace("NAME", "Lists")
            for value in BAD_VALUES.get(kind, CHOICE):
                # A text is looked at by whoever uses it, who may name the value alone.
                named = "\\x01" if kind == "text" else key
                temporary(alice.deliver(ALICE, SAMPLE, "-o", f"{key}={value}"), named)
            kinds.add(kind)
            kind = None
    assert kinds >= set(BAD_VALUES) | {"yes|no", "bounce|defer"}
    assert not list(alice.mail.iterdir())


@pytest.mark.parametrize("key, value", [
    ("users.database", "/plain/path"), ("users.database", "nosuch:db"), ("users.database", "sqlite:relative.db"),
    ("store.mda", "nosuch"), ("store.mda", "../maildir"), ("store.creator", "nosuch"), ("store.creator", "maildir"),
    ("store.modules", "/nonexistent/modules"), ("log.target", "relative"), ("log.target", "/nonexistent/dir/log"),
    ("maildir.path", "relative/%{local}"), ("maildir.path", "/x/%{nosuch}"), ("maildir.path", "/x/../%{local}"),
    ("maildir.path", "/x/%{local"),
])
def test_text_settings_are_checked_where_they_are_used(alice, key, value):
    if key == "store.modules" and "store.modules" not in alice.settings:
        pytest.skip("this build has its modules linked in")
    alice.configure({key: value})
    result = alice.deliver(ALICE)
    temporary(result)
    assert key in result.stderr.decode() or value in result.stderr.decode()
    assert not list(alice.mail.iterdir())


# The user database


def test_missing_database(alice):
    for part in ("users.db", "users.db-wal", "users.db-shm"):
        (alice.path / part).unlink(missing_ok=True)
    temporary(alice.deliver(ALICE), alice.db, "database create")
    assert not alice.db.exists(), "delivery never makes a database"


@pytest.mark.parametrize("damage", ["empty", "garbage", "directory", "foreign", "dangling-link"])
def test_unusable_database(alice, damage):
    for part in ("users.db", "users.db-wal", "users.db-shm"):
        (alice.path / part).unlink(missing_ok=True)
    if damage == "empty":
        alice.db.touch()
    elif damage == "garbage":
        alice.db.write_bytes(b"this is no database, but it is long enough to look like one" * 100)
    elif damage == "directory":
        alice.db.mkdir()
    elif damage == "foreign":
        alice.sql("CREATE TABLE other (x)")
    else:
        alice.db.symlink_to(alice.path / "nowhere")
    temporary(alice.deliver(ALICE), alice.db)


def test_newer_schema_is_refused(alice):
    tables = [name for (name,) in alice.sql("SELECT name FROM sqlite_master WHERE type = 'table'")]
    (table,) = [name for name in tables if name not in ("users", "domains", "plans") and "version" in str(
        alice.sql(f"SELECT sql FROM sqlite_master WHERE name = '{name}'"))]
    alice.sql(f"UPDATE {table} SET version = version + 1000")
    temporary(alice.deliver(ALICE), alice.db)


def test_database_held_by_another_writer_is_temporary_and_then_works(alice):
    alice.configure(users__busy_time="200ms")
    other = sqlite3.connect(alice.db, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    temporary(alice.deliver(ALICE), alice.db)
    assert alice.messages(ALICE) == []
    other.execute("ROLLBACK")
    other.close()
    assert alice.deliver(ALICE).returncode == 0


def test_a_writer_that_is_done_soon_is_waited_for(alice):
    holder = subprocess.Popen(
        ["sqlite3", str(alice.db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    holder.stdin.write("BEGIN IMMEDIATE;\nSELECT 'held';\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "held\n"
    delivery = subprocess.Popen([alice.programs["roost-deliver"], "-c", alice.conf, "-d", ALICE],
                                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    delivery.stdin.write(SAMPLE)
    delivery.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        delivery.wait(timeout=0.5)
    holder.communicate("ROLLBACK;\n", timeout=60)
    assert delivery.wait(timeout=60) == 0, delivery.stderr.read()
    delivery.stderr.close()
    assert len(alice.messages(ALICE)) == 1


# Records


@pytest.mark.parametrize("settings, named", [
    ("{not json", "settings"), ("[]", "settings"), ('"text"', "settings"), ("", "settings"),
    ('{"quota.storage": {"a": 1}}', "quota.storage"), ('{"quota.storage": [1]}', "quota.storage"),
    ('{"quota.storage": null}', "quota.storage"), ('{"quota.storage": 1.5}', "quota.storage"),
    ('{"quota.storage": "lots"}', "quota.storage"), ('{"quota.storage": true}', "quota.storage"),
    ('{"quota.storag": "1G"}', "quota.storag"), ('{"store.mda": "mbox"}', "store.mda"),
    ('{"delivery.detail": "elsewhere"}', "delivery.detail"), ('{"quota.storage": "1G', "settings"),
])
@pytest.mark.parametrize("level", ["user", "domain", "plan"])
def test_bad_settings_in_the_database(alice, level, settings, named):
    alice.sql("INSERT INTO plans(name, settings) VALUES ('gold', '{}')")
    alice.sql("INSERT INTO domains(name, plan, settings) VALUES ('example.org', 'gold', '{}')")
    table, name = {"user": ("users", ALICE), "domain": ("domains", "example.org"), "plan": ("plans", "gold")}[level]
    alice.sql(f"UPDATE {table} SET settings = ? WHERE name = ?", (settings, name))
    temporary(alice.deliver(ALICE), name, named)
    assert not list(alice.mail.iterdir())


@pytest.mark.parametrize("allocation", ["{not json", "[]", "", '{"maildir.path": 5}', '{"maildir.path": "relative"}',
                                        '{"maildir.path": ""}'])
def test_bad_allocation_in_the_database(known, allocation):
    known.sql("UPDATE users SET allocation = ?", (allocation,))
    temporary(known.deliver(ALICE), ALICE)
    assert len(known.messages(ALICE)) == 1


def test_other_users_mail_goes_on_beside_a_bad_record(alice):
    alice.add("broken@example.org", settings="{not json")
    temporary(alice.deliver("broken@example.org"), "broken@example.org")
    assert alice.deliver(ALICE).returncode == 0


# The store


def test_vanished_mailbox_is_never_made_anew(known):
    moved = known.path / "moved"
    known.maildir(ALICE).rename(moved)
    temporary(known.deliver(ALICE), known.maildir(ALICE))
    assert not known.maildir(ALICE).exists()
    moved.rename(known.maildir(ALICE))
    assert known.deliver(ALICE).returncode == 0
    assert len(known.messages(ALICE)) == 2


@pytest.mark.parametrize("part", ["new", "cur", "tmp"])
def test_missing_part_of_a_mailbox_is_made_again(known, part):
    shutil.rmtree(known.maildir(ALICE) / part)
    assert known.deliver(ALICE).returncode == 0
    assert (known.maildir(ALICE) / part).is_dir()


def test_volume_that_is_not_mounted_is_never_made(alice):
    alice.configure({"maildir.volumes": f"{alice.path}/volume1 {alice.path}/volume2",
                     "maildir.path": "%{domain}/%{local}"})
    temporary(alice.deliver(ALICE), alice.path / "volume")
    assert not list(alice.path.glob("volume*"))


@pytest.mark.parametrize("planted", ["new", "tmp", "mailbox"])
def test_planted_link_is_not_followed(known, planted):
    outside = known.path / "outside"
    for part in ("new", "cur", "tmp"):
        (outside / part).mkdir(parents=True)
    victim = known.maildir(ALICE) if planted == "mailbox" else known.maildir(ALICE) / planted
    shutil.rmtree(victim)
    victim.symlink_to(outside if planted == "mailbox" else outside / planted)
    temporary(known.deliver(ALICE), victim)
    assert files_below(outside) == []


def test_planted_folder_link_is_not_followed(known):
    outside = known.path / "outside"
    for part in ("new", "cur", "tmp"):
        (outside / part).mkdir(parents=True)
    known.maildir(ALICE, "Lists").symlink_to(outside)
    result = known.deliver(ALICE, SAMPLE, "-m", "Lists")
    assert files_below(outside) == []
    if result.returncode == 0:
        assert len(known.messages(ALICE)) == 2, "a folder that cannot be used is INBOX"
    else:
        temporary(result, ".Lists")


def test_planted_books_link_is_not_followed(known):
    known.configure(quota__storage="1G")
    victim = known.path / "victim"
    victim.write_text("precious\n")
    books = known.maildir(ALICE) / "maildirsize"
    books.unlink(missing_ok=True)
    books.symlink_to(victim)
    known.deliver(ALICE)
    assert victim.read_text() == "precious\n"


def test_file_in_the_place_of_a_directory(known):
    shutil.rmtree(known.maildir(ALICE) / "new")
    (known.maildir(ALICE) / "new").write_text("in the way")
    temporary(known.deliver(ALICE), known.maildir(ALICE) / "new")


def test_unwritable_store(alice):
    user = common_user(alice)
    alice.mail.chmod(0o500)
    temporary(alice.deliver(ALICE, **user), alice.mail, "ermission")
    alice.mail.chmod(0o700)
    assert alice.deliver(ALICE, **user).returncode == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes what others cannot reach")
def test_a_mailbox_that_root_made_is_reported_with_its_owner(alice):
    user = common_user(alice)
    assert alice.roost("user", "allocate", ALICE).returncode == 0
    temporary(alice.deliver(ALICE, **user), f"{alice.maildir(ALICE)} belongs to user id 0: let user id 65534 in")
    for path in (alice.mail, *alice.mail.rglob("*")):
        os.chown(path, 65534, 65534)
    assert alice.deliver(ALICE, **user).returncode == 0


def test_a_store_that_is_read_only_is_reported_with_what_helps_below_systemd(alice):
    alice.mail.mkdir(exist_ok=True)
    made = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"', "sh",
         alice.mail, alice.programs["roost-deliver"], "-c", alice.conf, "-d", ALICE], input=SAMPLE, capture_output=True,
        env=clean_env(), check=False)
    if made.returncode == 1:
        pytest.skip("no private mounts here")
    temporary(made, alice.mail, "Read-only file system", "ReadWritePaths")


def test_unwritable_database(alice):
    alice.log.touch()
    user = common_user(alice)
    for file in (alice.path, *alice.path.glob("users.db*")):
        os.chmod(file, file.stat().st_mode & ~0o222)
    temporary(alice.deliver(ALICE, **user), alice.db)
    alice.path.chmod(0o755)
    for file in alice.path.glob("users.db*"):
        file.chmod(0o600)
    assert alice.deliver(ALICE, **user).returncode == 0


@pytest.fixture
def small_disk(alice):
    """The mailboxes and the spool on a file system of 1 MB."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "roost-test", alice.mail], capture_output=True,
                             check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no mount here: {mounted.stderr.decode().strip()}")
    yield alice
    subprocess.run(["umount", "-l", alice.mail], check=True)


def test_full_disk_leaves_nothing_behind_and_then_works(small_disk):
    site = small_disk
    assert site.deliver(ALICE).returncode == 0
    before = files_below(site.mail)
    big = SAMPLE + b"x" * (2 * 1024 * 1024)
    result = site.deliver(ALICE, big)
    temporary(result)
    assert result.stderr.startswith(b"4.3.1 "), result.stderr
    assert files_below(site.mail) == before
    assert site.deliver(ALICE).returncode == 0
    assert len(site.messages(ALICE)) == 2


def test_full_disk_at_the_first_mail_leaves_a_mailbox_that_works_later(small_disk):
    site = small_disk
    (site.mail / "ballast").write_bytes(b"x" * 1024 * 1024)
    temporary(site.deliver(ALICE))
    assert site.messages(ALICE) == []
    (site.mail / "ballast").unlink()
    assert site.deliver(ALICE).returncode == 0
    body_of(site.message(ALICE), SAMPLE)


def test_a_log_that_cannot_be_written_adds_nothing_to_what_the_mta_reads(alice):
    alice.configure({"log.target": "/dev/full"})
    taken, refused = alice.deliver(ALICE), alice.deliver("nobody@example.org")
    assert (taken.returncode, taken.stderr) == (0, b"")
    assert refused.returncode == 67 and refused.stderr == b"5.1.1 no such user: nobody@example.org\n"


def test_spool_that_cannot_be_used(alice):
    shutil.rmtree(alice.state)
    alice.state.write_text("a file in the way")
    big = SAMPLE + b"x" * (2 * 1024 * 1024)
    temporary(alice.deliver(ALICE, big), alice.state)
    assert alice.deliver(ALICE).returncode == 0, "a small message needs no spool"
