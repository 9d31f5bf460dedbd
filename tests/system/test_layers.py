"""The order of the layers: each includes only what stands to its left."""

import re

from conftest import SOURCE

ORDER = ["base", "config", "mail", "db", "dict", "quota", "user", "module", "store"]
LEAVES = {"lmtp", "net"}
# Of lib, what is installed for authors of modules: a module of Roost's own has no more than theirs.
MODULES_SEE = {"base", "config", "mail", "quota", "user", "module"}

SQL = {("lib", "db"), ("lib", "user")}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
ANGLED = re.compile(r"^\s*#\s*include\s+<([^>]+)>", re.MULTILINE)


def sources(folder):
    return sorted(path for end in ("*.h", "*.cpp", "*.c") for path in (SOURCE / folder).rglob(end))


def includes(path):
    return INCLUDE.findall(path.read_text())


def allowed_for(layer):
    if layer in LEAVES:
        return {"base", "mail", layer}
    return set(ORDER[: ORDER.index(layer) + 1])


def test_every_folder_of_lib_is_a_known_layer():
    folders = {path.parent.relative_to(SOURCE / "lib").parts[0] for path in sources("lib")}
    assert folders <= set(ORDER) | LEAVES
    assert {"base", "config", "mail", "quota", "user", "module", "store"} <= folders


def test_a_layer_includes_only_itself_and_what_stands_to_its_left():
    wrong = []
    for path in sources("lib"):
        layer = path.relative_to(SOURCE / "lib").parts[0]
        for name in includes(path):
            if name.split("/")[0] not in allowed_for(layer):
                wrong.append(f"{path.relative_to(SOURCE)} includes {name}")
    assert not wrong


def test_every_include_of_lib_is_written_from_the_include_root():
    wrong = [
        f"{path.relative_to(SOURCE)} includes {name}"
        for path in sources("lib")
        for name in includes(path)
        if not (SOURCE / "lib" / name).is_file()
    ]
    assert not wrong


def test_modules_include_their_own_folder_and_lib_alone():
    seen = 0
    wrong = []
    for kind in ("mda-modules", "creator-modules"):
        for path in sources(kind):
            for name in includes(path):
                seen += 1
                own = (path.parent / name).resolve()
                module = SOURCE / kind / path.relative_to(SOURCE / kind).parts[0]
                if own.is_file() and own.is_relative_to(module):
                    continue
                if name.split("/")[0] not in MODULES_SEE or not (SOURCE / "lib" / name).is_file():
                    wrong.append(f"{path.relative_to(SOURCE)} includes {name}")
    assert seen
    assert not wrong


def test_programs_include_their_own_folder_and_lib_alone():
    wrong = []
    for path in sources("cmd"):
        for name in includes(path):
            own = (path.parent / name).resolve()
            if not (own.is_file() and own.parent == path.parent) and not (SOURCE / "lib" / name).is_file():
                wrong.append(f"{path.relative_to(SOURCE)} includes {name}")
    assert not wrong


def test_nothing_outside_the_database_layers_speaks_sql():
    wrong = [
        f"{path.relative_to(SOURCE)} includes <{name}>"
        for folder in ("lib", "cmd", "mda-modules", "creator-modules")
        for path in sources(folder)
        for name in ANGLED.findall(path.read_text())
        if name.startswith(("soci", "sqlite3"))
        and path.relative_to(SOURCE).parts[:2] not in SQL
    ]
    assert not wrong


def test_headers_include_one_another_in_no_circle():
    graph = {
        str(path.relative_to(SOURCE / "lib")): [n for n in includes(path) if (SOURCE / "lib" / n).is_file()]
        for path in sources("lib")
        if path.suffix == ".h"
    }
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path, name])
        if name in done:
            return
        path.append(name)
        for other in graph.get(name, []):
            visit(other)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)
