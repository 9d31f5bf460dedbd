#include <fcntl.h>

#include <filesystem>
#include <fstream>

#include "dict/file_lock.h"
#include "dict/file_paths.h"
#include "dict/file_table.h"

#include "catch.h"

using namespace roost;

namespace {

DictChange set(std::string key, std::string value) {
    return {DictChange::Kind::set, std::move(key), std::move(value), 0};
}
DictChange add(std::string key, std::int64_t diff) { return {DictChange::Kind::add, std::move(key), {}, diff}; }
DictChange unset(std::string key) { return {DictChange::Kind::unset, std::move(key), {}, 0}; }

}  // namespace

TEST_CASE("a file of a dict alternates keys and values, with Dovecot's escapes") {
    FileTable table;
    const std::string odd = std::string(
        "a\0b\x01"
        "c\td\re\nf",
        11);
    CHECK(table.apply(set("priv/" + odd, odd)));
    CHECK(table.text() ==
          "priv/a\x01"
          "0b\x01"
          "1c\x01td\x01re\x01nf\na\x01"
          "0b\x01"
          "1c\x01td\x01re\x01nf\n");
    CHECK(FileTable::parse(table.text()).get("priv/" + odd) == odd);
    CHECK(FileTable::parse("k\nv\n").get("k") == "v");
    CHECK(FileTable::parse("k\r\nv\r\n").get("k") == "v");
    CHECK(FileTable::parse("k\nv\nk\nw\n").get("k") == "w");
    CHECK(FileTable::parse("k\nv\nl\n").text() == "k\nv\n");
    CHECK(FileTable::parse("k\nv").empty());
    CHECK(FileTable::parse("k\n\n").get("k") == "");
    CHECK(FileTable::parse("\x01x\x01\n1\n").get("x") == "1");
    CHECK(FileTable::parse("").text().empty());
}

TEST_CASE("changes of a file's table: an absent key stays absent, and only a number is added to") {
    FileTable table = FileTable::parse("a\n5\nt\ntext\nm\n9223372036854775807\n");
    CHECK(table.apply(add("a", -7)));
    CHECK(table.get("a") == "-2");
    CHECK(table.apply(add("b", 1)));
    CHECK_FALSE(table.get("b"));
    CHECK_FALSE(table.apply(add("t", 1)));
    CHECK_FALSE(table.apply(add("m", 1)));
    CHECK(table.get("m") == "9223372036854775807");
    CHECK(table.apply(unset("a")));
    CHECK(table.apply(unset("never")));
    CHECK_FALSE(table.get("a"));
}

TEST_CASE("the path of a dict's file holds the user, each part as one component") {
    struct Row {
        const char* pattern;
        const char* user;
        const char* path;
    };
    for (const Row& row :
         {Row{"/d/%u", "a@x.org", "/d/a@x.org"}, Row{"/d/%{user}/quota", "a@x.org", "/d/a@x.org/quota"},
          Row{"/d/%d/%n.dict", "a@x.org", "/d/x.org/a.dict"},
          Row{"//d//q-%{domain}/%{local}%%", "a@x.org", "/d/q-x.org/a%"}, Row{"/d/%d/%n", "a", "/d/@/a"},
          Row{"/d/%d/%n", "a@", "/d/%40/a"}, Row{"/d/%u", "../../etc/x", "/d/%2E.%2F..%2Fetc%2Fx"},
          Row{"/d/%u", "..", "/d/%2E."}}) {
        INFO(row.pattern);
        const auto paths = FilePaths::make(row.pattern);
        REQUIRE(paths);
        CHECK(paths->path_of(row.user) == row.path);
    }
    for (const char* bad : {"d/%u", "/d", "/d/%n", "/d/%d", "/d/%u/", "/d/../%u", "/d/./%u", "/d/%n@%d", "/d/%x/%u",
                            "/d/%{home}/%u", "/d/%u/%"}) {
        INFO(bad);
        const auto paths = FilePaths::make(bad);
        REQUIRE_FALSE(paths);
        CHECK(paths.error().outcome == Outcome::misconfigured);
    }
}

namespace {

// Shows files as they would be seen some time later.
class LaterFiles : public Files {
public:
    std::time_t age = 0;
    Result<struct stat> stat(DirRef dir, const std::string& name) override {
        auto found = Files::stat(dir, name);
        if (found) {
            found->st_mtime -= age;
            found->st_ctime -= age;
        }
        return found;
    }
};

}  // namespace

TEST_CASE("a lock file that was left behind goes after a minute in which nothing changed") {
    std::string folder = (std::filesystem::temp_directory_path() / "roost-dict-XXXXXX").string();
    REQUIRE(::mkdtemp(folder.data()) != nullptr);
    const std::string path = folder + "/a";
    std::ofstream(path) << "k\nv\n";
    std::ofstream(path + ".lock").flush();
    const auto take = [&](Files& files) {
        return FileLock::take(files, path, FileLockKind::dotlock, Deadline::in(std::chrono::milliseconds(50)));
    };
    LaterFiles files;
    for (const std::time_t age : {0, 50}) {
        files.age = age;
        const auto lock = take(files);
        REQUIRE_FALSE(lock);
        CHECK(lock.error().text().find("another program has the lock") != std::string::npos);
    }
    files.age = 70;
    {
        auto lock = take(files);
        REQUIRE(lock);
        CHECK(*lock->read() == "k\nv\n");
        CHECK(lock->replace("k\nw\n"));
    }
    CHECK_FALSE(std::filesystem::exists(path + ".lock"));
    auto lock = take(files);
    REQUIRE(lock);
    // Somebody who thinks that this one was left behind.
    std::filesystem::remove(path + ".lock");
    std::ofstream(path + ".lock").flush();
    CHECK_FALSE(lock->replace("k\nx\n"));
    CHECK(std::filesystem::exists(path + ".lock"));
    std::filesystem::remove_all(folder);
}
