"""Module loading: whatever is wrong with a module stops the start with one clear line, and the MTA keeps the mail."""

import os
import shutil
import subprocess

import pytest

from conftest import MODULES, SOURCE

CXX = os.environ.get("CXX", "c++")

# A creator module; each macro makes it wrong in one way.
FAULTY = r"""
#include "module/module.h"
#include <stdexcept>
using namespace roost;
#ifndef NAME
#define NAME "odd"
#endif
#ifndef ABI
#define ABI kModuleAbi
#endif
#ifndef KIND
#define KIND ModuleKind::creator
#endif
#ifndef KEY
#define KEY "odd.key"
#endif
#ifndef BODY
#define BODY throw std::runtime_error("boom in make")
#endif
#ifdef UNDEFINED
extern "C" int nobody_has_this_function();
#undef BODY
#define BODY return Error{Outcome::trouble, "x", std::to_string(nobody_has_this_function()), "", 0}
#endif
constexpr Setting kSettings[] = {{KEY, Kind::text, "", Level::file, "Help."}};
Result<std::unique_ptr<Creator>> make(const ModuleHost&) { BODY; }
#ifndef MAKE
#define MAKE make
#endif
constexpr ModuleInfo kInfo = {ABI, KIND, NAME, "faulty", kSettings, nullptr, MAKE};
#ifdef NOTHING
extern "C" __attribute__((visibility("default"))) const ModuleInfo* roost_module() { return nullptr; }
#elif defined(NO_ENTRY)
extern "C" int something_else() { return 0; }
#else
ROOST_MODULE(kInfo)
#endif
"""


@pytest.fixture
def modules(site):
    """The site with a module directory of its own: the shipped ones by link, and room for faulty ones."""
    folder = site.path / "modules"
    folder.mkdir()
    if MODULES.is_dir():
        for file in MODULES.glob("*.so"):
            (folder / file.name).symlink_to(file)
    site.configure({"store.modules": folder})
    site.add("alice@example.org")
    return folder


def build(folder, file, *macros):
    source = folder.parent / "faulty.cpp"
    source.write_text(FAULTY)
    subprocess.run(
        [CXX, "-std=c++20", "-fPIC", "-shared", f"-I{SOURCE / 'lib'}", *(f"-D{macro}" for macro in macros)]
        + ["-o", folder / file, source],
        check=True,
    )
    (folder / file).chmod(0o644)


CHECK = ("config", "check")
ALLOCATE = ("user", "allocate", "alice@example.org")


def refused(site, *said, by=CHECK):
    """Both programs say all of `said` in one line; nothing is delivered, the MTA is told to try again."""
    for result, code in ((site.deliver("alice@example.org"), 75), (site.roost(*by), 1)):
        text = result.stderr.decode()
        assert result.returncode == code, text
        assert text.endswith("\n") and text.count("\n") == 1, text
        for words in said:
            assert words in text, text
    assert not site.messages("alice@example.org")


def test_the_module_fixture_itself_delivers(site, modules):
    assert site.deliver("alice@example.org").returncode == 0
    assert site.roost("config", "check").returncode == 0


@pytest.mark.parametrize("setting", ["store.mda", "store.creator"])
def test_a_missing_module_is_named_with_the_settings_to_check(site, modules, setting):
    site.configure({setting: "nosuch"})
    refused(site, f"{modules}/{setting[6:]}-nosuch.so", "No such file", setting)


@pytest.mark.parametrize("name", ["../../tmp/x", "Maildir", "a b", ".", "x/y"])
def test_a_module_name_that_is_a_path_is_refused(site, modules, name):
    site.configure(store__creator=name)
    refused(site, f"'{name}'", "no module's name")


def test_a_missing_module_directory_is_named(site, modules):
    if not MODULES.is_dir():
        pytest.skip("the modules are linked in")
    site.configure({"store.modules": "/nonexistent/modules"})
    refused(site, "/nonexistent/modules", "store.modules", by=ALLOCATE)


