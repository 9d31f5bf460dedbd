// maildirsize: what is believed, what is counted anew, what other programs
// read.
#include "site.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "maildir_reader.h"

using namespace roost;
using namespace roost::test;
namespace fs = std::filesystem;

namespace {

using namespace std::string_literals;

const std::string kTen = "123456789\n";

fs::path books_of(const User& user) { return root_of(user) / "maildirsize"; }
std::string books(const User& user) { return MaildirReader::contents(books_of(user)); }

void make_older(const fs::path& path, std::time_t seconds) {
    const struct timespec then { std::time(nullptr) - seconds, 0 };
    const struct timespec times[] = {then, then};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

const Settings kLimits{{"quota.storage", "1000"}, {"quota.messages", "50"}};

}  // namespace

TEST_CASE("a maildirsize that can be trusted is believed, any other is counted anew", "[maildir]") {
    struct Row {
        const char* what;
        std::string text;
        Usage used;
    };
    // The mailbox holds one message of ten bytes, so this is what a count finds.
    constexpr Usage kCounted{10, 1};
    const std::string most = std::to_string(INT64_MAX);
    const std::string full(5120 - 17, '0');  // with "1000S,50C\n" before and " 1 1\n" and more behind
    const Row rows[] = {
        {"one line", "1000S,50C\n100 3\n", {100, 3}},
        {"other order", "50C,1000S\n100 3\n", {100, 3}},
        {"Courier's padding", "1000S,50C\n         100            3\n", {100, 3}},
        {"several lines", "1000S,50C\n100 3\n-40 -1\n20 1\n", {80, 3}},
        {"nothing", "1000S,50C\n0 0\n", {0, 0}},
        {"tabs and blanks behind", "1000S,50C\n\t100\t3 \n", {100, 3}},
        {"5119 bytes", "1000S,50C\n" + std::string(5119 - 16, '0') + "7 10 \n", {7, 10}},
        {"5120 bytes", "1000S,50C\n" + std::string(5120 - 16, '0') + "7 10 \n", kCounted},
        {"empty", "", kCounted},
        {"no data", "1000S,50C\n", kCounted},
        {"unterminated line", "1000S,50C\n100 3", kCounted},
        {"unterminated second line", "1000S,50C\n100 3\n5", kCounted},
        {"other storage limit", "999S,50C\n100 3\n", kCounted},
        {"no limit of messages", "1000S\n100 3\n", kCounted},
        {"unlimited", "0S\n100 3\n", kCounted},
        {"unknown kind of limit", "1000S,50C,7X\n100 3\n", kCounted},
        {"limit without a letter", "1000S,50\n100 3\n", kCounted},
        {"comma behind", "1000S,50C,\n100 3\n", kCounted},
        {"no limits", "\n100 3\n", kCounted},
        {"negative bytes", "1000S,50C\n-1 1\n", kCounted},
        {"negative count", "1000S,50C\n5 -1\n", kCounted},
        {"letters", "1000S,50C\nabc\n", kCounted},
        {"one number", "1000S,50C\n100\n", kCounted},
        {"three numbers", "1000S,50C\n100 3 7\n", kCounted},
        {"fraction", "1000S,50C\n1.5 3\n", kCounted},
        {"empty line", "1000S,50C\n100 3\n\n", kCounted},
        {"CRLF", "1000S,50C\r\n100 3\r\n", kCounted},
        {"NUL", "1000S,50C\n100 3\n\0\n"s, kCounted},
        {"number too large", "1000S,50C\n99999999999999999999 1\n", kCounted},
        {"sum too large", "1000S,50C\n" + most + " 1\n" + most + " 1\n", kCounted},
    };
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    put(root_of(alice) / "cur" / "1.x:2,S", kTen);
    for (const Row& row : rows) {
        INFO(row.what);
        put(books_of(alice), row.text);
        CHECK(site.usage(alice) == row.used);
        // What was believed stays as it is; a count is written as the others read
        // it.
        CHECK(books(alice) == (row.used == kCounted ? "1000S,50C\n10 1\n" : row.text));
    }
    fs::remove(books_of(alice));
    CHECK(site.usage(alice) == kCounted);
    CHECK(books(alice) == "1000S,50C\n10 1\n");
}

TEST_CASE("a count from the future is not believed when it says full", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    put(root_of(alice) / "cur" / "1.x:2,S", kTen);
    put(books_of(alice), "1000S,50C\n1000 1\n");
    make_older(books_of(alice), -3600);
    CHECK(site.usage(alice, {1, 1}) == Usage{10, 1});
}

TEST_CASE("the full file of a large mailbox is summed up, seldom counted", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", {{"quota.messages", "2000000000"}});
    put(root_of(alice) / "cur" / "1.x:2,S", kTen);  // what a count would find
    const auto full = [](const std::string& first, std::size_t lines) {
        std::string text = "2000000000C\n" + first + "\n";
        for (std::size_t i = 0; i < lines; ++i) text += "20 1\n";
        return text;
    };
    constexpr Usage kCounted{10, 1};

    SECTION("that of a small one is always counted") {
        put(books_of(alice), full("5 8000", 1100));
        CHECK(site.usage(alice) == kCounted);
        CHECK(books(alice) == "2000000000C\n10 1\n");
    }
    SECTION("that of one with a billion messages practically never") {
        put(books_of(alice), full("5 1000000000", 1100));
        CHECK(site.usage(alice) == Usage{22005, 1000001100});
        // Two lines: a count has one, and is believed when it says full.
        CHECK(books(alice) == "2000000000C\n22005 1000001100\n0 0\n");
        site.delivered(alice, kTen);
        CHECK(site.usage(alice) == Usage{22015, 1000001101});
        CHECK(site.usage(alice, {0, 1000000000}) == Usage{20, 2});
    }
    SECTION("that of a hundred thousand now and then") {
        int counted = 0;
        for (int i = 0; i < 200; ++i) {
            put(books_of(alice), full("5 100000", 1100));
            counted += site.usage(alice) == kCounted ? 1 : 0;
        }
        CHECK(counted > 0);  // by chance none: once in a billion runs
        CHECK(counted < 100);
    }
    SECTION("one of 80 KiB is not summed up") {
        put(books_of(alice), full("5 1000000000", 17000));
        CHECK(site.usage(alice) == kCounted);
    }
    SECTION("one that is damaged is not summed up") {
        put(books_of(alice), full("5 1000000000", 1100) + "x\n");
        CHECK(site.usage(alice) == kCounted);
    }
    SECTION("what another process enters meanwhile is not lost") {
        put(books_of(alice), full("5 1000000000", 1100));
        bool inside = false;
        site.files().before = [&](std::string_view called, const std::string& name, DirRef /*dir*/) {
            if (called == "rename" && name == "maildirsize" && !std::exchange(inside, true))
                std::ofstream(books_of(alice), std::ios::app) << "20 1\n";
            return 0;
        };
        CHECK(site.usage(alice) == kCounted);
        REQUIRE(inside);
    }
    SECTION("where no new file can be written the sum is still known") {
        put(books_of(alice), full("5 1000000000", 1100));
        site.files().before = [](std::string_view called, const std::string& /*name*/, DirRef /*dir*/) {
            return called == "write" ? ENOSPC : 0;
        };
        CHECK(site.usage(alice) == Usage{22005, 1000001100});
        CHECK(site.reader().leftovers(alice).empty());
    }
}

TEST_CASE("maildirsize tells the user's limits in the words of Courier and Dovecot", "[maildir]") {
    struct Row {
        Settings limits;
        std::string header;
        std::vector<std::string> equal;  // what other programs write for the same
    };
    const Row rows[] = {
        {{}, "0S", {"0S,0C", "0C"}},
        {{{"quota.storage", "1M"}}, "1048576S", {"1048576S,0C"}},
        {{{"quota.messages", "7"}}, "7C", {"0S,7C"}},
        {{{"quota.storage", "10"}, {"quota.messages", "7"}}, "10S,7C", {"7C,10S"}},
        // 0 would read as unlimited.
        {{{"quota.storage", "0"}, {"quota.messages", "0"}}, "1S,1C", {}},
    };
    Site site;
    for (const Row& row : rows) {
        INFO(row.header);
        const User alice = site.with_mailbox("alice@example.org", row.limits);
        CHECK(site.recount(alice) == Usage{0, 0});
        CHECK(books(alice) == row.header + "\n0 0\n");
        for (const std::string& header : row.equal) {
            put(books_of(alice), header + "\n5 1\n");
            CHECK(site.usage(alice) == Usage{5, 1});
        }
    }
}

TEST_CASE("a mailbox is made with its books, and its first delivery counts nothing", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    CHECK(books(alice) == "1000S,50C\n0 0\n");
    CHECK((fs::status(books_of(alice)).permissions() & fs::perms::mask) == fs::perms(0600));
    site.files().before = [](std::string_view called, const std::string& name, DirRef /*dir*/) {
        return called == "open_dir" && name == "cur" ? EIO : 0;
    };
    CHECK(site.usage(alice) == Usage{});
    site.delivered(alice, kTen);
    CHECK(books(alice) == "1000S,50C\n0 0\n10 1\n");
    CHECK(site.usage(alice) == Usage{10, 1});

    SECTION("unless nothing is limited") {
        const User bob = site.with_mailbox("bob@example.org");
        CHECK_FALSE(fs::exists(books_of(bob)));
    }
    SECTION("unless folders are left out, which a stamp has to tell") {
        const User bob =
            site.with_mailbox("bob@example.org", {{"quota.storage", "1000"}, {"quota.folder.Spam.ignore", "yes"}});
        CHECK_FALSE(fs::exists(books_of(bob)));
    }
}

TEST_CASE("whoever makes part of a mailbox first may have put mail there, which the first books do not miss",
          "[maildir]") {
    Site site;
    const User alice = site.user("alice@example.org", kLimits);
    const std::string rival = GENERATE("tmp", "new", "cur");
    bool inside = false;
    site.files().before = [&](std::string_view called, const std::string& name, DirRef dir) {
        if (called != "make_dir" || name != rival || std::exchange(inside, true)) return 0;
        const fs::path there = fs::path(dir.path) / rival;
        fs::create_directory(there);
        put(there / "1.x,S=10", kTen);
        return 0;
    };
    const User complete = site.allocated(alice, must(site.mda().allocate(alice)));
    site.files().before = nullptr;
    REQUIRE(inside);
    CHECK_FALSE(fs::exists(books_of(complete)));
    CHECK(site.usage(complete) == (rival == "tmp" ? Usage{} : Usage{10, 1}));
}

TEST_CASE("mail that comes into an empty mailbox while it is counted is in the books", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    fs::remove(books_of(alice));
    const std::string where = GENERATE("new", "cur");
    bool inside = false;
    site.files().before = [&](std::string_view called, const std::string& name, DirRef /*dir*/) {
        if (called == "rename" && name == "maildirsize" && !std::exchange(inside, true))
            put(root_of(alice) / where / "1.x,S=10", kTen);
        return 0;
    };
    static_cast<void>(site.usage(alice));
    site.files().before = nullptr;
    REQUIRE(inside);
    CHECK(site.usage(alice) == Usage{10, 1});
}

TEST_CASE("a change of the limits is in maildirsize at the next question", "[maildir]") {
    Site site;
    site.usage(site.with_mailbox("alice@example.org", kLimits));
    const User alice = site.with_mailbox("alice@example.org", {{"quota.storage", "2K"}});
    site.usage(alice);
    CHECK(books(alice) == "2048S\n0 0\n");
}

TEST_CASE("what says full is believed only while fresh and just counted", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    const Usage coming{200, 1};
    const std::string text = "1000S,50C\n900 3\n";
    put(books_of(alice), text);
    SECTION("within the limits it is believed however old") {
        make_older(books_of(alice), 86400);
        CHECK(site.usage(alice, {100, 1}) == Usage{900, 3});
    }
    SECTION("over, one line, fresh: believed") { CHECK(site.usage(alice, coming) == Usage{900, 3}); }
    SECTION("over, one line, nearly 15 minutes old: believed") {
        make_older(books_of(alice), std::time_t{14} * 60);
        CHECK(site.usage(alice, coming) == Usage{900, 3});
    }
    SECTION("over, one line, 15 minutes old: counted") {
        make_older(books_of(alice), std::time_t{15} * 60);
        CHECK(site.usage(alice, coming) == Usage{0, 0});
    }
    SECTION("over, two lines: counted") {
        put(books_of(alice), text + "0 0\n");
        CHECK(site.usage(alice, coming) == Usage{0, 0});
    }
    SECTION("over in messages, two lines: counted") {
        put(books_of(alice), "1000S,50C\n0 49\n0 1\n");
        CHECK(site.usage(alice, {1, 1}) == Usage{0, 0});
    }
    SECTION("an immense coming does not wrap around") {
        put(books_of(alice), text + "0 0\n");
        CHECK(site.usage(alice, {UINT64_MAX, 1}) == Usage{0, 0});
    }
}

TEST_CASE("where nobody is refused, what says full is believed for 15 minutes from the count on", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    put(books_of(alice), "1000S,50C\n900 3\n200 1\n");
    const std::time_t now = std::time(nullptr);
    const std::pair<std::optional<std::int64_t>, Usage> rows[] = {
        {now, {1100, 4}},        {now - 14 * 60, {1100, 4}},
        {now - 15 * 60, {0, 0}}, {now + 3600, {0, 0}},  // the clock was set back
        {std::nullopt, {0, 0}},
    };
    for (const auto& [made, used] : rows) {
        put(books_of(alice), "1000S,50C\n900 3\n200 1\n");
        site.files().made_at = made;
        CHECK(site.usage(alice) == used);
    }
    site.files().made_at = now;
    put(books_of(alice), "1000S,50C\n900 3\n200 1\n");
    CHECK(site.usage(alice, {1, 1}) == Usage{0, 0});
}

TEST_CASE("a delivery adds one line, before its message is visible", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    site.usage(alice);
    std::string at_rename;
    site.files().before = [&](std::string_view called, const std::string& /*name*/, DirRef /*dir*/) {
        if (called == "rename_new") at_rename = books(alice);
        return 0;
    };
    site.delivered(alice, kTen);
    CHECK(at_rename == "1000S,50C\n0 0\n10 1\n");
    site.delivered(alice, kTen + "x");
    CHECK(books(alice) == "1000S,50C\n0 0\n10 1\n11 1\n");
}

TEST_CASE("the line of a delivery that could not be published is taken back", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    site.usage(alice);
    site.files().before = [](std::string_view called, const std::string& /*name*/, DirRef /*dir*/) {
        return called == "rename_new" ? EIO : 0;
    };
    CHECK_FALSE(site.deliver(alice, kTen));
    site.files().before = nullptr;
    CHECK(books(alice) == "1000S,50C\n0 0\n10 1\n-10 -1\n");
    CHECK(site.usage(alice) == Usage{0, 0});
}

TEST_CASE("books that cannot be written are removed rather than left wrong", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    site.usage(alice);
    site.files().before = [](std::string_view called, const std::string& name, DirRef /*dir*/) {
        return called == "write" && name.ends_with("maildirsize") ? ENOSPC : 0;
    };
    site.delivered(alice, kTen);
    site.files().before = nullptr;
    CHECK_FALSE(fs::exists(books_of(alice)));
    CHECK(site.usage(alice) == Usage{10, 1});
}

TEST_CASE("without limits no books are made, and stale ones do not outlive a delivery", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    site.delivered(alice, kTen);
    CHECK_FALSE(fs::exists(books_of(alice)));
    CHECK(site.usage(alice) == Usage{10, 1});
    site.delivered(alice, kTen);
    CHECK(books(alice) == "0S\n10 1\n10 1\n");
    SECTION("of other limits") { put(books_of(alice), "1000S\n20 2\n"); }
    SECTION("that are too long") { put(books_of(alice), "0S\n" + std::string(5120, '0') + " 0\n"); }
    site.delivered(alice, kTen);
    CHECK_FALSE(fs::exists(books_of(alice)));
    CHECK(site.usage(alice) == Usage{30, 3});
}

TEST_CASE("Trash and what is marked as trashed count if the setting says so", "[maildir]") {
    const bool counted = GENERATE(false, true);
    Site site({std::string("maildir.count-trash=") + (counted ? "yes" : "no")});
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    site.usage(alice);
    site.delivered(alice, kTen, {{"Trash"}, true, {}, nullptr});
    CHECK(books(alice) == (counted ? "1000S,50C\n0 0\n10 1\n" : "1000S,50C\n0 0\n"));
    site.delivered(alice, kTen, {{"Trash", "old"}, true, {}, nullptr});  // a folder like any other
    site.delivered(alice, kTen, {{"trash"}, true, {}, nullptr});
    CHECK(site.usage(alice) == (counted ? Usage{30, 3} : Usage{20, 2}));
    put(root_of(alice) / "cur" / "1.x,S=5:2,ST", "12345");
    put(root_of(alice) / "cur" / "2.T,S=5:2,S", "12345");
    CHECK(site.recount(alice) == (counted ? Usage{40, 5} : Usage{25, 3}));
}

TEST_CASE("a count takes messages in new and cur of all folders, and nothing else", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const fs::path root = root_of(alice);
    const auto folder = [&](const std::string& name) {
        for (const char* part : {"new", "cur", "tmp"}) fs::create_directories(root / name / part);
        return root / name;
    };
    put(root / "new" / "1.a,S=1000", "x");              // the name's size counts
    put(root / "cur" / "2.a,S=2000,W=9999:2,RS", "x");  // up to a comma
    put(root / "cur" / "3.a,S=3000:2,", "x");           // or a colon
    put(root / "cur" / "4.a:2,S", "1234");              // else the file's
    put(root / "cur" / "5.a,S=12x,T", "12");            // a damaged one is none
    put(root / "cur" / "6.a,S=", "123");
    put(folder(".Lists") / "cur" / "7.a,S=10000:2,", "x");
    put(folder(".Lists.sub") / "new" / "8.a,S=20000", "x");
    const Usage expected{1000 + 2000 + 3000 + 4 + 2 + 3 + 10000 + 20000, 8};

    put(root / "tmp" / "9.a,S=1", "x");
    put(root / "new" / ".hidden,S=1", "x");
    put(root / "cur" / ".nfs001", "x");
    put(root / ".dotfile,S=1", "x");
    put(root / "subscriptions", "x");
    fs::create_directories(root / ".cache" / "new");  // no cur: no folder
    put(root / ".cache" / "new" / "10.a,S=1", "x");
    fs::create_directory(root / "cur" / "directory,S=1");
    put(folder("plain") / "cur" / "11.a,S=1", "x");  // no dot
    fs::create_symlink(root / "cur" / "4.a:2,S", root / "cur" / "12.link,S=1");
    fs::create_directory_symlink(root / ".Lists", root / ".Link");
    CHECK(site.recount(alice) == expected);
}

TEST_CASE("a user's file names cannot wrap usage around to little", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    put(root_of(alice) / "cur" / "1.a,S=18446744073709551615:2,", "x");
    put(root_of(alice) / "cur" / "2.a,S=5:2,", "x");
    CHECK(site.recount(alice).storage >= static_cast<std::uint64_t>(INT64_MAX));
    CHECK(site.usage(alice).storage >= static_cast<std::uint64_t>(INT64_MAX));
}

TEST_CASE("messages that vanish during a count are not counted", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    put(root_of(alice) / "cur" / "1.a", kTen);
    put(root_of(alice) / "cur" / "2.b", kTen);
    site.files().before = [&](std::string_view called, const std::string& name, DirRef /*dir*/) {
        if (called == "stat" && name == "1.a") fs::remove(root_of(alice) / "cur" / "1.a");
        return 0;
    };
    CHECK(site.recount(alice) == Usage{10, 1});
}

TEST_CASE("a count during which the mailbox changed is not kept", "[maildir]") {
    const std::string part = GENERATE("new", ".Lists/cur");
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    site.delivered(alice, kTen, {{"Lists"}, true, {}, nullptr});
    const fs::path where = root_of(alice) / part;
    make_older(where, 5);  // so that the change shows however coarse the clock of the file system is
    site.files().before = [&](std::string_view called, const std::string& name, DirRef /*dir*/) {
        if (called == "rename" && name == "maildirsize") put(where / "1.a", kTen);
        return 0;
    };
    CHECK(site.recount(alice) == Usage{10, 1});
    site.files().before = nullptr;
    CHECK_FALSE(fs::exists(books_of(alice)));
    CHECK(site.usage(alice) == Usage{20, 2});
    CHECK(fs::exists(books_of(alice)));
}

TEST_CASE("a count that overtakes a delivery does not lose it", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    const bool had_books = GENERATE(true, false);
    if (had_books) site.usage(alice);
    bool inside = false;
    site.files().before = [&](std::string_view called, const std::string& /*name*/, DirRef /*dir*/) {
        if (called == "rename_new" && !std::exchange(inside, true)) CHECK(site.recount(alice) == Usage{0, 0});
        return 0;
    };
    site.delivered(alice, kTen);
    site.files().before = nullptr;
    REQUIRE(inside);
    CHECK(site.usage(alice) == Usage{10, 1});
}

TEST_CASE("a FIFO in the place of maildirsize blocks nobody", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    fs::remove(books_of(alice));
    REQUIRE(::mkfifo(books_of(alice).c_str(), 0600) == 0);
    SECTION("at a delivery") { static_cast<void>(site.deliver(alice, kTen)); }
    CHECK(site.usage(alice) == site.recount(alice));
    CHECK(fs::is_regular_file(books_of(alice)));
}

TEST_CASE("usage is known even where it cannot be written down", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", kLimits);
    site.delivered(alice, kTen);
    site.files().before = [](std::string_view called, const std::string& /*name*/, DirRef /*dir*/) {
        return called == "write" ? ENOSPC : 0;
    };
    CHECK(site.usage(alice) == Usage{10, 1});
    const auto failed = site.mda().recount(alice, {});
    REQUIRE_FALSE(failed);
    CHECK(failed.error().outcome == Outcome::store_full);
    CHECK(site.reader().leftovers(alice).empty());
}

TEST_CASE("a folder counted apart has a maildirsize of its own with its own limits, and the mailbox's leaves it out",
          "[maildir]") {
    Site site;
    const User alice = site.with_mailbox(
        "alice@example.org",
        {{"quota.storage", "1000"}, {"quota.folder.Spam.storage", "500"}, {"quota.folder.Spam.messages", "7"}});
    const Delivery spam{{"Spam"}, true, {}, nullptr};
    site.delivered(alice, kTen, spam);
    site.delivered(alice, kTen);
    CHECK(site.usage(alice) == Usage{10, 1});
    CHECK(site.usage(alice, {}, {"Spam"}) == Usage{10, 1});
    CHECK(books(alice) == "1000S\n10 1\n");
    const fs::path own = root_of(alice) / ".Spam" / "maildirsize";
    CHECK(MaildirReader::contents(own) == "500S,7C\n10 1\n");
    site.delivered(alice, kTen);
    CHECK(books(alice) == "1000S\n10 1\n10 1\n");
}

TEST_CASE("the books of a folder counted apart are believed until a mail program changes the folder", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", {{"quota.folder.Spam.storage", "1000"}});
    const Folder spam{"Spam"};
    const fs::path cur = root_of(alice) / ".Spam" / "cur";
    const fs::path own = root_of(alice) / ".Spam" / "maildirsize";
    site.delivered(alice, kTen, {spam, true, {}, nullptr});
    make_older(cur, 10);
    CHECK(site.usage(alice, {}, spam) == Usage{10, 1});
    site.delivered(alice, kTen, {spam, true, {}, nullptr});
    CHECK(MaildirReader::contents(own) == "1000S\n10 1\n10 1\n");
    fs::resize_file(own, 0);
    {
        std::ofstream out(own, std::ios::binary | std::ios::app);
        out << "1000S\n70 7\n";
    }
    CHECK(site.usage(alice, {}, spam) == Usage{70, 7});
    put(cur / "1.x:2,S", kTen);
    CHECK(site.usage(alice, {}, spam) == Usage{30, 3});
}

TEST_CASE("a maildirsize that another program wrote is counted anew where folders are left out", "[maildir]") {
    Site site;
    const User alice =
        site.with_mailbox("alice@example.org", {{"quota.storage", "1000"}, {"quota.folder.Spam.ignore", "yes"}});
    site.delivered(alice, kTen);
    CHECK(site.usage(alice) == Usage{10, 1});
    put(root_of(alice) / "tmp" / "another", "1000S\n80 8\n");
    fs::rename(root_of(alice) / "tmp" / "another", books_of(alice));
    CHECK(site.usage(alice) == Usage{10, 1});
    // What it appends is believed.
    std::ofstream(books_of(alice), std::ios::app) << "5 1\n";
    CHECK(site.usage(alice) == Usage{15, 2});
}

TEST_CASE("the folder Trash counts where its rule says, whatever maildir.count-trash says of it", "[maildir]") {
    const std::string count_trash = GENERATE("yes", "no");
    Site site({"maildir.count-trash=" + count_trash});
    const User alice = site.with_mailbox("alice@example.org", {{"quota.folder.Trash.storage", "1000"}});
    CHECK(site.usage(alice) == Usage{});
    site.delivered(alice, kTen, {{"Trash"}, true, {}, nullptr});
    CHECK(site.usage(alice) == Usage{});
    CHECK(site.usage(alice, {}, {"Trash"}) == Usage{10, 1});
    CHECK(site.recount(alice, {"Trash"}) == Usage{10, 1});
}
