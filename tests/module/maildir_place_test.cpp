// Where mailboxes are made, whom they belong to, and what copies of one message
// share.
#include "site.h"

#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <set>

#include "maildir_reader.h"
#include "tmpfs.h"

using namespace roost;
using namespace roost::test;
namespace fs = std::filesystem;

namespace {

struct stat look(const fs::path& path) {
    struct stat st {};
    REQUIRE(::lstat(path.c_str(), &st) == 0);
    return st;
}

const std::vector<std::string> kVolumes{"maildir.volumes=%DIR%/v1 %DIR%/v2", "maildir.path=%{domain}/%{local}"};

// Two deliveries of one message, the second as the first one's twin, published.
std::pair<Receipt, Receipt> deliver_twins(Site& site, const User& first, const User& second) {
    const Message message = Message::from_text(kHello);
    auto one = must(site.mda().prepare(first, {}, message));
    Delivery same;
    same.twin = one.get();
    auto two = must(site.mda().prepare(second, same, message));
    auto first_receipt = must(one->publish());
    return {std::move(first_receipt), must(two->publish())};
}

}  // namespace

TEST_CASE("a mailbox is made on the volume with the most free space", "[maildir]") {
    Site site(kVolumes);
    const Tmpfs small(site.dir() + "/v1", "size=1m");
    const Tmpfs large(site.dir() + "/v2", "size=4m");
    if (!small.mounted() || !large.mounted()) ROOST_SKIP(kNoMount);
    const User alice = site.with_mailbox("alice@example.org");
    CHECK(root_of(alice) == site.dir() + "/v2/example.org/alice");
    // Nearly all of the large one is taken.
    std::ofstream(site.dir() + "/v2/ballast") << std::string(std::size_t{3584} << 10U, 'x');
    const User bob = site.with_mailbox("bob@example.org");
    CHECK(root_of(bob) == site.dir() + "/v1/example.org/bob");
    site.delivered(alice, kHello);
    site.delivered(bob, kHello);

    SECTION("one that is there already is taken, as after a crash before the record was written") {
        const Settings again = must(site.mda().allocate(site.user("alice@example.org")));
        CHECK(again == *alice.record().allocation);
        CHECK_FALSE(fs::exists(site.dir() + "/v1/example.org/alice"));
    }
    SECTION("copies on different volumes are equal and do not share") {
        const auto [first, second] = deliver_twins(site, alice, bob);
        CHECK(MaildirReader::contents(first.path) == kHello);
        CHECK(MaildirReader::contents(second.path) == kHello);
        CHECK(look(second.path).st_nlink == 1);
    }
}

TEST_CASE("of volumes with equal space the first is taken", "[maildir]") {
    Site site(kVolumes);
    // On a file system that others use, the space may change between two looks.
    const Tmpfs first(site.dir() + "/v1", "size=1m");
    const Tmpfs second(site.dir() + "/v2", "size=1m");
    if (!first.mounted() || !second.mounted()) ROOST_SKIP(kNoMount);
    CHECK(root_of(site.with_mailbox("alice@example.org")) == site.dir() + "/v1/example.org/alice");
    // Unless the mailbox is on another one.
    fs::create_directories(site.dir() + "/v2/example.org/bob");
    CHECK(root_of(site.with_mailbox("bob@example.org")) == site.dir() + "/v2/example.org/bob");
}

TEST_CASE("a volume that is not there stops allocation and is never made", "[maildir]") {
    Site site(kVolumes);
    fs::create_directory(site.dir() + "/v1");
    const auto failed = site.mda().allocate(site.user("alice@example.org"));
    REQUIRE_FALSE(failed);
    CHECK(is_temporary(failed.error().outcome));
    CHECK(failed.error().text().find(site.dir() + "/v2") != std::string::npos);
    CHECK(failed.error().text().find("mount it") != std::string::npos);
    CHECK_FALSE(fs::exists(site.dir() + "/v2"));
    CHECK(fs::is_empty(site.dir() + "/v1"));
}

TEST_CASE("release leaves a mailbox that holds anything as it is", "[maildir]") {
    const std::string held = GENERATE("new/1.a", "cur/1.a:2,S", "tmp/1.a", ".Lists", "subscriptions");
    Site site;
    const User alice = site.user("alice@example.org");
    const Settings allocation = must(site.mda().allocate(alice));
    const fs::path root = allocation.at("maildir.path");
    std::ofstream(root / held) << kHello;
    must(site.mda().release(alice, allocation));
    CHECK(fs::exists(root / held));
    for (const char* name : {"new", "cur", "tmp"}) CHECK(fs::is_directory(root / name));
}