@pytest.mark.parametrize(
    ("macros", "said"),
    [
        (["ABI=99"], ["ABI 99", "build the module against this version's headers"]),
        (["KIND=ModuleKind::mda"], ["no creator module"]),
        (['NAME="other"'], ["calls itself 'other'"]),
        (["NAME=nullptr"], ["calls itself ''"]),
        (['KEY="quota.storage"'], ["quota.storage", "outside its section"]),
        (["MAKE=nullptr"], ["no function to make"]),
        (["NOTHING"], ["returned nothing"]),
        (["NO_ENTRY"], ["exports no roost_module"]),
        (["UNDEFINED"], ["nobody_has_this_function"]),
    ],
    ids=lambda value: value[0].split("=")[0] if isinstance(value, list) else None,
)
def test_a_module_that_is_not_what_it_should_be_is_refused(site, modules, macros, said):
    build(modules, "creator-odd.so", *macros)
    site.configure(store__creator="odd")
    refused(site, str(modules / "creator-odd.so"), *said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('throw std::runtime_error("boom in make")', "boom in make"),
        ("throw std::bad_alloc()", "out of memory"),
        ("throw 17", "no exception"),
        ("return std::unique_ptr<Creator>()", "made nothing"),
        ('return config_error("odd.key", "it must be even", "add one")', "it must be even"),
    ],
)
def test_a_module_that_fails_to_make_its_object_is_named(site, modules, body, said):
    build(modules, "creator-odd.so", f"BODY={body}")
    site.configure(store__creator="odd")
    refused(site, said, by=ALLOCATE)


def test_an_mda_module_in_the_place_of_a_creator_is_refused(site, modules):
    if not MODULES.is_dir():
        pytest.skip("the modules are linked in")
    (modules / "creator-maildir.so").symlink_to(MODULES / "mda-maildir.so")
    site.configure(store__creator="maildir")
    refused(site, "creator-maildir.so", "no creator module")


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_module_that_others_may_write_is_refused_before_any_code_of_it_runs(site, modules, mode):
    build(modules, "creator-odd.so", "ABI=99")
    (modules / "creator-odd.so").chmod(mode)
    site.configure(store__creator="odd")
    refused(site, "creator-odd.so", "may write", "chmod go-w")


@pytest.mark.parametrize("content", [b"", b"no shared object\n", b"\x7fELF" + bytes(60)])
def test_a_file_that_is_no_shared_object_is_refused(site, modules, content):
    (modules / "creator-odd.so").write_bytes(content)
    site.configure(store__creator="odd")
    refused(site, "creator-odd.so")


def test_a_directory_in_the_place_of_a_module_is_refused(site, modules):
    (modules / "creator-odd.so").mkdir()
    site.configure(store__creator="odd")
    refused(site, "creator-odd.so", "not a regular file")


def test_a_faulty_module_that_is_not_selected_harms_no_delivery(site, modules):
    (modules / "creator-odd.so").write_bytes(b"no shared object\n")
    assert site.deliver("alice@example.org").returncode == 0
    assert len(site.messages("alice@example.org")) == 1


def test_a_module_file_may_be_a_copy_readable_by_all(site, modules):
    if not MODULES.is_dir():
        pytest.skip("the modules are linked in")
    (modules / "creator-lock.so").unlink()
    shutil.copyfile(MODULES / "creator-lock.so", modules / "creator-lock.so")
    (modules / "creator-lock.so").chmod(0o444)
    assert site.deliver("alice@example.org").returncode == 0


def test_a_copy_that_is_linked_in_serves_for_the_very_file_it_was_built_with_alone(site, modules):
    """An optimised roost-deliver carries copies of the shipped modules; other files it leaves to its companion."""
    program = site.programs["roost-deliver"]
    companion = program.with_name("roost-deliver-modules")
    if not companion.exists():
        pytest.skip("this build's roost-deliver carries no copies of modules")
    folder = site.path / "bin"
    folder.mkdir()
    alone = shutil.copy(program, folder / "roost-deliver")
    flags = ["-c", str(site.conf), "-d", "alice@example.org"]

    def deliver():
        return subprocess.run([alone, *flags], input=b"Subject: x\n\nx\n", capture_output=True, check=False)

    assert deliver().returncode == 0, "the file in place of which the copy stands"
    module = modules / "mda-maildir.so"
    content = module.read_bytes()
    note = content.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0") + 16
    module.unlink()
    module.write_bytes(content[:note] + bytes([content[note] ^ 1]) + content[note + 1 :])
    module.chmod(0o644)
    other = deliver()
    assert other.returncode == 75
    assert other.stderr.count(b"\n") == 1 and b"roost-deliver-modules" in other.stderr, other.stderr
    shutil.copy(companion, folder / "roost-deliver-modules")
    assert deliver().returncode == 0, "another file of that name"
    assert len(site.messages("alice@example.org")) == 2
