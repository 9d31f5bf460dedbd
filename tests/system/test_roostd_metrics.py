"""What roostd tells Prometheus: that the figures are right, and that the page is as Prometheus reads it."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import urllib.error
import urllib.request

import pytest
from conftest import SAMPLE
from lmtp import WAIT, Daemon, free_port, wait_for, wire
from manpage import section

ALICE, BOB = "alice@example.org", "bob@example.org"
SAMPLE_LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_][a-zA-Z0-9_]*="[^"]*",?)*\})? (\S+)')


def fetch(port, path="/metrics"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=WAIT) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return answer.read().decode()


def parse(text):
    """The samples, by name with labels; asserts that the text is in Prometheus' exposition format (0.0.4)."""
    samples, types, helps, family = {}, {}, set(), None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in helps, f"{family} comes twice"
            helps.add(family)
        elif line.startswith("# TYPE "):
            name, kind = line.split(" ")[2:]
            assert name == family and kind in ("counter", "gauge", "histogram", "summary")
            types[name] = kind
        else:
            match = SAMPLE_LINE.fullmatch(line)
            assert match, line
            own = re.sub("_(bucket|sum|count)$", "", match[1]) if types[family] in ("histogram", "summary") else match[1]
            assert own == family, line
            key = match[1] + (match[2] or "")
            assert key not in samples, line
            samples[key] = float(match[4])
    for name, kind in types.items():
        if name.startswith("roost_"):
            assert (kind == "counter") == name.endswith("_total"), f"{name} is a {kind}"
    return samples


def figures(port):
    return {key.removeprefix("roost_"): value for key, value in parse(fetch(port)).items() if key.startswith("roost_")}


def deliveries(figures_):
    return {key.split('"')[1]: int(value) for key, value in figures_.items()
            if key.startswith("deliveries_total") and value}


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def watched(site, port):
    site.add(ALICE)
    site.add(BOB, '{"quota.message": 10}')
    site.configure(metrics__listen=f"tcp:127.0.0.1:{port}")
    return site


def test_the_figures_add_up(watched, port):
    watched.configure(delivery__durability="fsync")
    watched.add("nowhere@example.org", '{"maildir.path": "relative"}')
    with Daemon(watched) as daemon:
        start = figures(port)
        assert deliveries(start) == {} and 'deliveries_total{outcome="store-full"}' in start
        assert not any(start.values())
        with daemon.client() as client:
            assert figures(port)["sessions_open"] == 1
            for number in range(3):
                assert client.deliver(SAMPLE + b"%d\n" % number, ALICE)[0].startswith("250 ")
            # One of its recipients is over the limit, one is given twice, and one has no place.
            client.say("MAIL FROM:<>")
            for user in (ALICE, BOB, ALICE, "nowhere@example.org"):
                assert client.say(f"RCPT TO:<{user}>").startswith("250 ")
            assert client.say("RCPT TO:<nobody@example.org>").startswith("550 5.1.1 ")
            client.say("DATA")
            client.send(wire(SAMPLE))
            assert [client.reply()[:3] for _ in range(4)] == ["250", "552", "250", "451"]
        with daemon.client():
            pass
        wait_for(lambda: figures(port)["sessions_open"] == 0, "the sessions' end")
        end = figures(port)
    assert deliveries(end) == {"delivered": 5, "message-too-large": 1, "no-such-user": 1, "misconfigured": 1}
    assert len(re.findall("verdict=", watched.log.read_text())) == sum(deliveries(end).values())
    stored = watched.messages(ALICE)
    assert len(stored) == 4
    assert end["delivered_bytes_total"] == sum(path.stat().st_size for path in stored)
    assert end["sessions_total"] == 2 and end["refused_connections_total"] == 0
    assert end["redeliveries_total"] == 0
    assert end['creator_runs_total{result="made"}'] == 2  # Bob's, whom the message was too large for, too
    assert end['creator_runs_total{result="failed"}'] == 1
    # Each message is synced before and after it becomes visible.
    assert (end["sync_groups_total"], end["sync_members_total"], end["sync_failures_total"]) == (8, 8, 0)
    assert end["syncs_total"] >= 8
    for phase in ("lookup", "store", "sync"):
        logged = sum(int(each) for each in re.findall(rf" {phase}=(\d+)us", watched.log.read_text()))
        told = end[f'delivery_phase_seconds_total{{phase="{phase}"}}']
        assert 0 < told <= logged / 1e6 + 1e-9


def test_the_latency_is_a_histogram_of_messages(watched, port):
    with Daemon(watched) as daemon, daemon.client() as client:
        for number in range(4):
            client.deliver(SAMPLE + b"%d\n" % number, ALICE, BOB)
        found = figures(port)
    buckets = [(float(match[1]), value) for key, value in found.items()
               if (match := re.fullmatch(r'delivery_duration_seconds_bucket\{le="(.*)"\}', key))]
    assert buckets[-1] == (float("inf"), 4) and found["delivery_duration_seconds_count"] == 4
    assert buckets == sorted(buckets) and sorted(value for _, value in buckets) == [value for _, value in buckets]
    assert found["delivery_duration_seconds_sum"] > 0


