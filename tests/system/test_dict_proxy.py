"""Dicts behind Dovecot's dict server: the real one of this Debian, and servers of the other versions' protocol."""

import re
import socket
import threading
import time

import pytest

from chamber import Chamber
from dicts import MESSAGES, STORAGE, Dict, DictError

TABLE = "CREATE TABLE quota2 (username VARCHAR(100) PRIMARY KEY, bytes BIGINT NOT NULL DEFAULT 0, " \
        "messages INTEGER NOT NULL DEFAULT 0)"

DOVECOT = """
protocols =
ssl = no
log_path = /var/log/dovecot
dict {
  quota = sqlite:/etc/dovecot/dict-sql.conf
  file = file:/var/lib/dict/file
  broken = sqlite:/etc/dovecot/no-such.conf
}
service dict {
  unix_listener dict {
    mode = 0666
  }
}
"""

MAPS = """
connect = /var/lib/dict/quota.db
map {
  pattern = priv/quota/storage
  table = quota2
  username_field = username
  value_field = bytes
}
map {
  pattern = priv/quota/messages
  table = quota2
  username_field = username
  value_field = messages
}
"""


class Dovecot:
    """Dovecot's dict server in a chamber: `socket` as seen from here."""

    def __init__(self, path):
        self.chamber = Chamber(path, "dovecot", "dovecot-sqlite")
        self.socket = self.chamber.path("/run/dovecot/dict")
        try:
            for name in ("dovecot", "dovenull"):
                self.chamber.check("useradd", "--system", "--shell", "/usr/sbin/nologin", name)
            self.chamber.write("/etc/dovecot/dovecot.conf", DOVECOT)
            self.chamber.write("/etc/dovecot/dict-sql.conf", MAPS)
            self.chamber.check("install", "-d", "-o", "dovecot", "/var/lib/dict")
            self.chamber.check("runuser", "-u", "dovecot", "--", "sqlite3", "/var/lib/dict/quota.db", TABLE)
            self.start()
        except BaseException:
            self.chamber.close()
            raise

    def start(self):
        self.chamber.check("sh", "-c", "dovecot >/dev/null 2>&1")  # its processes would hold on to our pipes

    def stop(self):
        """Its dict processes too, which would serve those who are connected to their end."""
        self.chamber.check("doveadm", "stop")
        end = time.monotonic() + 60
        while serving := self.chamber.run("pidof", "dict").stdout.decode().split():
            assert time.monotonic() < end, "Dovecot's dict processes do not end"
            self.chamber.run("kill", "-KILL", *serving)
            time.sleep(0.05)

    def uri(self, name="quota", more=""):
        return f"proxy:{self.socket}:{name}{more}"

    def rows(self):
        listed = self.chamber.check("sqlite3", "/var/lib/dict/quota.db", "SELECT * FROM quota2")
        return [tuple(line.split("|")) for line in listed.splitlines()]


@pytest.fixture(name="dovecot", scope="module")
def fixture_dovecot(module_path):
    made = Dovecot(module_path)
    yield made
    made.chamber.close()


def test_dovecots_server_keeps_what_is_set(dovecot):
    with Dict(dovecot.uri()) as dict_:
        assert dict_.usage("set@x.org") == [None, None]
        dict_.set("set@x.org", 1024, 3)
        assert dict_.usage("set@x.org") == ["1024", "3"]
        dict_.set("set@x.org", 2048, 4)
        dict_.commit(("set@x.org", ("add", STORAGE, -48), ("add", MESSAGES, 1)))
        assert dict_.usage("set@x.org") == ["2000", "5"]
        assert ("set@x.org", "2000", "5") in dovecot.rows()
        dict_.commit(("set@x.org", ("unset", STORAGE), ("unset", MESSAGES)))
        assert dict_.usage("set@x.org") == [None, None]


def test_an_addition_to_a_key_that_is_not_there_leaves_it_absent(dovecot):
    with Dict(dovecot.uri()) as dict_:
        dict_.commit(("nobody@x.org", ("add", STORAGE, 5)))
        assert dict_.usage("nobody@x.org") == [None, None]


