"""A private machine for tests with other mail software: a root of its own, made of this machine's files with the
software's packages (see tests/peers) and an installed Roost laid over them, and a loopback network of its own. What is
written there exists in memory only and is gone afterwards; processes inside die with it. Needs root and the right to
mount.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

from conftest import BUILD, clean_env

PEERS = pathlib.Path(os.environ.get("ROOST_PEERS", BUILD.parent / "peers"))
RECIPES = BUILD / "etc" / "recipes"
PATIENCE = 60  # seconds for something that an MTA does in the background; a fault, not a speed, is what runs into it

# $1: an empty directory, then the software. Prints the process that keeps the chamber, then waits to be killed.
SETUP = r"""
set -e
/usr/bin/python3 - <<'PYTHON'
import fcntl, socket, struct
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
PYTHON
mount -t tmpfs -o mode=755 chamber "$1"
mkdir "$1/upper" "$1/work" "$1/root"
for software in "${@:2}"; do
  cp -a "$software/." "$1/upper/"
done
chmod 755 "$1/upper"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" chamber "$1/root"
mount --rbind /dev "$1/root/dev"
for each in run tmp var/spool var/lib/roost var/log; do
  mkdir -p "$1/root/$each"
  mode=755; [ "$each" = tmp ] && mode=1777
  mount -t tmpfs -o "mode=$mode" chamber "$1/root/$each"
done
for software in "${@:2}"; do
  if [ -d "$software/var/spool" ]; then cp -a "$software/var/spool/." "$1/root/var/spool/"; fi
done
mount -t proc proc "$1/root/proc"
read -r pid _ </proc/self/stat
echo "$pid"
exec chroot "$1/root" sleep infinity
"""

# Does what systemd does for roostd.socket and roostd.service. $1: addresses to listen on; then a command to become.
MANAGER = """
import os, pathlib, socket, sys
for number, address in enumerate(sys.argv[1].split(), 3):
    if address.startswith("/"):
        pathlib.Path(address).unlink(missing_ok=True)
        opened = socket.socket(socket.AF_UNIX)
        opened.bind(address)
        os.chmod(address, 0o666)
    else:
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((address.split(":")[0], int(address.split(":")[1])))
    opened.listen(4096)
    os.dup2(opened.detach(), number)
    os.set_inheritable(number, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sys.argv[1].split())))
os.umask(0o077)
os.execvp(sys.argv[2], sys.argv[2:])
"""

CONFIGURATION = """
[maildir]
path = /var/lib/roost/mail/%{domain}/%{local}

[log]
target = /var/lib/roost/log
"""

# SQLite follows a path to where it leads from outside, so it must run inside.
SQL = """
import json, sqlite3, sys
with sqlite3.connect("/var/lib/roost/users.db", timeout=30) as connection:
    connection.execute(*json.load(sys.stdin))
