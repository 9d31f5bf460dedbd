#include "config/config.h"

#include <unistd.h>

#include <fstream>

#include "catch.h"
#include "has.h"

using namespace roost;
using roost::test::has;

namespace {

// A roost.conf in a private file, gone with the object.
class ConfFile {
public:
    explicit ConfFile(const std::string& text) {
        path_ = "roost-config-test." + std::to_string(::getpid()) + ".conf";
        std::ofstream(path_) << text;
    }
    ~ConfFile() { ::unlink(path_.c_str()); }
    ConfFile(const ConfFile&) = delete;
    ConfFile& operator=(const ConfFile&) = delete;
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

Result<Config> load(const std::string& text, const std::vector<std::string>& overrides = {}) {
    const ConfFile conf(text);
    auto file = ConfigFile::read(conf.path(), overrides);
    if (!file) return std::move(file).error();
    return Config::make(*std::move(file), Schema());
}

std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
    const auto config = load(text, overrides);
    REQUIRE_FALSE(config);
    CHECK(config.error().outcome != Outcome::no_such_user);
    return config.error().text();
}

}  // namespace

TEST_CASE("sections and keys make settings, comments and blank lines are passed over") {
    const auto config =
        load("# top\n\n[quota] # here too\n  storage = 1G  # and here\nmessages=5\r\n[log]\nlevel = debug\n");
    REQUIRE(config);
    CHECK(config->text("quota.storage") == "1G");
    CHECK(config->text("quota.messages") == "5");
    CHECK(has(std::string(config->origin("log.level")), ".conf:7"));
    CHECK(config->text("delivery.detail") == "folder");
    CHECK(config->origin("delivery.detail") == "default");
}

TEST_CASE("a wrong line names file, line, key and what would be right") {
    const std::string unknown = error_of("[quota]\nstorage = 1G\n\n# x\nstorrage = 2G\n");
    CHECK(has(unknown, ".conf:5"));
    CHECK(has(unknown, "quota.storrage"));
    const std::string bad = error_of("[quota]\nstorage = lots\n");
    CHECK(has(bad, ".conf:2"));
    CHECK(has(bad, "quota.storage"));
    CHECK(has(bad, "512K"));
    const std::string twice = error_of("[quota]\nstorage = 1G\n[log]\nlevel=info\n[quota]\nstorage = 2G\n");
    CHECK(has(twice, ".conf:6"));
    CHECK(has(twice, ".conf:2"));
    CHECK(has(error_of("[quota]\nstorage\n"), ".conf:2"));
    CHECK(has(error_of("storage = 1\n"), ".conf:1"));
    CHECK(has(error_of("[quota\nstorage = 1\n"), ".conf:1"));
    CHECK(has(error_of("[quota]\nwhen-full = sometimes\n"), "bounce|defer"));
}

TEST_CASE("a template for more than one user tells them apart") {
    constexpr Setting table[] = {{"box.path", Kind::pattern, "/m/%{user}", Level::user, ""}};
    Schema schema;
    REQUIRE(schema.add(table));
    for (const char* path : {"/m", "/m/%{domain}", "/m/%{hash}/x", "/m/%%{user}", "m/%%%%{local}"}) {
        INFO(path);
        for (const Level level : {Level::file, Level::plan, Level::domain})
            CHECK(has(schema.check("x.conf:1", level, "box.path", path).error().text(), "x.conf:1: box.path: "));
        CHECK(schema.check("user", Level::user, "box.path", path));
    }
    // A bare user name has no domain, nor needs a site with one domain it.
    for (const char* path : {"/m/%{local}", "/m/%{user}", "/m/%{domain}/%{local}", "m/%%%{local}"})
        for (const Level level : {Level::file, Level::plan, Level::domain, Level::user})
            CHECK(schema.check("x", level, "box.path", path));
}

TEST_CASE("what -o says overrules the file and is checked alike") {
    const auto config = load("[quota]\nstorage = 1G\n", {"quota.storage=2G", "quota.messages = 5"});
    REQUIRE(config);
    CHECK(config->text("quota.storage") == "2G");
    CHECK(config->text("quota.messages") == "5");
    CHECK(config->origin("quota.storage") == "command line");
    CHECK(has(error_of("", {"quota.storage"}), "key=value"));
    CHECK(has(error_of("", {"quota.storage=x"}), "command line"));
    CHECK(has(error_of("", {"no.such=x"}), "no.such"));
}

TEST_CASE("a missing or unreadable file is our trouble, with its name") {
    const auto missing = ConfigFile::read("/nonexistent/roost.conf", {});
    REQUIRE_FALSE(missing);
    CHECK(is_temporary(missing.error().outcome));
    CHECK(has(missing.error().text(), "/nonexistent/roost.conf"));
    CHECK_FALSE(ConfigFile::read("/", {}));
}

TEST_CASE("the nearest level wins, removal shows the wider one, unlimited is a value") {
    const auto config = load("[quota]\nstorage = 1G\nmessages = 10\n");
    REQUIRE(config);
    const auto cascade = Cascade::make(
        *config, {{Level::plan, "gold", {{"quota.storage", "2G"}, {"quota.message", "1M"}}},
                  {Level::domain, "example.org", {{"quota.storage", "3G"}, {"quota.messages", "unlimited"}}},
                  {Level::user, "a@example.org", {{"quota.message", "2M"}}}});
    REQUIRE(cascade);
    CHECK(cascade->size("quota.storage") == std::uint64_t{3} << 30);
    CHECK(cascade->explain("quota.storage").origin == "domain example.org");
    CHECK_FALSE(cascade->count("quota.messages").has_value());
    CHECK(cascade->explain("quota.message").origin == "user");
    CHECK(cascade->explain("quota.grace").origin == "default");
    const auto without = Cascade::make(*config, {{Level::plan, "gold", {{"quota.storage", "2G"}}},
                                                 {Level::domain, "example.org", {}},
                                                 {Level::user, "a@example.org", {}}});
    CHECK(without->explain("quota.storage").origin == "plan gold");
    CHECK(has(without->explain("quota.messages").origin, ".conf:3"));
}

TEST_CASE("a setting below its narrowest level, an unknown one and a malformed one name the layer") {
    const auto config = load("");
    const auto layer = [&](const char* key, const char* value) {
        const auto cascade = Cascade::make(*config, {{Level::user, "a@example.org", {{key, value}}}});
        REQUIRE_FALSE(cascade);
        CHECK(is_temporary(cascade.error().outcome));
        CHECK(has(cascade.error().text(), "user a@example.org: " + std::string(key)));
        return cascade.error().text();
    };
    CHECK(has(layer("store.mda", "mbox"), "roost.conf"));
    layer("quota.nope", "1");
    layer("quota.storage", "many");
}
