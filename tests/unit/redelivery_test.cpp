#include "store/redelivery.h"

#include "catch.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

using namespace roost;
using std::chrono::hours;
using std::chrono::milliseconds;
using Claim = Redelivery::Claim;

namespace {

struct Sender : Redelivery::Source {
    std::atomic<bool> away = false;
    bool gone() const override { return away; }
};

Deadline now() { return Deadline::in(milliseconds(0)); }

// A delivery whose verdict is lost.
void lose(Redelivery& memory, const std::string& key) {
    Sender peer;
    REQUIRE(memory.claim(key, peer, now()) == Claim::fresh);
    memory.settle(key, true);
    memory.lost(key, peer);
}

struct Scratch {
    std::string path = (std::filesystem::current_path() / ("redelivery." + std::to_string(::getpid()))).string();
    ~Scratch() { std::filesystem::remove(path); }
};

}  // namespace

TEST_CASE("a delivery whose verdict was lost is repeated, and one that was read is new") {
    Redelivery memory(hours(1), 10);
    Sender first;
    Sender second;
    REQUIRE(memory.claim("k", first, now()) == Claim::fresh);
    memory.settle("k", true);
    SECTION("lost") {
        memory.lost("k", first);
        CHECK(memory.claim("k", second, now()) == Claim::repeated);
        memory.confirmed("k", second);
        CHECK(memory.claim("k", first, now()) == Claim::fresh);
    }
    SECTION("read") {
        memory.confirmed("k", first);
        CHECK(memory.claim("k", second, now()) == Claim::fresh);
    }
    SECTION("nobody has noticed yet that the connection is gone") {
        first.away = true;
        CHECK(memory.claim("k", second, now()) == Claim::repeated);
        memory.lost("k", first);  // its own no more
        Sender third;
        CHECK(memory.claim("k", third, now()) == Claim::untracked);
        memory.confirmed("k", second);
        CHECK(memory.size() == 0);
    }
}

TEST_CASE("a copy by a second connection while the first one stands is a message of its own") {
    Redelivery memory(hours(1), 10);
    Sender first;
    Sender second;
    REQUIRE(memory.claim("k", first, now()) == Claim::fresh);
    CHECK(memory.claim("k", second, now()) == Claim::untracked);
    memory.settle("k", true);
    CHECK(memory.claim("k", second, now()) == Claim::untracked);
}

TEST_CASE("a copy by the same connection is a message of its own, even if the peer has closed its side") {
    Redelivery memory(hours(1), 10);
    Sender peer;
    REQUIRE(memory.claim("k", peer, now()) == Claim::fresh);
    memory.settle("k", true);
    peer.away = true;
    CHECK(memory.claim("k", peer, now()) == Claim::untracked);
}

TEST_CASE("a second copy waits for the first one that is still under way") {
    Redelivery memory(hours(1), 10);
    Sender first;
    Sender second;
    REQUIRE(memory.claim("k", first, now()) == Claim::fresh);
    first.away = true;
    SECTION("until the deadline") { CHECK(memory.claim("k", second, now()) == Claim::busy); }
    for (const bool delivered : {true, false}) {
        DYNAMIC_SECTION("until its verdict: " << delivered) {
            Claim claim = Claim::busy;
            std::thread waiting([&] { claim = memory.claim("k", second, Deadline::in(hours(1))); });
            memory.settle("k", delivered);
            waiting.join();
            CHECK(claim == (delivered ? Claim::repeated : Claim::fresh));
        }
    }
}

TEST_CASE("a delivery that failed is not remembered") {
    Redelivery memory(hours(1), 10);
    Sender peer;
    REQUIRE(memory.claim("k", peer, now()) == Claim::fresh);
    memory.settle("k", false);
    CHECK(memory.size() == 0);
    CHECK(memory.claim("k", peer, now()) == Claim::fresh);
}

TEST_CASE("lost verdicts are remembered as long as the window and no more of them than there is room for") {
    Sender peer;
    Redelivery brief(milliseconds(1), 10);
    lose(brief, "k");
    std::this_thread::sleep_for(milliseconds(5));
    CHECK(brief.claim("k", peer, now()) == Claim::fresh);

    Redelivery small(hours(1), 2);
    for (const char* key : {"a", "b", "c"}) lose(small, key);
    CHECK(small.size() == 2);
    CHECK(small.claim("c", peer, now()) == Claim::repeated);
    CHECK(small.claim("b", peer, now()) == Claim::repeated);
    // Both are in use now, so there is no room at all; the delivery goes on without.
    CHECK(small.claim("d", peer, now()) == Claim::untracked);

    Redelivery off(milliseconds(0), 10);
    CHECK(off.claim("k", peer, now()) == Claim::untracked);
    CHECK(off.size() == 0);
}

TEST_CASE("a second copy is expected of a message whose verdict was lost, or whose connection is gone") {
    Redelivery memory(hours(1), 10);
    Sender first;
    CHECK_FALSE(memory.is_expected("route"));
    REQUIRE(memory.claim("route 1", first, now()) == Claim::fresh);
    memory.settle("route 1", true);
    CHECK_FALSE(memory.is_expected("route"));
    first.away = true;
    CHECK(memory.is_expected("route"));
    memory.lost("route 1", first);
    CHECK(memory.is_expected("route"));
    CHECK_FALSE(memory.is_expected("route 2"));
    CHECK_FALSE(memory.is_expected("rout1"));
    Sender second;
    REQUIRE(memory.claim("route 1", second, now()) == Claim::repeated);
    CHECK_FALSE(memory.is_expected("route"));
    memory.confirmed("route 1", second);
    CHECK_FALSE(memory.is_expected("route"));
}

TEST_CASE("what is remembered survives a restart once") {
    Files files;
    const Scratch file;
    Sender peer;
    {
        Redelivery memory(hours(1), 10);
        lose(memory, std::string("\x00\xff\n k", 5));
        Sender unread;
        REQUIRE(memory.claim("unread", unread, now()) == Claim::fresh);
        memory.settle("unread", true);
        REQUIRE(memory.claim("under way", peer, now()) == Claim::fresh);
        REQUIRE(memory.save(files, file.path));
    }
    Redelivery memory(hours(1), 10);
    REQUIRE(memory.load(files, file.path));
    CHECK(memory.claim(std::string("\x00\xff\n k", 5), peer, now()) == Claim::repeated);
    CHECK(memory.claim("unread", peer, now()) == Claim::repeated);
    CHECK(memory.claim("under way", peer, now()) == Claim::fresh);
    CHECK(std::filesystem::exists(file.path));  // until the start has succeeded
    Redelivery later(hours(1), 10);
    REQUIRE(later.save(files, file.path));
    CHECK_FALSE(std::filesystem::exists(file.path));
    REQUIRE(later.load(files, file.path));
    CHECK(later.size() == 0);
}

TEST_CASE("damaged lines of the saved memory are passed over") {
    Files files;
    const Scratch file;
    std::ofstream(file.path) << "\n \n99999999999\n99999999999 6\n99999999999 6g\nx 6b\n1 6b\n99999999999 6a\n-1 6b";
    Redelivery memory(hours(1), 10);
    REQUIRE(memory.load(files, file.path));
    Sender peer;
    CHECK(memory.size() == 1);
    CHECK(memory.claim("j", peer, now()) == Claim::repeated);
}
