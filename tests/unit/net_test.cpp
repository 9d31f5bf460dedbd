#include "base/endpoint.h"
#include "base/peer.h"
#include "catch.h"
#include "net/connection.h"
#include "net/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace roost;
using namespace roost::net;
using std::chrono::milliseconds;

namespace {

Peer peer(const std::string& text) {
    sockaddr_storage storage{};
    sockaddr_in four{};
    sockaddr_in6 six{};
    if (::inet_pton(AF_INET, text.c_str(), &four.sin_addr) == 1) {
        four.sin_family = AF_INET;
        std::memcpy(&storage, &four, sizeof four);
    } else if (::inet_pton(AF_INET6, text.c_str(), &six.sin6_addr) == 1) {
        six.sin6_family = AF_INET6;
        std::memcpy(&storage, &six, sizeof six);
    } else {
        storage.ss_family = AF_UNIX;
    }
    return peer_from(storage);
}

// The first does not block, unless it is `given`.
std::pair<Fd, Fd> connected(bool given) {
    ::signal(SIGPIPE, SIG_IGN);
    std::array<int, 2> both{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both.data()) == 0);
    if (!given) REQUIRE(::fcntl(both[0], F_SETFL, O_NONBLOCK) == 0);
    return {Fd(both[0]), Fd(both[1])};
}

Deadline soon() { return Deadline::in(milliseconds(20)); }

}  // namespace

TEST_CASE("an endpoint is read as it is written") {
    for (const char* text : {"unix:/run/roost/lmtp", "tcp:127.0.0.1:24", "tcp:[::1]:24", "tcp:localhost:lmtp",
                             "tcp:*:24", "tcp:*:0", "tcp:*:65535", "tcp:*:x11-1"})
        CHECK(parse_endpoint(text)->text() == text);
    CHECK(parse_endpoint("tcp:*:24")->host.empty());
    CHECK(parse_endpoint("unix:/x")->local());
    CHECK_FALSE(parse_endpoint("tcp:x:1")->local());
}

TEST_CASE("what is no endpoint is refused with a hint") {
    for (const std::string& text : {std::string(),
                                    std::string("/run/x"),
                                    std::string("unix:"),
                                    std::string("unix:x"),
                                    "unix:/" + std::string(107, 'x'),
                                    std::string("tcp:"),
                                    std::string("tcp:host"),
                                    std::string("tcp:host:"),
                                    std::string("tcp::24"),
                                    std::string("tcp:::1:24"),
                                    std::string("tcp:[::1]"),
                                    std::string("tcp:[::1]:"),
                                    std::string("tcp:[]:24"),
                                    std::string("udp:x:1"),
                                    std::string("tcp:x:65536"),
                                    std::string("tcp:x:4294967297"),
                                    std::string("tcp:x:-5"),
                                    std::string("tcp:x:+5"),
                                    std::string("tcp:x: 5"),
                                    std::string("tcp:[::1]:99999")}) {
        INFO(text);
        const auto parsed = parse_endpoint(text);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().outcome == Outcome::misconfigured);
        CHECK_FALSE(parsed.error().hint.empty());
    }
}

TEST_CASE("a set of peers contains what its networks say") {
    const auto set = PeerSet::parse({"192.0.2.0/25", "198.51.100.7", "2001:db8::/33", "10.0.0.0/0"});
    REQUIRE(set);
    const auto narrow = PeerSet::parse({"192.0.2.0/25", "198.51.100.7", "2001:db8::/33"});
    for (const char* in : {"192.0.2.0", "192.0.2.127", "198.51.100.7", "2001:db8:7fff::1", "::ffff:192.0.2.1"}) {
        INFO(in);
        CHECK(narrow->contains(peer(in)));
        CHECK(set->contains(peer(in)));
    }
    for (const char* out : {"192.0.2.128", "198.51.100.6", "2001:db8:8000::1", "unix", "::1"}) {
        INFO(out);
        CHECK_FALSE(narrow->contains(peer(out)));
    }
    CHECK(set->contains(peer("203.0.113.1")));
    CHECK_FALSE(set->contains(peer("::1")));
    CHECK(PeerSet::parse({"unix"})->contains(peer("unix")));
    CHECK_FALSE(PeerSet::parse({})->contains(peer("unix")));
    CHECK(peer("::ffff:192.0.2.1").text == "192.0.2.1");
}

TEST_CASE("what is no network is refused") {
    for (const char* word : {"", "x", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/x", "192.0.2.0/1x", "::/129",
                             "192.0.2/24", "[::1]", "Unix"}) {
        INFO(word);
        CHECK_FALSE(PeerSet::parse({word}));
    }
}

