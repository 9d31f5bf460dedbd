"""Dicts in SQL tables, on SQLite and the real PostgreSQL and MariaDB."""

import re
import signal
import sqlite3
import threading

import pytest

from dicts import MESSAGES, STORAGE, Dict, DictError
from sql_servers import PASSWORD, SERVERS

# Of PostfixAdmin on PostgreSQL: for the quota_clone-less Dovecots of old, which add by INSERT.
TRIGGER = """
CREATE OR REPLACE FUNCTION merge_quota2() RETURNS TRIGGER AS $$
BEGIN
  IF NEW.messages < 0 OR NEW.messages IS NULL THEN
    NEW.messages = COALESCE(-NEW.messages, 0);
    RETURN NEW;
  END IF;
  UPDATE quota2 SET bytes = bytes + NEW.bytes, messages = messages + NEW.messages WHERE username = NEW.username;
  IF NOT FOUND THEN
    INSERT INTO quota2 (bytes, messages, username)
      VALUES (NEW.bytes, CASE NEW.messages WHEN 0 THEN NULL ELSE -NEW.messages END, NEW.username);
  END IF;
  RETURN NULL;
END $$ LANGUAGE plpgsql;
CREATE TRIGGER mergequota2 BEFORE INSERT ON quota2 FOR EACH ROW EXECUTE PROCEDURE merge_quota2();
"""


def made(scheme):
    server = SERVERS[scheme]()
    yield server
    server.close()


@pytest.fixture(name="any_server", scope="module", params=SERVERS)
def fixture_any_server(request):
    yield from made(request.param)


def on(*schemes):
    """Marks a test that is for some kinds of servers alone."""
    return pytest.mark.parametrize("any_server", schemes, indirect=True, scope="module")


@pytest.fixture(name="db")
def fixture_db(any_server):
    """A server with an empty quota2 as PostfixAdmin has it."""
    any_server.create()
    return any_server


def utf8(text):
    """A name as test programs write it, one character a byte."""
    return text.encode().decode("latin-1")


def both(user, number):
    return (user, ("set", STORAGE, str(number)), ("set", MESSAGES, str(number)))


def test_both_figures_are_a_row_that_is_made_and_then_changed(db):
    with Dict(db.uri()) as dict_:
        assert dict_.usage("u@x.org") == [None, None]
        dict_.set("u@x.org", 5000000000, 3)
        assert db.rows() == [("u@x.org", "5000000000", "3")]
        dict_.set("u@x.org", 7, 0)
        assert db.rows() == [("u@x.org", "7", "0")]
        assert dict_.get("u@x.org", MESSAGES, STORAGE, MESSAGES) == ["0", "7", "0"]


def test_a_row_of_another_program_is_read_and_kept_up(db):
    db.sql("INSERT INTO quota2 (username, bytes) VALUES ('panel@x.org', 12)")
    with Dict(db.uri()) as dict_:
        assert dict_.usage("panel@x.org") == ["12", "0"]
        dict_.set("panel@x.org", 13, 1)
        dict_.commit(("panel@x.org", ("set", MESSAGES, "2")), ("new@x.org", ("set", STORAGE, "4")))
    assert db.rows() == [("new@x.org", "4", "0"), ("panel@x.org", "13", "2")]


def test_unset_of_one_figure_spares_the_other_and_of_both_removes_the_row(db):
    with Dict(db.uri()) as dict_:
        dict_.commit(both("u@x.org", 9), both("v@x.org", 9))
        dict_.commit(("u@x.org", ("unset", STORAGE)))
        assert db.rows() == [("u@x.org", "0", "9"), ("v@x.org", "9", "9")]
        dict_.commit(("u@x.org", ("unset", MESSAGES), ("unset", STORAGE)), ("none@x.org", ("unset", STORAGE)))
        assert db.rows() == [("v@x.org", "9", "9")]
        assert dict_.usage("u@x.org") == [None, None]


