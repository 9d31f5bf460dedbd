// How long a lookup in the user database takes, by the number of users: the same at ten and at ten million.
//
//     roost-bench-lookup DIRECTORY LOOKUPS USERS...
//
// makes a database of each size in DIRECTORY, asks it LOOKUPS times, prints a table, and removes what it made. For
// example: roost-bench-lookup /var/tmp 20000 10 10000 1000000 10000000
#include "user/sql_user_db.h"

#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace roost;

constexpr int kLookupsPerOpening = 20;
constexpr int kDomains = 1000;

std::string name_of(std::uint64_t i) {
    return "user" + std::to_string(i) + "@domain" + std::to_string(i % kDomains) + ".example.org";
}

std::unique_ptr<SqlUserDb> open_db(const std::string& path, SqlUserDb::Missing missing) {
    auto db = SqlUserDb::open("sqlite:" + path, missing, std::chrono::seconds(10));
    if (!db) throw std::runtime_error(db.error().text());
    return std::move(*db);
}

void run(sqlite3* handle, const std::string& sql) {
    if (sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
        throw std::runtime_error(sqlite3_errmsg(handle));
}

// A database in which each user has an allocation, each domain a plan.
void fill(const std::string& path, std::uint64_t users) {
    open_db(path, SqlUserDb::Missing::create).reset();
    sqlite3* handle = nullptr;
    if (sqlite3_open(path.c_str(), &handle) != SQLITE_OK) throw std::runtime_error(path);
    const std::string domains = std::to_string(kDomains);
    const std::string numbers =
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < " + std::to_string(users) + ") ";
    run(handle, "PRAGMA synchronous = OFF; BEGIN");
    run(handle, "INSERT INTO plans VALUES ('gold', '{\"quota.storage\":\"1G\"}')");
    run(handle, "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < " + domains +
                    ") INSERT INTO domains SELECT 'domain' || i || '.example.org', 'gold', '{}' FROM n");
    run(handle, numbers + "INSERT INTO users (name, allocation) SELECT 'user' || i || '@domain' || (i % " + domains +
                    ") || '.example.org' AS name, '{\"maildir.path\":\"/var/mail/roost/domain' || (i % " + domains +
                    ") || '.example.org/user' || i || '\"}' FROM n ORDER BY name");
    run(handle, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");
    sqlite3_close(handle);
}

// Microseconds that one of `times` calls takes.
double time_each(int times, const std::function<void()>& call) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < times; ++i) call();
    const std::chrono::duration<double, std::micro> all = std::chrono::steady_clock::now() - start;
    return all.count() / times;
}

struct Times {
    double lookup;
    double open_and_lookup;
};

Times measure(const std::string& path, int lookups, std::uint64_t users) {
    std::mt19937_64 random(1);  // NOLINT(cert-msc51-cpp): the same names at every run
    std::uniform_int_distribution<std::uint64_t> pick(0, users - 1);
    const auto look_up = [&](SqlUserDb& db) {
        const auto found = db.find(name_of(pick(random)));
        if (!found || !*found || !(*found)->allocation || (*found)->plan != "gold")
            throw std::runtime_error("a user was not found");
    };
    const auto db = open_db(path, SqlUserDb::Missing::fail);
    time_each(lookups / 10, [&] { look_up(*db); });
    const double lookup = time_each(lookups, [&] { look_up(*db); });
    const double opening = time_each(std::max(lookups / kLookupsPerOpening, 1),
                                     [&] { look_up(*open_db(path, SqlUserDb::Missing::fail)); });
    return {lookup, opening};
}

int bench(const std::string& directory, int lookups, const std::vector<std::uint64_t>& sizes) {
    std::printf("%10s %12s %12s %8s %22s %8s\n", "users", "lookup us", "lookups/s", "ratio", "open + lookup us",
                "ratio");
    Times first{0, 0};
    for (const std::uint64_t users : sizes) {
        const std::string path =
            directory + "/bench-" + std::to_string(::getpid()) + "-" + std::to_string(users) + ".db";
        fill(path, users);
        const Times times = measure(path, lookups, users);
        if (first.lookup == 0) first = times;
        std::printf("%10llu %12.1f %12.0f %8.2f %22.1f %8.2f\n", static_cast<unsigned long long>(users), times.lookup,
                    1e6 / times.lookup, times.lookup / first.lookup, times.open_and_lookup,
                    times.open_and_lookup / first.open_and_lookup);
        for (const char* suffix : {"", "-wal", "-shm", ".lock"}) std::filesystem::remove(path + suffix);
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> args(argv + 1, argv + argc);
    try {
        if (args.size() < 3) throw std::runtime_error("usage: roost-bench-lookup DIRECTORY LOOKUPS USERS...");
        std::vector<std::uint64_t> sizes;
        for (std::size_t i = 2; i < args.size(); ++i) sizes.push_back(std::max(std::stoull(args[i]), 1ULL));
        return bench(args[0], std::max(std::stoi(args[1]), 1), sizes);
    } catch (const std::exception& e) {
        std::cerr << "roost-bench-lookup: " << e.what() << "\n";
        return 1;
    }
}
