#include "user/user_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "catch.h"
#include "db_scratch.h"

using namespace roost;
using namespace std::chrono_literals;
using scratch::has;

namespace {

Result<std::unique_ptr<Lock>> try_for(const scratch::Dir& dir, const std::string& name,
                                      std::chrono::milliseconds span) {
    return lock_user(dir / "lock", dir.path(), name, Deadline::in(span));
}

}  // namespace

TEST_CASE("a user's lock keeps others out until it is dropped, and other users' locks are free") {
    const scratch::Dir dir;
    auto held = scratch::must(try_for(dir, "alice", 0ms));
    const auto refused = try_for(dir, "alice", 30ms);
    CHECK(has(scratch::error_text(refused), "cannot lock the user alice"));
    CHECK(is_temporary(refused.error().outcome));
    CHECK(try_for(dir, "bob", 0ms));
    held.reset();
    CHECK(try_for(dir, "alice", 0ms));
}

TEST_CASE("the lock file is for nobody else to read") {
    const scratch::Dir dir;
    scratch::must(try_for(dir, "alice", 0ms)).reset();
    struct stat st {};
    REQUIRE(::stat((dir / "lock").c_str(), &st) == 0);
    CHECK((st.st_mode & 0137) == 0);
}

TEST_CASE("threads and processes that hold a user's lock never do so at the same time") {
    const scratch::Dir dir;
    const auto critical = [&](int) {
        for (int round = 0; round < 10; ++round) {
            const auto lock = try_for(dir, "alice", 60s);
            if (!lock) return 1;
            // Exclusive creation fails if somebody else is in here.
            const int fd = ::open((dir / "inside").c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
            if (fd < 0) return 2;
            std::this_thread::yield();
            ::unlink((dir / "inside").c_str());
            ::close(fd);
        }
        return 0;
    };
    const auto statuses = scratch::in_processes(4, [&](int) {
        std::atomic<int> worst{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i)
            threads.emplace_back([&] {
                if (const int status = critical(0); status != 0) worst = status;
            });
        for (auto& thread : threads) thread.join();
        return worst.load();
    });
    CHECK(statuses == std::vector<int>(4, 0));
}

TEST_CASE("the lock of a process that is killed is free at once") {
    const scratch::Dir dir;
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    const pid_t holder = ::fork();
    if (holder == 0) {
        const auto lock = try_for(dir, "alice", 1s);
        const char byte = lock ? 'y' : 'n';
        if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
        while (true) ::pause();
    }
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    REQUIRE(byte == 'y');
    CHECK_FALSE(try_for(dir, "alice", 20ms));
    ::kill(holder, SIGKILL);
    ::waitpid(holder, nullptr, 0);
    CHECK(try_for(dir, "alice", 0ms));
    ::close(ready[0]);
    ::close(ready[1]);
}

TEST_CASE("a lock on a file that was removed keeps nobody out, so it is not taken") {
    const scratch::Dir dir;
    auto first = scratch::must(try_for(dir, "alice", 0ms));
    std::thread waiter([&] {
        const auto second = try_for(dir, "alice", 60s);
        CHECK(second);
        // Taken on the file that now has the name: whoever comes later must wait for it.
        CHECK_FALSE(try_for(dir, "alice", 20ms));
    });
    std::this_thread::sleep_for(20ms);  // likely, not surely, inside its waiting loop; both ways must hold
    std::filesystem::remove(dir / "lock");
    first.reset();
    waiter.join();
}

TEST_CASE("a lock file that cannot be made or opened is reported by its name") {
    const scratch::Dir dir;
    const auto missing = lock_user(dir / "no/lock", dir.path(), "alice", Deadline::in(0ms));
    CHECK(has(scratch::error_text(missing), "cannot open the lock file " + (dir / "no/lock")));
    std::filesystem::create_symlink(dir / "elsewhere", dir / "link");
    CHECK_FALSE(lock_user(dir / "link", dir.path(), "alice", Deadline::in(0ms)));
    CHECK_FALSE(std::filesystem::exists(dir / "elsewhere"));
}
