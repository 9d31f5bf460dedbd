// What the tests of the user database share: a private directory, a foreign program, processes that start together.
#pragma once

#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "catch.h"
#include "has.h"
#include "user/sql_user_db.h"

namespace scratch {

// A directory below the working directory, gone with the object.
class Dir {
public:
    Dir() {
        std::string name = (std::filesystem::current_path() / "roost-db-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
        path_ = name;
    }
    ~Dir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Dir(const Dir&) = delete;
    Dir& operator=(const Dir&) = delete;

    std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

// Another program on the same database, without SOCI and without Roost's manners.
class Foreign {
public:
    explicit Foreign(const std::string& path) {
        if (sqlite3_open(path.c_str(), &handle_) != SQLITE_OK) throw std::runtime_error(path);
    }
    ~Foreign() { sqlite3_close(handle_); }
    Foreign(const Foreign&) = delete;
    Foreign& operator=(const Foreign&) = delete;

    void run(const std::string& sql) {
        if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
            throw std::runtime_error(sql + ": " + sqlite3_errmsg(handle_));
    }
    // As sqlite3's .restore does it.
    void restore(const Foreign& backup) {
        sqlite3_backup* copy = sqlite3_backup_init(handle_, "main", backup.handle_, "main");
        if (copy == nullptr || sqlite3_backup_step(copy, -1) != SQLITE_DONE || sqlite3_backup_finish(copy) != SQLITE_OK)
            throw std::runtime_error(sqlite3_errmsg(handle_));
    }
    // All columns of all rows, "|" after each; NULL is "-".
    std::string ask(const std::string& sql) {
        std::string out;
        const auto row = [](void* to, int count, char** values, char** /*names*/) {
            for (int i = 0; i < count; ++i)
                *static_cast<std::string*>(to) += std::string(values[i] == nullptr ? "-" : values[i]) + "|";
            return 0;
        };
        if (sqlite3_exec(handle_, sql.c_str(), row, &out, nullptr) != SQLITE_OK)
            throw std::runtime_error(sql + ": " + sqlite3_errmsg(handle_));
        return out;
    }

private:
    sqlite3* handle_ = nullptr;
};

// Runs `work` in `count` processes that start together; each one's exit status, 99 for an exception. `beside` runs in a
// thread of this process meanwhile, which begins when all are forked: what a thread holds then, as a lock of the
// allocator, would be held in them for ever. It ends some time after they have, as it is told.
inline std::vector<int> in_processes(int count, const std::function<int(int)>& work,
                                     const std::function<void(const std::atomic<bool>& done)>& beside = {}) {
    int gate[2];
    if (::pipe(gate) != 0) throw std::runtime_error("pipe");
    std::vector<pid_t> pids;
    for (int i = 0; i < count; ++i) {
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::close(gate[1]);
            char byte = 0;
            while (::read(gate[0], &byte, 1) > 0) {
            }
            int status = 99;
            try {
                status = work(i);
            } catch (...) {
            }
            ::_exit(status);
        }
        pids.push_back(pid);
    }
    std::atomic<bool> done = false;
    std::thread thread;
    if (beside) thread = std::thread([&] { beside(done); });
    ::close(gate[0]);
    ::close(gate[1]);
    std::vector<int> statuses;
    for (const pid_t pid : pids) {
        int status = 0;
        ::waitpid(pid, &status, 0);
        statuses.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    }
    done = true;
    if (thread.joinable()) thread.join();
    return statuses;
}

constexpr auto kBusyTime = std::chrono::milliseconds(20000);

inline std::unique_ptr<roost::SqlUserDb> open_db(const std::string& path,
                                                 std::chrono::milliseconds busy_time = kBusyTime) {
    auto db = roost::SqlUserDb::open("sqlite:" + path, roost::SqlUserDb::Missing::create, busy_time);
    if (!db) throw std::runtime_error(db.error().text());
    return std::move(*db);
}

// The value of a success; fails the test otherwise.
template <class T>
T must(roost::Result<T> result) {
    if (!result) throw std::runtime_error(result.error().text());
    return std::move(*result);
}
inline void must(const roost::Result<void>& result) {
    if (!result) throw std::runtime_error(result.error().text());
}

// The text of a failure; fails the test otherwise.
template <class T>
std::string error_text(const roost::Result<T>& result) {
    if (result) throw std::runtime_error("it succeeded");
    return result.error().text();
}

using roost::test::has;

}  // namespace scratch