"""


class Chamber:
    """`root` is its file system as seen from outside. The user roost, its configuration and an empty user database are
    there; roost-deliver is where `cmake --install` puts it."""

    def __init__(self, path, *software):
        if os.getuid() != 0:
            pytest.skip("only root can give an MTA a root directory of its own")
        for each in software:
            if not (PEERS / each / ".whole").exists():
                pytest.skip(f"{each} is not unpacked: run tests/peers {each}")
        place = path / "chamber"
        place.mkdir()
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private", "bash", "-c",
             SETUP, "chamber", str(place), *(str(PEERS / each) for each in software)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_env())
        pid = self.holder.stdout.readline().strip()
        if not pid:
            pytest.skip(f"no private mounts or network here: {self.holder.communicate()[1].strip()}")
        self.pid = int(pid)
        self.roostd = None
        self.root = pathlib.Path(f"/proc/{pid}/root")
        while os.readlink(f"/proc/{pid}/root") == "/":  # until the last exec
            time.sleep(0.01)
        try:
            self.install()
        except BaseException:
            self.close()
            raise

    def install(self):
        installed = subprocess.run(["cmake", "--install", str(BUILD), "--strip"], capture_output=True, check=False,
                                   env=clean_env({"DESTDIR": str(self.root)}))
        assert installed.returncode == 0, installed.stderr.decode()
        self.check("useradd", "--system", "--home-dir", "/var/lib/roost", "--shell", "/usr/sbin/nologin", "roost")
        self.check("chown", "roost:roost", "/var/lib/roost")
        self.write("/etc/roost/roost.conf", CONFIGURATION)
        self.check("runuser", "-u", "roost", "--", "/usr/local/sbin/roost", "database", "create")

    def close(self):
        self.stop_roostd()
        self.holder.kill()
        self.holder.wait()
        for stream in (self.holder.stdout, self.holder.stderr):
            stream.close()

    def inside(self, *args):
        """The command line that runs a command inside."""
        return ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--root", "--wdns=/", *map(str, args)]

    def run(self, *args, stdin=b"", env=None):
        return subprocess.run(self.inside(*args), input=stdin, capture_output=True, env=clean_env(env), check=False,
                              timeout=120)

    def check(self, *args, **more):
        """Runs a command that must succeed; returns what it printed."""
        result = self.run(*args, **more)
        assert result.returncode == 0, f"{args}: {result.stdout.decode()}{result.stderr.decode()}"
        return result.stdout.decode()

    def path(self, name):
        """A path inside, as seen from outside."""
        return self.root / name.lstrip("/")

    def write(self, name, text):
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(text)

    def read(self, name):
        path = self.path(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for(self, name, pattern):
        """Waits until a file inside, a log, matches; returns the match."""
        end = time.monotonic() + PATIENCE
        while True:
            if found := re.search(pattern, self.read(name)):
                return found
            assert time.monotonic() < end, f"{name} never had {pattern}:\n{self.read(name)}"
            time.sleep(0.05)

    # Roost inside

    def start_roostd(self, settings=""):
        """Runs roostd with the rights that its unit gives it and the sockets of roostd.socket, edited as the recipe for
        LMTP by TCP says, and waits until it is ready. `settings` are those of the [lmtp] section, and what follows."""
        self.write("/etc/roost/roost.conf", f"{CONFIGURATION}\n[lmtp]\n{settings}")
        self.check("install", "-d", "-o", "roost", "-g", "roost", "/run/roost")
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with manager:
            place = self.path("/run/roost/notify")
            place.unlink(missing_ok=True)
            manager.bind(str(place))
            place.chmod(0o666)
            manager.settimeout(PATIENCE)
            units = "/usr/local/lib/systemd/system/"
            unit = self.read(units + "roostd.service")
            assert "\nCapabilityBoundingSet=\nAmbientCapabilities=\n" in unit and "\nNoNewPrivileges=yes\n" in unit
            assert "\nUser=roost\nGroup=roost\n" in unit
            addresses = re.findall("^ListenStream=(.*)", self.read(units + "roostd.socket"), re.M)
            addresses += re.findall(r"ListenStream=([\d.:]+)", (RECIPES / "postfix" / "lmtp.cf").read_text())
            self.roostd = subprocess.Popen(
                self.inside("/usr/bin/python3", "-c", MANAGER, " ".join(addresses), "setpriv", "--reuid", "roost",
                            "--regid", "roost", "--init-groups", "--bounding-set", "-all", "--inh-caps", "-all",
                            "--ambient-caps", "-all", "--no-new-privs",
                            re.search("^ExecStart=(.*)", unit, re.M)[1]),
                stdin=subprocess.DEVNULL, env=clean_env({"NOTIFY_SOCKET": "/run/roost/notify"}))
            while b"READY=1" not in manager.recv(4096).splitlines():
                pass

    def stop_roostd(self, number=signal.SIGTERM):
        if self.roostd:
            # nsenter waits for the process that it started, and passes no signal on.
            pid = self.roostd.pid
            for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                os.kill(int(child), number)
            self.roostd.wait(PATIENCE)
            self.roostd = None

    def deliveries(self, **fields):
        """The lines that roostd or roost-deliver logged about deliveries, each a dict, whose `fields` are these
        (queue_id for queue-id)."""
        lines = re.findall(r"(session=.*)", self.read("/var/lib/roost/log"))
        found = [dict(re.findall(r"(?:^|(?<= ))([a-z-]+)=(.*?)(?= [a-z-]+=|$)", line)) for line in lines]
        wanted = {name.replace("_", "-"): value for name, value in fields.items()}
        return [each for each in found if wanted.items() <= each.items()]

    def sql(self, statement, params=()):
        """Runs one statement on the user database, as the user roost."""
        self.check("runuser", "-u", "roost", "--", "/usr/bin/python3", "-c", SQL,
                   stdin=json.dumps([statement, params]).encode())

    def add(self, *names):
        for name in names:
            self.sql("INSERT INTO users(name) VALUES (?)", (name,))

    def messages(self, user, folder=""):
        local, _, domain = user.rpartition("@")
        new = self.path(f"/var/lib/roost/mail/{domain}/{local}/{'.' + folder if folder else ''}/new")
        return sorted(new.iterdir()) if new.is_dir() else []

    def wait_for_messages(self, count, user, folder=""):
        """Waits until there are `count` messages; returns their bytes in the order of arrival."""
        end = time.monotonic() + PATIENCE
        while len(files := self.messages(user, folder)) < count:
            assert time.monotonic() < end, f"{user} {folder}: {files}, log:\n{self.read('/var/lib/roost/log')}"
            time.sleep(0.05)
        assert len(files) == count, files
        return [file.read_bytes() for file in files]

    def break_database(self):
        os.rename(self.path("/var/lib/roost/users.db"), self.path("/var/lib/roost/users.away"))

    def mend_database(self):
        os.rename(self.path("/var/lib/roost/users.away"), self.path("/var/lib/roost/users.db"))


def fields_of(message, name):
    """The values of a header field, topmost first."""
    header = re.split(rb"\r?\n\r?\n", message, maxsplit=1)[0].decode(errors="replace")
    return [value.strip() for value in re.findall(rf"^{name}:(.*)$", header, re.M | re.I)]
