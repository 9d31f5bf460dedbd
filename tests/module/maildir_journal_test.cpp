// The journal with real mailboxes: what it saves, and what it brings back.
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "journal_desk.h"
#include "maildir_reader.h"
#include "store/journal.h"
#include "tmpfs.h"

using namespace roost;
using namespace roost::test;
namespace fs = std::filesystem;

namespace {

// As on a disk that is full: no file can grow beyond it.
class FileSizeLimit {
public:
    explicit FileSizeLimit(rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit limit{bytes, before_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    FileSizeLimit(const FileSizeLimit&) = delete;
    FileSizeLimit& operator=(const FileSizeLimit&) = delete;
    ~FileSizeLimit() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        ::signal(SIGXFSZ, handler_);
    }

private:
    void (*handler_)(int);
    rlimit before_{};
};

}  // namespace

TEST_CASE("journal: a delivery waits for one flush of the journal alone", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@x");
    Desk desk(site);
    auto durability = desk.open();
    std::vector<std::string> syncs;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        if (operation.starts_with("sync")) syncs.push_back(std::string(operation) + " " + name);
        return 0;
    };
    site.restart(std::move(durability));
    site.delivered(alice, "one\n");
    CHECK(syncs == std::vector<std::string>{"sync_data " + desk.dir() + "/segment-0"});
    site.files().before = nullptr;
    site.restart();
    CHECK(desk.recover(desk.dir()).deliveries == 0);  // its end was a checkpoint
    CHECK(site.messages(alice) == std::vector<std::string>{"one\n"});
}

TEST_CASE("journal: what a crash lost or tore is brought back once, wherever a reader had put it", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x", {{"quota.storage", "1G"}});
    site.restart(desk.open());
    const std::string header = "Delivered-To: alice@x\n";
    const Delivery to_folder{{"Lists"}, true, header, nullptr};
    const std::string kept = site.delivered(alice, "kept\n", {{}, true, header, nullptr}).path;
    const std::string lost = site.delivered(alice, "lost\n", {{}, true, header, nullptr}).path;
    const std::string torn = site.delivered(alice, "torn\n", {{}, true, header, nullptr}).path;
    const std::string read = site.delivered(alice, "read\n", {{}, true, header, nullptr}).path;
    const std::string moved = site.delivered(alice, "moved\n", {{}, true, header, nullptr}).path;
    site.delivered(alice, "with its folder\n", to_folder);
    const std::string crashed = desk.crashed();
    site.restart();

    const fs::path root = MaildirReader::directory(alice, {});
    const auto flagged = [&](const std::string& path, const char* flags) {
        return root / "cur" / (fs::path(path).filename().string() + flags);
    };
    fs::remove(lost);
    std::ofstream(torn, std::ios::trunc) << "Deli";
    fs::rename(read, flagged(read, ":2,S"));
    std::ofstream(flagged(read, ":2,S"), std::ios::trunc) << std::string(27, '\0');
    fs::create_directories(root / ".Archive" / "cur");
    fs::create_directories(root / ".Archive" / "new");
    fs::rename(moved, root / ".Archive" / "cur" / (fs::path(moved).filename().string() + ":2,RS"));
    fs::remove_all(root / ".Lists");

    const JournalRecovery found = desk.recover(crashed);
    CHECK(found.deliveries == 6);
    CHECK(found.restored == 4);
    CHECK(found.kept == 0);
    CHECK(site.messages(alice) ==
          std::vector<std::string>{header + "kept\n", header + "lost\n", header + "read\n", header + "torn\n"});
    CHECK(MaildirReader::contents(flagged(read, ":2,S")) == header + "read\n");
    CHECK(site.messages(alice, {"Archive"}) == std::vector<std::string>{header + "moved\n"});
    CHECK(site.messages(alice, {"Lists"}) == std::vector<std::string>{header + "with its folder\n"});
    CHECK(site.reader().leftovers(alice).empty());
    CHECK(site.usage(alice) == site.recount(alice));
    CHECK(desk.recover(crashed).deliveries == 0);  // done with
}

