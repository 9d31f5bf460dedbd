#include "quota/domain_books.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <fstream>
#include <sstream>
#include <thread>

#include "catch.h"
#include "db_scratch.h"

using namespace roost;
using namespace std::string_literals;
namespace fs = std::filesystem;

namespace {

constexpr const char* kDomain = "example.org";
constexpr std::uint64_t kEach = 10;  // of each message in these tests

Limits limits_of_messages(std::uint64_t messages) {
    Limits limits;
    limits.messages = messages;
    return limits;
}

// Where the mail of a domain would be: a file of as many bytes as have been delivered.
class Store {
public:
    explicit Store(const scratch::Dir& dir) : path_(dir / "store") { std::ofstream(path_).flush(); }
    void deliver() const {
        const Fd fd(::open(path_.c_str(), O_WRONLY | O_APPEND));
        REQUIRE(::write(fd.get(), "123456789\n", kEach) == static_cast<ssize_t>(kEach));
    }
    Usage used() const {
        const std::uint64_t bytes = fs::file_size(path_);
        return {bytes, bytes / kEach};
    }

private:
    std::string path_;
};

std::string books_path(const scratch::Dir& dir) { return dir / ("domain-quota/"s + kDomain); }
std::string contents(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream(path).rdbuf();
    return out.str();
}
void put(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << text;
}

std::string first_line(std::time_t summed) { return "roost-domain-quota 1 " + std::to_string(summed) + "\n"; }

// One delivery as the mail store does it.
void deliver(DomainBooks& books, const Store& store) {
    auto turn = scratch::must(books.begin(kDomain));
    store.deliver();
    turn.enter(kEach);
}

}  // namespace

TEST_CASE("domain books that can be trusted are believed, any other are summed anew", "[domain-books]") {
    const std::time_t now = std::time(nullptr);
    const std::string fresh = first_line(now - 899);
    const std::string stale = first_line(now - 901);
    const std::string ahead = first_line(now + 60);
    constexpr Usage kSummed{70, 7};
    struct Row {
        const char* what;
        std::string text;
        Usage used;
    };
    const Row rows[] = {
        {"one line", fresh + "100 3\n", {100, 3}},
        {"several lines", fresh + "100 3\n20 1\n-40 -2\n", {80, 2}},
        {"nothing held", fresh + "0 0\n", {0, 0}},
        {"old, but not full", stale + "100 3\n", {100, 3}},
        {"full and fresh", fresh + "100 10\n", {100, 10}},
        {"full and old", stale + "100 10\n", kSummed},
        {"full, from the future", ahead + "100 10\n", kSummed},
        {"empty", "", kSummed},
        {"first line alone", fresh, kSummed},
        {"unterminated", fresh + "100 3", kSummed},
        {"no number", fresh + "100 x\n", kSummed},
        {"one number", fresh + "100\n", kSummed},
        {"three numbers", fresh + "100 3 1\n", kSummed},
        {"a blank line", fresh + "100 3\n\n", kSummed},
        {"other version", "roost-domain-quota 2 " + std::to_string(now) + "\n100 3\n", kSummed},
        {"no time", "roost-domain-quota 1 x\n100 3\n", kSummed},
        {"negative bytes", fresh + "-1 3\n", kSummed},
        {"negative count", fresh + "100 3\n0 -4\n", kSummed},
        {"overflow", fresh + std::to_string(INT64_MAX) + " 1\n1 1\n", kSummed},
    };
    for (const Row& row : rows) {
        INFO(row.what);
        const scratch::Dir dir;
        Files files;
        DomainBooks books(files, dir.path());
        put(books_path(dir), row.text);
        const auto sum = [&] { return Result<Usage>(kSummed); };
        const Usage used = scratch::must(books.usage(kDomain, limits_of_messages(10), {kEach, 1}, sum));
        CHECK(used == row.used);
        CHECK(scratch::must(books.peek(kDomain)) == row.used);  // what was summed is written down
    }
}

TEST_CASE("each delivery is a line in the domain's books; a long file becomes a short one", "[domain-books]") {
    const scratch::Dir dir;
    Files files;
    DomainBooks books(files, dir.path());
    const Store store(dir);
    int sums = 0;
    const auto sum = [&] {
        ++sums;
        return Result<Usage>(store.used());
    };
    const auto used = [&] { return scratch::must(books.usage(kDomain, limits_of_messages(100000), {kEach, 1}, sum)); };
    deliver(books, store);  // without books nothing is entered
    CHECK_FALSE(fs::exists(books_path(dir)));
    CHECK(used() == Usage{10, 1});
    deliver(books, store);
    CHECK(contents(books_path(dir)).ends_with("\n10 1\n10 1\n"));
    std::size_t longest = 0;
    for (int i = 0; i < 2000; ++i) {
        deliver(books, store);
        REQUIRE(used() == store.used());
        longest = std::max<std::size_t>(longest, fs::file_size(books_path(dir)));
    }
    CHECK(longest <= 8192);
    CHECK(sums == 1);
    scratch::must(books.forget(kDomain));
    CHECK(scratch::must(books.peek(kDomain)) == std::nullopt);
    CHECK(used() == store.used());
    CHECK(sums == 2);
}

