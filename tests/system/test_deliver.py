"""roost-deliver as an MTA sees it: exit status, envelope, trace header, the message's bytes."""

import os
import pty
import re
import subprocess
import sys
import textwrap

import pytest

from conftest import BUILD, SAMPLE, SOURCE, body_of, clean_env

ALICE = "alice@example.org"
BOB = "bob@example.org"
CORPUS = SOURCE / "tests" / "data" / "corpus"
SENDER = "sender@example.net"
RECEIVED = re.compile(rb"Received: by \S+ \(Roost\)\n\tid \S+; [A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d{4} [\d:]{8} [+-]\d{4}\n")


@pytest.fixture
def alice(site):
    site.add(ALICE)
    return site


def fields(header):
    """The trace header as a list of (name, value), the Received field's value cut."""
    names = re.findall(rb"^([A-Za-z-]+): ?(.*)$", header, re.M)
    return [(name.decode(), "" if name == b"Received" else value.decode()) for name, value in names]


def error_text(result):
    """What was said on stderr: one line."""
    text = result.stderr.decode()
    assert text.endswith("\n") and text.count("\n") == 1, f"not one line: {text!r}"
    return text[:-1]


# Exit status and the enhanced code at the beginning of stderr


def test_first_mail_makes_the_mailbox_and_exits_0(alice):
    result = alice.deliver(ALICE, SAMPLE, "-f", SENDER)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    header = body_of(alice.message(ALICE), SAMPLE)
    assert fields(header) == [("Return-Path", f"<{SENDER}>"), ("Delivered-To", ALICE), ("Received", "")]
    assert RECEIVED.search(header)
    (allocation, version), = alice.sql("SELECT allocation, version FROM users")
    assert str(alice.maildir(ALICE)) in allocation and version >= 1


def test_unknown_user_exits_67(alice):
    result = alice.deliver("nobody@example.org")
    assert result.returncode == 67
    assert error_text(result).startswith("5.1.1 ") and "nobody@example.org" in error_text(result)
    assert not list(alice.mail.iterdir())


@pytest.mark.parametrize("name", ["@example.org", "alice@", "a" * 400 + "@example.org", "../../x@example.org",
                                  "alice\n@example.org", "alice@example.org/../../x", "ällice@example.org", "%n%s@x"])
def test_address_that_nobody_can_have_exits_67(alice, name):
    result = alice.deliver(name)
    assert result.returncode == 67, result.stderr
    assert error_text(result).startswith("5.1.1 ")


def test_disabled_user_exits_77(alice):
    alice.sql("UPDATE users SET enabled = 0")
    result = alice.deliver(ALICE)
    assert result.returncode == 77
    assert error_text(result).startswith("5.2.1 ")
    assert not list(alice.mail.iterdir())


BAD_FLAGS = [
    (["-Z"], "-Z"),
    (["--no-such-flag"], "--no-such-flag"),
    (["-d"], "-d"),
    (["-d", ALICE, "stray"], "stray"),
    (["-d", ALICE, "-o", "nonsense"], "nonsense"),
    (["-d", ALICE, "-o", "=x"], "=x"),
    (["-d", ALICE, "-f", "a\nb@example.org"], "a\\x0ab@example.org"),
    ([], "-d"),
]


@pytest.mark.parametrize("flags, named", BAD_FLAGS)
def test_bad_flag_is_temporary_for_an_mta_and_names_the_flag(alice, flags, named):
    result = alice.deliver(None, SAMPLE, *flags)
    assert result.returncode == 75
    assert error_text(result).startswith("4.") and named in error_text(result)
    assert not list(alice.mail.iterdir())


@pytest.mark.parametrize("flags, named", BAD_FLAGS)
def test_bad_flag_typed_on_a_terminal_exits_64(alice, flags, named):
    controller, terminal = pty.openpty()
    try:
        result = subprocess.run([alice.programs["roost-deliver"], "-c", alice.conf, *flags], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=terminal, env=clean_env(), timeout=60, check=False)
        assert result.returncode == 64
        assert named in os.read(controller, 4096).decode()
    finally:
        os.close(controller)
        os.close(terminal)


