"""The quota.* limits as a delivery meets them, and the cascade that they come through."""

import pytest

from conftest import SAMPLE, body_of

ALICE = "alice@example.org"


def message_of(size):
    """A message of exactly `size` bytes."""
    return SAMPLE + b"x" * (size - len(SAMPLE) - 1) + b"\n"


@pytest.fixture
def alice(site):
    """A user whose messages are stored as they come: no trace header, so that bytes can be counted."""
    site.add(ALICE)
    site.configure(delivery__return_path="no", delivery__delivered_to="no", delivery__received="no")
    return site


def outcome(result):
    """The exit status and the code that stderr begins with."""
    return result.returncode, result.stderr.decode().partition(" ")[0]


DELIVERED = (0, "")


@pytest.mark.parametrize("size, expected", [(999, DELIVERED), (1000, DELIVERED), (1001, (77, "5.2.2"))])
def test_storage_is_a_limit_to_the_byte(alice, size, expected):
    alice.configure(quota__storage=2000)
    assert outcome(alice.deliver(ALICE, message_of(1000))) == DELIVERED
    assert outcome(alice.deliver(ALICE, message_of(size))) == expected
    assert len(alice.messages(ALICE)) == (2 if expected == DELIVERED else 1)


def test_the_trace_header_counts(alice):
    alice.configure(quota__storage=1000, delivery__received="yes")
    assert outcome(alice.deliver(ALICE, message_of(1000))) == (77, "5.2.2")


def test_messages_is_a_limit(alice):
    alice.configure(quota__messages=2)
    assert [outcome(alice.deliver(ALICE)) for _ in range(3)] == [DELIVERED, DELIVERED, (77, "5.2.2")]
    assert len(alice.messages(ALICE)) == 2


@pytest.mark.parametrize("size, expected", [(1000, DELIVERED), (1001, (77, "5.2.3"))])
def test_message_is_a_limit_for_one_message(alice, size, expected):
    alice.configure(quota__message=1000)
    assert outcome(alice.deliver(ALICE, message_of(size))) == expected


@pytest.mark.parametrize("grace, size, expected", [
    ("0", 1001, (77, "5.2.2")), ("10%", 1200, DELIVERED), ("10%", 1201, (77, "5.2.2")), ("500", 1500, DELIVERED),
    ("500", 1501, (77, "5.2.2")),
])
def test_grace_is_for_the_last_message(alice, grace, size, expected):
    alice.configure(quota__storage=2000, quota__grace=grace)
    assert outcome(alice.deliver(ALICE, message_of(1000))) == DELIVERED
    assert outcome(alice.deliver(ALICE, message_of(size))) == expected


def test_grace_is_not_for_a_full_mailbox(alice):
    alice.configure(quota__storage=1000, quota__grace="500")
    assert outcome(alice.deliver(ALICE, message_of(1000))) == DELIVERED
    assert outcome(alice.deliver(ALICE, message_of(300))) == (77, "5.2.2")


def test_full_is_temporary_where_the_setting_says_defer(alice):
    alice.configure(quota__messages=1, quota__when_full="defer")
    assert outcome(alice.deliver(ALICE)) == DELIVERED
    assert outcome(alice.deliver(ALICE)) == (75, "4.2.2")
    alice.messages(ALICE)[0].unlink()
    alice.roost("quota", "recount", ALICE)
    assert outcome(alice.deliver(ALICE)) == DELIVERED


def test_no_limit_unless_one_is_set(alice):
    assert outcome(alice.deliver(ALICE, message_of(3_000_000))) == DELIVERED


def test_zero_is_a_limit_and_not_unlimited(alice):
    alice.configure(quota__storage=0)
    assert outcome(alice.deliver(ALICE)) == (77, "5.2.2")


def test_refusal_says_how_full(alice):
    alice.configure(quota__storage=1000)
    alice.deliver(ALICE, message_of(900))
    result = alice.deliver(ALICE, message_of(200))
    assert b"900" in result.stderr and b"1000" in result.stderr


def test_mail_removed_by_a_reader_makes_room(alice):
    alice.configure(quota__storage=2000)
    assert outcome(alice.deliver(ALICE, message_of(1000))) == DELIVERED
    assert outcome(alice.deliver(ALICE, message_of(1000))) == DELIVERED
    for file in alice.messages(ALICE):
        file.unlink()
    assert outcome(alice.deliver(ALICE, message_of(1000))) == DELIVERED


def test_folders_count_together(alice):
    alice.configure(quota__messages=2)
    assert outcome(alice.deliver(ALICE, SAMPLE, "-m", "Lists")) == DELIVERED
    assert outcome(alice.deliver(ALICE)) == DELIVERED
    assert outcome(alice.deliver(ALICE, SAMPLE, "-m", "Other")) == (77, "5.2.2")


def test_a_full_mailbox_does_not_hurt_another_recipient(alice):
    alice.add("bob@example.org")
    alice.configure(quota__messages=1)
    assert outcome(alice.deliver(ALICE)) == DELIVERED
    assert outcome(alice.deliver(ALICE, SAMPLE, "-d", "bob@example.org")) == (77, "5.2.2")
    body_of(alice.message("bob@example.org"), SAMPLE)


# The cascade: file < plan < domain < user


LEVELS = ["file", "plan", "domain", "user"]


@pytest.mark.parametrize("nearest", LEVELS)
def test_the_nearest_level_wins(alice, nearest):
    """Every level up to `nearest` sets another number of messages; the nearest one's holds."""
    limits = {level: number for number, level in enumerate(LEVELS[: LEVELS.index(nearest) + 1], start=1)}
    setting = lambda level: f'{{"quota.messages": {limits[level]}}}' if level in limits else "{}"  # noqa: E731
    alice.configure(quota__messages=limits["file"])
    alice.sql("INSERT INTO plans(name, settings) VALUES ('gold', ?)", (setting("plan"),))
    alice.sql("INSERT INTO domains(name, plan, settings) VALUES ('example.org', 'gold', ?)", (setting("domain"),))
    alice.sql("UPDATE users SET settings = ?", (setting("user"),))
    results = [outcome(alice.deliver(ALICE)) for _ in range(limits[nearest] + 1)]
    assert results == [DELIVERED] * limits[nearest] + [(77, "5.2.2")]


def test_unlimited_at_a_nearer_level_lifts_the_limit(alice):
    alice.configure(quota__messages=0)
    alice.sql("""UPDATE users SET settings = '{"quota.messages": "unlimited"}'""")
    assert outcome(alice.deliver(ALICE)) == DELIVERED


def test_a_removed_setting_lets_the_wider_level_show(alice):
    alice.configure(quota__messages=0)
    alice.sql("""UPDATE users SET settings = '{"quota.messages": 5}'""")
    assert outcome(alice.deliver(ALICE)) == DELIVERED
    alice.sql("UPDATE users SET settings = '{}'")
    assert outcome(alice.deliver(ALICE)) == (77, "5.2.2")


def test_detail_can_be_set_for_one_user(alice):
    alice.sql("""UPDATE users SET settings = '{"delivery.detail": "inbox"}'""")
    assert outcome(alice.deliver("alice+lists@example.org")) == DELIVERED
    assert len(alice.messages(ALICE)) == 1
