#include <array>

#include "dict/dict.h"
#include "dict/uri.h"

#include "catch.h"

using namespace roost;

namespace {

constexpr std::array<std::string_view, 6> kKeys{"host", "port", "prefix", "password", "tls", "sentinel_password"};
constexpr std::array<std::string_view, 1> kPath{"PATH"};

Result<DictUri> server(std::string_view uri) { return DictUri::parse(uri, {{}, kKeys}); }
Result<DictUri> file(std::string_view uri) { return DictUri::parse(uri, {kPath, kKeys}); }

}  // namespace

TEST_CASE("a dict URI is read as Dovecot writes it") {
    const auto uri = server("redis:host=127.0.0.1:port=6379:prefix=q/");
    REQUIRE(uri);
    CHECK(uri->get("host", "") == "127.0.0.1");
    CHECK(*uri->number("port", 1, 1, 65535) == 6379);
    CHECK(uri->get("prefix", "") == "q/");
    CHECK_FALSE(uri->get("password"));
    CHECK(*uri->number("tls", 7, 0, 9) == 7);
    CHECK(server("redis:"));
    CHECK(server("redis:prefix=")->get("prefix", "x").empty());
    CHECK(file("file:/var/lib/%u=x:port=1")->word(0) == "/var/lib/%u=x");
}

TEST_CASE("a colon in a part of a dict URI is escaped or stands in brackets") {
    CHECK(server("redis:host=[::1]:port=1")->get("host", "") == "[::1]");
    CHECK(server("redis:port=1:host=[fe80::1%eth0]")->get("host", "") == "[fe80::1%eth0]");
    CHECK(server("redis:host=[::1],1;[::2],2:port=1")->get("host", "") == "[::1],1;[::2],2");
    CHECK(server("redis:prefix=d\\::port=1")->get("prefix", "") == "d:");
    CHECK(*server("redis:prefix=d\\::port=1")->number("port", 0, 0, 9) == 1);
    CHECK(server("redis:prefix=d\\:")->get("prefix", "") == "d:");
    CHECK(server("redis:password=a\\b\\\\c=d")->get("password", "") == "a\\b\\\\c=d");
    CHECK(server("redis:prefix=[x:port=1")->get("prefix", "") == "[x");
    CHECK(server("redis:password=[x:host=[::1]")->get("password", "") == "[x");
    CHECK(file("file:/a\\:b:port=1")->word(0) == "/a:b");
}

TEST_CASE("an unknown or malformed part of a dict URI is an error that lists what is known") {
    struct Row {
        const char* uri;
        const char* message;
    };
    const std::string takes = "redis: takes host, port, prefix, password, tls, sentinel_password";
    for (const Row& row : {Row{"redis:hots=x", "the dict redis:...: 'hots' is not known: did you mean host? "},
                           Row{"redis:host=x:db=1", "the dict redis:host=x:...: 'db' is not known: redis: takes host"},
                           Row{"redis:host", "the dict redis:...: 'host' is not key=value: write a colon"},
                           Row{"redis:=x", "'=x' is not key=value"}, Row{"redis:host=x::port=1", "'' is not key=value"},
                           Row{"redis:host=::1", "the dict redis:host=:...: '' is not key=value"},
                           Row{"redis:host=x:", "the dict redis:host=x: a colon ends it: remove it"},
                           Row{"redis:host=x:host=y", "the dict redis:host=x:...: 'host' is given twice"}}) {
        INFO(row.uri);
        const auto uri = server(row.uri);
        REQUIRE_FALSE(uri);
        CHECK(uri.error().outcome == Outcome::misconfigured);
        INFO(uri.error().text());
        CHECK(uri.error().text().find(row.message) != std::string::npos);
    }
    CHECK(server("redis:db=1").error().hint == takes);
    CHECK(DictUri::parse("x:db=1", {{}, {}}).error().hint == "x: takes no parameters");
    CHECK(file("file:").error().text() == "the dict file:...: the PATH is missing: write file:PATH");
    CHECK(file("file::port=1").error().text() == "the dict file:...: the PATH is missing: write file:PATH");
}

TEST_CASE("a value of a dict URI that is no number in its range or neither yes nor no is an error") {
    const auto uri = server("redis:host=-1:port=65536:prefix=1x:tls=maybe");
    REQUIRE(uri);
    CHECK_FALSE(uri->number("host", 0, 0, 9));
    CHECK(uri->number("port", 0, 1, 65535).error().text().find("port=65536 is not a number from 1 to 65535") !=
          std::string::npos);
    CHECK_FALSE(uri->number("prefix", 0, 0, 9));
    CHECK(uri->yes("tls", false).error().text().find("tls=maybe is neither yes nor no") != std::string::npos);
    CHECK(*server("redis:tls=yes")->yes("tls", false));
    CHECK_FALSE(*server("redis:tls=no")->yes("tls", true));
    CHECK(*server("redis:")->yes("tls", true));
}

TEST_CASE("no message about a dict URI shows a password or a piece of one") {
    CHECK(server("redis:host=x:password=secret:port=1")->name() == "redis:host=x:password=:port=1");
    CHECK(server("redis:sentinel_password=secret")->name() == "redis:sentinel_password=");
    for (const char* bad :
         {"redis:password=a:secret", "redis:password=a:secret=1", "redis:password=secret:db=1",
          "redis:password=secret:", "redis:password=secret:password=secret", "redis:password=a:sec\\:ret:secret"}) {
        INFO(bad);
        const auto uri = server(bad);
        REQUIRE_FALSE(uri);
        CHECK(uri.error().text().find("sec") == std::string::npos);
    }
    for (const char* bad : {"ridis:password=secret", "secret", ":secret"}) {
        const auto dict = make_dict(bad);
        REQUIRE_FALSE(dict);
        CHECK(dict.error().outcome == Outcome::misconfigured);
        CHECK(dict.error().text().find("secret") == std::string::npos);
    }
}
