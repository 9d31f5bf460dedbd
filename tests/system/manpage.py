"""Reads the manuals' sources, for tests that hold them against what they describe."""

import re

from conftest import SOURCE

MAN = SOURCE / "man"


def plain(text):
    """Text without roff's escapes."""
    return text.replace("\\&", "").replace("\\(dq", '"').replace("\\ ", " ").replace("\\e", "\\")


def literal_blocks(page):
    """The text of each .Bd -literal of a page, in order."""
    found = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", (MAN / page).read_text(), re.MULTILINE | re.DOTALL)
    return [plain(block) for block in found]


def literal_block(page, begin):
    """The one literal block that begins with `begin`."""
    blocks = [block for block in literal_blocks(page) if block.startswith(begin)]
    assert len(blocks) == 1, f"{page}: {len(blocks)} blocks begin with {begin!r}"
    return blocks[0]


def section(page, title):
    """The source of one .Sh section of a page."""
    text = (MAN / page).read_text()
    match = re.search(rf"^\.Sh {re.escape(title)}\n(.*?)(?=^\.Sh |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"{page} has no section {title}"
    return match[1]