TEST_CASE("journal: what was not acknowledged does not come back", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    site.files().before = [](std::string_view operation, const std::string&, DirRef) {
        return operation == "rename_new" ? EIO : 0;
    };
    CHECK_FALSE(site.deliver(alice, "refused\n"));
    site.files().before = nullptr;
    site.delivered(alice, "taken\n");
    const std::string crashed = desk.crashed();
    site.restart();
    CHECK(desk.recover(crashed).deliveries == 1);
    CHECK(site.messages(alice) == std::vector<std::string>{"taken\n"});
}

TEST_CASE("journal: mail of a user that is gone is passed over, also when another one has the name now", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    site.delivered(alice, "x\n");
    const std::string crashed = desk.crashed();
    site.restart();
    if (GENERATE(false, true))
        site.db().records.at("alice@x").allocation.reset();
    else
        site.db().records.clear();
    const JournalRecovery found = desk.recover(crashed);
    CHECK(found.orphans == 1);
    CHECK(found.kept == 0);
}

TEST_CASE("journal: a mailbox is listed once for all that is looked for in it, and synced once", "[maildir]") {
    Site site;
    Desk desk(site, 1024 * kSmallSegment);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    constexpr int kMany = 60;
    const std::string what = GENERATE("there", "moved", "lost", "some of each");
    std::vector<fs::path> paths;
    for (int i = 0; i < kMany; ++i) paths.emplace_back(site.delivered(alice, std::to_string(i) + "\n").path);
    const auto before = site.messages(alice);
    const std::string crashed = desk.crashed();
    site.restart();
    std::size_t lost = 0;
    for (int i = 0; i < kMany; ++i) {
        const fs::path& path = paths[static_cast<std::size_t>(i)];
        if (what == "moved" || (what == "some of each" && i % 3 == 0)) {
            fs::rename(path, root_of(alice) / "cur" / (path.filename().string() + ":2,S"));
        } else if (what == "lost" || (what == "some of each" && i % 3 == 1)) {
            fs::remove(path);
            ++lost;
        }
    }
    int listed = 0;
    int synced = 0;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        if (operation == "open_dir" && name == ".") ++listed;
        if (operation.starts_with("sync") && name.find("/journal") == std::string::npos &&
            name.find(crashed) == std::string::npos)
            ++synced;
        return 0;
    };
    const JournalRecovery found = desk.recover(crashed);
    site.files().before = nullptr;
    CHECK(found.deliveries == kMany);
    CHECK(found.restored == lost);
    CHECK(listed == (what == "there" ? 0 : 1));
    CHECK(synced == 1);
    CHECK(site.messages(alice) == before);
}

TEST_CASE("journal: what a reader moves while it is looked for is found", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    std::vector<fs::path> paths;
    for (int i = 0; i < 9; ++i) paths.emplace_back(site.delivered(alice, std::to_string(i) + "\n").path);
    const std::string crashed = desk.crashed();
    site.restart();
    const auto cur = [&](const fs::path& path) { return root_of(alice) / "cur" / (path.filename().string() + ":2,S"); };
    fs::rename(paths.front(), cur(paths.front()));  // so that the mailbox is listed
    std::size_t next = 1;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        // Each is moved just before it is looked at.
        if (operation == "stat" && next < paths.size() && name == paths[next].filename()) {
            fs::rename(paths[next], cur(paths[next]));
            ++next;
        }
        return 0;
    };
    CHECK(desk.recover(crashed).restored == 0);
    site.files().before = nullptr;
    CHECK(next == paths.size());
    CHECK(site.messages(alice).size() == paths.size());
}

TEST_CASE("journal: mail that cannot be synced after it was brought back stays in the journal", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    site.delivered(alice, "x\n");
    const std::string crashed = desk.crashed();
    site.restart();
    site.files().before = [](std::string_view operation, const std::string&, DirRef) {
        return operation == "sync_volume" ? EIO : 0;
    };
    CHECK(desk.recover(crashed).kept == 1);
    CHECK(desk.recover(crashed).kept == 1);  // under the same name
    site.files().before = nullptr;
    CHECK(desk.recover(crashed).deliveries == 1);
    CHECK(desk.recover(crashed).deliveries == 0);
}

