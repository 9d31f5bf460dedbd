#include "quota/folder_rules.h"

#include <unistd.h>

#include <fstream>
#include <limits>
#include <memory>

#include "catch.h"
#include "has.h"

using namespace roost;
using roost::test::has;

namespace {

Result<Config> load(const std::string& text, const std::vector<std::string>& overrides = {}) {
    const std::string path = "roost-folders-test." + std::to_string(::getpid()) + ".conf";
    std::ofstream(path) << text;
    auto file = ConfigFile::read(path, overrides);
    ::unlink(path.c_str());
    if (!file) return std::move(file).error();
    return Config::make(*std::move(file), Schema());
}

FolderRules rules(const std::string& text, const Settings& user = {}) {
    static std::vector<std::unique_ptr<Config>> kept;
    auto config = load(text);
    REQUIRE(config);
    kept.push_back(std::make_unique<Config>(*std::move(config)));
    auto cascade = Cascade::make(*kept.back(), {{Level::user, "alice", user}});
    REQUIRE(cascade);
    return folder_rules(*cascade);
}

std::string error_of(const std::string& key, const std::string& value) {
    const auto config = load("[quota]\n", {key + "=" + value});
    REQUIRE_FALSE(config);
    return config.error().text();
}

constexpr std::uint64_t kMega = 1024 * 1024;

}  // namespace

TEST_CASE("a setting with a folder's name in its key can be given at every level, and shows where it came from") {
    auto config = load("[quota]\nfolder.Trash.storage = +100M\nfolder.Sent Items.ignore = yes\n");
    REQUIRE(config);
    CHECK(config->text("quota.folder.Trash.storage") == "+100M");
    CHECK(config->text("quota.folder.Trash.messages") == "+0");
    CHECK(config->flag("quota.folder.Sent Items.ignore"));
    const auto cascade = Cascade::make(*config, {{Level::domain, "example.org", {{"quota.folder.Trash.storage", "5M"}}},
                                                 {Level::user, "alice", {{"quota.folder.Lists/roost.messages", "7"}}}});
    REQUIRE(cascade);
    CHECK(cascade->explain("quota.folder.Trash.storage").origin == "domain example.org");
    CHECK(cascade->room("quota.folder.Trash.storage").amount == 5 * kMega);
    CHECK(cascade->room("quota.folder.Lists/roost.messages").amount == 7);
    CHECK(cascade->explain("quota.folder.Other.ignore").origin == "default");
    CHECK(cascade->names("quota.folder.NAME.storage") == std::set<std::string, std::less<>>{"Trash"});
    std::vector<std::string> shown;
    for (const std::string& key : cascade->keys())
        if (key.starts_with("quota.folder.")) shown.push_back(key);
    CHECK(shown == std::vector<std::string>{"quota.folder.Trash.storage", "quota.folder.Lists/roost.messages",
                                            "quota.folder.Sent Items.ignore"});
}

TEST_CASE("a folder has one name in a key, and INBOX has none") {
    CHECK(has(error_of("quota.folder.Lists.roost.storage", "1G"), "write Lists/roost"));
    CHECK(has(error_of("quota.folder.INBOX/Trash.storage", "1G"), "write Trash"));
    CHECK(has(error_of("quota.folder.Inbox.storage", "1G"), "INBOX"));
    CHECK(has(error_of("quota.folder.a//b.storage", "1G"), "empty component"));
    CHECK(has(error_of("quota.folder.~root.storage", "1G"), "begins with ~"));
    CHECK(has(error_of("quota.folder.storage", "1G"), "no such setting"));
    CHECK(has(error_of("quota.folder..storage", "1G"), "no such setting"));
    CHECK(has(error_of("quota.folder.Trash.size", "1G"), "no such setting"));
    CHECK(has(error_of("quota.folder.Trash.storage", "much"), "+100M"));
    CHECK(load("[quota]\n", {"quota.folder.Lists/roost.storage=1G"}));
}

TEST_CASE("room: a number or unlimited, more than others or by itself") {
    struct Row {
        const char* text;
        bool extra;
        std::optional<std::uint64_t> amount;
    };
    for (const Row& row : {Row{"0", false, 0}, Row{"+0", true, 0}, Row{"100", false, 100}, Row{"+2K", true, 2048},
                           Row{"unlimited", false, {}}, Row{"+unlimited", true, {}}}) {
        INFO(row.text);
        const auto room = parse_room(row.text);
        REQUIRE(room);
        CHECK(room->extra == row.extra);
        CHECK(room->amount == row.amount);
    }
    for (const char* wrong : {"", "+", "++1", "-1", "+ 1", "1 G", "no", "18446744073709551616"}) {
        INFO(wrong);
        CHECK_FALSE(parse_room(wrong));
    }
}

TEST_CASE("a folder counts in the mailbox with more room, or apart with limits of its own, or nowhere") {
    const Limits mailbox{100, 10, 50, Allowance{true, 10}, true};
    const FolderRules all = rules(
        "[quota]\nfolder.More.storage = +20\nfolder.More.messages = +3\nfolder.Any.storage = +unlimited\n"
        "folder.Own.storage = 1000\nfolder.Few.messages = 5\nfolder.Few.storage = +7\nfolder.Free.storage = unlimited\n"
        "folder.Not.ignore = yes\nfolder.Not.storage = 5\nfolder.Plain.ignore = no\n");
    using Counted = FolderRule::Counted;
    struct Row {
        const char* folder;
        Counted counted;
        std::optional<std::uint64_t> storage;
        std::optional<std::uint64_t> messages;
    };
    for (const Row& row : {
             Row{"INBOX", Counted::mailbox, 100, 10},
             Row{"Elsewhere", Counted::mailbox, 100, 10},
             Row{"More", Counted::mailbox, 120, 13},
             Row{"More/below", Counted::mailbox, 100, 10},
             Row{"Any", Counted::mailbox, {}, 10},
             Row{"Plain", Counted::mailbox, 100, 10},
             Row{"Own", Counted::apart, 1000, {}},
             Row{"Few", Counted::apart, {}, 5},
             Row{"Free", Counted::apart, {}, {}},
             Row{"Not", Counted::nowhere, {}, {}},
         }) {
        INFO(row.folder);
        const Folder folder = *parse_folder(row.folder);
        const Limits limits = all.limits(folder, mailbox);
        CHECK(all.counted(folder) == row.counted);
        CHECK(limits.storage == row.storage);
        CHECK(limits.messages == row.messages);
        CHECK(limits.message == 50);
        CHECK(limits.defer_when_full);
        CHECK(limits.grace.amount == 10);
    }
    const Limits none = all.limits({"More"}, Limits{});
    CHECK_FALSE(none.storage);
    CHECK_FALSE(none.messages);
    const Limits most = all.limits({"More"}, Limits{std::numeric_limits<std::uint64_t>::max(), {}, {}, {}, false});
    CHECK_FALSE(most.storage);
}

TEST_CASE("the nearest level decides each setting of a folder") {
    const std::string file = "[quota]\nfolder.Spam.storage = 1G\nfolder.Trash.ignore = yes\n";
    const FolderRules near = rules(file, {{"quota.folder.Spam.storage", "+1M"}, {"quota.folder.Trash.ignore", "no"}});
    CHECK(near.counted({"Spam"}) == FolderRule::Counted::mailbox);
    CHECK(near.find({"Spam"})->storage == kMega);
    CHECK(near.counted({"Trash"}) == FolderRule::Counted::mailbox);
    CHECK(rules(file).counted({"Spam"}) == FolderRule::Counted::apart);
    CHECK(rules("").all().empty());
}