def test_unset_before_each_set_erases_nothing(db):
    with Dict(db.uri()) as dict_:
        for number in (4, 5):
            dict_.commit(("u@x.org", ("unset", STORAGE), ("set", STORAGE, str(number)),
                          ("unset", MESSAGES), ("set", MESSAGES, "1")))
            assert db.rows() == [("u@x.org", str(number), "1")]
        # Set, then unset: the row as if the other key had been set alone.
        dict_.commit(("u@x.org", ("unset", STORAGE), ("unset", MESSAGES), ("set", STORAGE, "8")))
        assert db.rows() == [("u@x.org", "8", "0")]


def test_additions_change_rows_that_are_there_alone(db):
    with Dict(db.uri()) as dict_:
        dict_.set("u@x.org", 10, 1)
        dict_.commit(("u@x.org", ("add", STORAGE, 5000000000), ("add", MESSAGES, -1)),
                     ("none@x.org", ("add", STORAGE, 5)),
                     ("u@x.org", ("set", MESSAGES, "7"), ("add", MESSAGES, 1), ("add", STORAGE, 1)),
                     # The key is not there when it is added to, and is 0 once the row is there.
                     ("half@x.org", ("add", MESSAGES, 3), ("set", STORAGE, "1")))
    assert db.rows() == [("half@x.org", "1", "0"), ("u@x.org", "5000000011", "8")]


def test_transactions_of_a_user_are_applied_in_their_order(db):
    with Dict(db.uri()) as dict_:
        dict_.commit(both("u@x.org", 1), ("u@x.org", ("add", STORAGE, 1)), both("v@x.org", 1), both("u@x.org", 2),
                     ("u@x.org", ("unset", STORAGE), ("unset", MESSAGES)), both("u@x.org", 3),
                     ("u@x.org", ("add", MESSAGES, 1)))
    assert db.rows() == [("u@x.org", "3", "4"), ("v@x.org", "1", "1")]


def test_ten_thousand_users_go_in_one_call_and_come_back_page_by_page(db):
    with Dict(db.uri()) as dict_:
        for start in (0, 1):
            dict_.commit(*(both(f"u{n}@x.org", n + start) for n in range(10000)))
        assert dict_.each() == sorted([f"u{n}@x.org", str(n + 1)] for n in range(10000))
        assert len(dict_.call("each", key=MESSAGES, stop=1500)["found"]) == 1500
        db.sql("DELETE FROM quota2 WHERE bytes >= 1000")
        assert len(dict_.each()) == 999


def test_writers_at_the_same_time_lose_nothing(db):
    names = [f"u{n}@x.org" for n in range(300)]
    with Dict(db.uri()) as setup:
        setup.commit(*(both(name, 0) for name in names[:200]))
    writers = [Dict(db.uri()) for _ in range(6)]
    for number, writer in enumerate(writers):
        writer.__enter__()
        if number < 2:  # rows that are made by both at once
            changes = [both(name, 5) for name in (names[200:] if number else names[:199:-1])]
        else:
            order = names[:200] if number % 2 else names[199::-1]
            changes = [(name, ("add", STORAGE, 1), ("add", MESSAGES, 1)) for name in order]
        writer.start("commit", transactions=[{"user": user, "changes": steps} for user, *steps in changes], ms=60000)
    for writer in writers:
        writer.answer()
        writer.__exit__()
    rows = {user: (size, count) for user, size, count in db.rows()}
    assert set(rows) == set(names)
    assert {rows[name] for name in names[:200]} == {("4", "4")}
    assert {rows[name] for name in names[200:]} == {("5", "5")}