TEST_CASE("settings and records that make no sense are told as the administrator's", "[maildir]") {
    struct Row {
        std::vector<std::string> settings;
        Settings allocation;
        std::string says;
    };
    const Row rows[] = {
        {{"maildir.volumes=/tmp", "maildir.path=/absolute/%{local}"}, {}, "maildir.path"},
        {{"maildir.path=relative/%{local}"}, {}, "maildir.path"},
        {{}, {{"maildir.path", "relative"}}, "maildir.path"},
        {{}, {{"maildir.path", "/x"}, {"maildir.uid", "abc"}}, "maildir.uid"},
        {{}, {{"maildir.path", "/x"}, {"maildir.uid", "4294967295"}}, "maildir.uid"},
        {{}, {{"maildir.path", "/x"}, {"maildir.uid", "-1"}}, "maildir.uid"},
    };
    for (const Row& row : rows) {
        Site site(row.settings);
        const User alice = site.user("alice@example.org");
        const auto failed = [&]() -> std::optional<Error> {
            if (row.allocation.empty()) {
                auto made = site.mda().allocate(alice);
                return made ? std::nullopt : std::optional(made.error());
            }
            auto delivered = site.deliver(site.allocated(alice, row.allocation), kHello);
            return delivered ? std::nullopt : std::optional(delivered.error());
        }();
        REQUIRE(failed);
        INFO(failed->text());
        CHECK(failed->outcome == Outcome::misconfigured);
        CHECK(failed->text().find(row.says) != std::string::npos);
    }
}

TEST_CASE("what a record names already is kept, and its mailbox made", "[maildir]") {
    if (::geteuid() != 0) ROOST_SKIP("needs root, to give mailboxes a uid");
    Site site({"maildir.uids=5000-5010"});
    const std::string path = site.dir() + "/panel/alice";
    const User named = site.allocated(site.user("alice@example.org"), {{"maildir.path", path}});
    CHECK(must(site.mda().check(named)).missing == std::vector<std::string>{"maildir.uid"});
    const Settings whole = must(site.mda().allocate(named));
    CHECK(whole == Settings{{"maildir.path", path}, {"maildir.uid", "5000"}});
    site.delivered(site.allocated(named, whole), kHello);
}

TEST_CASE("mailboxes with a uid of their own belong to it entirely, and are written as that user", "[maildir]") {
    if (::geteuid() != 0) ROOST_SKIP("needs root, to give mailboxes a uid");
    const std::string gid = GENERATE("", "7000");
    Site site({"maildir.uids=5000-5001", "maildir.gid=" + gid});
    const User alice = site.with_mailbox("alice@example.org", {{"quota.storage", "1M"}});
    const User bob = site.with_mailbox("bob@example.org");
    CHECK(*alice.allocated("maildir.uid") == "5000");
    CHECK(*bob.allocated("maildir.uid") == "5001");

    const std::set<std::string_view> changing{"make_dir", "rename_new", "rename",  "link",
                                              "unlink",   "write",      "set_mode"};
    site.files().before = [&](std::string_view called, const std::string& /*name*/, DirRef /*dir*/) {
        if (changing.contains(called)) CHECK(::setfsuid(static_cast<uid_t>(-1)) == 5000);
        return 0;
    };
    site.usage(alice);
    site.delivered(alice, kHello);
    site.delivered(alice, kHello, {{"Lists"}, true, {}, nullptr});
    { const auto dropped = must(site.mda().prepare(alice, {}, Message::from_text(kHello))); }
    site.recount(alice);
    site.files().before = nullptr;
    CHECK(::setfsuid(static_cast<uid_t>(-1)) == 0);
    CHECK(::setfsgid(static_cast<gid_t>(-1)) == 0);

    const gid_t group = gid.empty() ? 5000 : 7000;
    int found = 0;
    for (const auto& entry : fs::recursive_directory_iterator(root_of(alice))) {
        INFO(entry.path());
        CHECK(look(entry.path()).st_uid == 5000);
        CHECK(look(entry.path()).st_gid == group);
        ++found;
    }
    CHECK(found >= 11);
    CHECK(look(root_of(alice)).st_uid == 5000);
    CHECK(look(root_of(alice)).st_gid == group);
    CHECK(look(root_of(alice).parent_path()).st_uid == 0);

    SECTION("copies for different users are equal and do not share") {
        bool linked = false;
        site.files().before = [&](std::string_view called, const std::string& /*name*/, DirRef /*dir*/) {
            linked = linked || called == "link";
            return 0;
        };
        const auto [first, second] = deliver_twins(site, alice, bob);
        site.files().before = nullptr;
        CHECK_FALSE(linked);
        CHECK(MaildirReader::contents(second.path) == kHello);
        CHECK(look(second.path).st_uid == 5001);
        CHECK(look(second.path).st_ino != look(first.path).st_ino);
    }
    SECTION("a third user gets no mailbox, for the range is used up") {
        const auto before = std::distance(fs::recursive_directory_iterator(site.mail()), {});
        const auto failed = site.mda().allocate(site.user("carol@example.org"));
        REQUIRE_FALSE(failed);
        CHECK(failed.error().outcome == Outcome::misconfigured);
        CHECK(std::distance(fs::recursive_directory_iterator(site.mail()), {}) == before);
    }
    SECTION("a mailbox of another owner is refused, with what to do") {
        REQUIRE(::chown(root_of(alice).c_str(), 4999, 4999) == 0);
        const auto failed = site.deliver(alice, kHello);
        REQUIRE_FALSE(failed);
        CHECK(is_temporary(failed.error().outcome));
        CHECK(failed.error().text().find("chown -R 5000:") != std::string::npos);
        CHECK_FALSE(site.mda().allocate(alice));
    }
    SECTION("purge takes all of it") {
        must(site.mda().purge(alice));
        CHECK_FALSE(fs::exists(root_of(alice)));
    }
}

