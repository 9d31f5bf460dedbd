"""SQL servers for tests: the real ones of tests/peers, each started in a private folder with a Unix socket alone."""

import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

import pytest

from chamber import PATIENCE, PEERS
from conftest import clean_env

PASSWORD = "s3cret pass"
# The server refuses to run as root; these ids have no rights.
UNPRIVILEGED = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"] if os.getuid() == 0 else []


class Server:
    """One server with a database "mail" and its user "roost". The folder is short, for the sake of its socket."""

    peer = scheme = None
    quote = '"'

    def __init__(self):
        self.peers = PEERS / self.peer
        if not (self.peers / ".whole").exists():
            pytest.skip(f"{self.peer} is not unpacked: run tests/peers {self.peer}")
        self.process = None
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="roost-", dir="/tmp"))
        self.env = clean_env({"LD_LIBRARY_PATH": str(self.peers / "usr/lib/x86_64-linux-gnu"), "HOME": str(self.path)})
        try:
            if UNPRIVILEGED:
                shutil.chown(self.path, "nobody", "nogroup")
            self.make()
            self.start()
        except BaseException:
            self.close()
            raise

    def close(self):
        self.stop()
        shutil.rmtree(self.path, ignore_errors=True)

    def check(self, *args, **more):
        """Runs a command as the server's user; returns what it printed."""
        result = subprocess.run([*UNPRIVILEGED, *map(str, args)], capture_output=True, env=self.env, cwd=self.path,
                                check=False, timeout=PATIENCE, **more)
        assert result.returncode == 0, f"{args}: {result.stdout.decode()}{result.stderr.decode()}"
        return result.stdout.decode()

    def start(self):
        with open(self.path / "log", "ab") as log:
            self.process = subprocess.Popen([*UNPRIVILEGED, *map(str, self.command())], env=self.env, cwd=self.path,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.sql("SELECT 1")
                return
            except AssertionError:
                assert self.process.poll() is None and time.monotonic() < end, (self.path / "log").read_text()
                time.sleep(0.05)

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(self.ending)
            self.process.wait(PATIENCE)
            self.process = None

    def create(self, columns="username VARCHAR(100) PRIMARY KEY, bytes BIGINT NOT NULL DEFAULT 0, "
                             "messages INTEGER NOT NULL DEFAULT 0", table="quota2"):
        """The table, empty; what is not said otherwise is that of PostfixAdmin."""
        self.sql(f"DROP TABLE IF EXISTS {table}")
        self.sql(f"CREATE TABLE {table} ({columns})")

    def rows(self, select="SELECT username, bytes, messages FROM quota2 ORDER BY username"):
        """Each row a tuple of texts."""
        return [tuple(line.split("\t")) for line in self.sql(select).splitlines()]


class Postgresql(Server):
    peer, scheme, ending = "postgresql", "pgsql", signal.SIGINT  # SIGINT ends it without waiting for clients

    def make(self):
        self.bin = self.peers / "usr/lib/postgresql/15/bin"
        (self.path / "password").write_text(PASSWORD)
        (self.path / "password").chmod(0o644)
        self.check(self.bin / "initdb", "-L", self.peers / "usr/share/postgresql/15", "-D", self.path / "data", "-N",
                   "-A", "scram-sha-256", "-U", "roost", f"--pwfile={self.path}/password", "-E", "UTF8", "--locale", "C")
        self.env["PGPASSWORD"] = PASSWORD
        self.database = "postgres"

    def command(self):
        return [self.bin / "postgres", "-D", self.path / "data", "-k", self.path, "-c", "listen_addresses=",
                "-c", "fsync=off"]

    def sql(self, statement):
        return self.check(self.bin / "psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h",
                          self.path, "-U", "roost", "-d", self.database, "-f", "-", input=statement.encode())

    def uri(self, more="", password=PASSWORD):
        return f"pgsql:host={self.path}:dbname={self.database}:user=roost:password={password}{more}"


class Mariadb(Server):
    peer, scheme, quote, ending = "mariadb", "mysql", "`", signal.SIGTERM

    def make(self):
        self.usr, self.database = self.peers / "usr", []
        self.check(self.usr / "bin/mariadb-install-db", "--no-defaults", f"--basedir={self.usr}",
                   f"--datadir={self.path}/data", f"--lc-messages-dir={self.usr}/share/mysql", "--skip-test-db",
                   f"--user={'nobody' if UNPRIVILEGED else os.environ.get('USER', '')}",
                   "--auth-root-authentication-method=normal")
        self.start()
        self.sql("CREATE DATABASE mail; "
                 f"CREATE USER roost@localhost IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON mail.* TO roost@localhost")
        self.stop()
        self.database = ["mail"]

    def command(self):
        return [self.usr / "sbin/mariadbd", "--no-defaults", f"--basedir={self.usr}", f"--datadir={self.path}/data",
                f"--lc-messages-dir={self.usr}/share/mysql", f"--socket={self.path}/socket", "--skip-networking",
                "--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci",  # as Debian has it
                "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M"]

    def sql(self, statement):
        return self.check(self.usr / "bin/mariadb", "--no-defaults", "--batch", "--skip-column-names",
                          "--default-character-set=utf8mb4", "-u", "root", f"--socket={self.path}/socket",
                          *self.database, input=statement.encode())

    def uri(self, more="", password=PASSWORD):
        return f"mysql:host={self.path}/socket:dbname=mail:user=roost:password={password}{more}"


class Sqlite:
    """The same face without a server."""

    scheme, quote = "sqlite", '"'

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="roost-", dir="/tmp"))
        self.file = self.path / "quota.db"
        self.file.touch()

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)

    def sql(self, statement):
        connection = sqlite3.connect(self.file, timeout=PATIENCE)
        try:
            with connection:
                rows = connection.execute(statement).fetchall()
        finally:
            connection.close()
        return "".join("\t".join("NULL" if each is None else str(each) for each in row) + "\n" for row in rows)

    create, rows = Server.create, Server.rows

    def uri(self, more=""):
        return f"sqlite:{self.file}{more}"


SERVERS = {each.scheme: each for each in (Sqlite, Postgresql, Mariadb)}
