"""Mailboxes shared with the real Courier tools and the real Dovecot: one maildirsize, one count, the same folders."""

import json
import os
import subprocess

import pytest

from chamber import PEERS, Chamber
from conftest import clean_env

ALICE = "alice@example.org"
SMALL = b"Subject: small\n\nHello.\n"
LARGE = b"Subject: large\n\n" + b"x" * 3000 + b"\n"


class Courier:
    """deliverquota and maildirmake as the package maildrop has them, run from where tests/peers put them."""

    def __init__(self):
        self.top = PEERS / "maildrop" / "usr"
        if not (PEERS / "maildrop" / ".whole").exists():
            pytest.skip("maildrop is not unpacked: run tests/peers maildrop")
        folders = {str(path.parent) for path in (self.top / "lib").rglob("*.so*")}
        self.env = clean_env({"LD_LIBRARY_PATH": ":".join(sorted(folders))})

    def deliver(self, maildir, message=SMALL):
        """The exit status of deliverquota: 0, or 77 over quota."""
        result = subprocess.run([self.top / "sbin" / "deliverquota.maildrop", maildir], input=message, env=self.env,
                                capture_output=True, timeout=60, check=False)
        assert result.returncode in (0, 77), result.stderr.decode()
        return result.returncode

    def set_quota(self, maildir, quota):
        subprocess.run([self.top / "bin" / "maildirmake.maildrop", "-q", quota, maildir], env=self.env, timeout=60,
                       check=True)


@pytest.fixture(name="courier")
def fixture_courier():
    return Courier()


def usage(site, *command):
    """What Roost says of Alice: bytes and messages."""
    if command:
        assert site.roost("quota", *command, ALICE).returncode == 0
    shown = site.roost("quota", "show", ALICE, "--json")
    assert shown.returncode == 0, shown.stderr.decode()
    used = json.loads(shown.stdout)[0]["usage"]
    return used["storage"], used["messages"]


def stored(site, *folders):
    """The true usage: bytes and messages in these folders."""
    files = [file for folder in ("",) + folders for file in site.messages(ALICE, folder)]
    return sum(file.stat().st_size for file in files), len(files)


def lines(site):
    return (site.maildir(ALICE) / "maildirsize").read_text().splitlines()


def make_alice(site, settings):
    site.add(ALICE, json.dumps(settings))
    result = site.deliver(ALICE, SMALL)
    assert result.returncode == 0, result.stderr.decode()


def test_courier_obeys_the_limit_that_roost_wrote_and_roost_counts_what_courier_delivered(site, courier):
    make_alice(site, {"quota.storage": 2000})
    assert courier.deliver(site.maildir(ALICE)) == 0
    assert lines(site)[0] == "2000S"
    assert [tuple(map(int, line.split())) for line in lines(site)[1:]][-1] == (len(SMALL), 1)
    assert usage(site) == stored(site)
    assert courier.deliver(site.maildir(ALICE), LARGE) == 77
    assert site.deliver(ALICE, LARGE).returncode == 77
    assert usage(site) == stored(site)


def test_courier_obeys_the_limit_of_messages(site, courier):
    make_alice(site, {"quota.messages": 3})
    assert lines(site)[0] == "3C"
    assert courier.deliver(site.maildir(ALICE)) == 0
    assert courier.deliver(site.maildir(ALICE)) == 0
    assert courier.deliver(site.maildir(ALICE)) == 77
    assert site.deliver(ALICE, SMALL).returncode == 77
    assert usage(site) == stored(site) and usage(site)[1] == 3


def test_courier_charges_a_folder_that_roost_made_to_its_mailbox(site, courier):
    make_alice(site, {"quota.storage": "1M"})
    assert site.deliver(ALICE, SMALL, "-m", "Lists/roost").returncode == 0
    before = lines(site)
    assert courier.deliver(site.maildir(ALICE, "Lists.roost")) == 0
    assert len(lines(site)) == len(before) + 1
    assert not (site.maildir(ALICE, "Lists.roost") / "maildirsize").exists()
    assert usage(site) == stored(site, "Lists.roost")


def test_courier_finds_no_limit_where_roost_has_none(site, courier):
    make_alice(site, {})
    assert usage(site, "recount") == stored(site)
    assert lines(site)[0] == "0S"
    assert courier.deliver(site.maildir(ALICE), LARGE) == 0
    assert site.deliver(ALICE, LARGE).returncode == 0
    assert usage(site) == stored(site)


def test_a_count_by_courier_is_a_count_by_roost(site, courier):
    make_alice(site, {"quota.storage": 5000, "quota.messages": 9})
    for folder in ("Lists", "Trash"):
        assert site.deliver(ALICE, SMALL, "-m", folder).returncode == 0
    top = site.maildir(ALICE)
    trashed = site.messages(ALICE)[0]
    os.rename(trashed, top / "cur" / (trashed.name + ":2,ST"))
    assert site.deliver(ALICE, SMALL).returncode == 0
    (top / ".dotfile").write_text("no folder")
    counted = usage(site, "recount")
    by_roost = lines(site)
    courier.set_quota(top, "5000S,9C")  # counts anew
    assert [line.split() for line in lines(site)] == [line.split() for line in by_roost]
    assert usage(site) == counted
    assert counted[1] == 2, "neither Trash nor what is marked as trashed counts"


DOVECOT = """
protocols =
mail_location = maildir:/var/lib/roost/mail/%d/%n
mail_uid = roost
mail_gid = roost
first_valid_uid = 1
mail_plugins = quota
log_path = /var/log/dovecot
ssl = no
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=roost gid=roost home=/var/lib/roost/mail/%d/%n/home
}
namespace inbox {
  inbox = yes
  separator = /
}
plugin {
  quota = maildir:User quota
  quota_rule = *:bytes=100000
  quota_rule2 = Trash:ignore
  quota_rule3 = Spam:ignore
}
"""


