"""What roostd took by LMTP as those who read mail find it: Dovecot by IMAP, isync and mblaze."""

import base64
import collections
import json
import re

import pytest

from chamber import Chamber
from conftest import SOURCE
from lmtp import Client

ALICE = "alice@example.org"
MAILBOX = "/var/lib/roost/mail/example.org/alice"
STORAGE, MESSAGES = 64 << 20, 1000  # Alice's limits

DOVECOT = f"""
protocols = imap
listen = 127.0.0.1
mail_location = maildir:/var/lib/roost/mail/%d/%n
mail_uid = roost
mail_gid = roost
first_valid_uid = 1
mail_plugins = quota
log_path = /var/log/dovecot
ssl = no
disable_plaintext_auth = no
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=roost gid=roost home=/var/lib/roost/mail/%d/%n/home
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
protocol imap {{
  mail_plugins = quota imap_quota
}}
plugin {{
  quota = maildir:User quota
  quota_rule = *:bytes={STORAGE}:messages={MESSAGES}
}}
"""

# Selects INBOX, carries out a command if there is one, and tells what there is.
IMAP = """
import base64, imaplib, json, sys
command = json.load(sys.stdin)
def do(answer):
    assert answer[0] == "OK", answer
    return answer[1]
with imaplib.IMAP4("127.0.0.1") as imap:
    do(imap.login("alice@example.org", "secret"))
    exists = int(do(imap.select("INBOX"))[0])
    for each in command:
        do(getattr(imap, each[0])(*each[1:]))
    messages = []
    for part in do(imap.fetch("1:*", "(RFC822.SIZE BODY.PEEK[])")):
        if isinstance(part, tuple):
            messages.append([part[0].decode(), base64.b64encode(part[1]).decode()])
    _, (root,) = do(imap.getquotaroot("INBOX"))
    json.dump({"exists": exists, "messages": messages, "quota": root.decode()}, sys.stdout)
"""

MBSYNC = """
IMAPStore far
Host 127.0.0.1
User alice@example.org
Pass secret
SSLType None
AuthMechs LOGIN

MaildirStore near
Inbox /tmp/near/

Channel mail
Far :far:
Near :near:
Sync Pull
Create Near
SyncState *
"""

# What Roost puts before a message; what the message has already is left out.
HEADER = re.compile(rb"(?:Return-Path: <sender@example\.net>\r?\n)?(?:Delivered-To: alice@example\.org\r?\n)?"
                    rb"Received: by [^\r\n]+ \(Roost\)\r?\n(?:\t[^\r\n]+\r?\n)*")


def corpus():
    """The awkward messages as an MTA has them: each line ends in LF here, the last one too."""
    files = sorted((SOURCE / "tests" / "data" / "corpus").glob("*.eml"))
    assert len(files) > 80
    for file in files:
        message = file.read_bytes().replace(b"\r\n", b"\n")
        yield message if message.endswith(b"\n") else message + b"\n"


@pytest.fixture(scope="module")
def reader(module_path):
    """A Dovecot, with the awkward messages in Alice's mailbox: those in `sent`, each line with LF."""
    made = Chamber(module_path, "dovecot", "isync", "mblaze")
    try:
        for name in ("dovecot", "dovenull"):
            made.check("useradd", "--system", "--shell", "/usr/sbin/nologin", name)
        made.write("/etc/dovecot/dovecot.conf", DOVECOT)
        made.sql("INSERT INTO users(name, settings) VALUES (?, ?)",
                 (ALICE, json.dumps({"quota.storage": STORAGE, "quota.messages": MESSAGES})))
        made.start_roostd()
        made.check("sh", "-c", "dovecot >/dev/null 2>&1")  # its processes would hold on to our pipes
        made.sent = list(corpus())
        with Client(made.path("/run/roost/lmtp")) as client:
            for number, message in enumerate(made.sent):
                assert send(client, message, chunks=number % 2).startswith("250 2.0.0 ")
        yield made
    finally:
        made.close()


def send(client, message, chunks=False):
    """Sends a message to Alice by DATA or BDAT; the reply."""
    client.envelope(ALICE, sender="sender@example.net")
    if not chunks:
        return client.data(message)[0]
    data = message.replace(b"\n", b"\r\n")
    client.send(b"BDAT %d LAST\r\n" % len(data) + data)
    return client.reply()


def imap(reader, *commands):
    """What an IMAP client sees: the messages' bytes and the quota, as (bytes in KiB, limit, messages, limit)."""
    found = json.loads(reader.check("/usr/bin/python3", "-c", IMAP, stdin=json.dumps(commands).encode()))
    messages = []
    for line, data in found["messages"]:
        messages.append(base64.b64decode(data))
        assert int(re.search(r"RFC822\.SIZE (\d+)", line)[1]) == len(messages[-1]), line
    quota = re.search(r"STORAGE (\d+) (\d+) MESSAGE (\d+) (\d+)", found["quota"])
    return found["exists"], messages, tuple(map(int, quota.groups()))


