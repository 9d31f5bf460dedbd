// The journal with real mailboxes: its flushes, segments and checkpoints.
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
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
    site.restart(std::move(durability));
    const int sys = GENERATE(EIO, ENOSPC);  // what was acknowledged and does not fit is lost, too
    std::atomic<bool> failed{false};
    site.files().before = [&](std::string_view operation, const std::string&, DirRef) {
        if (operation != "sync_volume") return 0;
        failed = true;
        return sys;
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
    site.restart();
    site.files().before = nullptr;
    for (const std::string& path : paths) fs::remove(path);  // what the volume lost
    CHECK(desk.recover(desk.dir()).restored == paths.size());
    CHECK(site.messages(alice).size() == paths.size());
}

TEST_CASE(
    "journal: where it has no room each delivery is synced by itself, and the one that found out does not come back",
    "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    auto durability = desk.open();
    site.restart(std::move(durability));
    site.delivered(alice, "early\n");
    std::vector<std::string> syncs;
    bool full = true;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        if (!operation.starts_with("sync")) return 0;
        if (std::exchange(full, false)) return ENOSPC;
        syncs.push_back(fs::path(name).filename());
        return 0;
    };
    auto refused = site.deliver(alice, "refused\n");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().outcome == Outcome::store_full);
    CHECK(syncs.empty());
    const std::string log = site.dir() + "/log";
    must(open_log("test", log, LogLevel::info));
    for (const bool may_be_nameless : {false, true}) {
        const Receipt receipt = site.delivered(alice, "taken\n", {{}, true, {}, nullptr, may_be_nameless});
        REQUIRE(syncs.size() == (may_be_nameless ? 3 : 2));
        CHECK(std::count(syncs.begin(), syncs.end(), "new") == 1);
        syncs.clear();
    }
    must(open_log("test", "stderr", LogLevel::warning));
    const std::string text = MaildirReader::contents(log);
    const std::string told = "until roostd is restarted each delivery is synced by itself";
    CHECK(text.find(told) != std::string::npos);
    CHECK(text.find(told) == text.rfind(told));
    site.files().before = nullptr;
    const std::string crashed = desk.crashed();
    site.restart();
    CHECK(desk.recover(crashed).deliveries == 1);
    CHECK(site.messages(alice) == std::vector<std::string>{"early\n", "taken\n", "taken\n"});
    CHECK(desk.recover(desk.dir()).deliveries == 0);  // its end was a checkpoint
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
