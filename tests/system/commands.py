"""Running roost(8) as others would, what must be true of its end, and what it left in the database."""

import json
import os
import pty
import select
import subprocess
import time

import pytest

from conftest import PROGRAMS, Site, clean_env


def ok(result, out=None):
    """Success, and nothing on stderr; returns the output."""
    assert (result.returncode, result.stderr.decode()) == (0, "")
    if out is not None:
        assert result.stdout.decode() == out
    return result.stdout.decode()


def fails(result, code, *parts):
    """The exit status, nothing on stdout, and one line on stderr that has all the parts."""
    text = result.stderr.decode()
    assert (result.returncode, result.stdout) == (code, b""), text
    assert text.startswith("roost: ") and text.count("\n") == 1, text
    for part in parts:
        assert part in text, text
    return text


def row(site, table, name):
    found = site.sql(f"SELECT * FROM {table} WHERE name = ?", (name,))
    return found[0] if found else None


def settings(site, table, name):
    return json.loads(site.sql(f"SELECT settings FROM {table} WHERE name = ?", (name,))[0][0])


def fresh(tmp_path):
    """A site whose database does not exist yet."""
    return Site(tmp_path)


def as_nobody(site):
    """Arguments that make a run be somebody's who owns nothing here."""
    if os.geteuid() != 0:
        return {}
    site.path.chmod(0o755)
    probe = subprocess.run([PROGRAMS["roost"], "--version"], user=65534, group=65534, extra_groups=[], check=False)
    if probe.returncode != 0:
        pytest.skip("another user cannot reach the programs")
    return {"user": 65534, "group": 65534, "extra_groups": []}


def on_terminal(site, args, answer, env=None):
    """Runs roost with a terminal, answers its question, and returns exit status and what the terminal showed."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [PROGRAMS["roost"], "-c", site.conf, *args], stdin=follower, stdout=follower, stderr=follower, env=clean_env(env)
    )
    os.close(follower)
    shown = b""
    answered = False
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([leader], [], [], 1)[0]:
            continue
        try:
            more = os.read(leader, 4096)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        shown += more
        if b"[y/N]" in shown and not answered:
            os.write(leader, answer)
            answered = True
    os.close(leader)
    return process.wait(60), shown.decode()
