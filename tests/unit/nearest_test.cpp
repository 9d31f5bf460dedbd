#include "base/nearest.h"

#include <array>
#include <string>

#include "catch.h"

using roost::nearest;

TEST_CASE("a slip of the finger is recognised") {
    constexpr std::array<std::string_view, 4> keys{"quota.storage", "quota.messages", "quota.message",
                                                   "users.database"};
    CHECK(nearest("quota.storge", keys) == "quota.storage");     // one letter missing
    CHECK(nearest("quota.storrage", keys) == "quota.storage");   // one too many
    CHECK(nearest("qouta.storage", keys) == "quota.storage");    // two swapped
    CHECK(nearest("Quota.Storage", keys) == "quota.storage");    // upper case
    CHECK(nearest("quota.mesage", keys) == "quota.message");     // the nearer of two
    CHECK(nearest("quota.messages", keys) == "quota.messages");  // none at all
}

TEST_CASE("what has nothing to do with any candidate gets no suggestion") {
    constexpr std::array<std::string_view, 2> words{"add", "set"};
    CHECK(nearest("explode", words).empty());
    CHECK(nearest("", words).empty());
    CHECK(nearest("xyz", words).empty());
    CHECK(nearest("q", std::array<std::string_view, 1>{"z"}).empty());
    CHECK(nearest(std::string(100'000, 'a'), words).empty());
    CHECK(nearest("add", {}).empty());
}
