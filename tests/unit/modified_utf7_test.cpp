#include "mail/modified_utf7.h"

#include "catch.h"

using roost::to_modified_utf7;

TEST_CASE("folder names have their names on disk in modified UTF-7") {
    CHECK(to_modified_utf7("") == "");
    CHECK(to_modified_utf7("Lists") == "Lists");
    CHECK(to_modified_utf7("a&b") == "a&-b");
    CHECK(to_modified_utf7("\u00e9") == "&AOk-");
    CHECK(to_modified_utf7("Entw\u00fcrfe") == "Entw&APw-rfe");
    CHECK(to_modified_utf7("~peter/mail/\u53f0\u5317/\u65e5\u672c\u8a9e") ==
          "~peter/mail/&U,BTFw-/&ZeVnLIqe-");             // RFC 3501 section 5.1.3
    CHECK(to_modified_utf7("\U0001f600") == "&2D3eAA-");  // a surrogate pair
    CHECK(to_modified_utf7("&\u00e9&") == "&-&AOk-&-");
}