def test_many_users_go_to_dovecots_server_in_one_call(dovecot):
    names = [f"many{n}@x.org" for n in range(1000)]
    with Dict(dovecot.uri()) as dict_:
        dict_.commit(*((name, ("set", STORAGE, str(n)), ("set", MESSAGES, "1")) for n, name in enumerate(names)))
        # The last of several transactions of one user counts.
        dict_.commit(*((names[0], ("set", STORAGE, str(n)), ("set", MESSAGES, str(n))) for n in range(20)))
        assert dict_.usage(names[0]) == ["19", "19"]
        assert dict_.usage(names[999]) == ["999", "1"]
    assert len([row for row in dovecot.rows() if row[0].startswith("many")]) == 1000


def test_values_come_back_from_dovecots_server_byte_by_byte(dovecot):
    value = "a\tb\nc\rd\x01e\xc3\xa4"
    with Dict(dovecot.uri("file")) as dict_:
        dict_.commit(("ä b\t@x.org", ("set", "priv/odd\tkey", value)))
        assert dict_.get("ä b\t@x.org", "priv/odd\tkey", "priv/none") == [value, None]


def test_a_dict_outlives_a_restart_of_dovecot(dovecot):
    with Dict(dovecot.uri()) as dict_:
        dict_.set("restart@x.org", 1, 1)
        dovecot.stop()
        with pytest.raises(DictError, match="does Dovecot run") as gone:
            dict_.usage("restart@x.org")
        assert gone.value.outcome == "trouble"
        dovecot.start()
        assert dict_.usage("restart@x.org") == ["1", "1"]


def test_a_dict_that_dovecot_does_not_have_is_named(dovecot):
    for name in ("other", "broken"):
        with Dict(dovecot.uri(name)) as dict_:
            with pytest.raises(DictError, match=f"closes the connection.*'{name}' in the dict section"):
                dict_.usage("u@x.org")


def test_a_version_that_is_given_is_the_only_one_tried(dovecot):
    with Dict(dovecot.uri(more=":version=3")) as dict_:
        assert dict_.usage("nobody@x.org") == [None, None]
    with Dict(dovecot.uri(more=":version=4")) as dict_:
        with pytest.raises(DictError, match="closes the connection"):
            dict_.usage("nobody@x.org")


def test_a_failure_of_dovecots_back_end_is_told_with_its_reason(dovecot):
    with Dict(dovecot.uri()) as dict_:
        with pytest.raises(DictError, match="its server says: .*priv/other"):
            dict_.get("u@x.org", "priv/other")
        assert dict_.usage("nobody@x.org") == [None, None]


def test_users_cannot_be_listed_through_dovecots_server(dovecot):
    with Dict(dovecot.uri()) as dict_:
        with pytest.raises(DictError, match="one user at a time") as refused:
            dict_.each()
        assert refused.value.outcome == "misconfigured"


def test_a_key_and_value_longer_than_a_line_are_refused_before_anything_is_sent(dovecot):
    with Dict(dovecot.uri()) as dict_:
        with pytest.raises(DictError, match="64 KiB"):
            dict_.commit(("u@x.org", ("set", STORAGE, "1" * 65536)))
        assert dict_.usage("nobody@x.org") == [None, None]


class Server:
    """A dict server that speaks one major version, and closes the connection upon another as Dovecot does.

    `values` is {(user, key): value}. `hello` holds the first lines that came. `silent`: it answers nothing more.
    """

    def __init__(self, path, major):
        self.path, self.major, self.hello, self.values, self.silent = path / f"dict{major}", major, [], {}, False
        self.verdict = "O"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            threading.Thread(target=self.session, args=(self.listener.accept()[0],), daemon=True).start()

    def session(self, connection):
        with connection, connection.makefile("rwb", buffering=0) as stream:
            hello = stream.readline().decode().rstrip("\n").split("\t")
            self.hello.append(hello)
            assert len(hello) == 5
            if hello[0] != f"H{self.major}" or hello[4] != "quota":
                return
            transactions, number = {}, 0
            for line in stream:
                command, fields = chr(line[0]), line[1:-1].decode("latin-1").split("\t")
                user = hello[3]
                if command == "L":
                    if self.major > 2:
                        _, user = fields
                    assert user
                    value = self.values.get((user, fields[0]))
                    answer = "N" if value is None else "O" + value
                elif command == "B":
                    assert len(fields) == {2: 1, 3: 2, 4: 3}[self.major], fields
                    transactions[fields[0]] = {"user": user if self.major == 2 else fields[1], "set": []}
                    continue
                elif command == "S":
                    transactions[fields[0]]["set"].append(fields[1:])
                    continue
                else:
                    assert command == "C"
                    done = transactions.pop(fields[0])
                    if self.verdict == "O" or not done["set"]:
                        for key, value in done["set"]:
                            self.values[(done["user"], key)] = value
                        answer = f"O{fields[0]}"
                    else:
                        answer = f"{self.verdict}{fields[0]}\tthe reason"
                if self.silent:
                    continue
                number += 1
                stream.write(f"*{number}\n+{number}\t{answer}\t1700000000\t0\t1700000000\t9\n".encode("latin-1"))


