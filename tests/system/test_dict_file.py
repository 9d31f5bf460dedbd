"""Dicts in files: the locks that others heed, whose the files are, and what happens in trouble."""

import fcntl
import os
import threading
import time

import pytest

from dicts import MESSAGES, STORAGE, Dict, DictError


def fails(call, *args, outcome="trouble", **more):
    """The text of the Error that the call ends in."""
    with pytest.raises(DictError) as caught:
        call(*args, **more)
    assert caught.value.outcome == outcome
    return caught.value.text


@pytest.fixture(params=["", ":lock=dotlock", ":lock=fcntl", ":lock=flock"])
def lock(request):
    return request.param


def test_each_user_has_a_file_of_keys_and_values(tmp_path, lock):
    with Dict(f"file:{tmp_path}/%d/%n.dict{lock}") as dict:
        assert dict.usage("a@x.org") == [None, None]
        dict.set("a@x.org", 100, 2)
        dict.set("b@x.org", 300, 4)
        text = (tmp_path / "x.org" / "a.dict").read_text()
        assert sorted(text.splitlines()) == sorted([STORAGE, "100", MESSAGES, "2"]) and text.endswith("\n")
        dict.commit(("a@x.org", ("add", STORAGE, -50), ("unset", MESSAGES), ("add", "priv/never", 1)))
        assert dict.usage("a@x.org") == ["50", None]
        assert (tmp_path / "x.org" / "a.dict").read_text() == f"{STORAGE}\n50\n"
        assert dict.get("b@x.org", MESSAGES) == ["4"]
    assert sorted(file.name for file in (tmp_path / "x.org").iterdir()) == ["a.dict", "b.dict"]


def test_each_finds_the_users_that_have_the_key(tmp_path):
    names = [f"u{n}@d{n % 3}.org" for n in range(30)] + ["a/b@x", "..", "plain"]
    for pattern in "%u", "%d/q-%n", "%{domain}/%{user}/usage":
        with Dict(f"file:{tmp_path}/{pattern[-1]}/{pattern}") as dict:
            dict.commit(*[(name, ("set", STORAGE, str(n))) for n, name in enumerate(names)])
            dict.commit(("other@x", ("set", MESSAGES, "1")))
            assert dict.each() == sorted([name, str(n)] for n, name in enumerate(names))
            assert len(dict.each(stop=4)) == 4
    with Dict(f"file:{tmp_path}/none/%u") as dict:
        assert dict.each() == []


def test_unsetting_what_is_not_there_makes_no_file(tmp_path):
    with Dict(f"file:{tmp_path}/d/%u") as dict:
        dict.commit(("a", ("unset", STORAGE)))
        assert not (tmp_path / "d" / "a").exists() and not (tmp_path / "d" / "a.lock").exists()


def test_many_at_once_lose_no_addition(tmp_path, lock):
    uri = f"file:{tmp_path}/%u{lock}"
    with Dict(uri) as dict:
        dict.set("a", 0, 0)

    def add():
        with Dict(uri) as mine:
            for _ in range(25):
                mine.commit(("a", ("add", STORAGE, 3), ("add", MESSAGES, 1)), ms=60000)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Dict(uri) as dict:
        assert dict.usage("a") == ["300", "100"]


def test_a_lock_of_another_program_is_waited_for_until_the_deadline(tmp_path):
    path = tmp_path / "a"
    path.write_text(f"{STORAGE}\n5\n")
    holders = {
        "dotlock": lambda: (tmp_path / "a.lock").touch(),
        "fcntl": lambda: fcntl.lockf(file, fcntl.LOCK_EX),
        "flock": lambda: fcntl.flock(file, fcntl.LOCK_EX),
    }
    for kind, hold in holders.items():
        with path.open("r+") as file, Dict(f"file:{tmp_path}/%u:lock={kind}") as dict:
            hold()
            text = fails(dict.commit, ("a", ("add", STORAGE, 1)), ms=100)
            assert "another program has the lock" in text
            assert dict.get("a", STORAGE) == ["5"]  # reading needs no lock
            dict.start("commit", transactions=[{"user": "a", "changes": [["add", STORAGE, 1], ["add", STORAGE, -1]]}])
            time.sleep(0.1)
            file.close()
            (tmp_path / "a.lock").unlink(missing_ok=True)
            dict.answer()
            assert sorted(file.name for file in tmp_path.iterdir()) == ["a"]


def test_a_file_keeps_its_mode_and_owner_and_a_new_one_is_as_its_directory(tmp_path, lock):
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    folder = tmp_path / "d"
    folder.mkdir()
    os.chown(folder, 4321, 8765)
    folder.chmod(0o750)
    with Dict(f"file:{folder}/%d/%n{lock}") as dict:
        dict.set("a@x", 1, 2)
        for path, mode in ((folder / "x", 0o700), (folder / "x" / "a", 0o600)):
            assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o7777) == (4321, 8765, mode)
        os.chown(folder / "x" / "a", 1111, 2222)
        (folder / "x" / "a").chmod(0o664)
        dict.set("a@x", 3, 4)
        stat = (folder / "x" / "a").stat()
        assert (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (1111, 2222, 0o664)


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path, lock):
    secret = tmp_path / "secret"
    secret.write_text(f"{STORAGE}\n5\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").symlink_to(secret)
    with Dict(f"file:{tmp_path}/d/%u{lock}") as dict:
        fails(dict.usage, "a")
        fails(dict.set, "a", 1, 2)
    assert secret.read_text() == f"{STORAGE}\n5\n"
    assert sorted(file.name for file in (tmp_path / "d").iterdir()) == ["a"]


def test_what_cannot_be_added_to_changes_nothing(tmp_path):
    (tmp_path / "a").write_text(f"{STORAGE}\ntext\n")
    with Dict(f"file:{tmp_path}/%u") as dict:
        assert "no number" in fails(dict.commit, ("a", ("set", MESSAGES, "1"), ("add", STORAGE, 1)))
        assert (tmp_path / "a").read_text() == f"{STORAGE}\ntext\n"
        assert not (tmp_path / "a.lock").exists()


@pytest.mark.parametrize("uri, part", [
    ("file:", "the PATH is missing"),
    ("file:/d/quota", "one file for several users"),
    ("file:d/%u", "it is not absolute"),
    ("file:/d/%u/", "ends with a slash"),
    ("file:/d/../%u", "has no place in it"),
    ("file:/d/%x/%u", "begins no variable"),
    ("file:/d/%n@%d", "two variables"),
    ("file:/d/%u:lock=posix", "lock=posix is no kind of lock"),
    ("file:/d/%u:mode=1", "file: takes lock"),
])
def test_a_uri_that_makes_no_sense_is_refused(uri, part):
    with pytest.raises(DictError) as caught, Dict(uri):
        pass
    assert caught.value.outcome == "misconfigured"
    assert part in caught.value.text
