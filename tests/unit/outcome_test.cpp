#include "base/outcome.h"

#include <set>

#include "base/result.h"
#include "base/text.h"
#include "catch.h"

using namespace roost;

TEST_CASE("an MTA sees no exit status but 0, 67, 75 and 77, and temporary codes with 75 alone") {
    for (int i = 0; i <= static_cast<int>(Outcome::trouble); ++i) {
        const OutcomeRow& row = row_of(static_cast<Outcome>(i));
        INFO(row.name);
        CHECK(std::set<int>{0, 67, 75, 77}.count(row.exit_code) == 1);
        if (row.outcome != Outcome::malformed) CHECK((row.enhanced[0] == '4') == (row.exit_code == 75));
        CHECK(row.reply_code / 100 == row.enhanced[0] - '0');
    }
}

TEST_CASE("a full disk or file system quota is store-full, all other errno are trouble") {
    CHECK(system_error(ENOSPC, "x").outcome == Outcome::store_full);
    CHECK(system_error(EDQUOT, "x").outcome == Outcome::store_full);
    CHECK(system_error(EIO, "x").outcome == Outcome::trouble);
    CHECK(system_error(EIO, "cannot do", "try").text() == "cannot do: Input/output error: try");
}

TEST_CASE("UTF-8 is checked strictly and what is not printable is escaped") {
    CHECK(is_utf8("aß€😀"));
    for (const char* bad : {"\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5", "\xe2\x82", "\x80"})
        CHECK_FALSE(is_utf8(bad));
    CHECK(printable("a\nb\xff€") == "a\\x0ab\\xff€");
    CHECK(printable("\xc2\x9bm\xc2\xa0") == "\\xc2\\x9bm\xc2\xa0");  // a terminal's CSI, and a blank that is text
    CHECK(printable("\xe2\x80\xae"
                    "a\xe2\x81\xa9\xe2\x80\xa7") ==
          "\\xe2\\x80\\xae"
          "a\\xe2\\x81\\xa9\xe2\x80\xa7");
    CHECK(lower("ÄbC") == "Äbc");
    CHECK(trim("\t a b ") == "a b");
    CHECK(trim(" ").empty());
}
