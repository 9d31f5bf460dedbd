#include "store/durability.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "catch.h"
#include "module/faulty_files.h"
#include "store/helpers.h"

using namespace roost;

namespace {

std::size_t threads_here() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++count;
    return count;
}

// A directory of its own with files to sync.
class Scratch {
public:
    Scratch() {
        std::array<char, 64> pattern{"durability.XXXXXX"};
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        dir_ = std::filesystem::absolute(pattern.data()).string();
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() { std::filesystem::remove_all(dir_); }

    Fd file(const std::string& name) const {
        Fd fd(::open((dir_ + "/" + name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        REQUIRE(fd);
        return fd;
    }
    std::string path(const std::string& name) const { return dir_ + "/" + name; }

private:
    std::string dir_;
};

class FakePending : public Pending {
public:
    explicit FakePending(SyncPlan plan) : plan_(std::move(plan)) {}
    const SyncPlan& plan() const override { return plan_; }
    Result<Receipt> publish() override { return Receipt{}; }

private:
    SyncPlan plan_;
};

// Remembers what was synced, and by how many at once at most.
class WatchedFiles : public Files {
public:
    Result<void> sync_data(int fd, std::string_view path) override { return note("data ", fd, path); }
    Result<void> sync(int fd, std::string_view path) override { return note("all ", fd, path); }

    std::multiset<std::string> synced;
    std::map<std::string, int> fails;  // by path: the errno
    std::size_t at_once = 0;
    std::size_t wait_for = 1;  // a sync goes on once as many have begun

private:
    Result<void> note(const char* kind, int /*fd*/, std::string_view path) {
        std::unique_lock lock(mutex_);
        synced.insert(kind + std::string(path.substr(path.rfind('/') + 1)));
        ++running_;
        at_once = std::max(at_once, running_);
        changed_.notify_all();
        changed_.wait_for(lock, std::chrono::seconds(60), [&] { return at_once >= wait_for; });
        --running_;
        const auto fail = fails.find(std::string(path.substr(path.rfind('/') + 1)));
        if (fail != fails.end()) return system_error(fail->second, "cannot sync " + std::string(path));
        return {};
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t running_ = 0;
};

// One delivery with a file and a directory; the descriptors stay the caller's.
FakePending pending(const Scratch& scratch, const Fd& file, const std::string& name, const Fd& dir,
                    const std::string& dir_name) {
    return FakePending(SyncPlan{{{file.get(), scratch.path(name)}}, {{dir.get(), scratch.path(dir_name)}}});
}

}  // namespace

TEST_CASE("files are synced before publishing, directories after it, each once") {
    const Scratch scratch;
    WatchedFiles files;
    const auto durability = make_fsync_durability(files);
    const Fd a = scratch.file("a");
    const Fd b = scratch.file("b");
    const Fd dir = scratch.file("dir");
    const Fd dir_again = scratch.file("dir");
    FakePending one = pending(scratch, a, "a", dir, "dir");
    FakePending two = pending(scratch, b, "b", dir_again, "dir");
    Pending* const group[] = {&one, &two};

    REQUIRE(durability->before_publish(group));
    CHECK(files.synced == std::multiset<std::string>{"data a", "data b"});
    files.synced.clear();
    REQUIRE(durability->after_publish(group));
    CHECK(files.synced == std::multiset<std::string>{"all dir"});
    CHECK(durability->stats().groups == 2);
    CHECK(durability->stats().members == 4);
    CHECK(durability->stats().syncs == 3);
}

TEST_CASE("a single delivery starts no thread") {
    const Scratch scratch;
    WatchedFiles files;
    const std::size_t before = threads_here();
    const auto durability = make_fsync_durability(files);
    const Fd a = scratch.file("a");
    const Fd dir = scratch.file("dir");
    const Fd parent = scratch.file("parent");
    FakePending one(SyncPlan{{{a.get(), scratch.path("a")}},
                             {{dir.get(), scratch.path("dir")}, {parent.get(), scratch.path("parent")}}});
    Pending* const group[] = {&one};
    REQUIRE(durability->before_publish(group));
    REQUIRE(durability->after_publish(group));
    CHECK(threads_here() == before);
    CHECK(files.synced.size() == 3);
}

TEST_CASE("the targets of one message wait for the disk together") {
    const Scratch scratch;
    WatchedFiles files;
    const auto durability = make_fsync_durability(files);
    std::vector<Fd> fds;
    std::vector<FakePending> pendings;
    for (int i = 0; i < 8; ++i) {
        const std::string name = "file" + std::to_string(i);
        fds.push_back(scratch.file(name));
        pendings.emplace_back(SyncPlan{{{fds.back().get(), scratch.path(name)}}, {}});
    }
    std::vector<Pending*> group;
    for (FakePending& each : pendings) group.push_back(&each);
    files.wait_for = 8;
    REQUIRE(durability->before_publish(group));
    CHECK(files.at_once == 8);
    CHECK(files.synced.size() == 8);
    REQUIRE(durability->after_publish(group));  // nothing to sync
    CHECK(durability->stats().groups == 1);
    CHECK(durability->stats().members == 8);
}

TEST_CASE("many threads settle their groups at the same time") {
    const Scratch scratch;
    Files files;
    const auto durability = make_fsync_durability(files);
    constexpr int kThreads = 8;
    constexpr int kRounds = 20;
    std::atomic<int> failed{0};
    {
        std::vector<std::thread> threads;
        for (int t = 0; t < kThreads; ++t)
            threads.emplace_back([&, t] {
                for (int i = 0; i < kRounds; ++i) {
                    std::vector<Fd> fds;
                    std::vector<FakePending> pendings;
                    for (int n = 0; n <= t; ++n) {
                        const std::string name = std::to_string(t) + "." + std::to_string(n);
                        fds.emplace_back(::open(scratch.path(name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
                        pendings.emplace_back(SyncPlan{{{fds.back().get(), name}}, {{fds.back().get(), name}}});
                    }
                    std::vector<Pending*> group;
                    for (FakePending& each : pendings) group.push_back(&each);
                    if (!durability->before_publish(group) || !durability->after_publish(group)) ++failed;
                }
            });
        for (std::thread& thread : threads) thread.join();
    }
    CHECK(failed == 0);
    CHECK(durability->stats().groups == 2 * kThreads * kRounds);
    CHECK(durability->stats().syncs == 2 * kRounds * (kThreads * (kThreads + 1) / 2));
}

TEST_CASE("after a sync that failed nothing more is accepted on that volume") {
    const Scratch scratch;
    const std::string log_file = scratch.path("log");
    REQUIRE(open_log("roost-unit", log_file, LogLevel::info));
    WatchedFiles files;
    const auto durability = make_fsync_durability(files);
    const Fd a = scratch.file("a");
    const Fd dir = scratch.file("dir");
    FakePending one = pending(scratch, a, "a", dir, "dir");
    Pending* const group[] = {&one};
    // Another volume: the kernel's.
    const Fd elsewhere(::open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(elsewhere);
    FakePending other(SyncPlan{{}, {{elsewhere.get(), "/proc/self"}}});
    Pending* const other_group[] = {&other};

    SECTION("of a file") {
        files.fails["a"] = EIO;
        const auto settled = durability->before_publish(group);
        REQUIRE_FALSE(settled);
        CHECK(settled.error().outcome == Outcome::trouble);
        CHECK(settled.error().hint.find("restart roostd") != std::string::npos);
    }
    SECTION("of a directory") {
        files.fails["dir"] = EIO;
        REQUIRE(durability->before_publish(group));
        const auto settled = durability->after_publish(group);
        REQUIRE_FALSE(settled);
        CHECK(settled.error().outcome == Outcome::trouble);
    }
    files.fails.clear();  // the kernel reports an error once; the data are lost all the same
    files.synced.clear();
    for (const auto& refused :
         {durability->accepts(one), durability->before_publish(group), durability->after_publish(group)}) {
        REQUIRE_FALSE(refused);
        CHECK(refused.error().outcome == Outcome::trouble);
        CHECK(refused.error().hint.find("restart roostd") != std::string::npos);
    }
    CHECK(durability->accepts(other));
    CHECK(durability->before_publish(other_group));
    CHECK(durability->after_publish(other_group));

    std::string logged = [&] {
        Files plain;
        return *plain.read_small({AT_FDCWD, {}}, log_file, 1U << 16U);
    }();
    REQUIRE(open_log("roost-unit", "stderr", LogLevel::warning));
    CHECK(logged.find("cannot sync") != std::string::npos);
    CHECK(logged.find("cannot sync") == logged.rfind("cannot sync"));
}

TEST_CASE("a full disk closes no volume") {
    const Scratch scratch;
    WatchedFiles files;
    const auto durability = make_fsync_durability(files);
    const Fd a = scratch.file("a");
    const Fd dir = scratch.file("dir");
    FakePending one = pending(scratch, a, "a", dir, "dir");
    Pending* const group[] = {&one};
    files.fails["a"] = ENOSPC;
    const auto settled = durability->before_publish(group);
    REQUIRE_FALSE(settled);
    CHECK(settled.error().outcome == Outcome::store_full);
    files.fails.clear();
    CHECK(durability->accepts(one));
    CHECK(durability->before_publish(group));
    CHECK(durability->after_publish(group));
}

TEST_CASE("one failing sync among many fails the group") {
    const Scratch scratch;
    WatchedFiles files;
    const auto durability = make_fsync_durability(files);
    REQUIRE(open_log("roost-unit", scratch.path("log"), LogLevel::error));
    std::vector<Fd> fds;
    std::vector<FakePending> pendings;
    for (int i = 0; i < 20; ++i) {
        const std::string name = "file" + std::to_string(i);
        fds.push_back(scratch.file(name));
        pendings.emplace_back(SyncPlan{{{fds.back().get(), scratch.path(name)}}, {}});
    }
    std::vector<Pending*> group;
    for (FakePending& each : pendings) group.push_back(&each);
    files.fails["file13"] = EIO;
    CHECK_FALSE(durability->before_publish(group));
    REQUIRE(open_log("roost-unit", "stderr", LogLevel::warning));
}

TEST_CASE("helpers do every part once") {
    Helpers helpers(4);
    for (const std::size_t parts : {0, 1, 2, 3, 5, 64}) {
        std::vector<std::atomic<int>> counts(parts);
        helpers.run(parts, [&](std::size_t i) { ++counts[i]; });
        for (const auto& count : counts) CHECK(count == 1);
    }
}