def test_other_failures_exit_the_same_on_a_terminal(alice):
    controller, terminal = pty.openpty()
    try:
        result = subprocess.run([alice.programs["roost-deliver"], "-c", alice.conf, "-d", "nobody@example.org"],
                                input=SAMPLE, stdout=subprocess.PIPE, stderr=terminal, env=clean_env(), timeout=60,
                                check=False)
        assert result.returncode == 67
    finally:
        os.close(controller)
        os.close(terminal)


def test_input_that_never_ends_is_temporary_at_the_deadline(alice):
    process = subprocess.Popen(
        [alice.programs["roost-deliver"], "-c", alice.conf, "-d", ALICE, "-o", "delivery.deadline=1s"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env())
    try:
        process.stdin.write(SAMPLE)
        process.stdin.flush()
        assert process.wait(timeout=120) == 75
        said = process.stderr.read()
        assert said.startswith(b"4.3.") and b"its end did not come" in said  # not the alarm, which is the last resort
    finally:
        process.kill()
        process.stdin.close()
        process.stdout.close()
        process.stderr.close()
        process.wait()
    assert alice.messages(ALICE) == []


def test_failures_are_logged_with_their_reason(alice):
    alice.deliver(ALICE, SAMPLE, "-f", SENDER)
    alice.deliver("nobody@example.org", SAMPLE, "-f", SENDER)
    log = alice.log.read_text()
    delivered, refused = log.splitlines()[-2:]
    for word in (f"from=<{SENDER}>", f"to=<{ALICE}>", "msgid=<sample@example.net>", "verdict=delivered", "mailbox=new",
                 f"size={len(SAMPLE)}", "folder=INBOX", str(alice.messages(ALICE)[0].name)):
        assert word in delivered
    for word in ("to=<nobody@example.org>", "verdict=no-such-user", "code=5.1.1"):
        assert word in refused


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_need_no_configuration(site, flag):
    result = site.run("roost-deliver", flag)
    assert result.returncode == 0 and result.stderr == b""
    assert b"roost-deliver" in result.stdout


# The envelope


@pytest.mark.parametrize("sender, shown", [
    (SENDER, SENDER), (f"<{SENDER}>", SENDER), ("", ""), ("<>", ""), ("MAILER-DAEMON", ""), ("Bob@Example.NET", "Bob@Example.NET"),
    ('"a b"@example.net', '"a b"@example.net'),
])
def test_sender_becomes_return_path(alice, sender, shown):
    assert alice.deliver(ALICE, SAMPLE, "-f", sender).returncode == 0
    assert f"Return-Path: <{shown}>\n".encode() in body_of(alice.message(ALICE), SAMPLE)


def test_unknown_sender_writes_no_return_path(alice):
    assert alice.deliver(ALICE).returncode == 0
    assert b"Return-Path" not in alice.message(ALICE)


@pytest.mark.parametrize("sender", ["a b@example.net", "a<b@example.net", "a@example.net>", "x" * 321])
@pytest.mark.parametrize("how", ["flag", "environment"])
def test_a_sender_that_cannot_be_shown_is_left_out_and_logged(alice, sender, how):
    alice.configure(log__target=alice.log)
    given = ([], {"SENDER": sender}) if how == "environment" else (["-f", sender], None)
    result = alice.deliver(ALICE, SAMPLE, *given[0], env=given[1])
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"Return-Path" not in alice.message(ALICE)
    assert f"sender '{sender[:64]}" in alice.log.read_text()


@pytest.mark.parametrize("flags, env, word", [
    (["-d", ALICE, "-f", "a\nX-Evil: 1@example.net"], {}, b"sender"), (["-d", ALICE, "-r", "a\nX-Evil: 1"], {}, b"recipient"),
    (["-d", ALICE], {"SENDER": "a\rX-Evil: 1"}, b"sender"), ([], {"RECIPIENT": "alice\n@example.org", "LOCAL": "alice"}, b"recipient"),
    (["-d", ""], {}, b"recipient"), (["-d", "<>"], {}, b"recipient"),
])
def test_what_no_header_field_or_mailbox_can_be_made_of_is_a_temporary_failure(alice, flags, env, word):
    result = alice.deliver(None, SAMPLE, *flags, env=env)
    assert result.returncode == 75
    assert result.stderr.startswith(b"4.5.4 ") and word in result.stderr
    assert not alice.maildir(ALICE).exists()


def test_an_empty_final_recipient_is_none(alice):
    assert alice.deliver(ALICE, SAMPLE, "-r", "").returncode == 0
    assert f"Delivered-To: {ALICE}\n".encode() in alice.message(ALICE)


@pytest.mark.parametrize("how", ["address", "original", "environment"])
def test_a_detail_keeps_its_case(alice, how):
    flags, env = {
        "address": (["-d", "Alice+Lists.New@example.org"], {}), "original": (["-d", ALICE, "-a", "Team+Lists.New@example.org"], {}),
        "environment": ([], {"LOCAL_PART": "Alice", "DOMAIN": "example.org", "EXTENSION": "Lists.New"}),
    }[how]
    assert alice.deliver(None, SAMPLE, *flags, env=env).returncode == 0
    assert len(alice.messages(ALICE, "Lists.New")) == 1


def test_no_mail_for_addresses_with_a_detail_however_the_mta_gives_it(alice):
    alice.configure(delivery__detail="ignore")
    for flags, env in ((["-d", "alice+x@example.org"], {}), ([], EXIM | {"EXTENSION": "x"}), ([], EXIM | {"LOCAL_PART_SUFFIX": "+x"})):
        result = alice.deliver(None, SAMPLE, *flags, env=env)
        assert (result.returncode, result.stderr[:6]) == (67, b"5.1.1 ")
    # It is the address of an alias that has one.
    assert alice.deliver(ALICE, SAMPLE, "-a", "team+x@example.org").returncode == 0
    assert len(alice.messages(ALICE)) == 1


def test_the_cause_comes_before_what_it_entails(alice):
    alice.add(BOB)
    alice.sql("UPDATE users SET settings='no JSON' WHERE name=?", (BOB,))
    result = alice.deliver(None, SAMPLE, "-d", ALICE, "-d", BOB)
    assert result.returncode == 75
    first, second = result.stderr.splitlines()
    assert BOB.encode() in first and b"another recipient" in second


@pytest.mark.parametrize("line, shown", [
    (b"From bob@example.net Mon Jan  1 00:00:00 2024\n", b"bob@example.net"),
    (b"From bob@example.net  Mon Jan  1 00:00:00 2024\r\n", b"bob@example.net"),
    (b"From MAILER-DAEMON Mon Jan  1 00:00:00 2024\n", b""),
])
def test_leading_from_line_is_dropped_and_gives_the_sender(alice, line, shown):
    assert alice.deliver(ALICE, line + SAMPLE).returncode == 0
    assert b"Return-Path: <" + shown + b">\n" in body_of(alice.message(ALICE), SAMPLE)


def test_sender_by_flag_wins_over_from_line_and_environment(alice):
    line = b"From other@example.net Mon Jan  1 00:00:00 2024\n"
    assert alice.deliver(ALICE, line + SAMPLE, "-f", SENDER, env={"SENDER": "third@example.net"}).returncode == 0
    assert f"Return-Path: <{SENDER}>\n".encode() in body_of(alice.message(ALICE), SAMPLE)


EXIM = {"LOCAL_PART": "alice", "DOMAIN": "example.org", "SENDER": SENDER, "RECIPIENT": ALICE, "USER": "mail"}
ENVIRONMENTS = [
    (EXIM, "", ALICE, SENDER),
    (EXIM | {"SENDER": ""}, "", ALICE, ""),
    (EXIM | {"LOCAL_PART_SUFFIX": "+lists", "RECIPIENT": "alice+lists@example.org"}, "lists", "alice+lists@example.org",
     SENDER),
    # Postfix's local(8), and any MTA that knows no more than the recipient
    ({"LOCAL": "alice", "DOMAIN": "example.org", "EXTENSION": "lists", "SENDER": SENDER, "RECIPIENT":
      "alice+lists@example.org"}, "lists", "alice+lists@example.org", SENDER),
    ({"RECIPIENT": "Alice+lists@Example.ORG", "SENDER": SENDER}, "lists", "Alice+lists@Example.ORG", SENDER),
]


@pytest.mark.parametrize("env, folder, delivered_to, sender", ENVIRONMENTS)
def test_envelope_comes_from_the_mtas_environment(alice, env, folder, delivered_to, sender):
    assert alice.deliver(None, SAMPLE, "-e", env=env).returncode == 0
    header = fields(body_of(alice.message(ALICE, folder), SAMPLE))
    assert header[:2] == [("Return-Path", f"<{sender}>"), ("Delivered-To", delivered_to)]


def test_recipient_by_flag_wins_over_environment(alice):
    alice.add(BOB)
    assert alice.deliver(ALICE, SAMPLE, env=EXIM | {"LOCAL_PART": "bob", "RECIPIENT": BOB}).returncode == 0
    assert len(alice.messages(ALICE)) == 1 and not alice.maildir(BOB).exists()


def test_users_are_found_in_any_case(alice):
    assert alice.deliver("ALICE@Example.Org").returncode == 0
    assert b"Delivered-To: ALICE@Example.Org\n" in alice.message(ALICE)


def test_a_user_may_have_no_domain(site):
    site.add("carol")
    assert site.deliver("carol").returncode == 0
    assert len(list(site.mail.glob("*/carol/new/*"))) == 1


def test_flags_of_dovecot_lda_are_accepted(alice):
    result = alice.deliver(ALICE, SAMPLE, "-e", "-k", "-f", SENDER, "-a", "list@example.org", "-r", "final@example.org")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"Delivered-To: final@example.org\n" in alice.message(ALICE)


def test_message_comes_from_a_file_with_p(alice):
    file = alice.path / "message"
    file.write_bytes(SAMPLE)
    assert alice.deliver(ALICE, b"not this\n", "-p", file).returncode == 0
    body_of(alice.message(ALICE), SAMPLE)


def test_missing_message_file_is_temporary_and_named(alice):
    result = alice.deliver(ALICE, SAMPLE, "-p", "/nonexistent/message")
    assert result.returncode == 75 and "/nonexistent/message" in error_text(result)


def test_setting_by_o_overrules_the_file(alice):
    alice.configure(delivery__delivered_to="yes")
    assert alice.deliver(ALICE, SAMPLE, "-o", "delivery.delivered-to=no", "-o", "delivery.received=no").returncode == 0
    assert alice.message(ALICE) == SAMPLE


# What is written before the message


def test_trace_fields_can_be_switched_off_one_by_one(alice):
    for name, field in (("return-path", "Return-Path"), ("delivered-to", "Delivered-To"), ("received", "Received")):
        assert alice.deliver(ALICE, SAMPLE, "-f", SENDER, "-m", name, "-o", f"delivery.{name}=no").returncode == 0
        (stored,) = alice.maildir(ALICE, name).joinpath("new").iterdir()
        names = {name for name, _ in fields(body_of(stored.read_bytes(), SAMPLE))}
        assert names == {"Return-Path", "Delivered-To", "Received"} - {field}


@pytest.mark.parametrize("written, added", [
    (b"Return-Path: <x@example.net>\n", ["Delivered-To", "Received"]),
    (b"Delivered-To: alice@example.org\n", ["Return-Path", "Received"]),
    # OpenSMTPD, and Postfix's pipe(8) with flags DOR
    (b"Return-Path: <x@example.net>\nDelivered-To: alice@example.org\n", ["Received"]),
    (b"Return-Path: <>\nX-Original-To: a@example.org\nDelivered-To: alice@example.org\n", ["Received"]),
    (b"return-path: <x@example.net>\r\ndelivered-to: alice@example.org\r\n", ["Received"]),
    # Exim with return_path_add, envelope_to_add, delivery_date_add
    (b"Return-path: <x@example.net>\nEnvelope-to: a@example.org\nDelivery-date: Mon, 1 Jan 2024\n",
     ["Delivered-To", "Received"]),
    # Fields from an earlier journey stand below a Received field: they are not this MTA's.
    (b"Received: from x by y; Mon, 1 Jan 2024 00:00:00 +0000\nReturn-Path: <x@example.net>\nDelivered-To: list@x\n",
     ["Return-Path", "Delivered-To", "Received"]),
])
def test_trace_fields_that_the_mta_wrote_are_not_doubled(alice, written, added):
    assert alice.deliver(ALICE, written + SAMPLE, "-f", SENDER).returncode == 0
    assert [name for name, _ in fields(body_of(alice.message(ALICE), written + SAMPLE))] == added


# Several recipients


def test_each_recipients_copy_has_its_own_delivered_to(alice):
    alice.add(BOB)
    assert alice.deliver(ALICE, SAMPLE, "-d", BOB).returncode == 0
    for user in (ALICE, BOB):
        header = fields(body_of(alice.message(user), SAMPLE))
        assert [value for name, value in header if name == "Delivered-To"] == [user]


def test_equal_copies_share_their_bytes(alice):
    alice.add(BOB)
    assert alice.deliver(ALICE, SAMPLE, "-d", BOB, "-o", "delivery.delivered-to=no").returncode == 0
    (one,), (other,) = alice.messages(ALICE), alice.messages(BOB)
    assert os.path.samefile(one, other)


def test_repeated_recipient_gets_one_copy(alice):
    assert alice.deliver(ALICE, SAMPLE, "-d", "ALICE@example.org", "-d", ALICE).returncode == 0
    assert len(alice.messages(ALICE)) == 1


def test_temporary_trouble_of_one_recipient_delivers_to_none(alice):
    alice.add(BOB, settings="{not json")
    result = alice.deliver(ALICE, SAMPLE, "-d", BOB)
    assert result.returncode == 75
    assert result.stderr.startswith(b"4.") and BOB.encode() in result.stderr
    assert alice.messages(ALICE) == []


def test_permanent_refusal_of_one_recipient_leaves_the_others_mail(alice):
    result = alice.deliver("nobody@example.org", SAMPLE, "-d", ALICE)
    assert result.returncode == 67 and result.stderr.startswith(b"5.1.1 ")
    assert len(alice.messages(ALICE)) == 1


# Folders


def test_m_delivers_to_a_folder_and_makes_it(alice):
    assert alice.deliver(ALICE, SAMPLE, "-m", "Lists/roost").returncode == 0
    body_of(alice.message(ALICE, "Lists.roost"), SAMPLE)
    assert alice.messages(ALICE) == []


@pytest.mark.parametrize("name", ["", "INBOX", "inbox"])
def test_empty_m_and_inbox_are_inbox(alice, name):
    assert alice.deliver(ALICE, SAMPLE, "-m", name).returncode == 0
    assert len(alice.messages(ALICE)) == 1


@pytest.mark.parametrize("name", ["../../outside", "a/../b", "/etc", "a//b", "~root", "x\ny", "bad\udcffutf8", "x" * 500,
                                  "a/b/c/d/e/f/g/h/i/j/k/l"])
def test_folder_that_cannot_be_is_inbox_and_a_warning(alice, name):
    before = {path for path in alice.path.iterdir()}
    assert alice.deliver(ALICE, SAMPLE, "-m", name).returncode == 0
    assert len(alice.messages(ALICE)) == 1
    assert not [path for path in alice.maildir(ALICE).iterdir() if path.is_dir() and path.name.startswith(".")]
    assert {path for path in alice.path.iterdir()} - before <= {alice.log, alice.db.with_name("users.db-wal"),
                                                             alice.db.with_name("users.db-shm"),
                                                             alice.db.with_name("users.db.lock")}
    assert "INBOX" in alice.log.read_text()


def test_missing_folder_is_inbox_where_folders_are_not_made(alice):
    alice.configure(delivery__create_folders="no")
    assert alice.deliver(ALICE, SAMPLE, "-m", "Lists").returncode == 0
    assert len(alice.messages(ALICE)) == 1 and not alice.maildir(ALICE, "Lists").exists()


@pytest.mark.parametrize("choice, inbox, folder", [("folder", 0, 1), ("inbox", 1, 0)])
def test_detail_goes_where_the_setting_says(alice, choice, inbox, folder):
    alice.configure(delivery__detail=choice)
    assert alice.deliver("alice+lists@example.org").returncode == 0
    assert (len(alice.messages(ALICE)), len(alice.messages(ALICE, "lists"))) == (inbox, folder)


def test_detail_is_no_address_where_ignored(alice):
    alice.configure(delivery__detail="ignore")
    assert alice.deliver("alice+lists@example.org").returncode == 67


def test_a_user_with_a_separator_in_the_name_is_found_whole(alice):
    alice.add("alice+vip@example.org")
    assert alice.deliver("alice+vip@example.org").returncode == 0
    assert len(alice.messages("alice+vip@example.org")) == 1 and not alice.maildir(ALICE).exists()


@pytest.mark.parametrize("separators, address, folder", [("-", "alice-lists@example.org", "lists"),
                                                         ("+-", "alice-a+b@example.org", "a+b"),
                                                         ("", "alice+lists@example.org", None)])
def test_detail_separators_are_a_setting(alice, separators, address, folder):
    alice.configure({"delivery.detail-separators": separators})
    assert alice.deliver(address).returncode == (67 if folder is None else 0)
    if folder is not None:
        assert len(alice.messages(ALICE, folder)) == 1


def test_m_wins_over_detail(alice):
    assert alice.deliver("alice+lists@example.org", SAMPLE, "-m", "Other").returncode == 0
    assert len(alice.messages(ALICE, "Other")) == 1


# The message's bytes


def test_every_awkward_message_is_stored_byte_for_byte(site):
    files = sorted(CORPUS.glob("*.eml"))
    assert len(files) > 80
    for number, file in enumerate(files):
        user = f"user{number}@example.org"
        site.add(user)
        message = file.read_bytes()
        result = site.deliver(user, message, "-f", SENDER)
        assert result.returncode == 0, f"{file.name}: {result.stderr}"
        if message.startswith(b"From "):
            message = message[message.find(b"\n") + 1 :] if b"\n" in message else b""
        header = body_of(site.message(user), message)
        names = [name for name, _ in fields(header)]
        assert set(names) <= {"Return-Path", "Delivered-To", "Received"} and len(set(names)) == len(names), file.name
        assert header.endswith(b"\n"), file.name
        size, wire = re.search(r",S=(\d+),W=(\d+)$", site.messages(user)[0].name).groups()
        stored = header + message
        assert int(size) == len(stored), file.name
        bare = stored.count(b"\n") - stored.count(b"\r\n")
        assert int(wire) == len(stored) + bare, file.name


def test_from_lines_inside_the_message_stay(alice):
    message = SAMPLE + b"\nFrom here on\n>From there\n"
    assert alice.deliver(ALICE, message).returncode == 0
    body_of(alice.message(ALICE), message)


def built_with_sanitizer():
    cache = (BUILD / "CMakeCache.txt").read_text()
    return re.search(r"^ROOST_SANITIZE:[^=]*=.+$", cache, re.M) is not None


# Runs a command with a file on a pipe to its stdin and reports its peak memory in KiB. A process of its own, since the
# peak of a child counts what its parent had at the fork.
PEAK = textwrap.dedent("""
    import os, resource, subprocess, sys
    with subprocess.Popen(["cat", sys.argv[1]], stdout=subprocess.PIPE) as cat:
        status = subprocess.call(sys.argv[2:], stdin=cat.stdout)
        cat.stdout.close()
    print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
""")


def test_memory_stays_constant_with_100_MB(alice):
    big = alice.path / "big"
    line = bytes(range(1, 256)).replace(b"\n", b"") * 4 + b"\n"
    with big.open("wb") as out:
        out.write(SAMPLE)
        while out.tell() < 100 * 1024 * 1024:
            out.write(line * 1024)
    peaks = []
    for file in (alice.path / "small", big):
        if file != big:
            file.write_bytes(SAMPLE)
        result = alice.run(sys.executable, "-I", "-S", "-c", PEAK, file, alice.programs["roost-deliver"], "-c",
                           alice.conf, "-d", ALICE, timeout=500)
        assert result.returncode == 0, result.stderr
        status, peak = map(int, result.stdout.split())
        assert status == 0, result.stderr
        peaks.append(peak)
    stored = max(alice.messages(ALICE), key=lambda path: path.stat().st_size)
    header = stored.stat().st_size - big.stat().st_size
    with stored.open("rb") as one, big.open("rb") as other:
        one.seek(header)
        while block := other.read(1 << 20):
            assert one.read(1 << 20) == block
    assert not list(alice.state.glob("spool/*")), "a spool file was left behind"
    if built_with_sanitizer():
        pytest.skip("the bytes were right; the peak memory of a sanitized build says nothing")
    assert peaks[1] < 64 * 1024 and peaks[1] < peaks[0] + 4 * 1024, peaks