@pytest.mark.parametrize("user", [
    "o'brien@x.org", 'a"b`c\\d@x.org', "x'; DROP TABLE quota2; --@x.org", ":u0 $1 ? %s@x.org", "äöü€😀@x.org",
    "with blank@x.org",
])
def test_any_user_name_is_kept_as_it_is(db, user):
    with Dict(db.uri()) as dict_:
        dict_.commit(both(utf8(user), 3), ("other@x.org", ("set", STORAGE, "1")), (utf8(user), ("add", STORAGE, 1)))
        assert dict_.usage(utf8(user)) == ["4", "3"]
        assert sorted(dict_.each()) == sorted([[utf8(user), "4"], ["other@x.org", "1"]])
        dict_.commit((utf8(user), ("unset", STORAGE), ("unset", MESSAGES)))
        assert db.rows() == [("other@x.org", "1", "0")]


def test_reserved_words_and_other_letters_name_table_and_columns(db):
    q = db.quote
    db.create(f"{q}group{q} VARCHAR(100) PRIMARY KEY, {q}größe{q} BIGINT, {q}order{q} BIGINT", f"{q}select{q}")
    with Dict(db.uri(":table=select:username_field=group:bytes_field=größe:messages_field=order")) as dict_:
        dict_.set("u@x.org", 1, 2)
        dict_.set("u@x.org", 3, 4)
        dict_.commit(("u@x.org", ("add", MESSAGES, 1)), ("v@x.org", ("set", MESSAGES, "9")))
        assert dict_.usage("u@x.org") == ["3", "5"]
        assert dict_.each(MESSAGES) == [["u@x.org", "5"], ["v@x.org", "9"]]
    db.sql(f"DROP TABLE {q}select{q}")


def test_a_column_that_is_null_is_a_key_that_is_not_there(db):
    db.create("username VARCHAR(100) PRIMARY KEY, bytes BIGINT, messages INTEGER")
    db.sql("INSERT INTO quota2 (username, bytes) VALUES ('u@x.org', 1), ('v@x.org', 2)")
    with Dict(db.uri()) as dict_:
        assert dict_.usage("u@x.org") == ["1", None]
        assert dict_.each(MESSAGES) == []
        dict_.commit(("u@x.org", ("add", MESSAGES, 1)))
        assert dict_.usage("u@x.org") == ["1", None]


def test_a_missing_table_is_told_with_the_statement_that_makes_it(db):
    db.sql("DROP TABLE quota2")
    with Dict(db.uri()) as dict_:
        for call in (lambda: dict_.set("u@x.org", 1, 1), lambda: dict_.usage("u@x.org"), dict_.each):
            with pytest.raises(DictError) as missing:
                call()
            assert missing.value.outcome == "misconfigured"
        statement = re.search(r"make it: (CREATE TABLE .*)$", missing.value.text)[1]
        db.sql(statement)
        dict_.set("u@x.org", 1, 1)
        assert db.rows() == [("u@x.org", "1", "1")]


def test_a_column_that_the_table_lacks_is_named(db):
    with Dict(db.uri(":bytes_field=octets")) as dict_:
        for call in (lambda: dict_.set("u@x.org", 1, 1), lambda: dict_.usage("u@x.org")):
            with pytest.raises(DictError, match="octets.*name the columns") as missing:
                call()
            assert missing.value.outcome == "misconfigured"


def test_what_does_not_fit_is_left_out_and_all_others_are_written(db):
    db.create("username VARCHAR(20) PRIMARY KEY CHECK (LENGTH(username) <= 20), bytes BIGINT NOT NULL, "
              "messages INTEGER NOT NULL CHECK (messages < 3000000)")
    with Dict(db.uri()) as dict_:
        for unfit in (both("u@x.org", 3000000000), both("a-name-of-more-than-20@x.org", 1)):
            with pytest.raises(DictError) as left_out:
                dict_.commit(both("a@x.org", 1), unfit, both("z@x.org", 2), both("a@x.org", 3))
            assert left_out.value.outcome == "trouble"
            assert db.rows() == [("a@x.org", "3", "3"), ("z@x.org", "2", "2")]
            db.sql("DELETE FROM quota2")


