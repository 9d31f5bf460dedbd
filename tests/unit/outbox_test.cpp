#include "quota/outbox.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "catch.h"
#include "db_scratch.h"

using namespace roost;
using std::chrono::milliseconds;

namespace {

using Names = std::vector<std::string>;

std::string text_of(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream(path).rdbuf();
    return out.str();
}

std::optional<Outbox::Drain> must_drain(Outbox& outbox) {
    auto drain = outbox.drain(Deadline::in(milliseconds(0)));
    REQUIRE(drain);
    REQUIRE(drain->has_value());
    return *std::move(drain);
}

Outbox::Content content_of(Outbox& outbox) { return *must_drain(outbox)->read(); }

}  // namespace

TEST_CASE("the outbox gives back each name once, in the order of their first record", "[outbox]") {
    const scratch::Dir dir;
    Files files;
    Outbox outbox(files, dir / "state");
    CHECK(outbox.empty());
    CHECK(content_of(outbox).empty());
    REQUIRE(outbox.add(Names{"b@x", "a@x"}));
    REQUIRE(outbox.add(Names{"b@x"}));
    CHECK_FALSE(outbox.empty());
    CHECK(content_of(outbox).names == Names{"b@x", "a@x"});
    CHECK_FALSE(content_of(outbox).everybody);
}

TEST_CASE("any bytes may stand in a name, and none of them is taken for everybody", "[outbox]") {
    const scratch::Dir dir;
    Files files;
    Outbox outbox(files, dir.path());
    const Names odd{"*", "%", "100%41", "a\nb", std::string("\0\x01\x7f", 3), "\xff ü", " "};
    REQUIRE(outbox.add(odd));
    CHECK(content_of(outbox).names == odd);
    CHECK_FALSE(content_of(outbox).everybody);
    REQUIRE(outbox.add_everybody());
    CHECK(content_of(outbox).everybody);
}

TEST_CASE("a record that was cut short does not spoil the next one", "[outbox]") {
    const scratch::Dir dir;
    Files files;
    std::ofstream(dir / "clone.pending") << "\n%4\n%zz\n\nali";
    Outbox outbox(files, dir.path());
    REQUIRE(outbox.add(Names{"bob@x"}));
    CHECK(content_of(outbox).names == Names{"ali", "bob@x"});
}

TEST_CASE("what was added while others were published stays in the outbox", "[outbox]") {
    const scratch::Dir dir;
    Files files;
    Outbox outbox(files, dir.path());
    REQUIRE(outbox.add(Names{"a", "b", "c"}));
    {
        auto drain = must_drain(outbox);
        REQUIRE(drain->read());
        REQUIRE(outbox.add(Names{"a", "d"}));
        REQUIRE(drain->finish({}));
    }
    CHECK(content_of(outbox).names == Names{"a", "d"});
    {
        auto drain = must_drain(outbox);
        REQUIRE(drain->read());
        REQUIRE(outbox.add(Names{"e"}));
        REQUIRE(drain->finish({{"d"}, true}));
    }
    REQUIRE(outbox.add(Names{"f"}));  // by a descriptor of the file that was replaced
    CHECK(content_of(outbox).names == Names{"d", "e", "f"});
    CHECK(content_of(outbox).everybody);
    {
        auto drain = must_drain(outbox);
        REQUIRE(drain->read());
        REQUIRE(drain->finish({}));
    }
    CHECK(outbox.empty());
    CHECK(text_of(dir / "clone.pending").empty());
}