TEST_CASE("journal: a damaged segment is read as far as it can be and put aside", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    std::vector<std::string> paths;
    for (const char* text : {"first\n", "second\n", "third\n"}) paths.push_back(site.delivered(alice, text).path);
    const std::string crashed = desk.crashed();
    site.restart();
    flip_octet(crashed + "/segment-0", count_of(crashed + "/segment-0", "second\n"));
    for (const std::string& path : paths) fs::remove(path);
    const JournalRecovery found = desk.recover(crashed);
    CHECK(found.kept == 1);
    CHECK(site.messages(alice) == std::vector<std::string>{"first\n", "third\n"});
    CHECK_FALSE(fs::exists(crashed + "/segment-0"));
    CHECK(std::any_of(fs::directory_iterator(crashed), fs::directory_iterator(),
                      [](const auto& entry) { return entry.path().filename().string().starts_with("damaged-"); }));
    CHECK(desk.recover(crashed).deliveries == 0);
}

TEST_CASE("journal: a segment that was cut short is read as far as it goes and put aside, its size included",
          "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    std::vector<std::string> paths;
    for (const char* text : {"first\n", "second\n", "third\n"}) paths.push_back(site.delivered(alice, text).path);
    const std::string crashed = desk.crashed();
    site.restart();
    const std::string segment = crashed + "/segment-0";
    for (const std::string& path : paths) fs::remove(path);
    const std::size_t size = count_of(segment, GENERATE("second\n", "third\n"));
    const bool all_there = MaildirReader::contents(segment).substr(0, size).find("second\n") != std::string::npos;
    fs::resize_file(segment, size);
    CHECK(desk.recover(crashed).kept == 1);
    CHECK(site.messages(alice).size() == (all_there ? 2 : 1));
    std::vector<std::uintmax_t> aside;
    for (const auto& entry : fs::directory_iterator(crashed))
        if (entry.path().filename().string().starts_with("damaged-")) aside.push_back(entry.file_size());
    CHECK(aside == std::vector<std::uintmax_t>{size});
    CHECK(desk.recover(crashed).kept == 0);
}

TEST_CASE("journal: a segment whose first block cannot be read is read by its records", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    const std::string path = site.delivered(alice, "first\n").path;
    const std::string crashed = desk.crashed();
    site.restart();
    flip_octet(crashed + "/segment-0", GENERATE(0U, 9U, 17U, 30U));
    fs::remove(path);
    const JournalRecovery found = desk.recover(crashed);
    CHECK(found.restored == 1);
    CHECK(found.kept == 1);
    CHECK(site.messages(alice) == std::vector<std::string>{"first\n"});
}

TEST_CASE("journal: what was put aside is never overwritten", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    const auto aside = [&] {
        std::multiset<std::string> out;
        for (const auto& entry : fs::directory_iterator(desk.dir()))
            if (entry.path().filename().string().starts_with("damaged-"))
                out.insert(MaildirReader::contents(entry.path()));
        return out;
    };
    std::multiset<std::string> expected;
    for (int i = 0; i < 3; ++i) {
        site.restart(desk.open());
        site.delivered(alice, "x\n");
        const std::string crashed = desk.crashed();
        site.restart();
        // As if the power had failed then, each time with damage of its own in all segments.
        for (const char* name : {"segment-0", "segment-1", "segment-2"}) {
            fs::copy_file(crashed + "/" + name, desk.dir() + "/" + name, fs::copy_options::overwrite_existing);
            put(desk.dir() + "/" + name, "damage " + std::to_string(i) + name, std::ios::in | std::ios::out);
            expected.insert(MaildirReader::contents(desk.dir() + "/" + name));
        }
        desk.recover(desk.dir());
        CHECK(aside() == expected);
    }
}

TEST_CASE("journal: what cannot be brought back now is kept and tried again", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    const User bob = site.with_mailbox("bob@x");
    site.restart(desk.open());
    fs::remove(site.delivered(alice, "for alice\n").path);
    fs::remove(site.delivered(bob, "for bob\n").path);
    const std::string crashed = desk.crashed();
    site.restart();
    const fs::path box = MaildirReader::directory(alice, {});
    fs::rename(box, box.string() + ".unmounted");
    CHECK(desk.recover(crashed).kept == 1);
    CHECK(site.messages(bob) == std::vector<std::string>{"for bob\n"});
    fs::rename(box.string() + ".unmounted", box);
    CHECK(desk.recover(crashed).restored == 1);
    CHECK(site.messages(alice) == std::vector<std::string>{"for alice\n"});
    CHECK(site.messages(bob) == std::vector<std::string>{"for bob\n"});
    CHECK(desk.recover(crashed).deliveries == 0);
}