TEST_CASE("a sum that fails is no sum, and leaves the books alone", "[domain-books]") {
    const scratch::Dir dir;
    Files files;
    DomainBooks books(files, dir.path());
    const std::string text = first_line(1) + "100 10\n";
    put(books_path(dir), text);
    const auto sum = [&] { return Result<Usage>(system_error(EIO, "cannot read a mailbox")); };
    const auto refused = books.usage(kDomain, limits_of_messages(10), {kEach, 1}, sum);
    REQUIRE_FALSE(refused);
    CHECK(is_temporary(refused.error().outcome));
    CHECK(contents(books_path(dir)) == text);
}

TEST_CASE("names of domains stay in their directory, and are nobody else's", "[domain-books]") {
    const scratch::Dir dir;
    Files files;
    DomainBooks books(files, dir.path());
    std::uint64_t number = 0;
    const std::vector<std::string> names{"a", ".a", "..a", "../a", "a/b", "a%2Fb", "..", ".", "@", "%40"};
    for (const std::string& name : names) {
        ++number;
        scratch::must(books.recount(name, [&] { return Result<Usage>(Usage{number, number}); }));
    }
    number = 0;
    for (const std::string& name : names) {
        ++number;
        CHECK(scratch::must(books.peek(name)) == Usage{number, number});
    }
    CHECK(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("a sum and a delivery of one domain wait for each other, others do not", "[domain-books]") {
    const scratch::Dir dir;
    Files files;
    DomainBooks books(files, dir.path());
    std::atomic<bool> done = false;
    const auto moment = [] { std::this_thread::sleep_for(std::chrono::milliseconds(50)); };
    std::thread delivery;
    scratch::must(books.recount(kDomain, [&] {
        delivery = std::thread([&] {
            scratch::must(books.begin(kDomain)).enter(kEach);
            done = true;
        });
        scratch::must(books.begin("example.net")).enter(kEach);
        moment();
        CHECK_FALSE(done);
        return Result<Usage>(Usage{});
    }));
    delivery.join();
    CHECK(scratch::must(books.peek(kDomain)) == Usage{kEach, 1});

    std::thread recount;
    done = false;
    {
        auto turn = scratch::must(books.begin(kDomain));
        recount = std::thread([&] {
            scratch::must(books.recount(kDomain, [&] {
                done = true;
                return Result<Usage>(Usage{});
            }));
        });
        scratch::must(books.begin(kDomain)).enter(kEach);
        moment();
        CHECK_FALSE(done);
    }
    recount.join();
    CHECK(scratch::must(books.peek(kDomain)) == Usage{});
}

TEST_CASE("processes that deliver and sum at the same time count each message of a domain once", "[domain-books]") {
    const scratch::Dir dir;
    const Store store(dir);
    constexpr int kProcesses = 4;
    constexpr int kEach = 300;
    const auto statuses = scratch::in_processes(kProcesses, [&](int process) {
        Files files;
        DomainBooks books(files, dir.path());
        const auto sum = [&] { return Result<Usage>(store.used()); };
        for (int i = 0; i < kEach; ++i) {
            if (process == 0 && i % 10 == 0 && !books.recount(kDomain, sum)) return 1;
            if (!books.usage(kDomain, limits_of_messages(1000000), {kEach, 1}, sum)) return 2;
            deliver(books, store);
        }
        return 0;
    });
    CHECK(statuses == std::vector<int>(kProcesses, 0));
    Files files;
    CHECK(scratch::must(DomainBooks(files, dir.path()).peek(kDomain)) == store.used());
    CHECK(store.used().messages == std::uint64_t{kProcesses} * kEach);
}

TEST_CASE("a killed delivery makes a domain's books miss one message at most, until the next sum", "[domain-books]") {
    const scratch::Dir dir;
    const Store store(dir);
    Files files;
    DomainBooks books(files, dir.path());
    const auto sum = [&] { return Result<Usage>(store.used()); };
    scratch::must(books.recount(kDomain, sum));
    constexpr int kKilled = 20;
    for (int i = 0; i < kKilled; ++i) {
        const pid_t pid = ::fork();
        if (pid == 0) {
            Files own;
            DomainBooks same(own, dir.path());
            while (true) {
                if (!same.usage(kDomain, limits_of_messages(1000000), {kEach, 1}, sum)) ::_exit(1);
                deliver(same, store);
            }
        }
        const std::uint64_t before = store.used().messages;
        while (store.used().messages < before + 20) std::this_thread::yield();
        REQUIRE(::kill(pid, SIGKILL) == 0);
        int status = 0;
        REQUIRE(::waitpid(pid, &status, 0) == pid);
        REQUIRE(WIFSIGNALED(status));
        const Usage said = scratch::must(books.usage(kDomain, limits_of_messages(1000000), {kEach, 1}, sum));
        const Usage held = store.used();
        CHECK(said.messages <= held.messages);
        CHECK(said.messages + static_cast<std::uint64_t>(i) + 1 >= held.messages);
    }
    // Full by the limit, and summed long ago: what was missed is seen before anybody is refused.
    std::string text = contents(books_path(dir));
    put(books_path(dir), first_line(1) + text.substr(text.find('\n') + 1));
    const std::uint64_t limit = scratch::must(books.peek(kDomain))->messages;
    CHECK(scratch::must(books.usage(kDomain, limits_of_messages(limit), {kEach, 1}, sum)) == store.used());
}
