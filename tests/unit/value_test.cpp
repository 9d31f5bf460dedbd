#include "config/value.h"

#include "catch.h"

using namespace roost;

TEST_CASE("sizes are bytes or powers of 1024, and unlimited is a value") {
    struct Row {
        const char* text;
        bool ok;
        std::uint64_t bytes;
    };
    for (const Row& row : {Row{"0", true, 0},
                           {"1", true, 1},
                           {"512K", true, 524288},
                           {"10m", true, 10485760},
                           {"1G", true, 1073741824},
                           {"2T", true, 2199023255552},
                           {"17b", true, 17},
                           {"18446744073709551615", true, 18446744073709551615U},
                           {"18446744073709551616", false, 0},
                           {"16777216T", false, 0},
                           {"16777215T", true, 18446742974197923840U},
                           {"", false, 0},
                           {"-1", false, 0},
                           {"+1", false, 0},
                           {"1.5G", false, 0},
                           {"1 G", false, 0},
                           {"1GB", false, 0},
                           {"G", false, 0},
                           {"Unlimited", false, 0}}) {
        INFO(row.text);
        const auto parsed = parse_size(row.text);
        REQUIRE(bool(parsed) == row.ok);
        if (row.ok) CHECK((*parsed).value() == row.bytes);
    }
    REQUIRE(parse_size("unlimited"));
    CHECK_FALSE((*parse_size("unlimited")).has_value());
    CHECK_FALSE((*parse_count("unlimited")).has_value());
    CHECK((*parse_count("7")).value() == 7);
    CHECK_FALSE(parse_count("7K"));
}

TEST_CASE("durations need a unit and stay below ten years") {
    CHECK(*parse_duration("500ms") == std::chrono::milliseconds(500));
    CHECK(*parse_duration("5m") == std::chrono::minutes(5));
    CHECK(*parse_duration("36h") == std::chrono::hours(36));
    CHECK(*parse_duration("7d") == std::chrono::hours(168));
    CHECK(*parse_duration("3650d") == std::chrono::hours(87600));
    for (const char* bad : {"", "5", "m", "-5m", "3651d", "5 m", "99999999999999999999s"}) {
        INFO(bad);
        CHECK_FALSE(parse_duration(bad));
    }
}

TEST_CASE("modes are octal permission bits") {
    CHECK(*parse_mode("0700") == 0700);
    CHECK(*parse_mode("600") == 0600);
    for (const char* bad : {"", "0800", "1777", "rwx", "-1"}) CHECK_FALSE(parse_mode(bad));
}

TEST_CASE("an allowance is a share up to 100 % or a size") {
    CHECK(parse_allowance("10%")->of(1000) == 100);
    CHECK(parse_allowance("10M")->of(5) == 10485760);
    CHECK(parse_allowance("0")->of(5) == 0);
    CHECK(parse_allowance("100%")->of(18446744073709551615U) == 18446744073709551615U);
    for (const char* bad : {"101%", "%", "unlimited", "-1", "10 %"}) CHECK_FALSE(parse_allowance(bad));
}

TEST_CASE("a range of ids is FROM-TO, without root and without the id that means none") {
    CHECK((*parse_id_range("5000-60000"))->from == 5000);
    CHECK((*parse_id_range("5-5"))->to == 5);
    CHECK_FALSE((*parse_id_range("")).has_value());
    for (const char* bad : {"0-5", "6-5", "5", "5-", "-5", "5-4294967295", "a-b", "5-6-7"})
        CHECK_FALSE(parse_id_range(bad));
}

TEST_CASE("no value of any kind may hold a control character") {
    CHECK_FALSE(check_value(Kind::text, "", std::string_view("a\nb")));
    CHECK_FALSE(check_value(Kind::text, "", std::string_view("a\0b", 3)));
    CHECK(check_value(Kind::text, "", "a b"));
    CHECK(check_value(Kind::choice, "a b", "b"));
    CHECK(check_value(Kind::choice, "a b", "c").error().why.find("a|b") != std::string::npos);
}

TEST_CASE("sizes for people") {
    CHECK(format_size(0) == "0B");
    CHECK(format_size(1023) == "1023B");
    CHECK(format_size(1024) == "1.0K");
    CHECK(format_size(1536) == "1.5K");
    CHECK(format_size(1073741824) == "1.0G");
}

TEST_CASE("a wait that nothing could end in time is refused") {
    for (const char* good : {"1ms", "5m", "7d"}) CHECK(check_value(Kind::patience, {}, good));
    for (const char* bad : {"0s", "0ms", "00d", "", "5", "soon"}) {
        INFO(bad);
        CHECK_FALSE(check_value(Kind::patience, {}, bad));
    }
}

TEST_CASE("an id is a number that a user or group can have") {
    CHECK(*parse_id("") == std::nullopt);
    CHECK(*parse_id("0") == 0U);
    CHECK(*parse_id("4294967294") == 4294967294U);
    for (const char* bad : {"mail", "-1", "+1", "1 ", "0x1", "4294967295", "4294967296"}) {
        INFO(bad);
        CHECK_FALSE(parse_id(bad));
    }
}

TEST_CASE("a command is an absolute path, and its variables are known") {
    for (const char* good : {"", "/x", "/x %{a}%{b} 100%% --c=%{a}", "  /x  ", "/%{a}", "/x %%{c}"}) {
        INFO(good);
        CHECK(check_value(Kind::command, "a b", good));
    }
    for (const char* bad : {"x", "x /y", "%{a}", "/x %", "/x %{c}", "/x %a", "/x %{a", "/x %%%{c}"}) {
        INFO(bad);
        CHECK_FALSE(check_value(Kind::command, "a b", bad));
    }
}
