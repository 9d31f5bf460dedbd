// The escape of dict files and of the proxy's protocol.
#include "dict/escape.h"

#include "catch.h"

using namespace roost;
using namespace std::string_literals;

TEST_CASE("what separates fields and lines in a dict is escaped, and comes back") {
    const std::string all =
        "a\0b\x01"
        "c\td\re\n\xc3\xa4"s;
    CHECK(dict_escaped(all) ==
          "a\x01"
          "0b\x01"
          "1c\x01"
          "td\x01"
          "re\x01"
          "n\xc3\xa4");
    CHECK(dict_unescaped(dict_escaped(all)) == all);
    CHECK(dict_unescaped("a\x01") == "a");
}
