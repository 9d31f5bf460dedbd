// The user that the cascade makes, path templates, and settings in JSON.
#include "user/user.h"

#include <fstream>
#include <set>

#include "catch.h"
#include "db_scratch.h"
#include "user/settings_json.h"

using namespace roost;
using scratch::has;

namespace {

Config config_with(const std::string& text) {
    const scratch::Dir dir;
    std::ofstream(dir / "roost.conf") << text;
    return scratch::must(Config::make(scratch::must(ConfigFile::read(dir / "roost.conf", {})), Schema()));
}

const Config& empty_config() {
    static const Config config = config_with("");
    return config;
}

User user_named(const std::string& name) {
    UserRecord record;
    record.name = name;
    const auto at = name.rfind('@');
    if (at != std::string::npos) record.domain = name.substr(at + 1);
    return scratch::must(User::make(empty_config(), record));
}

std::string expand(const std::string& pattern, const std::string& name) {
    return scratch::must(expand_path("maildir.path", pattern, user_named(name)));
}

std::string expand_error(const std::string& pattern) {
    const auto result = expand_path("maildir.path", pattern, user_named("alice@example.org"));
    REQUIRE_FALSE(result);
    CHECK(result.error().outcome == Outcome::misconfigured);
    return result.error().text();
}

UserRecord layered() {
    UserRecord record;
    record.name = "alice@example.org";
    record.domain = "example.org";
    record.plan = "gold";
    return record;
}

}  // namespace

TEST_CASE("the nearest of file, plan, domain and user wins, and says where it comes from") {
    const Config config = config_with("[quota]\nstorage = 1M\n");
    UserRecord record = layered();
    const auto value = [&] { return scratch::must(User::make(config, record)).settings().explain("quota.storage"); };
    CHECK(scratch::must(User::make(config, record)).settings().size("quota.storage") == 1024 * 1024);
    CHECK(has(value().origin, "roost.conf:2"));
    record.plan_settings["quota.storage"] = "2M";
    CHECK(value().origin == "plan gold");
    record.domain_settings["quota.storage"] = "3M";
    CHECK(value().origin == "domain example.org");
    record.settings["quota.storage"] = "unlimited";
    CHECK(value().origin == "user");
    CHECK_FALSE(scratch::must(User::make(config, record)).settings().size("quota.storage").has_value());
    record.settings.clear();
    CHECK(scratch::must(User::make(config, record)).settings().size("quota.storage") == 3 * 1024 * 1024);
}

TEST_CASE("a wrong setting is an Error that names its level and key") {
    const auto text_of = [](const UserRecord& record) {
        const auto user = User::make(empty_config(), record);
        REQUIRE_FALSE(user);
        CHECK(user.error().outcome == Outcome::misconfigured);
        return user.error().text();
    };
    UserRecord record = layered();
    record.settings["quota.storage"] = "much";
    CHECK(has(text_of(record), "alice@example.org"));
    CHECK(has(text_of(record), "quota.storage"));
    record = layered();
    record.domain_settings["quota.sotrage"] = "1M";
    CHECK(has(text_of(record), "domain example.org"));
    CHECK(has(text_of(record), "quota.sotrage"));
    record = layered();
    record.plan_settings["users.database"] = "sqlite:/x";
    CHECK(has(text_of(record), "plan gold"));
    CHECK(has(text_of(record), "users.database"));
}

TEST_CASE("local part and domain are split at the last at-sign") {
    CHECK(user_named("alice@example.org").local() == "alice");
    CHECK(user_named("a@b@example.org").local() == "a@b");
    CHECK(user_named("alice").local() == "alice");
    CHECK(user_named("alice").domain().empty());
}

TEST_CASE("allocated values are found by key, and nothing is where nothing was allocated") {
    UserRecord record = layered();
    CHECK(scratch::must(User::make(empty_config(), record)).allocated("maildir.path") == nullptr);
    record.allocation = Settings{{"maildir.path", "/m"}};
    const User user = scratch::must(User::make(empty_config(), record));
    REQUIRE(user.allocated("maildir.path") != nullptr);
    CHECK(*user.allocated("maildir.path") == "/m");
    CHECK(user.allocated("maildir.uid") == nullptr);
}

TEST_CASE("path templates expand every variable") {
    CHECK(expand("/m/%{domain}/%{local}", "alice@example.org") == "/m/example.org/alice");
    CHECK(expand("/m/%{user}", "alice@example.org") == "/m/alice@example.org");
    CHECK(expand("/m/100%%/x%{local}y/", "alice") == "/m/100%/xalicey/");
    CHECK(expand("/m/plain", "alice") == "/m/plain");
    // FNV-1a of "foobar" is 85944171f73967e8; the low two bytes. Never changes.
    CHECK(expand("/m/%{hash}/%{user}", "foobar") == "/m/e8/67/foobar");
}

TEST_CASE("no name leaves the template's directory or makes another component") {
    CHECK(expand("/m/%{user}", "..") == "/m/%2E.");
    CHECK(expand("/m/%{user}", ".") == "/m/%2E");
    CHECK(expand("/m/%{user}", ".hidden") == "/m/%2Ehidden");
    CHECK(expand("/m/%{user}", "a/../../etc") == "/m/a%2F..%2F..%2Fetc");
    CHECK(expand("/m/%{user}", "a%2fb") == "/m/a%252fb");
    CHECK(expand("/m/%{user}", std::string("a\0b\n\x7f", 5)) == "/m/a%00b%0A%7F");
    CHECK(expand("/m/%{domain}/%{local}", "alice") == "/m/@/alice");
    CHECK(expand("/m/%{domain}/%{local}", "@example.org") == "/m/example.org/@");
    CHECK(expand("/m/%{domain}/%{local}", "x@..") == "/m/%2E./x");
}

