"""roost-deliver is killed, or refused a system call, at every point in turn: nothing acknowledged is ever lost, nothing
torn or doubled is ever visible, and the next delivery works.

The points are system calls, counted by tests/fault/roost-kill from the moment the configuration has been read. Calls
that change a file system or a lock are all taken; of the others every k-th, or all with ROOST_KILL_ALL=1.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import queue
import re
import shutil
import signal

import pytest

from conftest import BUILD, PROGRAMS, Site
from stores import STORES, tally, text

KILLER = BUILD / "tests" / "fault" / "roost-kill"
ALL = os.environ.get("ROOST_KILL_ALL") == "1"
SAMPLES = 30  # how many of all system calls are taken otherwise, per case
WORKERS = os.cpu_count() or 1
USER = "alice@example.org"

EARLIER = [text(1), text(2, 3000)]
DISTURBED = 3
NEXT = text(4)

pytestmark = pytest.mark.skipif(not KILLER.exists(), reason="roost-kill is built for x86-64 alone")


@dataclasses.dataclass(frozen=True)
class Case:
    """A delivery to be disturbed."""

    name: str
    mda: str
    creator: str = "lock"
    first: bool = True  # the user has no mailbox yet
    size: int = 0  # of the message; what exceeds 512 KiB is spooled
    flags: tuple = ()
    volumes: int = 0
    settings: tuple = ()
    needs_root: bool = False


FIRST = [Case(f"{mda}-{creator}-first", mda, creator) for mda in STORES for creator in ("lock", "trial", "none")]
AGAIN = [Case(f"{mda}-again", mda, first=False) for mda in STORES]
OTHERS = [
    *(Case(f"{mda}-large", mda, first=False, size=700_000) for mda in STORES),
    *(Case(f"{mda}-folder", mda, first=False, flags=("-m", "Lists/roost")) for mda in STORES),
    *(Case(f"maildir-{creator}-volumes", "maildir", creator, volumes=2) for creator in ("lock", "trial")),
    Case("maildir-uids", "maildir", settings=(("maildir.uids", "5000-5009"),), needs_root=True),
]


def cases(*groups):
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for group in groups for case in group])


class Rig:
    """A site that is put back to where it began before each run, and a delivery to disturb in it."""

    def __init__(self, path, case):
        path.mkdir(mode=0o755)
        self.case = case
        self.store = STORES[case.mda]
        self.site = Site(path)
        self.kept = path / "kept"
        self.report = path / "report"
        self.message = text(DISTURBED, case.size)
        self.before = dict.fromkeys(() if case.first else EARLIER, 1)
        self.site.configure(
            {
                **self.store.settings(self.site),
                "store.creator": case.creator,
                "quota.storage": "1G",
                "quota.messages": "1000",
                "users.busy-time": "20ms",  # a lock that fails is waited for, in vain
                **dict(case.settings),
            }
        )
        self.tops = [self.site.mail / f"v{n}" for n in range(case.volumes)] or [self.site.mail]
        for top in self.tops:
            top.mkdir(exist_ok=True)
        if case.volumes:
            self.site.configure({"maildir.volumes": " ".join(map(str, self.tops)), "maildir.path": "%{local}"})
        made = self.site.roost("database", "create")
        assert made.returncode == 0, made.stderr.decode()
        self.site.add(USER)
        for message in self.before:
            self.deliver(message)
        shutil.copytree(self.site.mail, self.kept / "mail")
        self.site.sql("PRAGMA wal_checkpoint(TRUNCATE)")  # or the records would be in the log beside it
        shutil.copy2(self.site.db, self.kept / "users.db")
        self.reset()
        assert self.site.sql("SELECT allocation IS NULL FROM users") == [(case.first,)]

    def reset(self):
        shutil.rmtree(self.site.mail)
        shutil.copytree(self.kept / "mail", self.site.mail)
        for file in self.site.path.glob("users.db*"):
            file.unlink()
        shutil.copy2(self.kept / "users.db", self.site.db)

    def deliver(self, message, *flags):
        done = self.site.deliver(USER, message, "-f", "bob@example.net", *flags)
        assert (done.returncode, done.stderr.decode()) == (0, ""), "an undisturbed delivery fails"

    def disturb(self, at, *how):
        """Runs the case's delivery under roost-kill; returns (its exit status, its stderr, the report)."""
        self.reset()
        done = self.site.run(
            KILLER, *how, "--after", self.site.conf.name, "--report", self.report, at, "--",
            PROGRAMS["roost-deliver"], "-c", self.site.conf, "-d", USER, "-f", "bob@example.net", *self.case.flags,
            stdin=self.message, env=traced_env(),
        )  # fmt: skip
        assert done.returncode != 125, done.stderr.decode()
        return done.returncode, done.stderr.decode(), self.report.read_text()

    def visible(self):
        """The visible messages and how often each is there; all of them whole."""
        found = tally(self.store.stored(self.tops), USER)
        unknown = set(found) - {*self.before, self.message, NEXT}
        assert not unknown, f"torn: {[message[:300] for message in unknown]}"
        return found

    def check_tidy(self):
        """One mailbox, one allocation that names it, and nothing left behind."""
        assert not self.store.strangers(self.tops)
        [(allocation,)] = self.site.sql("SELECT allocation FROM users WHERE name=?", (USER,))
        box = json.loads(allocation)[f"{self.case.mda}.path"]
        boxes = self.store.mailboxes(self.tops)
        assert box in boxes
        assert all(path == box or path.startswith((f"{box}/", f"{box}.folders/")) for path in boxes), boxes
        return box

    def check_books(self, box, allowance):
        """The books say at least what is there, and at most what the disturbed delivery adds; a recount heals them."""
        counted = self.store.counted(box)
        if counted is None:
            return
        stored = self.store.stored(self.tops)
        truth = (sum(map(len, stored)), len(stored))
        over = [says - is_there for says, is_there in zip(counted, truth)]
        assert all(0 <= more <= most for more, most in zip(over, allowance)), f"{counted} counted, {truth} there"
        if counted != truth:
            healed = self.site.roost("quota", "recount", USER)
            assert healed.returncode == 0, healed.stderr.decode()
            assert self.store.counted(box) == truth