@pytest.fixture(name="dovecot", scope="module")
def fixture_dovecot(module_path):
    made = Chamber(module_path, "dovecot")
    try:
        for name in ("dovecot", "dovenull"):
            made.check("useradd", "--system", "--shell", "/usr/sbin/nologin", name)
        made.write("/etc/dovecot/dovecot.conf", DOVECOT)
        made.sql("INSERT INTO users(name, settings) VALUES (?, ?)", (ALICE, '{"quota.storage": 100000}'))
        made.check("sh", "-c", "dovecot >/dev/null 2>&1")  # its processes would hold on to our pipes
        yield made
    finally:
        made.close()


def roost_inside(chamber, program, *args, **more):
    return chamber.check("runuser", "-u", "roost", "--", program, *args, **more)


def deliver_inside(chamber, *flags):
    roost_inside(chamber, "/usr/local/libexec/roost-deliver", "-d", ALICE, *flags, stdin=SMALL)


def usage_by_dovecot(chamber):
    """Bytes and messages; Dovecot prints kilobytes."""
    table = chamber.check("doveadm", "-f", "tab", "quota", "get", "-u", ALICE).splitlines()
    rows = dict(zip(("storage", "messages"), (line.split("\t") for line in table[1:])))
    assert rows["storage"][1] == "STORAGE" and rows["messages"][1] == "MESSAGE", table
    return int(rows["storage"][2]), int(rows["messages"][2])


def size_file(chamber):
    return chamber.read("/var/lib/roost/mail/example.org/alice/maildirsize")


def test_dovecot_reads_roosts_count_and_roost_dovecots(dovecot):
    for _ in range(3):
        deliver_inside(dovecot)
    deliver_inside(dovecot, "-m", "Lists/roost")
    deliver_inside(dovecot, "-m", "Trash")
    before = size_file(dovecot)
    assert before.startswith("100000S\n")
    _, messages = usage_by_dovecot(dovecot)
    assert messages == 4
    assert size_file(dovecot) == before, "Dovecot believed the file as it was"

    dovecot.check("doveadm", "quota", "recalc", "-u", ALICE)
    by_dovecot = size_file(dovecot)
    shown = json.loads(roost_inside(dovecot, "/usr/local/sbin/roost", "quota", "show", ALICE, "--json"))[0]["usage"]
    assert size_file(dovecot) == by_dovecot, "Roost believed the file as it was"
    roost_inside(dovecot, "/usr/local/sbin/roost", "quota", "recount", ALICE)
    assert size_file(dovecot) == by_dovecot
    assert shown["messages"] == 4


def test_dovecot_finds_the_messages_in_folders_of_any_script(dovecot):
    names = ["Entwürfe", "mail/台北/日本語", "A&B", "😀"]
    for name in names:
        deliver_inside(dovecot, "-m", name)
    listed = dovecot.check("doveadm", "mailbox", "list", "-8", "-u", ALICE).splitlines()
    for name in names:
        assert name in listed
        found = dovecot.check("doveadm", "fetch", "-u", ALICE, "text", "mailbox", name)
        assert "Subject: small" in found
    sizes = dovecot.check("doveadm", "-f", "tab", "fetch", "-u", ALICE, "size.physical size.virtual", "mailbox",
                          names[0]).splitlines()[1].split("\t")
    file = dovecot.messages(ALICE, "Entw&APw-rfe")
    cur = list(dovecot.path("/var/lib/roost/mail/example.org/alice/.Entw&APw-rfe/cur").iterdir())
    data = (file + cur)[0].read_bytes()
    assert [int(size) for size in sizes] == [len(data), len(data) + data.count(b"\n")], "S= and W= are believed"


def test_dovecot_leaves_out_the_folder_that_roost_counts_apart_and_what_it_does_there_is_noticed(dovecot):
    bob = "bob@example.org"
    dovecot.sql("INSERT INTO users(name, settings) VALUES (?, ?)",
                (bob, json.dumps({"quota.storage": 100000, "quota.folder.Spam.messages": 5})))
    books = "/var/lib/roost/mail/example.org/bob/maildirsize"

    def held():
        row = json.loads(roost_inside(dovecot, "/usr/local/sbin/roost", "quota", "show", bob, "--json"))[0]
        table = dovecot.check("doveadm", "-f", "tab", "quota", "get", "-u", bob).splitlines()
        by_dovecot = next(int(line.split("\t")[2]) for line in table if "MESSAGE" in line)
        assert by_dovecot == row["usage"]["messages"]
        return row["usage"]["messages"], row["folders"][0]["usage"]["messages"]

    for folder in ("INBOX", "INBOX", "Spam", "Spam", "Spam"):
        roost_inside(dovecot, "/usr/local/libexec/roost-deliver", "-d", bob, "-m", folder, stdin=SMALL)
    assert held() == (2, 3)
    by_roost = dovecot.read(books)
    assert by_roost.startswith("100000S\n")
    dovecot.check("doveadm", "quota", "recalc", "-u", bob)
    assert held() == (2, 3)
    dovecot.check("doveadm", "flags", "add", "-u", bob, "\\Seen", "mailbox", "INBOX", "all")
    dovecot.check("doveadm", "move", "-u", bob, "Spam", "mailbox", "INBOX", "all")
    assert held() == (0, 5)
    dovecot.check("doveadm", "expunge", "-u", bob, "mailbox", "Spam", "all")
    assert held() == (0, 0)
    roost_inside(dovecot, "/usr/local/sbin/roost", "quota", "recount", bob, "--check")
