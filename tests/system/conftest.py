"""What the whole-system tests share: a private Roost to run the built programs on.

The environment names the trees: ROOST_SOURCE (sources) and ROOST_BUILD (a build of them; ctest sets both).
"""

import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile

import pytest

SOURCE = pathlib.Path(os.environ.get("ROOST_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("ROOST_BUILD", SOURCE / "build" / "dev"))
PROGRAMS = {
    "roost": BUILD / "cmd" / "roost" / "roost",
    "roost-deliver": BUILD / "cmd" / "roost-deliver" / "roost-deliver",
    "roostd": BUILD / "cmd" / "roostd" / "roostd",
}
MODULES = BUILD / "modules"

SAMPLE = (
    b"From: Bob <bob@example.net>\n"
    b"To: Alice <alice@example.org>\n"
    b"Subject: sample\n"
    b"Message-ID: <sample@example.net>\n"
    b"Date: Mon, 1 Jan 2024 00:00:00 +0000\n"
    b"\n"
    b"Hello.\n"
)


class Site:
    """A Roost of its own below a private directory.

    path     the directory; everything else lies below it
    conf     its roost.conf, written from `settings` (a dict of "section.name" to value)
    db       the SQLite user database, made by `roost database create`
    mail     the directory below which mailboxes lie: maildir.path = mail/%{domain}/%{local}
    log      where log.target points
    state    store.state
    """

    def __init__(self, path, programs=None, modules=MODULES):
        self.path = pathlib.Path(path)
        self.conf = self.path / "roost.conf"
        self.db = self.path / "users.db"
        self.mail = self.path / "mail"
        self.log = self.path / "log"
        self.state = self.path / "state"
        self.programs = programs or PROGRAMS
        self.state.mkdir()
        self.mail.mkdir()
        self.settings = {
            "users.database": f"sqlite:{self.db}",
            "store.state": str(self.state),
            "maildir.path": f"{self.mail}/%{{domain}}/%{{local}}",
            "log.target": str(self.log),
        }
        if modules.is_dir():  # a build with linked-in modules has none
            self.settings["store.modules"] = str(modules)
        self.configure()

    def configure(self, changes=None, **more):
        """Merges settings into the configuration ("quota.storage": "1M"; None removes one) and writes the file.

        As keywords, "__" stands for the dot and "_" for "-": configure(quota__when_full="defer").
        """
        changes = dict(changes or {})
        changes.update({key.replace("__", ".").replace("_", "-"): value for key, value in more.items()})
        for key, value in changes.items():
            if value is None:
                self.settings.pop(key, None)
            else:
                self.settings[key] = str(value)
        self.write_conf(self.conf_text())

    def conf_text(self):
        """The text of the configuration file that the settings make."""
        sections = {}
        for key, value in self.settings.items():
            section, _, name = key.partition(".")
            sections.setdefault(section, []).append(f"{name} = {value}")
        return "".join(f"[{section}]\n" + "\n".join(lines) + "\n\n" for section, lines in sections.items())

    def write_conf(self, text):
        """Replaces the whole configuration file."""
        self.conf.write_text(text)

    def run(self, program, *args, stdin=b"", env=None, timeout=120, **more):
        """Runs a program ("roost", "roost-deliver", or any path) with a clean environment plus `env`.

        Returns the CompletedProcess; stdout and stderr are bytes. Nothing is added to the arguments.
        """
        command = [str(self.programs.get(str(program), program)), *map(str, args)]
        if "stdin" not in more and not hasattr(stdin, "fileno"):
            more["input"] = stdin.encode() if isinstance(stdin, str) else stdin
        else:
            more["stdin"] = stdin
        return subprocess.run(
            command, env=clean_env(env), capture_output=True, timeout=timeout, cwd=self.path, check=False, **more
        )

    def deliver(self, user, message=SAMPLE, /, *flags, env=None, **more):
        """roost-deliver -c CONF -d USER FLAGS < message. `user` None leaves -d out."""
        to = [] if user is None else ["-d", user]
        return self.run("roost-deliver", "-c", self.conf, *to, *flags, stdin=message, env=env, **more)

    def roost(self, *args, **more):
        """roost -c CONF ARGS."""
        return self.run("roost", "-c", self.conf, *args, **more)

    def sql(self, statement, params=()):
        """Runs one statement on the user database as any other program would; returns the rows."""
        connection = sqlite3.connect(self.db, timeout=30)
        try:
            with connection:
                return connection.execute(statement, params).fetchall()
        finally:
            connection.close()

    def add(self, user, settings="{}", enabled=1):
        """Adds a user record by plain SQL."""
        self.sql("INSERT INTO users(name, settings, enabled) VALUES (?, ?, ?)", (user, settings, enabled))

    def maildir(self, user, folder=""):
        """The Maildir of a user, or of a folder in it ("Lists.roost")."""
        local, _, domain = user.rpartition("@")
        return self.mail / domain / local / (f".{folder}" if folder else "")

    def messages(self, user, folder=""):
        """The message files of a user's Maildir (new/ and cur/) in the order of their names."""
        top = self.maildir(user, folder)
        return sorted(
            path for part in ("new", "cur") if (top / part).is_dir() for path in (top / part).iterdir()
        )

    def message(self, user, folder=""):
        """The bytes of the only message there."""
        files = self.messages(user, folder)
        assert len(files) == 1, f"{user} {folder}: {files}"
        return files[0].read_bytes()


def clean_env(env=None):
    """An environment without anything of the caller's but what sanitizers and coverage need, plus `env`."""
    base = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    base.update({key: os.environ[key] for key in os.environ if key.endswith("SAN_OPTIONS") or key.startswith("GCOV")})
    base.update(env or {})
    return base


def body_of(stored, message):
    """Splits what was stored into the header that Roost put before it and asserts that the rest is `message`."""
    assert stored.endswith(message), "the message's bytes were changed"
    return stored[: len(stored) - len(message)]


SKIPPED = 77  # the exit status that ctest knows as "skipped"


class Results:
    """Writes which tests passed, failed and were skipped, for tests/tally.py, if ROOST_RESULTS names a directory."""

    def __init__(self):
        self.passed, self.failed, self.skipped = [], [], {}

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.rpartition("/")[2]
        if report.skipped:
            self.skipped[name] = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
        elif report.failed:
            if name not in self.failed:
                self.failed.append(name)
        elif report.when == "call":
            self.passed.append(name)

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_sessionfinish(self, session):
        self.passed = [name for name in self.passed if name not in self.failed]
        if self.skipped and not self.passed and not self.failed:
            session.exitstatus = SKIPPED  # so that ctest does not call it passed
        folder = os.environ.get("ROOST_RESULTS")
        files = {pathlib.Path(str(argument).partition("::")[0]).stem for argument in session.config.args}
        if folder:
            os.makedirs(folder, exist_ok=True)
            counts = {"passed": self.passed, "failed": self.failed, "skipped": self.skipped}
            (pathlib.Path(folder) / ("+".join(sorted(file.removeprefix("test_") for file in files)) + ".json")).write_text(json.dumps(counts))


def pytest_configure(config):
    config.pluginmanager.register(Results())


@contextlib.contextmanager
def private_dir():
    """A private directory below the build tree, gone afterwards (ROOST_KEEP=1 in the environment keeps it)."""
    top = BUILD / "scratch"
    top.mkdir(parents=True, exist_ok=True)
    path = pathlib.Path(tempfile.mkdtemp(prefix="t", dir=top))
    path.chmod(0o755)  # MTAs and mail users come in too
    try:
        yield path
    finally:
        if not os.environ.get("ROOST_KEEP"):
            shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def tmp_path():
    """A private directory for one test, in place of pytest's own, which leaves directories behind."""
    with private_dir() as path:
        yield path


@pytest.fixture(scope="module")
def module_path():
    """A private directory for the tests of one file."""
    with private_dir() as path:
        yield path


@pytest.fixture
def site(tmp_path):
    """A Site with an empty user database; see the class."""
    made = Site(tmp_path)
    result = made.roost("database", "create")
    assert result.returncode == 0, result.stderr.decode()
    return made
