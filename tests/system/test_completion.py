"""The completion script for bash, in bash."""

import shlex
import shutil
import subprocess

import pytest

from conftest import PROGRAMS, SOURCE, clean_env

SCRIPT = SOURCE / "etc" / "completion" / "roost.bash"
# What readline does: it splits the line at its word breaks, calls the function, and replaces the last of the words.
HARNESS = r"""
source "$1"
COMP_LINE=$2 COMP_POINT=${#2} COMP_TYPE=9
compopt() { echo "option $*" >&3; }
_roost
printf '%s\n' "${COMPREPLY[@]}"
"""


def complete(site, line, config=True):
    """The words that bash would offer for the end of the line, and the options that were set for them."""
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    start = f"{PROGRAMS['roost']} "
    if config:
        start += f"-c {site.conf} "
    script = f"exec 3>&2; {HARNESS}"
    result = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", SCRIPT, start + line],
        capture_output=True, text=True, env=clean_env(), cwd=site.path, timeout=60, check=True,
    )  # fmt: skip
    return [word for word in result.stdout.splitlines() if word], result.stderr.split("\n")[:-1]


def test_the_function_is_bound_to_the_command():
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    command = f"source {shlex.quote(str(SCRIPT))}; complete -p roost"
    result = subprocess.run(["bash", "--norc", "-c", command], capture_output=True, text=True, check=True)
    assert result.stdout == "complete -F _roost roost\n"


@pytest.mark.parametrize(
    "line, words",
    [
        ("", ["config", "database", "domain", "explain", "modules", "plan", "quota", "user"]),
        ("u", ["user"]),
        ("user ", ["add", "allocate", "list", "remove", "set", "show", "unset"]),
        ("user s", ["set", "show"]),
        ("config ", ["check", "man", "sample", "show"]),
        ("user remove alice --p", ["--purge"]),
        ("user list --", ["--config", "--domain", "--help", "--json", "--override", "--quiet", "--verbose", "--version"]),
        ("--ver", ["--verbose", "--version"]),
        ("quota show --al", ["--all"]),
        ("user add new@example.org quota.m", ["quota.message=", "quota.messages="]),
        ("user add new@example.org log.", []),  # not at this level
        ("-o log.l", ["log.level="]),
        ("user unset alice@example.org quota.st", ["quota.storage"]),
        ("user set alice@example.org ena", ["enabled="]),
        ("user set alice@example.org quota.folder.Lists/roost.s", ["quota.folder.Lists/roost.storage="]),
        ("domain unset example.org quota.folder.Trash.", [f"quota.folder.Trash.{key}" for key in ("ignore", "messages", "storage")]),
        ("domain set example.org pl", ["plan="]),
        ("user show al", ["alice@example.org"]),
        ("domain show ex", ["example.org"]),
        ("plan show ", ["gold", "green"]),
        ("user list --domain ex", ["example.org"]),
        ("user add ", []),
        ("modules ", []),
        ("user show alice@example.org ", []),
        ("frobnicate ", []),
    ],
)
def test_commands_options_keys_and_names_are_completed(site, line, words):
    site.add("alice@example.org")
    site.add("bob@example.org")
    site.sql("INSERT INTO plans(name) VALUES ('gold'), ('green')")
    site.sql("INSERT INTO domains(name) VALUES ('example.org')")
    assert complete(site, line)[0] == words


@pytest.mark.parametrize(
    "line, words",
    [
        # "=" and "@" are word breaks of readline's: what stands before the last is not to be repeated.
        ("user set alice@example.org quota.when-full=", ["bounce", "defer"]),
        ("user set alice@example.org quota.when-full=b", ["bounce"]),
        ("user set alice@example.org enabled=", ["no", "yes"]),
        ("user set alice@example.org quota.folder.Trash.ignore=", ["no", "yes"]),
        ("domain set example.org plan=g", ["gold"]),
    ],
)
def test_values_are_completed(site, line, words):
    site.sql("INSERT INTO plans(name) VALUES ('gold')")
    assert complete(site, line)[0] == words


def test_a_key_is_followed_by_its_value_without_a_blank(site):
    words, options = complete(site, "user add x quota.st")
    assert (words, options) == (["quota.storage="], ["option -o nospace"])
    assert complete(site, "user unset x quota.st")[1] == []


def test_configuration_files_are_completed(site):
    words, options = complete(site, f"{'--config'} {site.path}/roost.c", config=False)
    assert words == [str(site.conf)] and options == ["option -o filenames"]


def test_keys_are_completed_without_a_configuration_or_database(site):
    site.conf.unlink()
    assert complete(site, "user add x quota.st") == (["quota.storage="], ["option -o nospace"])
    assert complete(site, "user show al") == ([], [])


def test_a_mistyped_line_prints_nothing_on_the_terminal(site):
    assert complete(site, "user set --nonsense 'x ")[1] == []