TEST_CASE("a directory left between making and giving away is completed", "[maildir]") {
    if (::geteuid() != 0) ROOST_SKIP("needs root, to give mailboxes a uid");
    Site site({"maildir.uids=5000-5000"});
    const User alice = site.user("alice@example.org");
    const fs::path path = site.mail() + "/example.org/alice";
    fs::create_directories(path);
    SECTION("when empty") {
        const User complete = site.allocated(alice, must(site.mda().allocate(alice)));
        CHECK(look(path).st_uid == 5000);
        site.delivered(complete, kHello);
    }
    SECTION("but not when somebody's mail is in it") {
        fs::create_directory(path / "cur");
        const auto failed = site.mda().allocate(alice);
        REQUIRE_FALSE(failed);
        CHECK(failed.error().text().find("chown -R 5000:5000") != std::string::npos);
        CHECK(look(path).st_uid == 0);
    }
}

TEST_CASE("without root a mailbox of another uid is refused with what to do", "[maildir]") {
    if (::geteuid() != 0) ROOST_SKIP("needs root, to become somebody else");
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    Settings allocation = *alice.record().allocation;
    allocation["maildir.uid"] = "5000";
    const User given = site.allocated(alice, allocation);
    REQUIRE(::seteuid(4999) == 0);
    const auto failed = site.deliver(given, kHello);
    REQUIRE(::seteuid(0) == 0);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().outcome == Outcome::misconfigured);
    CHECK(failed.error().text().find("run Roost as root") != std::string::npos);
}

TEST_CASE("equal copies share one file, and only the first is to be filled", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const User bob = site.with_mailbox("bob@example.org");
    int writes = 0;
    site.files().before = [&](std::string_view called, const std::string& /*name*/, DirRef /*dir*/) {
        writes += called == "write" ? 1 : 0;
        return 0;
    };
    const auto [first, second] = deliver_twins(site, alice, bob);
    CHECK(look(first.path).st_ino == look(second.path).st_ino);
    CHECK(look(first.path).st_nlink == 2);
    CHECK(fs::path(first.path).filename() != fs::path(second.path).filename());
    CHECK(writes <= 2);  // header and message, once
}

TEST_CASE("a link that does not work falls back to a copy", "[maildir]") {
    const int sys = GENERATE(EXDEV, EMLINK, EPERM, EACCES, EOPNOTSUPP, ENOENT);
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const User bob = site.with_mailbox("bob@example.org");
    std::vector<std::string> tried;
    site.files().before = [&](std::string_view called, const std::string& /*name*/, DirRef /*dir*/) {
        if (called == "link" || called == "clone") tried.emplace_back(called);
        return called == "link" ? sys : 0;
    };
    const auto [first, second] = deliver_twins(site, alice, bob);
    CHECK(tried == std::vector<std::string>{"link", "clone"});
    CHECK(MaildirReader::contents(second.path) == kHello);
    CHECK(look(first.path).st_ino != look(second.path).st_ino);
}

TEST_CASE("copies with different permissions do not share", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const User bob = site.with_mailbox("bob@example.org", {{"maildir.file-mode", "0640"}});
    const auto [first, second] = deliver_twins(site, alice, bob);
    CHECK((look(first.path).st_mode & 07777) == 0600);
    CHECK((look(second.path).st_mode & 07777) == 0640);
    CHECK(MaildirReader::contents(second.path) == kHello);
}
