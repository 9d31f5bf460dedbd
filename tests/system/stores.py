"""Looks at what Roost stored, without Roost: for tests that need every byte accounted for, whoever left it there."""

import collections
import os
import re

HEADER = re.compile(
    rb"Return-Path: <(?P<sender>[^>\n]*)>\nDelivered-To: (?P<user>[^\n]+)\nReceived: by [^\n]+(?:\n[ \t][^\n]+)*\n"
)


def text(number, size=0):
    """A message that tells its number, with what storing likes to break: quoted and unquoted From lines, 8-bit bytes,
    a bare CR. It ends in a newline, which mbox would add otherwise."""
    return (
        b"From: Bob <bob@example.net>\nMessage-ID: <%d@example.net>\nSubject: number %d\n\n" % (number, number)
        + b"From here on\n>From there on\n>>From\nbare\rCR, 8-bit \xe9\xff\n"
        + b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ..\n" * (size // 65)
        + b"the end of %d\n" % number
    )


class Maildir:
    """The maildir module, all mail below site.mail."""

    name = "maildir"

    @staticmethod
    def settings(site):
        return {"store.mda": "maildir", "maildir.path": f"{site.mail}/%{{domain}}/%{{local}}"}

    @staticmethod
    def mailboxes(tops):
        """Every directory that is a Maildir, or a part of one."""
        found = set()
        for top in tops:
            for path, folders, _ in os.walk(top):
                if {"new", "cur", "tmp"} & set(folders):
                    found.add(path)
        return sorted(found)

    @staticmethod
    def stored(tops):
        """The bytes of every visible message."""
        found = []
        for box in Maildir.mailboxes(tops):
            for part in ("new", "cur"):
                folder = os.path.join(box, part)
                for name in os.listdir(folder) if os.path.isdir(folder) else ():
                    with open(os.path.join(folder, name), "rb") as file:
                        found.append(file.read())
                    size = re.search(r",S=(\d+)", name)
                    assert size and int(size[1]) == len(found[-1]), f"{folder}/{name} is torn"
        return found

    @staticmethod
    def strangers(tops):
        """Files that belong to no mailbox; what lies in tmp/ is nobody's business."""
        known = {"maildirsize", "maildirfolder", "roost-stamp"}
        return [
            os.path.join(path, name)
            for top in tops
            for path, _, files in os.walk(top)
            for name in files
            if os.path.basename(path) not in ("new", "cur", "tmp") and name not in known
        ]

    @staticmethod
    def counted(box):
        """What the books of a mailbox say: bytes and messages; None if there are no books."""
        try:
            with open(os.path.join(box, "maildirsize"), "rb") as file:
                lines = file.read().splitlines()[1:]
        except FileNotFoundError:
            return None
        rows = [tuple(map(int, line.split())) for line in lines]
        return sum(row[0] for row in rows), sum(row[1] for row in rows)


class Mbox:
    """The mbox module, all mail below site.mail."""

    name = "mbox"

    @staticmethod
    def settings(site):
        return {
            "store.mda": "mbox",
            "mbox.path": f"{site.mail}/%{{domain}}/%{{local}}",
            "mbox.folders": f"{site.mail}/%{{domain}}/%{{local}}.folders",
        }

    @staticmethod
    def mailboxes(tops):
        found = [top for top in tops if os.path.isfile(top)]
        for top in tops:
            for path, _, files in os.walk(top):
                found += [os.path.join(path, name) for name in files if not Mbox.is_helper(name)]
        return sorted(found)

    @staticmethod
    def is_helper(name):
        return name.startswith(".") or name.endswith(".lock")

    @staticmethod
    def stored(tops):
        found = []
        for box in Mbox.mailboxes(tops):
            with open(box, "rb") as file:
                found += Mbox.split(file.read(), box)
        return found

    @staticmethod
    def split(data, box):
        """The messages of an mbox in mboxrd form, exactly: anything else in the file is a failure."""
        if not data:
            return []
        assert data.endswith(b"\n\n"), f"{box} is torn at its end: {data[-60:]!r}"
        found = []
        for part in re.split(rb"(?:\A|(?<=\n\n))(?=From )", data):
            if not part:
                continue
            first, _, rest = part.partition(b"\n")
            assert re.fullmatch(rb"From \S+ +\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}", first), f"{box}: {first!r}"
            assert rest.endswith(b"\n\n"), f"{box} is torn: {rest[-60:]!r}"
            assert not re.search(rb"^From ", rest, re.M), f"{box} is torn inside {rest[:200]!r}"
            found.append(re.sub(rb"(?m)^>(>*From )", rb"\1", rest[:-1]))
        return found

    @staticmethod
    def strangers(tops):
        """What should be gone after a delivery: locks, intents, staged text."""
        books = re.compile(r".*\.books$")
        return [
            os.path.join(path, name)
            for top in tops
            for path, _, files in os.walk(top)
            for name in files
            if Mbox.is_helper(name) and not books.match(name)
        ]

    @staticmethod
    def counted(_box):
        return None


STORES = {"maildir": Maildir, "mbox": Mbox}


def tally(stored, user):
    """Counts stored messages by the message they hold, and asserts that each is Roost's header and then the message,
    whole. Keys are the messages' bytes."""
    found = collections.Counter()
    for whole in stored:
        header = HEADER.match(whole)
        assert header, f"no header in front: {whole[:200]!r}"
        assert header["user"] == user.encode(), header["user"]
        found[whole[header.end() :]] += 1
    return found
