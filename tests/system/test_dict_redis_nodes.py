"""Dicts in the real Redis behind TLS, under sentinels and in a cluster."""

import subprocess

import pytest

from dicts import MESSAGES, STORAGE, Dict, DictError
from redis_servers import Cluster, Redis, free_port, until


def fails(call, *args, outcome="trouble", **more):
    """The text of the Error that the call ends in."""
    with pytest.raises(DictError) as caught:
        call(*args, **more)
    assert caught.value.outcome == outcome
    return caught.value.text


# TLS


class Authority:
    """Certificates of a private authority: NAME.pem and NAME.key for what `names` says."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                     "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")

    def openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.path, check=True, capture_output=True)

    def issue(self, name, names):
        (self.path / f"{name}.ext").write_text(f"subjectAltName = {names}\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                     "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                     "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        return self.path / f"{name}.pem", self.path / f"{name}.key"


@pytest.fixture(scope="module")
def authority(module_path):
    made = Authority(module_path / "ca")
    made.server = made.issue("server", "IP:127.0.0.1, DNS:localhost")
    made.client = made.issue("client", "DNS:client")
    return made


def tls_server(path, authority, certificate=None, clients="no"):
    pem, key = certificate or authority.server
    port = free_port()
    server = Redis(path, tls_port=port, tls_cert_file=pem, tls_key_file=key, tls_ca_cert_file=authority.path / "ca.pem",
                   tls_auth_clients=clients)
    server.tls = f":port={port}:tls=yes"
    return server


def test_tls_to_an_address_and_to_a_name(tmp_path, authority):
    with tls_server(tmp_path / "r", authority) as server:
        for host in "127.0.0.1", "localhost":
            with Dict(f"redis:host={host}{server.tls}:tls_ca={authority.path}/ca.pem") as dict:
                dict.set("a", 1, 2)
                assert dict.usage("a") == ["1", "2"]
                # More than one record, both ways.
                big = "x" * 200000
                dict.commit(*[(f"u{n}", ("set", STORAGE, big)) for n in range(20)])
                assert dict.usage("u19") == [big, None]
                server.stop()
                server.start()
                dict.set("a", 3, 4)
                assert dict.usage("a") == ["3", "4"]


def test_a_delivery_by_pipe_goes_into_the_clone_over_tls(site, tmp_path, authority):
    with tls_server(tmp_path / "r", authority) as server:
        site.add("alice@example.org")
        ca = tmp_path / "ca.pem"
        ca.write_bytes((authority.path / "ca.pem").read_bytes())
        site.configure({"quota-clone.dict": f"redis:host=127.0.0.1{server.tls}:tls_ca={ca}"})
        # What was published a delivery ago is not what the mailbox holds now.
        for _ in range(2):
            assert site.deliver("alice@example.org").returncode == 0
            assert site.roost("quota", "publish", "--check").returncode == 0
        server.stop()
        assert site.roost("quota", "publish", "--check").returncode == 1


def test_tls_refuses_a_certificate_of_nobody_it_knows_or_for_another(tmp_path, authority):
    stranger = Authority(tmp_path / "stranger")
    other = authority.issue("other", "IP:127.0.0.2, DNS:other.example")
    with tls_server(tmp_path / "r", authority) as server:
        with Dict(f"redis:host=127.0.0.1{server.tls}:tls_ca={stranger.path}/ca.pem") as dict:
            assert "the server's certificate" in fails(dict.usage, "a")
            assert "the server's certificate" in fails(dict.set, "a", 1, 2)
        with Dict(f"redis:host=127.0.0.1{server.tls}") as dict:  # the system's authorities
            assert "the server's certificate" in fails(dict.usage, "a")
        assert server.cli("DBSIZE") == "0"
    with tls_server(tmp_path / "o", authority, other) as server:
        for host in "127.0.0.1", "localhost":
            with Dict(f"redis:host={host}{server.tls}:tls_ca={authority.path}/ca.pem:password=secret") as dict:
                text = fails(dict.usage, "a")
                assert "mismatch" in text and "secret" not in text


def test_tls_with_a_certificate_of_the_client(tmp_path, authority):
    pem, key = authority.client
    both = tmp_path / "both.pem"
    both.write_text(pem.read_text() + key.read_text())
    with tls_server(tmp_path / "r", authority, clients="yes") as server:
        uri = f"redis:host=localhost{server.tls}:tls_ca={authority.path}/ca.pem"
        for more in f":tls_cert={pem}:tls_key={key}", f":tls_cert={both}":
            with Dict(uri + more) as dict:
                dict.set("a", 1, 2)
        with Dict(uri) as dict:
            fails(dict.usage, "a")
        with pytest.raises(DictError) as caught, Dict(uri + f":tls_cert={pem}:tls_key={authority.server[1]}"):
            pass
        assert caught.value.outcome == "misconfigured" and str(authority.server[1]) in caught.value.text


def test_plain_text_and_tls_do_not_meet(tmp_path, authority):
    with tls_server(tmp_path / "r", authority) as server:
        with Dict(server.uri + f":tls=yes:tls_ca={authority.path}/ca.pem") as dict:
            assert "running there with TLS" in fails(dict.usage, "a", ms=3000)
        with Dict("redis" + server.tls.replace(":tls=yes", "")) as dict:
            fails(dict.usage, "a", ms=3000)


# Sentinels


class Watched:
    """A master with a replica, and three sentinels, two of which must agree."""

    def __init__(self, path, **settings):
        self.master = Redis(path / "master")
        self.replica = Redis(path / "replica", replicaof=f"127.0.0.1 {self.master.port}", repl_diskless_sync_delay="0")
        self.sentinels = [Redis(path / f"sentinel{n}", watched=self.master.port, **settings) for n in range(3)]

    def __enter__(self):
        for server in (self.master, self.replica, *self.sentinels):
            server.start()
        until(lambda: "master_link_status:up" in self.replica.cli("INFO", "replication"), "no replication")
        for sentinel in self.sentinels:
            until(lambda: all(word in sentinel.cli("INFO", "sentinel") for word in ("slaves=1", "sentinels=3")),
                  "the sentinels did not find each other")
        return self

    def __exit__(self, *_):
        for server in (*self.sentinels, self.master, self.replica):
            server.stop()

    @property
    def uri(self):
        return "redis:sentinel=" + ";".join(f"127.0.0.1,{one.port}" for one in self.sentinels) + ":master=mails"


def until_set(dict, user, storage, messages):
    def tried():
        try:
            dict.set(user, storage, messages, ms=2000)
            return True
        except DictError:
            return False

    until(tried, "the failover did not end")


def test_sentinels_name_the_master_and_the_next_one_after_a_failover(tmp_path):
    with Watched(tmp_path) as watched, Dict(watched.uri + ":prefix=q/") as dict:
        dict.set("a", 1, 2)
        assert watched.master.cli("GET", "q/a/quota/storage") == "1"
        assert dict.each() == [["a", "1"]]
        watched.sentinels[0].stop()  # the others are asked
        with Dict(watched.uri + ":prefix=q/") as other:
            assert other.usage("a") == ["1", "2"]
        watched.master.cli("WAIT", "1", "5000")
        watched.master.stop()
        assert "cannot" in fails(dict.set, "a", 3, 4, ms=2000)
        until_set(dict, "a", 5, 6)
        assert watched.replica.cli("GET", "q/a/quota/storage") == "5"
        assert dict.usage("a") == ["5", "6"]


def test_a_master_that_hangs_is_left_after_the_failover(tmp_path):
    with Watched(tmp_path) as watched, Dict(watched.uri) as dict:
        dict.set("a", 1, 2)
        watched.master.cli("WAIT", "1", "5000")
        watched.master.pause()
        assert "no answer in time" in fails(dict.set, "a", 3, 4, ms=300)
        until_set(dict, "a", 5, 6)
        assert watched.replica.cli("GET", "a/quota/storage") == "5"
        watched.master.resume()
        assert dict.usage("a") == ["5", "6"]


def test_sentinels_that_are_away_or_know_no_such_master_are_an_error(tmp_path):
    with Watched(tmp_path, requirepass="x", login=("-a", "x", "--no-auth-warning"), sentinel_pass="x") as watched:
        with Dict(watched.uri + ":sentinel_password=x") as dict:
            dict.set("a", 1, 2)
        with Dict(watched.uri.replace("mails", "letters") + ":sentinel_password=x") as dict:
            text = fails(dict.usage, "a")
            assert "knows no master 'letters'" in text and "check master=" in text
        with Dict(watched.uri) as dict:
            assert "NOAUTH" in fails(dict.usage, "a")
    with Dict(watched.uri) as dict:
        assert "Connection refused" in fails(dict.usage, "a")


# Cluster


@pytest.fixture(scope="module")
def together(module_path):
    with Cluster(module_path / "cluster") as made:
        yield made


@pytest.fixture
def cluster(together):
    for node in together.nodes:
        node.cli("FLUSHALL")
    return together


USERS = [f"user{n}@example.org" for n in range(60)]


def test_a_cluster_has_the_same_keys(cluster):
    with Dict(cluster.uri + ":prefix=q/:expire_secs=500") as dict:
        dict.commit(*[(user, ("set", STORAGE, str(n)), ("set", MESSAGES, "1")) for n, user in enumerate(USERS)])
        expected = {f"q/{user}/quota/storage": str(n) for n, user in enumerate(USERS)}
        expected |= {f"q/{user}/quota/messages": "1" for user in USERS}
        assert cluster.keys() == expected
        assert all(int(node.cli("DBSIZE")) > 10 for node in cluster.nodes)
        owner = cluster.owner(f"q/{USERS[0]}/quota/storage")
        assert 0 < int(owner.cli("TTL", f"q/{USERS[0]}/quota/storage")) <= 500
        dict.commit(*[(user, ("add", STORAGE, 1000), ("unset", MESSAGES)) for user in USERS])
        assert [dict.usage(user) for user in USERS] == [[str(n + 1000), None] for n in range(len(USERS))]
        assert dict.each() == sorted([user, str(n + 1000)] for n, user in enumerate(USERS))


def test_one_node_is_enough_to_find_the_others(cluster):
    with Dict(f"redis:cluster=127.0.0.1,1;127.0.0.1,{cluster.nodes[1].port}") as dict:
        for user in USERS[:9]:
            dict.set(user, 1, 2)
        assert all(dict.usage(user) == ["1", "2"] for user in USERS[:9])


def test_a_prefix_in_braces_keeps_all_keys_in_one_slot(cluster):
    with Dict(cluster.uri + ":prefix={q}") as dict:
        dict.commit(*[(user, ("set", STORAGE, "1"), ("set", MESSAGES, "1")) for user in USERS])
    assert sorted(int(node.cli("DBSIZE")) for node in cluster.nodes) == [0, 0, 2 * len(USERS)]


def test_a_slot_that_moves_is_followed(cluster):
    key = "a/quota/storage"
    with Dict(cluster.uri) as dict, Dict(cluster.uri) as late:
        for each in dict, late:
            each.commit(("a", ("set", STORAGE, "1"), ("set", "priv/{a/quota/storage}2", "1")))
        other = next(node for node in cluster.nodes if node is not cluster.owner(key))
        # While it moves: first the key is still there, then it is not (ASK), then the slot is not (MOVED).
        source = cluster.begin_move(key, other)
        dict.commit(("a", ("set", STORAGE, "2")))
        assert dict.get("a", STORAGE) == ["2"]
        assert source.cli("GET", key) == "2"
        cluster.move_keys(key, source, other)
        dict.commit(("a", ("add", STORAGE, 5)), ("a", ("add", STORAGE, 5)))
        assert dict.get("a", STORAGE) == ["12"]
        cluster.end_move(key, other)
        assert other.cli("GET", key) == "12"
        dict.commit(("a", ("add", STORAGE, 1)), ("b", ("set", STORAGE, "1")), ("a", ("add", STORAGE, 1)))
        assert dict.get("a", STORAGE) == ["14"]
        assert late.get("a", STORAGE) == ["14"]
        assert late.each() == [["a", "14"], ["b", "1"]]


def test_a_cluster_that_is_reached_as_one_server_says_what_to_write(cluster):
    with Dict(cluster.nodes[0].uri) as dict:
        texts = []
        for user in USERS[:20]:
            try:
                dict.set(user, 1, 2)
            except DictError as error:
                texts.append(error.text)
    assert texts and all("write cluster=" in text for text in texts)


def test_a_node_that_is_away_is_an_error_for_its_own_keys(cluster):
    with Dict(cluster.uri) as dict:
        for n, user in enumerate(USERS):
            dict.set(user, n, n)
        key = f"{USERS[0]}/quota/storage"
        owner = cluster.owner(key)
        elsewhere = next(user for user in USERS if cluster.owner(f"{user}/quota/storage") is not owner)
        owner.pause()
        assert "no answer in time" in fails(dict.get, USERS[0], STORAGE, ms=500)
        assert dict.get(elsewhere, STORAGE) == [str(USERS.index(elsewhere))]
        owner.resume()
        until(lambda: all("cluster_state:ok" in node.cli("CLUSTER", "INFO") for node in cluster.nodes), "no cluster")
        assert dict.get(USERS[0], STORAGE) == ["0"]