TEST_CASE("no two names share a path") {
    const std::string names[] = {"a",    "a@",   "@",   "@@",   "@a",   "@@a", "a@@",  "a@a",   ".",     "%2E", "%2E@",
                                 "..",   ".@.",  "%",   "%25",  "/",    "%2F", "@%40", "%40",   "%40@",  "@/",  "/@",
                                 "a/@b", "a@/b", "a@b", "a@b@", "@a@b", "a.b", "a.b@", "%40@a", "@%40@a"};
    for (const char* pattern : {"/m/%{domain}/%{local}", "/m/%{user}", "/m/%{hash}/%{user}"}) {
        std::set<std::string> paths;
        for (const auto& name : names) CHECK(paths.insert(expand(pattern, name)).second);
    }
}

TEST_CASE("a template that cannot be right is an Error that names its setting") {
    CHECK(has(expand_error("m/%{user}"), "maildir.path 'm/%{user}' for alice@example.org: not an absolute path"));
    CHECK(has(expand_error(""), "not an absolute path"));
    CHECK(has(expand_error("%{user}"), "not an absolute path"));
    CHECK(has(expand_error("/m/%{name}"), "unknown variable %{name}"));
    CHECK(has(expand_error("/m/%u"), "begins no variable"));
    CHECK(has(expand_error("/m/%"), "begins no variable"));
    CHECK(has(expand_error("/m/%{user"), "begins no variable"));
    CHECK(has(expand_error("/m/../%{user}"), "'..'"));
    CHECK(has(expand_error("/m/%{user}/.."), "'..'"));
}

TEST_CASE("settings are read from flat JSON objects of strings, whole numbers and booleans") {
    const auto read = [](const std::string& json) { return scratch::must(parse_settings("x", json)); };
    CHECK(read("{}").empty());
    CHECK(read(" {\n} ").empty());
    CHECK(read(R"({"a":"b","n":12,"m":-3,"t":true,"f":false,"e":"","u":"\u00e4"})") ==
          Settings{{"a", "b"}, {"n", "12"}, {"m", "-3"}, {"t", "yes"}, {"f", "no"}, {"e", ""}, {"u", "\xc3\xa4"}});
    CHECK(read(R"({"n":18446744073709551615})") == Settings{{"n", "18446744073709551615"}});
}

TEST_CASE("other JSON, and what is none, is an Error that says where") {
    const auto error = [](const std::string& json) {
        const auto result = parse_settings("user x, column settings", json);
        REQUIRE_FALSE(result);
        CHECK(result.error().outcome == Outcome::misconfigured);
        CHECK(result.error().what == "user x, column settings");
        return result.error().why;
    };
    CHECK(has(error(""), "not JSON"));
    CHECK(has(error("quota.storage=1G"), "not JSON at byte 1"));
    CHECK(has(error(R"({"a":"b")"), "not JSON"));
    CHECK(has(error(R"({"a":"b"} x)"), "not JSON"));
    CHECK(has(error(R"({"a":"b",})"), "not JSON"));
    CHECK(has(error("{\"a\":\"\xff\"}"), "not JSON"));
    CHECK(has(error(R"([1])"), "a list, not an object"));
    CHECK(has(error(R"("a")"), "a single value, not an object"));
    CHECK(has(error("null"), "null, not an object"));
    CHECK(has(error("1.5"), "a fraction, not an object"));
    CHECK(has(error(R"({"a":null})"), "the value of 'a' is null"));
    CHECK(has(error(R"({"a":1.5})"), "the value of 'a' is a fraction"));
    CHECK(has(error(R"({"a":18446744073709551616})"), "the value of 'a' is a fraction"));
    CHECK(has(error(R"({"a":{}})"), "the value of 'a' is an object"));
    CHECK(has(error(R"({"a":[]})"), "the value of 'a' is a list"));
    CHECK(has(error(R"({"a":"1","a":"2"})"), "the key 'a' stands twice"));
    CHECK(has(error(std::string(100000, '[')), "a list, not an object"));
    CHECK(has(error(R"({"a":)" + std::string(100000, '[')), "the value of 'a' is a list"));
}

TEST_CASE("settings written as JSON are read back as they were") {
    const Settings settings{{"a", "b"}, {"quote", "\"\\/\b\n"}, {"utf8", "\xc3\xa4\xe2\x82\xac"}, {"", ""}};
    CHECK(scratch::must(parse_settings("x", scratch::must(render_settings("x", settings)))) == settings);
    CHECK(scratch::must(render_settings("x", {})) == "{}");
    CHECK(has(scratch::error_text(render_settings("x", {{"a", "\xff"}})), "the value of 'a' is not UTF-8"));
}

TEST_CASE("The common path of a template is the directory above its first variable") {
    CHECK(roost::common_path("/var/mail/roost/%{domain}/%{local}") == "/var/mail/roost");
    CHECK(roost::common_path("/srv/mail-%{domain}/x") == "/srv");
    CHECK(roost::common_path("/home/%{local}/Maildir") == "/home");
    CHECK(roost::common_path("/var/mail/all") == "/var/mail");
    CHECK(roost::common_path("/%{user}") == "/");
    CHECK(roost::common_path("/srv/100%%/50%%/%{domain}/100%%/x") == "/srv/100%/50%");
    CHECK(roost::common_path("/srv/100%%%{domain}/x") == "/srv");
    CHECK(roost::common_path("/srv/x%%") == "/srv");
}
