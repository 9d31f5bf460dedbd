"""The units for systemd."""

import re
import shutil
import subprocess

import pytest
from conftest import BUILD, SOURCE
from manpage import section

SERVICE = BUILD / "etc" / "systemd" / "roostd.service"
SOCKET = SOURCE / "etc" / "systemd" / "roostd.socket"
POLICY = SOURCE / "etc" / "systemd" / "roostd-policy.socket"


def values(unit, name):
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def test_systemd_finds_nothing_wrong(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    program = BUILD / "cmd" / "roostd" / "roostd"
    service = tmp_path / SERVICE.name
    service.write_text(re.sub("^ExecStart=.*", f"ExecStart={program}", SERVICE.read_text(), flags=re.MULTILINE))
    for socket in (SOCKET, POLICY):
        (tmp_path / socket.name).write_text(socket.read_text())
    for unit in (service, tmp_path / SOCKET.name, tmp_path / POLICY.name):
        result = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit], capture_output=True, text=True,
            check=False,
        )
        found = [line for line in (result.stdout + result.stderr).splitlines() if unit.name in line]
        assert not found


def test_the_service_runs_as_nobody_special_and_can_do_little():
    assert values(SERVICE, "User") == ["roost"]
    assert values(SERVICE, "CapabilityBoundingSet") == [""]
    assert values(SERVICE, "NoNewPrivileges") == values(SERVICE, "MemoryDenyWriteExecute") == ["yes"]
    assert values(SERVICE, "ProtectSystem") == ["strict"]


def test_the_service_may_confine_itself():
    allowed = values(SERVICE, "SystemCallFilter")[0].split()
    assert {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} <= set(allowed)


def test_the_service_keeps_the_promises_of_the_defaults():
    settings = (SOURCE / "etc" / "roost.conf").read_text()

    def default(key):
        return re.search(rf"^#{key} = (.*)$", settings, re.MULTILINE)[1]

    assert values(SERVICE, "Type") == ["notify"]
    assert int(values(SERVICE, "TimeoutStopSec")[0]) > int(default("shutdown-timeout").removesuffix("s"))
    assert default("state") == "/var/lib/" + values(SERVICE, "StateDirectory")[0]
    assert default("listen") == "unix:" + values(SOCKET, "ListenStream")[0]
    assert default("listen").startswith("unix:/run/" + values(SERVICE, "RuntimeDirectory")[0] + "/")
    assert default("socket-mode") == values(SOCKET, "SocketMode")[0]
    assert values(POLICY, "FileDescriptorName") == ["policy"]
    assert values(POLICY, "Service") == [SERVICE.name]
    assert "sd_notify" in section("roostd.8", "OPERATION")