@on("mysql")
def test_a_name_beyond_the_tables_character_set_is_left_out(db):
    db.create("username VARCHAR(100) COLLATE latin1_general_ci PRIMARY KEY, bytes BIGINT, messages INTEGER")
    with Dict(db.uri()) as dict_:
        with pytest.raises(DictError):
            dict_.commit(both("a@x.org", 1), both(utf8("ł@x.org"), 1), both(utf8("ä@x.org"), 2))
        assert dict_.each() == [["a@x.org", "1"], [utf8("ä@x.org"), "2"]]


def test_keys_and_values_that_a_table_cannot_hold_are_refused(db):
    with Dict(db.uri()) as dict_:
        for call in (lambda: dict_.get("u@x.org", "priv/quota/storage/files"),
                     lambda: dict_.commit(("u@x.org", ("set", "priv/quota/storage/files", "1"))),
                     lambda: dict_.each("shared/x")):
            with pytest.raises(DictError, match="a table holds priv/quota/storage and priv/quota/messages alone") as no:
                call()
            assert no.value.outcome == "misconfigured"
        for value in ("", "1k", "9223372036854775808", " 1"):
            with pytest.raises(DictError, match="not a whole number") as no:
                dict_.commit(("u@x.org", ("set", STORAGE, value)))
            assert no.value.outcome == "malformed"
        assert db.rows() == []


@on("pgsql")  # where PostfixAdmin has it
def test_a_trigger_that_makes_inserts_add_does_not_double_figures(db):
    db.sql(TRIGGER)
    with Dict(db.uri()) as dict_:
        for number in (10, 20):
            dict_.commit(both("u@x.org", number), both("v@x.org", 0), ("w@x.org", ("set", STORAGE, str(number))))
            assert db.rows() == [("u@x.org", str(number), str(number)), ("v@x.org", "0", "0"),
                                         ("w@x.org", str(number), "0")]


# What servers alone have


@on("pgsql", "mysql")
def test_a_dict_outlives_a_restart_of_its_server(db):
    with Dict(db.uri()) as dict_:
        dict_.set("u@x.org", 1, 1)
        db.stop()
        db.start()
        dict_.set("u@x.org", 2, 2)
        db.stop()
        for _ in range(2):
            with pytest.raises(DictError, match=f"dict {re.escape(dict_.name)}") as gone:
                dict_.set("u@x.org", 3, 3)
            assert gone.value.outcome == "trouble"
        db.start()
        assert dict_.usage("u@x.org") == ["2", "2"]


@on("pgsql", "mysql")
def test_a_wrong_password_is_told_without_any_password(db):
    with Dict(db.uri(password="wrong: one".replace(":", "\\:"))) as dict_:
        assert "wrong" not in dict_.name
        with pytest.raises(DictError, match="roost.*check host, dbname, user and password") as refused:
            dict_.usage("u@x.org")
        assert refused.value.outcome == "trouble"
        assert "wrong" not in refused.value.text and PASSWORD not in refused.value.text


@on("pgsql", "mysql")
def test_a_server_that_stands_still_costs_no_more_than_the_deadline(db):
    with Dict(db.uri()) as dict_, Dict(db.uri()) as late:
        dict_.set("u@x.org", 1, 1)
        children = db.check("pgrep", "-P", db.process.pid).split() if db.scheme == "pgsql" else []
        db.check("kill", "-STOP", db.process.pid, *children)
        try:
            with pytest.raises(DictError, match="no answer in time"):
                dict_.set("u@x.org", 2, 2, ms=100)
            with pytest.raises(DictError) as unreachable:
                late.usage("u@x.org", ms=100)
            assert unreachable.value.outcome == "trouble"
        finally:
            db.check("kill", "-CONT", db.process.pid, *children)
        assert dict_.usage("u@x.org") in (["1", "1"], ["2", "2"])
        assert late.usage("u@x.org") == dict_.usage("u@x.org")


