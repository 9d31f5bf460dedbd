"""What `cmake --install` gives, and that a module from outside the tree is built with it, loaded and used.

The module is the example of roost-modules(7), built with the commands of that page.
"""

import os
import re
import subprocess

import pytest

from conftest import BUILD, SAMPLE, SOURCE, Site, clean_env
from manpage import MAN, literal_block

PREFIX = re.search("^CMAKE_INSTALL_PREFIX:PATH=(.*)", (BUILD / "CMakeCache.txt").read_text(), re.M)[1]
PAGE = "roost-modules.7"


def must(*command, cwd=None, env=None):
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=clean_env(env), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture
def installed(tmp_path):
    """An installed tree below a private directory."""
    root = tmp_path / "root"
    must("cmake", "--install", BUILD, env={"DESTDIR": str(root)})
    return root / PREFIX[1:]


def only(tree, name):
    found = list(tree.rglob(name))
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def pkg_config(installed):
    return {"PKG_CONFIG_PATH": str(only(installed, "roost-module.pc").parent)}


def module_dir(installed):
    return must("pkg-config", "--variable=moduledir", "roost-module", env=pkg_config(installed)).strip()


def installed_site(installed, path, **settings):
    path.mkdir()
    programs = {name: only(installed, name) for name in ("roost-deliver",)}
    programs["roost"] = next(file for file in installed.rglob("roost") if file.is_file() and os.access(file, os.X_OK))
    site = Site(path, programs=programs)
    site.configure({"store.modules": module_dir(installed), **settings})
    assert site.roost("database", "create").returncode == 0
    return site


def build_with_pkg_config(installed, folder, source, kind, name):
    """The commands of the manual, as they stand there."""
    commands = literal_block(PAGE, "c++ ").replace("mda-flat", f"{kind}-{name}")
    (folder / f"{kind}-{name}.cpp").write_text(source)
    must("sh", "-euc", commands, cwd=folder, env=pkg_config(installed))


def build_with_cmake(installed, folder, source, kind, name):
    """The build file of the manual, as it stands there."""
    lists = literal_block(PAGE, "cmake_minimum_required").replace("mda-flat", f"{kind}-{name}")
    (folder / "CMakeLists.txt").write_text(lists.replace("mda flat", f"{kind} {name}"))
    (folder / f"{kind}-{name}.cpp").write_text(source)
    must("cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={installed}", cwd=folder)
    must("cmake", "--build", "build", cwd=folder)
    must("cmake", "--install", "build", cwd=folder)


BUILDERS = [build_with_pkg_config, build_with_cmake]


@pytest.fixture
def workshop(tmp_path):
    folder = tmp_path / "workshop"
    folder.mkdir()
    return folder