def traced_env():
    """The leak check of AddressSanitizer cannot work in a traced process."""
    return {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


class Bench:
    """Rigs for one case, as many as can work at once."""

    def __init__(self, path, case):
        if case.needs_root and os.geteuid() != 0:
            pytest.skip("needs root")
        path.chmod(0o755)  # mailboxes with uids of their own lie below
        self.rigs = queue.Queue()
        for number in range(WORKERS):
            self.rigs.put(Rig(path / f"rig{number}", case))

    def count(self, *how):
        """How many points there are: the undisturbed delivery is counted, and works."""
        with self.rig() as rig:
            status, stderr, report = rig.disturb(0, *how, "--list")
            assert (status, stderr) == (0, "")
            assert rig.visible() == {**rig.before, rig.message: 1}
            rig.check_tidy()
            return int(re.search(r"^count (\d+)$", report, re.M)[1])

    @contextlib.contextmanager
    def rig(self):
        rig = self.rigs.get()
        try:
            yield rig
        finally:
            self.rigs.put(rig)

    def each(self, points, check, *how):
        """check(rig, status, stderr, report) for each point; names every point at which it fails."""
        failures = []

        def work(point):
            with self.rig() as rig:
                status, stderr, report = rig.disturb(point, *how)
                try:
                    check(rig, status, stderr, report)
                except Exception as error:  # pylint: disable=broad-except
                    failures.append(f"at {report.strip()}: {stderr.strip()}: {type(error).__name__} {error}")

        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            for done in [pool.submit(work, point) for point in points]:
                done.result()
        assert not failures, f"{len(failures)} of {len(points)} points:\n" + "\n".join(failures)


def check_killed(rig, status, _stderr, report):
    """The killed delivery left the store as if it had not been, or had been whole; the next one works."""
    was_hit = "\nsignal 9" in report
    assert was_hit or status == 0
    # Already before anybody cleans up: readers see whole messages.
    if rig.case.mda == "maildir":
        assert rig.visible() in (rig.before, {**rig.before, rig.message: 1})

    rig.deliver(NEXT, *rig.case.flags)

    found = rig.visible()
    killed = found.pop(rig.message, 0)
    assert killed in ((0, 1) if was_hit else (1,)), f"the killed message is there {killed} times"
    assert found == {**rig.before, NEXT: 1}
    box = rig.check_tidy()
    rig.check_books(box, (0, 0) if killed else (len(rig.message) + 400, 1))


def check_failed(rig, status, stderr, _report):
    """The delivery says that it failed for now, and nothing of it is there; or that it worked, and it did. The MTA's
    next try works."""
    assert status in (0, 75), "only temporary trouble is ours"
    if status == 75:
        assert re.match(r"4\.\d\.\d+ [^\n]+: [^\n]+\n", stderr), "no clear line"
    if rig.case.mda == "maildir" or status == 0:
        assert rig.visible() == {**rig.before, **({rig.message: 1} if status == 0 else {})}

    rig.deliver(NEXT if status == 0 else rig.message, *rig.case.flags)

    assert rig.visible() == {**rig.before, rig.message: 1, **({NEXT: 1} if status == 0 else {})}
    box = rig.check_tidy()
    rig.check_books(box, (len(rig.message) + 400, 1))


@cases(FIRST, AGAIN, OTHERS)
def test_killed_at_every_change_it_loses_nothing_and_doubles_nothing(tmp_path, case):
    bench = Bench(tmp_path, case)
    bench.each(range(1, bench.count("--changes") + 1), check_killed, "--changes")


@cases(FIRST, AGAIN)
def test_killed_at_any_system_call_it_loses_nothing_and_doubles_nothing(tmp_path, case):
    bench = Bench(tmp_path, case)
    count = bench.count()
    step = 1 if ALL else max(count // SAMPLES, 1)
    bench.each(range(1, count + 1, step), check_killed)


@cases(FIRST[:1], FIRST[3:4])
def test_refused_any_change_it_delivers_nothing_and_the_next_try_works(tmp_path, case):
    bench = Bench(tmp_path, case)
    how = ("--fail", "EIO")
    bench.each(range(1, bench.count(*how) + 1), check_failed, *how)


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@cases(FIRST if ALL else FIRST[::3], AGAIN, OTHERS)
def test_refused_any_change_to_the_mailbox_it_delivers_nothing_and_the_next_try_works(tmp_path, case, error):
    bench = Bench(tmp_path, case)
    how = ("--fail", error, "--under", "/mail/")
    bench.each(range(1, bench.count(*how) + 1), check_failed, *how)


def check_failed_for_good(rig, status, stderr, report):
    """As check_failed; but what is visible already when the volume fails, at the last sync, cannot be taken back."""
    if status != 75 or not re.search(r"^call \d+ (fsync .*/new|fdatasync .*\.books)$", report, re.M):
        check_failed(rig, status, stderr, report)
        return
    rig.deliver(rig.message, *rig.case.flags)
    assert rig.visible() == {**rig.before, rig.message: 2}
    rig.check_tidy()


@cases(FIRST[:1], FIRST[3:4], AGAIN)
def test_on_a_volume_that_fails_from_some_point_on_it_delivers_nothing_and_the_next_try_works(tmp_path, case):
    bench = Bench(tmp_path, case)
    how = ("--fail", "EROFS", "--under", "/mail/")
    bench.each(range(1, bench.count(*how) + 1), check_failed_for_good, *how, "--on")


def check_ended(rig, status, stderr, _report):
    """A signal ended the delivery before anything was visible, or it went on to the end."""
    assert status in (0, 75)
    assert stderr == ("" if status == 0 else "4.3.2 the delivery was ended by a signal\n")
    assert rig.visible() == {**rig.before, **({rig.message: 1} if status == 0 else {})}
    rig.deliver(NEXT if status == 0 else rig.message, *rig.case.flags)
    assert rig.visible() == {**rig.before, rig.message: 1, **({NEXT: 1} if status == 0 else {})}
    rig.check_tidy()


@cases(FIRST[:1], AGAIN)
def test_a_signal_at_any_system_call_ends_it_before_the_message_is_visible_or_not_at_all(tmp_path, case):
    bench = Bench(tmp_path, case)
    count = bench.count()
    step = 1 if ALL else max(count // SAMPLES, 1)
    # The last calls are those that follow the first visible trace.
    points = sorted({*range(1, count + 1, step), *range(max(count - SAMPLES, 1), count + 1)})
    bench.each(points, check_ended, "--signal", str(int(signal.SIGTERM)))


def check_delivered(rig, status, stderr, _report):
    assert (status, stderr) == (0, "")
    assert rig.visible() == {**rig.before, rig.message: 1}
    rig.check_books(rig.check_tidy(), (0, 0))


@cases(FIRST[:1], FIRST[3:4], AGAIN, OTHERS[:2])
def test_writes_that_do_less_than_asked_are_finished(tmp_path, case):
    bench = Bench(tmp_path, case)
    bench.each(range(1, bench.count("--short") + 1), check_delivered, "--short")


@cases(FIRST[:1], FIRST[3:4], AGAIN)
def test_calls_interrupted_by_a_signal_are_repeated_or_fail_for_now(tmp_path, case):
    bench = Bench(tmp_path, case)
    how = ("--fail", "EINTR")
    bench.each(range(1, bench.count(*how) + 1), check_failed, *how)