def test_a_second_copy_answered_from_memory_is_told(watched, port):
    with Daemon(watched) as daemon:
        with daemon.client() as client:
            client.envelope(ALICE)
            client.say("DATA")
            client.send(wire(SAMPLE))
            wait_for(lambda: watched.messages(ALICE), "the delivery")
            # It goes without having read the verdict.
        wait_for(lambda: figures(port)["sessions_open"] == 0, "the session's end")
        with daemon.client() as client:
            assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
        found = figures(port)
    assert len(watched.messages(ALICE)) == 1
    assert (found["redeliveries_total"], deliveries(found)) == (1, {"delivered": 2})
    assert found["delivered_bytes_total"] == watched.messages(ALICE)[0].stat().st_size


def test_a_refused_connection_is_told(watched, port):
    watched.configure(lmtp__max_connections="1")
    with Daemon(watched) as daemon, daemon.client():
        with daemon.client(greeting=False) as late:
            assert late.reply().startswith("421 ")
        found = figures(port)
    assert (found["refused_connections_total"], found["sessions_total"], found["sessions_open"]) == (1, 1, 1)


def ask(port, request):
    """The status line and the rest that a raw request is answered with."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(WAIT)
        client.sendall(request)
        got = b""
        while more := client.recv(65536):
            got += more
    return got.partition(b"\r\n")[::2]


def test_nothing_else_is_told(watched, port):
    with Daemon(watched):
        for path in ("/", "/etc/passwd", "/../../../../etc/passwd", "/metrics/../etc/passwd", "/metrics2"):
            with pytest.raises(urllib.error.HTTPError) as error:
                fetch(port, path)
            assert error.value.code == 404
        assert "roost_sessions_total" in fetch(port, "/metrics?name=x")


@pytest.mark.parametrize(
    "request_, status",
    [
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", b"HTTP/1.1 405 "),
        (b"\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET /metrics\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET /metrics SMTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
        (b"\0\xff" * 5000, b"HTTP/1.1 400 "),
        (b"GET /" + b"x" * 10000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.1 4"),
        (b"HEAD /metrics HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK"),
        (b"GET http://localhost/metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK"),
        (b"GET http://localhost HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 "),
    ],
)
def test_odd_requests_are_answered_and_harm_nobody(watched, port, request_, status):
    with Daemon(watched):
        line, rest = ask(port, request_)
        assert line.startswith(status)
        if request_.startswith(b"HEAD"):
            assert rest.endswith(b"\r\n\r\n") and b"Content-Length: 0" not in rest
        assert "roost_sessions_total" in fetch(port)


def test_clients_that_say_nothing_do_not_keep_others_waiting(watched, port):
    with Daemon(watched), contextlib.ExitStack() as silent:
        for _ in range(100):
            silent.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert "roost_sessions_total" in fetch(port)


def test_by_default_nothing_is_told(site):
    with Daemon(site) as daemon:
        here = pathlib.Path(f"/proc/{daemon.process.pid}")
        ours = {os.readlink(each) for each in (here / "fd").iterdir()}
        connections = [line.split() for line in (here / "net/tcp").read_text().splitlines()[1:]]
        assert not [each for each in connections if f"socket:[{each[9]}]" in ours]


def test_a_reload_opens_moves_and_closes_the_page_and_keeps_the_figures(watched, port):
    watched.configure(metrics__listen=None)
    with Daemon(watched) as daemon, daemon.client() as client:
        client.deliver(SAMPLE, ALICE)
        for where in (port, free_port()):
            watched.configure(metrics__listen=f"tcp:127.0.0.1:{where}")
            daemon.reload()
            assert deliveries(figures(where)) == {"delivered": 1}
            daemon.reload()
            assert deliveries(figures(where)) == {"delivered": 1}
            if where != port:
                with pytest.raises(OSError):
                    fetch(port)
        watched.configure(metrics__listen=None)
        daemon.reload()
        with pytest.raises(OSError):
            fetch(where)


def test_a_reload_with_a_port_that_is_taken_changes_nothing(watched, port):
    with Daemon(watched) as daemon, socket.create_server(("127.0.0.1", 0)) as other:
        watched.configure(metrics__listen=f"tcp:127.0.0.1:{other.getsockname()[1]}", quota__message="10")
        daemon.reload()
        last = watched.log.read_text().splitlines()[-1]
        assert "the old configuration stays in force" in last and "Address already in use" in last
        with daemon.client() as client:
            assert client.deliver(SAMPLE, ALICE)[0].startswith("250 ")
        assert deliveries(figures(port)) == {"delivered": 1}


def test_a_client_that_says_nothing_does_not_keep_it_from_stopping(watched, port):
    with Daemon(watched) as daemon, socket.create_connection(("127.0.0.1", port)) as silent:
        silent.sendall(b"GET /met")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait() == 0


@pytest.mark.parametrize(
    "listen, said",
    [
        ("unix:/run/roost/metrics", "not a TCP socket"),
        ("tcp:127.0.0.1", "the port is missing"),
        ("tcp:192.0.2.1:9", "this machine does not have that address"),
        ("127.0.0.1:9100", "neither with unix: nor with tcp"),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_its_reason(site, listen, said):
    site.configure(metrics__listen=listen, lmtp__listen=f"tcp:127.0.0.1:{free_port()}")
    result = site.run("roostd", "-c", site.conf)
    assert result.returncode == 1
    text = result.stderr.decode() + (site.log.read_text() if site.log.exists() else "")
    assert said in text and "metrics.listen" in text


def test_the_manual_names_all_figures_and_no_others(watched, port):
    with Daemon(watched):
        told = set(re.findall(r"^# TYPE (roost_\w+)", fetch(port), re.MULTILINE))
    assert told == set(re.findall(r"\broost_\w+", section("roostd.8", "OPERATION")))