TEST_CASE("a connection reads what is there, and tells no more yet from the end") {
    using State = Connection::Read::State;
    for (const bool given : {false, true}) {
        INFO(given);
        auto [ours, theirs] = connected(given);
        Fd copy(::dup(ours.get()));
        Connection connection =
            given ? Connection(std::move(copy), std::move(ours), {}) : Connection(std::move(ours), {});
        copy.reset();
        std::array<char, 8> buffer{};
        CHECK(connection.read(buffer).state == State::later);
        CHECK_FALSE(connection.wait(soon()));
        CHECK_FALSE(connection.gone());
        REQUIRE(::write(theirs.get(), "hello", 5) == 5);
        CHECK(connection.wait(soon()));
        const auto read = connection.read(buffer);
        CHECK(read.state == State::data);
        CHECK(std::string_view(buffer.data(), read.size) == "hello");
        CHECK(connection.read(buffer).state == State::later);
        REQUIRE(::write(theirs.get(), "x", 1) == 1);
        theirs.reset();
        CHECK(connection.gone());  // whatever is still to be read
        CHECK(connection.read(buffer).state == State::data);
        CHECK(connection.read(buffer).state == State::end);
    }
}

TEST_CASE("writing waits for a slow peer and gives up on one that takes nothing") {
    for (const bool given : {false, true}) {
        INFO(given);
        auto [ours, theirs] = connected(given);
        Fd copy(::dup(ours.get()));
        Connection connection =
            given ? Connection(std::move(copy), std::move(ours), {}) : Connection(std::move(ours), {});
        copy.reset();
        const std::string much(4UL * 1024 * 1024, 'x');
        CHECK_FALSE(connection.write(much, soon()));
        std::size_t taken = 0;
        std::thread reader([&, fd = theirs.get()] {
            std::array<char, 65536> buffer;
            for (ssize_t got = 0; (got = ::read(fd, buffer.data(), buffer.size())) > 0;)
                taken += static_cast<std::size_t>(got);
        });
        CHECK(connection.write(much, Deadline::in(std::chrono::minutes(1))));
        connection.finish();
        connection.abort();
        reader.join();
        CHECK(taken >= much.size());
        CHECK_FALSE(connection.write("x", soon()));
    }
}

TEST_CASE("what is in the way of a socket is told, and left alone") {
    const std::string path = "in-the-way";
    const std::string there = (std::filesystem::current_path() / path).string();
    const Endpoint endpoint = *parse_endpoint("unix:" + there);
    CHECK(Listener::check(endpoint));
    SECTION("a file") {
        const Fd file(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        for (const Error& error : {Listener::open(endpoint, 0600).error(), Listener::check(endpoint).error()}) {
            CHECK(error.why == "what is there is a file");
            CHECK(error.hint.find("move it away") == 0);
        }
        CHECK(::unlink(path.c_str()) == 0);
    }
    SECTION("a directory") {
        REQUIRE(::mkdir(path.c_str(), 0700) == 0);
        CHECK(Listener::open(endpoint, 0600).error().why == "what is there is a directory");
        CHECK(Listener::check(endpoint).error().why == "what is there is a directory");
        CHECK(Listener::check(*parse_endpoint("unix:" + there + "/below")));
        CHECK(::rmdir(path.c_str()) == 0);
    }
    SECTION("another listener") {
        const auto first = Listener::open(endpoint, 0600);
        REQUIRE(first);
        CHECK(Listener::open(endpoint, 0600).error().hint.find("stop what listens there") == 0);
        CHECK(Listener::check(endpoint));
    }
    CHECK(Listener::check(*parse_endpoint("unix:" + there + "/below")).error().hint == "make the directory");
    CHECK(Listener::check(*parse_endpoint("tcp:127.0.0.1:0")));
    CHECK_FALSE(Listener::check(*parse_endpoint("tcp:no-such-host.invalid:24")));
}

TEST_CASE("an accepted connection closes its files at exec and never blocks") {
    const std::string path = "/tmp/roost-net-test." + std::to_string(::getpid());
    auto listeners = Listener::open(*parse_endpoint("unix:" + path), 0600);
    REQUIRE(listeners);
    Listener& listener = listeners->front();
    CHECK_FALSE(*listener.accept());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, path.size());
    const Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    auto accepted = listener.accept();
    REQUIRE(accepted);
    REQUIRE(*accepted);
    CHECK((*accepted)->peer.local);
    CHECK((::fcntl((*accepted)->fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl((*accepted)->fd.get(), F_GETFL) & O_NONBLOCK) != 0);
    listeners->clear();
    CHECK(::access(path.c_str(), F_OK) != 0);
}
