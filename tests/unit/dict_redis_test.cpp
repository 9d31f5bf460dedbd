#include "dict/redis_keys.h"
#include "dict/redis_reply.h"

#include "catch.h"

using namespace roost;

TEST_CASE("a slot is the CRC16 that the cluster specification gives, of what stands in braces if anything does") {
    CHECK(redis_slot("123456789") == 0x31c3);
    CHECK(redis_slot("{user1000}.following") == redis_slot("user1000"));
    CHECK(redis_slot("foo{}{bar}") != redis_slot("bar"));
    CHECK(redis_slot("foo{{bar}}zap") == redis_slot("{bar"));
    CHECK(redis_slot("foo{bar}{zap}") == redis_slot("bar"));
    CHECK(redis_slot("{a") != redis_slot("a"));
}

TEST_CASE("only a name with a slash is escaped in a key of Redis") {
    CHECK(*redis_key("p:", "a/b\\c", "priv/quota/storage") == "p:a\\-b\\\\c/quota/storage");
    CHECK(*redis_key("", "a\\c", "priv/x") == "a\\c/x");
    CHECK(*redis_key("p:", "a", "shared/x/y") == "p:x/y");
    CHECK_FALSE(redis_key("", "", "priv/x"));
    CHECK_FALSE(redis_key("", "a", "quota/storage"));
}

TEST_CASE("the user of a key of Redis is found again, and other keys have none") {
    for (const char* user : {"a", "a/b\\c", "a\\c", "/", "a*b", "\\/"}) {
        INFO(user);
        const auto name = redis_key("p/", user, "priv/q/s");
        CHECK(redis_user("p/", "priv/q/s", *name) == user);
    }
    for (const char* other : {"p/a/q/s/t", "p/a/b/q/s", "p//q/s", "p/q/s", "a/q/s", "p/a/q/S"}) {
        INFO(other);
        CHECK_FALSE(redis_user("p/", "priv/q/s", other));
    }
    CHECK(redis_pattern("p*[", "priv/q?") == "p\\*\\[?*/q\\?");
}

TEST_CASE("replies of Redis are found in pieces of any size") {
    const std::string stream =
        "+OK\r\n-ERR no\r\n:-42\r\n$3\r\na\nb\r\n$-1\r\n*2\r\n*2\r\n:1\r\n$0\r\n\r\n*-1\r\n*0\r\n";
    for (std::size_t size = 1; size <= stream.size(); ++size) {
        RedisReader reader;
        std::vector<RedisReply> found;
        for (std::size_t at = 0; at < stream.size(); at += size) {
            reader.feed(std::string_view(stream).substr(at, size));
            for (;;) {
                auto reply = reader.next();
                REQUIRE(reply);
                if (!*reply) break;
                found.push_back(**std::move(reply));
            }
        }
        REQUIRE(found.size() == 7);
        CHECK(found[0].text == "OK");
        CHECK(found[1].error_code() == "ERR");
        CHECK(found[2].integer == -42);
        CHECK(found[3].text == "a\nb");
        CHECK(found[4].type == RedisReply::Type::nil);
        REQUIRE(found[5].elements.size() == 2);
        CHECK(found[5].elements[0].elements[0].integer == 1);
        CHECK(found[5].elements[0].elements[1].type == RedisReply::Type::text);
        CHECK(found[5].elements[1].type == RedisReply::Type::nil);
        CHECK(found[6].type == RedisReply::Type::array);
    }
    RedisReader reader;
    reader.feed("HTTP/1.1 400 Bad Request\r\n");
    CHECK_FALSE(reader.next());
}
