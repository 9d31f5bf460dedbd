"""Dicts in tests: a Dict of Roost's library, driven through the program roost-dict (tests/dict)."""

import json
import subprocess

from conftest import BUILD, clean_env

PROGRAM = BUILD / "tests" / "dict" / "roost-dict"

STORAGE = "priv/quota/storage"
MESSAGES = "priv/quota/messages"


class DictError(Exception):
    """A call's Error. `text` is what an administrator reads, `outcome` the name of its row in the table."""

    def __init__(self, answer):
        super().__init__(answer["error"])
        self.text = answer["error"]
        self.outcome = answer["outcome"]


class Dict:
    """The dict of a URI, as one object for as long as the `with` block lasts.

    User names, keys and values are str with one character a byte (latin-1). A failed call raises DictError.
    `name` is what messages call the dict. `ms` of each call is its deadline.
    """

    def __init__(self, uri, env=None):
        self.uri = str(uri)
        self.env = clean_env(env)

    def __enter__(self):
        self.process = subprocess.Popen(
            [PROGRAM, self.uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.env)
        try:
            self.name = self.answer()["name"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(60)
        finally:
            self.process.kill()

    def answer(self):
        """The next line that the program wrote."""
        line = self.process.stdout.readline()
        assert line, f"roost-dict ended with {self.process.wait()}"
        answer = json.loads(line)
        if "error" in answer:
            raise DictError(answer)
        return answer

    def start(self, op, **call):
        """Begins a call; answer() ends it."""
        self.process.stdin.write(json.dumps({"op": op, **call}).encode() + b"\n")
        self.process.stdin.flush()

    def call(self, op, **call):
        self.start(op, **call)
        return self.answer()

    def get(self, user, *keys, **more):
        """The values of the keys, None for those that are not there."""
        return self.call("get", user=user, keys=keys, **more)["values"]

    def commit(self, *transactions, **more):
        """Each transaction is (user, change...), a change ("set", key, value), ("unset", key) or ("add", key, diff)."""
        made = [{"user": user, "changes": changes} for user, *changes in transactions]
        self.call("commit", transactions=made, **more)

    def set(self, user, storage, messages, **more):
        """Both keys of a user's usage in one transaction."""
        self.commit((user, ("set", STORAGE, str(storage)), ("set", MESSAGES, str(messages))), **more)

    def usage(self, user, **more):
        """The values of both keys of a user's usage."""
        return self.get(user, STORAGE, MESSAGES, **more)

    def each(self, key=STORAGE, stop=0, **more):
        """[[user, value]...] in order."""
        return sorted(self.call("each", key=key, stop=stop, **more)["found"])
