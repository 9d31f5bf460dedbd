#include "base/dry_files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

#include "catch.h"

using namespace roost;
namespace fs = std::filesystem;

namespace {

// A directory of its own with the file "there" in it, gone afterwards.
class Place {
public:
    Place() {
        std::string name = (fs::temp_directory_path() / "roost-dry-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
        Files files;
        auto file = files.open(dir(), "there", O_CREAT | O_WRONLY, 0600);
        REQUIRE(file);
        REQUIRE(files.write(file->get(), "old", "there"));
    }
    ~Place() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    DirRef dir() {
        if (!fd_) fd_ = Fd(::open(path_.c_str(), O_DIRECTORY | O_RDONLY | O_CLOEXEC));
        return {fd_.get(), path_};
    }
    std::string names() const {
        std::string out;
        for (const auto& entry : fs::directory_iterator(path_)) out += entry.path().filename().string() + " ";
        return out;
    }
    bool untouched() { return names() == "there " && *Files().read_small(dir(), "there", 100) == "old"; }

private:
    std::string path_;
    Fd fd_;
};

}  // namespace

TEST_CASE("a dry run opens for writing without making or changing a file") {
    Place place;
    DryFiles dry;
    for (const int flags : {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_WRONLY | O_TRUNC, O_RDWR | O_CREAT,
                            O_RDONLY | O_TRUNC, O_WRONLY | O_CREAT | O_TRUNC, O_WRONLY | O_CREAT | O_APPEND}) {
        CAPTURE(flags);
        auto file = dry.open(place.dir(), "there", flags, 0600, Files::Follow::no);
        REQUIRE(file);
        CHECK(dry.write(file->get(), "new", "there"));
        CHECK(dry.copy(file->get(), 0, 3, file->get(), "there"));
        CHECK(dry.sync_data(file->get(), "there"));
        CHECK(place.untouched());
    }
    for (const int flags : {O_WRONLY | O_CREAT, O_RDWR | O_CREAT | O_EXCL, O_WRONLY | O_CREAT | O_APPEND}) {
        CAPTURE(flags);
        auto file = dry.open(place.dir(), "fresh", flags, 0600, Files::Follow::no);
        REQUIRE(file);
        CHECK(dry.write(file->get(), "new", "fresh"));
        CHECK(place.untouched());
    }
    CHECK(dry.open(place.dir(), ".", O_TMPFILE | O_RDWR, 0600, Files::Follow::no));
    CHECK(place.untouched());
}

TEST_CASE("a dry run reads what is there, also through a file opened for writing") {
    Place place;
    DryFiles dry;
    for (const int flags : {O_RDONLY, O_RDWR, O_RDWR | O_CREAT}) {
        auto file = dry.open(place.dir(), "there", flags, 0600, Files::Follow::no);
        REQUIRE(file);
        CHECK(*dry.read_all(file->get(), "there", 100) == "old");
    }
    auto emptied = dry.open(place.dir(), "there", O_RDWR | O_TRUNC, 0600, Files::Follow::no);
    REQUIRE(emptied);
    CHECK(dry.read_all(emptied->get(), "there", 100)->empty());
}

TEST_CASE("a dry run fails where the file system's state would make the real one fail") {
    Place place;
    DryFiles dry;
    CHECK(dry.open(place.dir(), "there", O_WRONLY | O_CREAT | O_EXCL, 0600, Files::Follow::no).error().sys == EEXIST);
    CHECK(dry.open(place.dir(), "absent", O_RDWR, 0600, Files::Follow::no).error().sys == ENOENT);
    CHECK(dry.open(place.dir(), "absent", O_RDONLY, 0600, Files::Follow::no).error().sys == ENOENT);
    CHECK(dry.open(place.dir(), "there/below", O_WRONLY | O_CREAT, 0600, Files::Follow::no).error().sys == ENOTDIR);
}

TEST_CASE("a dry run renames, links, removes and makes nothing") {
    Place place;
    DryFiles dry;
    CHECK(dry.rename(place.dir(), "there", place.dir(), "moved"));
    CHECK(dry.rename_new(place.dir(), "there", place.dir(), "moved"));
    CHECK(dry.link(place.dir(), "there", place.dir(), "linked"));
    CHECK(dry.unlink(place.dir(), "there"));
    CHECK(dry.make_dir(place.dir(), "made", 0700));
    CHECK(place.untouched());
    REQUIRE(*Files().make_dir(place.dir(), "dir", 0700));
    CHECK(dry.remove_dir(place.dir(), "dir"));
    CHECK(Files().stat(place.dir(), "dir"));
}