TEST_CASE("an outbox that repeats itself during an outage is written anew", "[outbox]") {
    const scratch::Dir dir;
    Files files;
    Outbox outbox(files, dir.path());
    for (int i = 0; i < 20'000; ++i) REQUIRE(outbox.add(Names{"somebody@example.org"}));
    const auto before = text_of(dir / "clone.pending").size();
    auto drain = must_drain(outbox);
    REQUIRE(drain->finish(*drain->read()));
    CHECK(text_of(dir / "clone.pending").size() < before / 1000);
    CHECK(drain->read()->names == Names{"somebody@example.org"});
}

TEST_CASE("one process drains at a time, and its death lets the next one", "[outbox]") {
    const scratch::Dir dir;
    Files files;
    Outbox outbox(files, dir.path());
    Outbox other(files, dir.path());
    {
        auto drain = must_drain(outbox);
        auto second = other.drain(Deadline::in(milliseconds(0)));
        REQUIRE(second);
        CHECK_FALSE(second->has_value());
    }
    const auto statuses = scratch::in_processes(1, [&](int) -> int {
        auto drain = other.drain(Deadline::in(milliseconds(0)));
        ::_exit(drain && *drain ? 7 : 1);
    });
    CHECK(statuses.front() == 7);
    must_drain(outbox);
}

TEST_CASE("no name is lost while many processes add and one drains", "[outbox]") {
    constexpr int kProcesses = 4;
    constexpr int kNames = 300;
    const scratch::Dir dir;
    Files files;
    std::set<std::string> seen;
    const auto drain_all = [&](const std::atomic<bool>& done) {
        Outbox outbox(files, dir.path());
        for (bool last = false; !last;) {
            last = done;
            auto drain = outbox.drain(Deadline::in(milliseconds(1000)));
            if (!drain || !*drain) continue;
            auto content = (*drain)->read();
            if (!content) continue;
            // Every other name is kept once more.
            Outbox::Content left;
            for (std::size_t i = 0; i < content->names.size(); ++i)
                if (i % 2 == 1 && !last) left.names.push_back(content->names[i]);
            if (!(*drain)->finish(left)) continue;
            for (const std::string& name : content->names) seen.insert(name);
        }
    };
    const auto add = [&](int process) {
        Files own;
        Outbox outbox(own, dir.path());
        for (int i = 0; i < kNames; ++i)
            if (!outbox.add(Names{std::to_string(process) + "." + std::to_string(i)})) return 1;
        return 0;
    };
    const auto statuses = scratch::in_processes(kProcesses, add, drain_all);
    CHECK(statuses == std::vector<int>(kProcesses, 0));
    CHECK(seen.size() == std::size_t{kProcesses} * kNames);
}

TEST_CASE("no name is lost while threads of the process that drains add, and another process does", "[outbox]") {
    constexpr int kThreads = 3;
    constexpr int kNames = 1000;
    const scratch::Dir dir;
    Files files;
    Outbox outbox(files, dir.path());
    auto drain = must_drain(outbox);
    std::atomic<int> failed = 0;
    const auto add = [&](Outbox& to, const std::string& who) {
        for (int i = 0; i < kNames; ++i)
            if (!to.add(Names{who + "." + std::to_string(i)})) ++failed;
    };
    std::atomic<int> running = kThreads;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads - 1; ++t)
        threads.emplace_back([&, t] {
            add(outbox, std::to_string(t));
            --running;
        });
    threads.emplace_back([&] {
        Files own;
        Outbox other(own, dir.path());  // as another process has it
        add(other, "other");
        --running;
    });
    std::set<std::string> seen;
    for (bool last = false; !last;) {
        last = running == 0;
        auto content = drain->read();
        REQUIRE(content);
        Outbox::Content left;  // now and then one is kept, so that the file is replaced and not only cut
        if (!last && content->names.size() > 1) left.names.push_back(content->names.back());
        REQUIRE(drain->finish(left));
        seen.insert(content->names.begin(), content->names.end());
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(failed == 0);
    CHECK(seen.size() == std::size_t{kThreads} * kNames);
}

TEST_CASE("an outbox that was removed by hand is made again, also under the process that drains", "[outbox]") {
    const scratch::Dir dir;
    Files files;
    Outbox outbox(files, dir.path());
    auto drain = must_drain(outbox);
    REQUIRE(outbox.add(Names{"a"}));
    REQUIRE(::unlink((dir / "clone.pending").c_str()) == 0);
    CHECK(drain->read()->empty());
    REQUIRE(outbox.add(Names{"b"}));
    CHECK(drain->read()->names == Names{"b"});
    drain.reset();
    REQUIRE(outbox.add(Names{"c"}));
    CHECK(content_of(outbox).names == Names{"b", "c"});
}

TEST_CASE("a process that keeps the outbox locked does not stop others for ever", "[outbox]") {
    const scratch::Dir dir;
    Files files;
    Outbox outbox(files, dir.path());
    REQUIRE(outbox.add(Names{"a"}));
    const Fd held(::open((dir / "clone.pending").c_str(), O_RDWR | O_CLOEXEC));
    REQUIRE(::flock(held.get(), LOCK_EX) == 0);
    auto added = outbox.add(Names{"b"});
    REQUIRE_FALSE(added);
    CHECK(added.error().text().find("clone.pending") != std::string::npos);
}

TEST_CASE("trouble is remembered by all processes and told once", "[outbox]") {
    const scratch::Dir dir;
    Files files;
    Outbox outbox(files, dir.path());
    {
        auto drain = must_drain(outbox);
        CHECK_FALSE(drain->failed_ago());
        CHECK_FALSE(drain->remember(false));
        CHECK(drain->remember(true));
        CHECK_FALSE(drain->remember(true));
    }
    Outbox other(files, dir.path());
    auto drain = must_drain(other);
    REQUIRE(drain->failed_ago());
    CHECK(*drain->failed_ago() < std::chrono::hours(1));
    CHECK_FALSE(drain->remember(true));
    CHECK(drain->remember(false));
    CHECK_FALSE(drain->failed_ago());
    CHECK_FALSE(drain->remember(false));
}

TEST_CASE("the mark of another boot tells that names may be lost", "[outbox]") {
    const scratch::Dir dir;
    Files files;
    Outbox outbox(files, dir / "state");
    CHECK_FALSE(*outbox.torn());
    REQUIRE(outbox.mark());
    CHECK_FALSE(*outbox.torn());  // a process that was killed
    std::ofstream(dir / "state/clone.boot") << "00000000-0000-0000-0000-000000000000\n";
    CHECK(*outbox.torn());
    REQUIRE(outbox.mark());
    CHECK_FALSE(*outbox.torn());
    std::ofstream(dir / "state/clone.boot") << "00000000-0000-0000-0000-000000000000\n";
    REQUIRE(outbox.unmark());
    CHECK_FALSE(*outbox.torn());
}

TEST_CASE("a full disk is told, and the names that fit stay", "[outbox]") {
    class FullDisk : public Files {
    public:
        bool full = false;
        Result<void> write(int fd, std::string_view data, std::string_view path) override {
            if (!full) return Files::write(fd, data, path);
            (void)static_cast<bool>(Files::write(fd, data.substr(0, 2), path));
            return system_error(ENOSPC, "cannot write " + std::string(path));
        }
    };
    const scratch::Dir dir;
    FullDisk files;
    Outbox outbox(files, dir.path());
    REQUIRE(outbox.add(Names{"a"}));
    files.full = true;
    CHECK_FALSE(outbox.add(Names{"bob"}));
    files.full = false;
    REQUIRE(outbox.add(Names{"c"}));
    CHECK(content_of(outbox).names == Names{"a", "b", "c"});
}