@pytest.mark.parametrize("major", [2, 3, 4])
def test_the_version_of_a_server_is_found_out_and_remembered(tmp_path, major):
    server = Server(tmp_path, major)
    with Dict(f"proxy:{server.path}:quota") as dict_:
        dict_.commit(("a@x.org", ("set", STORAGE, "1"), ("set", MESSAGES, "2")),
                     ("b@x.org", ("set", STORAGE, "3")))
        assert dict_.usage("a@x.org") == ["1", "2"]
        assert dict_.usage("b@x.org") == ["3", None]
    tried = [hello[0] for hello in server.hello]
    assert tried[: 5 - major] == [f"H{n}" for n in range(4, major - 1, -1)]
    assert set(tried[5 - major:]) <= {f"H{major}"}


def test_each_user_has_a_connection_of_his_own_with_major_2(tmp_path):
    server = Server(tmp_path, 2)
    with Dict(f"proxy:{server.path}:quota:version=2") as dict_:
        for name in ("a", "a", "b"):
            dict_.set(name, 1, 1)
    assert [hello[3] for hello in server.hello] == ["a", "b"]


def test_a_write_that_the_server_is_not_sure_of_is_an_error(tmp_path):
    server = Server(tmp_path, 4)
    for verdict, text in (("W", "does not know whether it wrote: the reason"), ("F", "its server says: the reason")):
        server.verdict = verdict
        with Dict(f"proxy:{server.path}:quota") as dict_:
            with pytest.raises(DictError, match=text) as failed:
                dict_.set("a", 1, 1)
            assert failed.value.outcome == "trouble"


def test_a_silent_server_costs_no_more_than_the_deadline(tmp_path):
    server = Server(tmp_path, 3)
    with Dict(f"proxy:{server.path}:quota") as dict_:
        dict_.set("a", 1, 1)
        server.silent = True
        with pytest.raises(DictError, match="no answer in time"):
            dict_.set("a", 2, 2, ms=50)
        server.silent = False
        # The late answer is not taken for the next one's.
        assert dict_.usage("a") == ["2", "2"]


def test_something_else_than_a_dict_server_is_recognised(tmp_path):
    path = tmp_path / "other"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def greet():
        connection, _ = listener.accept()
        connection.sendall(b"220 ready\r\n")

    threading.Thread(target=greet, daemon=True).start()
    with Dict(f"proxy:{path}:quota") as dict_:
        with pytest.raises(DictError, match="does not speak Dovecot's dict protocol"):
            dict_.usage("a")


def test_a_wrong_uri_is_explained():
    for uri, text in (
        ("proxy:/run/dovecot/dict", "the NAME is missing"),
        ("proxy:dict:quota", "not an absolute path.*/run/dovecot/dict"),
        ("proxy:/" + "x" * 108 + ":quota", "at most 107 bytes"),
        ("proxy:/run/dovecot/dict:quota:version=5", "not a number from 2 to 4"),
        ("proxy:/run/dovecot/dict:quota:versoin=3", "did you mean version"),
    ):
        with pytest.raises(DictError, match=re.compile(text)) as wrong:
            with Dict(uri):
                pass
        assert wrong.value.outcome == "misconfigured"