def test_a_build_is_installed_for_no_other_prefix(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    result = subprocess.run(["cmake", "--install", BUILD, "--prefix", elsewhere], env=clean_env(), capture_output=True,
                            text=True, check=False)
    assert result.returncode != 0
    said = " ".join(result.stderr.split())
    assert f"This was built for {PREFIX}," in said and f"-DCMAKE_INSTALL_PREFIX={elsewhere}" in said
    assert not elsewhere.exists()


def test_a_build_for_another_prefix_names_that_one_everywhere(tmp_path):
    build, prefix = tmp_path / "build", tmp_path / "elsewhere"
    must("cmake", "-S", SOURCE, "-B", build, "-G", "Ninja", f"-DCMAKE_INSTALL_PREFIX={prefix}")
    must("cmake", "--install", build / "etc")
    must("cmake", "--install", build / "lib" / "module" / "package")
    unit = (prefix / "lib" / "systemd" / "system" / "roostd.service").read_text()
    assert f"\nExecStart={prefix}/sbin/roostd\n" in unit
    recipes = prefix / "share" / "doc" / "roost" / "recipes"
    assert f"argv={prefix}/libexec/roost-deliver " in (recipes / "postfix" / "master.cf").read_text()
    assert f"command = {prefix}/sbin/roostd --stdio" in (recipes / "exim" / "lmtp-command").read_text()
    for file in prefix.rglob("*"):
        assert not file.is_file() or PREFIX not in file.read_text(), file
    # Where programs look for modules, compiled in, and where these are installed.
    modules = os.path.normpath(module_dir(prefix))
    assert f'-DROOST_MODULE_DIR=\\\\\\"{modules}\\\\\\"' in (build / "compile_commands.json").read_text()


def test_the_install_puts_everything_below_the_prefix(installed):
    root = installed.parents[PREFIX.count("/") - 1]
    outside = [file for file in root.rglob("*") if not file.is_dir() and not file.is_relative_to(installed)]
    assert not outside
    files = {str(file.relative_to(installed)) for file in installed.rglob("*") if file.is_file()}
    for wanted in (
        r"sbin/roost",
        r"sbin/roostd",
        r"libexec/roost-deliver",
        r"include/roost/module/module\.h",
        r"lib.*/pkgconfig/roost-module\.pc",
        r"lib.*/cmake/Roost/RoostConfig\.cmake",
        r"lib.*/cmake/Roost/RoostConfigVersion\.cmake",
        r"share/doc/roost/roost\.conf",
        r"lib/systemd/system/roostd\.socket",
        r"lib/systemd/system/roostd\.service",
        r"lib/sysusers\.d/roost\.conf",
    ):
        assert any(re.fullmatch(wanted, file) for file in files), f"{wanted} is not among {sorted(files)}"
    recipes = SOURCE / "etc" / "recipes"
    for recipe in recipes.glob("*/*"):
        assert f"share/doc/roost/recipes/{recipe.relative_to(recipes)}" in files
    for page in MAN.glob("*.[578]"):
        assert f"share/man/man{page.suffix[1:]}/{page.name}" in files
    if (BUILD / "modules").is_dir():
        for module in ("mda-maildir", "mda-mbox", "creator-lock", "creator-trial", "creator-none"):
            file = only(installed, f"{module}.so")
            assert file.stat().st_mode & 0o022 == 0, f"the loader would refuse {file}"


def test_the_installed_headers_include_nothing_that_is_not_installed(installed):
    top = installed / "include" / "roost"
    missing = [
        f"{header.relative_to(top)} includes {name}"
        for header in top.rglob("*.h")
        for name in re.findall(r'#include "([^"]+)"', header.read_text())
        if not (top / name).is_file()
    ]
    assert not missing


def test_no_installed_file_names_the_place_it_was_built_in(installed):
    texts = [file for end in ("*.pc", "*.cmake", "*.h", "*.conf", "*.cf") for file in installed.rglob(end)]
    assert texts
    wrong = [str(file) for file in texts if str(SOURCE) in file.read_text() or str(BUILD) in file.read_text()]
    assert not wrong


@pytest.mark.parametrize("build", BUILDERS)
def test_the_module_of_the_manual_is_built_from_installed_files_loaded_and_used(installed, tmp_path, workshop, build):
    build(installed, workshop, literal_block(PAGE, '// MDA module "flat"'), "mda", "flat")
    needed = must("objdump", "-p", f"{module_dir(installed)}/mda-flat.so")
    assert "NEEDED" in needed and "libstdc++" not in needed, "it would bring a C++ library of its own"

    site = installed_site(installed, tmp_path / "site")
    mail = site.path / "flat"
    site.write_conf(
        site.conf_text()
        .replace("[store]\n", "[store]\nmda = flat\n")
        + literal_block(PAGE, "[store]").partition("[flat]")[1]
        + f"\npath = {mail}/%{{domain}}/%{{local}}\n"
    )
    site.add("alice@example.org")

    result = site.deliver("alice@example.org", SAMPLE, "-f", "bob@example.net")
    assert (result.returncode, result.stderr) == (0, b"")
    files = list((mail / "example.org" / "alice").iterdir())
    assert len(files) == 1
    assert files[0].read_bytes().startswith(b"Return-Path: <bob@example.net>\n")
    assert files[0].read_bytes().endswith(SAMPLE)
    assert site.sql("SELECT allocation FROM users")[0][0] == f'{{"flat.path":"{mail}/example.org/alice"}}'

    listing = site.roost("modules").stdout.decode()
    assert re.search(r"\bflat\b.*a directory of message files", listing), listing

    # Its settings and its count are Roost's like any other's.
    site.sql("""UPDATE users SET settings = '{"quota.messages": 1}'""")
    result = site.deliver("alice@example.org")
    assert result.returncode == 77, result.stderr
    site.sql("""UPDATE users SET settings = '{"flat.nosuch": 1}'""")
    result = site.deliver("alice@example.org")
    assert result.returncode == 75, result.stderr
    assert b"flat.nosuch" in result.stderr
    assert len(list((mail / "example.org" / "alice").iterdir())) == 1


@pytest.mark.parametrize("build", BUILDERS)
def test_the_creator_of_the_manual_is_built_loaded_and_used(installed, tmp_path, workshop, build):
    build(installed, workshop, literal_block(PAGE, '// Creator module "never"'), "creator", "never")
    site = installed_site(installed, tmp_path / "site", **{"store.creator": "never"})
    site.add("alice@example.org")
    result = site.deliver("alice@example.org")
    assert result.returncode == 75
    assert b"alice@example.org: there is no mailbox yet: roost -o store.creator=lock user allocate" in result.stderr
    # What it tells the administrator to do helps.
    assert site.roost("-o", "store.creator=lock", "user", "allocate", "alice@example.org").returncode == 0
    assert site.deliver("alice@example.org").returncode == 0
    assert site.message("alice@example.org").endswith(SAMPLE)


THROWERS = {
    "throw std::runtime_error(\"boom\");": "boom",
    "throw 17;": "no exception",
    "throw std::bad_alloc();": "out of memory",
}


@pytest.mark.parametrize("throw", THROWERS)
def test_an_exception_from_a_module_becomes_a_temporary_failure_that_names_it(installed, tmp_path, workshop, throw):
    source = literal_block(PAGE, '// MDA module "flat"')
    for function, before in (
        ("allocate", 'auto path = expand_path("flat.path",'),
        ("prepare", "auto dir = open(user);\n        if (!dir) return dir.error();\n        auto pending"),
        ("publish", 'auto done = files_.rename_new(at(), "." + name_, at(), name_);'),
    ):
        assert source.count(before) == 1
        if function == "publish":
            what = f'if (path_.ends_with("/boom-publish")) {throw} '
        else:
            what = f'if (user.local() == "boom-{function}") {throw} '
        source = source.replace(before, what + before)
    source = source.replace("#include <filesystem>", "#include <filesystem>\n#include <new>\n#include <stdexcept>")
    build_with_pkg_config(installed, workshop, source, "mda", "flat")
    site = installed_site(installed, tmp_path / "site")
    site.configure({"store.mda": "flat", "flat.path": f"{site.path}/flat/%{{local}}"})
    site.add("alice")
    for function in ("allocate", "prepare", "publish"):
        site.add(f"boom-{function}")
        result = site.deliver(f"boom-{function}")
        assert result.returncode == 75, result.stderr
        text = result.stderr.decode()
        assert text.startswith("4.3.0 mda module flat: " + THROWERS[throw]) or THROWERS[throw] in text, text
        assert "mda module flat" in text and text.count("\n") == 1, text
        place = site.path / "flat" / f"boom-{function}"
        assert not place.exists() or not list(place.iterdir()), "what was not delivered left something behind"
    # One recipient's exception is one recipient's: the program lives.
    assert site.deliver("alice").returncode == 0