TEST_CASE("journal: full segments are brought to the mailboxes and used again, from many threads", "[maildir]") {
    Site site;
    Desk desk(site);
    std::vector<User> users;
    for (int i = 0; i < 8; ++i) users.push_back(site.with_mailbox("u" + std::to_string(i) + "@x"));
    auto durability = desk.open();
    const Durability& watched = *durability;
    site.restart(std::move(durability));
    constexpr int kEach = 60;
    const std::string body(3000, 'x');
    std::vector<std::thread> threads;
    std::atomic<int> failed{0};
    for (const User& user : users)
        threads.emplace_back([&] {
            for (int i = 0; i < kEach; ++i)
                if (!site.deliver(user, std::to_string(i) + body)) ++failed;
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(failed == 0);
    CHECK(watched.stats().members == users.size() * kEach);
    CHECK(watched.stats().syncs < users.size() * kEach);  // flushes are shared
    site.restart();
    CHECK(desk.recover(desk.dir()).deliveries == 0);
    for (const User& user : users) CHECK(site.messages(user).size() == kEach);
}

TEST_CASE("journal: segments that are filled grow as far as the plan and the disk let them", "[maildir]") {
    Site site;
    constexpr std::uint64_t kLargest = 4 * kSmallSegment;
    Desk desk(site, kSmallSegment, kLargest);
    const User alice = site.with_mailbox("alice@x");
    const auto sizes = [&] {
        std::multiset<std::uintmax_t> out;
        for (const auto& file : fs::directory_iterator(desk.dir()))
            if (file.path().filename().string().starts_with("segment-")) out.insert(file.file_size());
        return out;
    };
    const std::string body(20000, 'x');
    int count = 0;
    const auto fill = [&](int messages) {
        for (int i = 0; i < messages; ++i) site.delivered(alice, std::to_string(count++) + body);
    };
    SECTION("as far as the plan says, and a restart finds them so") {
        site.restart(desk.open());
        fill(1);
        CHECK(sizes() == std::multiset<std::uintmax_t>{kSmallSegment, kSmallSegment, kSmallSegment});
        fill(99);
        site.restart();
        CHECK(sizes() == std::multiset<std::uintmax_t>{kLargest, kLargest, kLargest});
        site.restart(desk.open());
        fill(1);
        site.restart();
        CHECK(sizes() == std::multiset<std::uintmax_t>{kLargest, kLargest, kLargest});
    }
    SECTION("not where the disk does not keep up") {
        desk.quick = std::chrono::milliseconds(1);
        site.restart(desk.open());
        site.files().before = [](std::string_view operation, const std::string&, DirRef) {
            if (operation == "sync_volume") std::this_thread::sleep_for(std::chrono::milliseconds(2));
            return 0;
        };
        fill(20);
        site.restart();
        site.files().before = nullptr;
        CHECK(sizes() == std::multiset<std::uintmax_t>{kSmallSegment, kSmallSegment, kSmallSegment});
    }
    SECTION("not where little room is left") {
        const Tmpfs disk(desk.dir(), "size=2m");
        if (!disk.mounted()) ROOST_SKIP(kNoMount);
        site.restart(desk.open());
        fill(20);
        site.restart();
        CHECK(sizes() == std::multiset<std::uintmax_t>{kSmallSegment, kSmallSegment, kSmallSegment});
        CHECK(desk.recover(desk.dir()).deliveries == 0);
    }
    SECTION("one that the disk has no room for stays as it is") {
        site.restart(desk.open());
        {
            const FileSizeLimit limit(kSmallSegment + kSmallSegment / 2);
            fill(50);
            site.restart();
        }
        CHECK(sizes() == std::multiset<std::uintmax_t>{kSmallSegment, kSmallSegment, kSmallSegment});
    }
    SECTION("a size that none can have grown to is mended") {
        site.restart(desk.open());
        site.restart();
        fs::resize_file(desk.dir() + "/segment-1", 3 * kSmallSegment);
        fs::resize_file(desk.dir() + "/segment-2", 2 * kLargest);
        site.restart(desk.open());
        CHECK(sizes() == std::multiset<std::uintmax_t>{kSmallSegment, kSmallSegment, kSmallSegment});
    }
    CHECK(site.messages(alice).size() == static_cast<std::size_t>(count));
}

TEST_CASE("journal: when it cannot be flushed nothing is acknowledged any more", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    site.delivered(alice, "before\n");
    site.files().before = [](std::string_view operation, const std::string& name, DirRef) {
        return operation == "sync_data" && name.find("segment-") != std::string::npos ? EIO : 0;
    };
    auto refused = site.deliver(alice, "during\n");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().outcome == Outcome::trouble);
    site.files().before = nullptr;
    CHECK_FALSE(site.deliver(alice, "after\n"));  // the kernel tells of lost data only once
    CHECK(site.messages(alice) == std::vector<std::string>{"before\n"});
}

TEST_CASE("journal: a flush that fails ends the wait of all, of those too who wait for the next one", "[maildir]") {
    Site site;
    Desk desk(site);
    std::vector<User> users;
    for (int i = 0; i < 8; ++i) users.push_back(site.with_mailbox("u" + std::to_string(i) + "@x"));
    site.restart(desk.open());
    std::atomic<std::size_t> written{0};
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        if (operation == "write") ++written;
        if (operation != "sync_data" || name.find("segment-") == std::string::npos) return 0;
        // The flush of the first lasts until the others have written their files, and a moment longer.
        while (written < users.size()) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        return EIO;
    };
    std::atomic<std::size_t> refused{0};
    std::vector<std::thread> threads;
    for (const User& user : users)
        threads.emplace_back([&] {
            if (!site.deliver(user, "lost\n")) ++refused;
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(refused == users.size());
    site.files().before = nullptr;
    for (const User& user : users) CHECK(site.messages(user).empty());
}

TEST_CASE("journal: a volume that loses data behind the verdict takes no more, and its mail stays in the journal",
          "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    auto durability = desk.open();
    const Durability& watched = *durability;
    site.restart(std::move(durability));
    std::atomic<bool> failed{false};
    site.files().before = [&](std::string_view operation, const std::string&, DirRef) {
        if (operation != "sync_volume") return 0;
        failed = true;
        return EIO;
    };
    std::vector<std::string> paths;
    const std::string body(20000, 'x');
    bool refused = false;
    for (int i = 0; i < 2000 && !refused; ++i) {  // until a segment is full, and its checkpoint fails
        auto receipt = site.deliver(alice, std::to_string(i) + body);
        refused = !receipt;
        if (receipt) paths.push_back(receipt->path);
    }
    CHECK(failed);
    REQUIRE(refused);
    CHECK(watched.stats().failures >= 1);
    site.restart();
    site.files().before = nullptr;
    for (const std::string& path : paths) fs::remove(path);  // what the volume lost
    CHECK(desk.recover(desk.dir()).restored == paths.size());
    CHECK(site.messages(alice).size() == paths.size());
}

TEST_CASE("journal: large messages are synced to the mailbox itself", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    auto durability = desk.open();
    const Durability& watched = *durability;
    site.restart(std::move(durability));
    std::vector<std::string> syncs;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        if (operation.starts_with("sync")) syncs.push_back(name);
        return 0;
    };
    site.delivered(alice, std::string(Journal::kLargest + 1, 'x'));
    site.files().before = nullptr;
    CHECK(watched.stats().members == 2);  // before publishing and after it
    REQUIRE(syncs.size() == 2);
    CHECK(syncs[0].find("/tmp/") != std::string::npos);
    CHECK(syncs[1].ends_with("/new"));
}

TEST_CASE("journal: it belongs to one process at a time", "[maildir]") {
    Site site;
    Desk desk(site);
    const auto first = desk.open();
    const auto second = Journal::open(site.files(), desk.plan(desk.dir()));
    REQUIRE_FALSE(second);
    CHECK(second.error().text().find("another roostd uses it") != std::string::npos);
}
