"""The scripts and the README that a newcomer meets."""

import re
import shutil
import subprocess

import pytest

from conftest import SOURCE

SCRIPTS = ["etc/try", "etc/need", "etc/completion/roost.bash", "tests/run", "tests/peers", ".ci/run"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_is_clean_and_can_be_run(script):
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    path = SOURCE / script
    result = subprocess.run(["shellcheck", "--shell=bash", path], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    if not script.endswith(".bash"):
        assert path.stat().st_mode & 0o111 and path.read_text().startswith("#!/bin/bash\n")


def test_scripts_say_what_is_wrong_with_their_arguments():
    for command, named in ((["etc/need", "nosuch"], "nosuch"), (["tests/peers", "nosuch"], "nosuch"),
                           (["etc/try", "/nonexistent/message"], "/nonexistent/message")):
        result = subprocess.run([SOURCE / command[0], *command[1:]], capture_output=True, text=True, check=False)
        assert result.returncode != 0 and named in result.stderr, command


def test_everything_that_the_readme_links_to_is_there():
    text = (SOURCE / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    manuals = re.findall(r"`(roost[a-z.-]*)\((\d)\)`", text)
    assert links and manuals
    for link in links:
        assert (SOURCE / link).exists(), link
    for name, section in manuals:
        assert (SOURCE / "man" / f"{name}.{section}").exists(), name
    for command in re.findall(r"^    ((?:etc|tests)/\w+)", text, re.M):
        assert (SOURCE / command).exists(), command