def usage(reader):
    """The same by Roost."""
    shown = json.loads(reader.check("runuser", "-u", "roost", "--", "/usr/local/sbin/roost", "quota", "show", ALICE, "--json"))[0]
    used, limit = shown["usage"], shown["limits"]
    return -(-used["storage"] // 1024), limit["storage"] // 1024, used["messages"], limit["messages"]


def without_header(message):
    found = HEADER.match(message)
    assert found, message[:300]
    return message[found.end():]


def test_imap_fetches_every_message_byte_for_byte(reader):
    exists, messages, _ = imap(reader)
    assert exists == len(messages) == len(reader.sent)
    # As they were sent; except that Dovecot leaves CR LF in a file as it is, where CR CR LF was sent, and that IMAP
    # has no NUL, for which it shows 0x80.
    wanted = [re.sub(rb"(?<!\r)\n", rb"\r\n", message).replace(b"\0", b"\x80") for message in reader.sent]
    assert sum(want == message.replace(b"\n", b"\r\n") for want, message in zip(wanted, reader.sent)) > 70
    assert collections.Counter(map(without_header, messages)) == collections.Counter(wanted)


def test_imap_tells_the_quota_that_roost_counts_whoever_changes_the_mailbox(reader):
    size_file = f"{MAILBOX}/maildirsize"
    before = reader.read(size_file)
    assert imap(reader)[2] == usage(reader)
    assert usage(reader)[2] == len(reader.sent)
    assert reader.read(size_file) == before, "each believed the file as it was"

    _, messages, quota = imap(reader, ["store", "1:5", "+FLAGS", r"(\Deleted)"], ["expunge"])
    assert len(messages) == quota[2] == len(reader.sent) - 5
    assert usage(reader) == quota
    gone = collections.Counter(message.replace(b"\r\n", b"\n") for message in messages)
    with Client(reader.path("/run/roost/lmtp")) as client:
        for number in range(5):
            assert send(client, b"Subject: again %d\n\ntext\n" % number).startswith("250 2.0.0 ")
    exists, messages, quota = imap(reader)
    assert exists == quota[2] == len(reader.sent) and usage(reader) == quota
    added = collections.Counter(message.replace(b"\r\n", b"\n") for message in messages) - gone
    assert sorted(map(without_header, added)) == [b"Subject: again %d\n\ntext\n" % number for number in range(5)]

    # Neither the one nor the other counts differently when it looks at every file.
    for recount in (["runuser", "-u", "roost", "--", "/usr/local/sbin/roost", "quota", "recount", ALICE],
                    ["doveadm", "quota", "recalc", "-u", ALICE]):
        reader.check(*recount)
        assert imap(reader)[2] == usage(reader) == quota


def test_isync_copies_every_message(reader):
    reader.write("/tmp/mbsyncrc", MBSYNC)
    reader.check("mkdir", "/tmp/near")
    reader.check("mbsync", "-c", "/tmp/mbsyncrc", "-a", env={"HOME": "/tmp"})
    files = [file for part in ("new", "cur") for file in reader.path(f"/tmp/near/{part}").iterdir()]

    def plain(message):
        """Without what isync adds, and without CR, which it takes from everywhere."""
        return re.sub(rb"(?m)^X-TUID: .*\n", b"", message.replace(b"\r", b""))

    # It takes no message whose header does not end.
    wanted = [plain(message) for message in imap(reader)[1] if b"\n\n" in plain(message)]
    assert len(wanted) > 70
    assert collections.Counter(plain(file.read_bytes()) for file in files) == collections.Counter(wanted)


def test_mblaze_lists_and_scans_every_message(reader):
    with Client(reader.path("/run/roost/lmtp")) as client:
        send(client, "From: Jürgen <juergen@example.net>\nSubject: Grüße an alle\n\ntext\n".encode())
    exists, _, _ = imap(reader)  # which moves what is new
    files = reader.check("mlist", MAILBOX).splitlines()
    assert len(files) == len(set(files)) == exists
    # One line for each, and no message that it could not read.
    lines = reader.check("mscan", "-f", "%f|%s", *files, env={"LC_ALL": "C.UTF-8"}).split("\n")
    assert len(lines) == len(files) + 1 and lines[-1] == ""
    assert [line for line in lines if re.fullmatch(r"Jürgen.*\|Grüße an alle", line)]