@on("pgsql", "mysql")
def test_a_row_that_another_program_holds_costs_no_more_than_the_deadline(db):
    hold = {"pgsql": "SELECT pg_sleep(3)", "mysql": "SELECT SLEEP(3)"}[db.scheme]
    with Dict(db.uri()) as dict_, Dict(db.uri()) as other:
        dict_.set("u@x.org", 1, 1)
        dict_.set("v@x.org", 1, 1)
        holder = threading.Thread(target=db.sql, args=(
            f"BEGIN; UPDATE quota2 SET bytes = 5 WHERE username = 'u@x.org'; {hold}; COMMIT",))
        holder.start()
        try:
            while other.usage("v@x.org") == ["1", "1"]:
                try:
                    dict_.commit(("u@x.org", ("add", STORAGE, 0)), ms=100)
                except DictError as held:
                    assert "no answer in time" in held.text
                    break
        finally:
            holder.join()
        dict_.set("u@x.org", 2, 2)
        assert dict_.usage("u@x.org") == ["2", "2"]


@on("pgsql", "mysql")
def test_a_user_without_rights_is_told_what_to_grant(db):
    revoke, grant = {
        "pgsql": ("CREATE ROLE reader LOGIN PASSWORD 'r'", "GRANT SELECT ON quota2 TO reader"),
        "mysql": ("CREATE USER reader@localhost IDENTIFIED BY 'r'", "GRANT SELECT ON mail.quota2 TO reader@localhost"),
    }[db.scheme]
    db.sql(revoke)
    db.sql(grant)
    with Dict(db.uri(password="r").replace("user=roost", "user=reader")) as dict_:
        assert dict_.usage("u@x.org") == [None, None]
        with pytest.raises(DictError, match="GRANT SELECT, INSERT, UPDATE, DELETE") as denied:
            dict_.set("u@x.org", 1, 1)
        assert denied.value.outcome == "misconfigured"


@on("sqlite", "pgsql")  # MySQL takes any row for new then
def test_a_table_without_a_primary_key_is_refused_by_who_can_tell(db):
    db.create("username VARCHAR(100), bytes BIGINT, messages INTEGER")
    with Dict(db.uri()) as dict_:
        with pytest.raises(DictError, match="primary key"):
            dict_.set("u@x.org", 1, 1)


# SQLite's own


@pytest.fixture(name="sqlite")
def fixture_sqlite():
    for server in made("sqlite"):
        server.create()
        yield server


def test_a_file_that_another_program_keeps_locked_costs_no_more_than_the_deadline(sqlite):
    other = sqlite3.connect(sqlite.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Dict(sqlite.uri()) as dict_:
        with pytest.raises(DictError, match="another program kept it locked.*fuser"):
            dict_.set("u@x.org", 1, 1, ms=50)
        other.execute("COMMIT")
        dict_.set("u@x.org", 1, 1)
    other.close()


def test_a_file_that_is_not_there_is_not_made(sqlite):
    sqlite.file.unlink()
    with Dict(sqlite.uri()) as dict_:
        with pytest.raises(DictError, match="there is no such file.*CREATE TABLE"):
            dict_.set("u@x.org", 1, 1)
        assert not sqlite.file.exists()
        sqlite.create()
        dict_.set("u@x.org", 1, 1)


@pytest.mark.parametrize("uri, text", [
    ("sqlite:quota.db", "PATH is not absolute"),
    ("sqlite:/a b=c", "both a blank and '='"),
    ("sqlite:/q.db:table=a;b", "table is not a name"),
    ("sqlite:/q.db:table=a.b.c", "table is not a name"),
    ("sqlite:/q.db:bytes_field=a\"b", "bytes_field is not a name"),
    ("sqlite:/q.db:host=x", "'host' is not known"),
    ("pgsql:host=x:tabel=y", "did you mean table"),
    ("pgsql:host=x:connect_timeout=1", "not a number from 2"),
    ("mysql:port=x", "port=x is not a number"),
    ("mysql:username_field=" + "x" * 64, "at most 63"),
])
def test_a_wrong_uri_is_explained(uri, text):
    with pytest.raises(DictError, match=text) as wrong:
        with Dict(uri):
            pass
    assert wrong.value.outcome == "misconfigured"
