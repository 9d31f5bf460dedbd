// What recovery brings back from a journal, and what of it it puts aside.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/log.h"
#include "journal_desk.h"
#include "maildir_reader.h"

using namespace roost;
using namespace roost::test;
namespace fs = std::filesystem;

TEST_CASE("journal: what a crash lost or tore is brought back once, wherever a reader had put it", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x", {{"quota.storage", "1G"}});
    site.restart(desk.open());
    const std::string header = "Delivered-To: alice@x\n";
    const Delivery to_folder{{"Lists"}, true, header, nullptr};
    const std::string kept = site.delivered(alice, "kept\n", {{}, true, header, nullptr}).path;
    const std::string lost = site.delivered(alice, "lost\n", {{}, true, header, nullptr}).path;
    const std::string torn = site.delivered(alice, "torn\n", {{}, true, header, nullptr}).path;
    const std::string read = site.delivered(alice, "read\n", {{}, true, header, nullptr}).path;
    const std::string moved = site.delivered(alice, "moved\n", {{}, true, header, nullptr}).path;
    site.delivered(alice, "with its folder\n", to_folder);
    const std::string crashed = desk.crashed();
    site.restart();

    const fs::path root = MaildirReader::directory(alice, {});
    const auto flagged = [&](const std::string& path, const char* flags) {
        return root / "cur" / (fs::path(path).filename().string() + flags);
    };
    fs::remove(lost);
    std::ofstream(torn, std::ios::trunc) << "Deli";
    fs::rename(read, flagged(read, ":2,S"));
    std::ofstream(flagged(read, ":2,S"), std::ios::trunc) << std::string(27, '\0');
    fs::create_directories(root / ".Archive" / "cur");
    fs::create_directories(root / ".Archive" / "new");
    fs::rename(moved, root / ".Archive" / "cur" / (fs::path(moved).filename().string() + ":2,RS"));
    fs::remove_all(root / ".Lists");

    const JournalRecovery found = desk.recover(crashed);
    CHECK(found.deliveries == 6);
    CHECK(found.restored == 4);
    CHECK(found.kept == 0);
    CHECK(site.messages(alice) ==
          std::vector<std::string>{header + "kept\n", header + "lost\n", header + "read\n", header + "torn\n"});
    CHECK(MaildirReader::contents(flagged(read, ":2,S")) == header + "read\n");
    CHECK(site.messages(alice, {"Archive"}) == std::vector<std::string>{header + "moved\n"});
    CHECK(site.messages(alice, {"Lists"}) == std::vector<std::string>{header + "with its folder\n"});
    CHECK(site.reader().leftovers(alice).empty());
    CHECK(site.usage(alice) == site.recount(alice));
    CHECK(desk.recover(crashed).deliveries == 0);  // done with
}

TEST_CASE("journal: what was not acknowledged does not come back", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    deliver_in_vain(site, alice, "refused\n");
    site.delivered(alice, "taken\n");
    const std::string crashed = desk.crashed();
    site.restart();
    CHECK(desk.recover(crashed).deliveries == 1);
    CHECK(site.messages(alice) == std::vector<std::string>{"taken\n"});
}

TEST_CASE("journal: mail of a user that is gone is passed over, of one who was written anew it is kept", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    fs::remove(site.delivered(alice, "x\n").path);
    const std::string crashed = desk.crashed();
    site.restart();
    const bool anew = GENERATE(false, true);
    if (anew)
        site.db().records.at("alice@x").allocation.reset();
    else
        site.db().records.clear();
    const std::string log = site.dir() + "/log";
    must(open_log("test", log, LogLevel::info));
    const JournalRecovery found = desk.recover(crashed);
    must(open_log("test", "stderr", LogLevel::warning));
    const bool told = MaildirReader::contents(log).find("mail of alice@x is passed over") != std::string::npos;
    CHECK(told != anew);
    CHECK(found.orphans == (anew ? 0 : 1));
    CHECK(found.kept == (anew ? 1 : 0));
    if (!anew) return;
    const User again = site.with_mailbox("alice@x");
    CHECK(desk.recover(crashed).restored == 1);
    CHECK(site.messages(again) == std::vector<std::string>{"x\n"});
}

TEST_CASE("journal: a mailbox is listed once for all that is looked for in it, and synced once", "[maildir]") {
    Site site;
    Desk desk(site, 1024 * kSmallSegment);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    constexpr int kMany = 60;
    const std::string what = GENERATE("there", "moved", "lost", "some of each");
    std::vector<fs::path> paths;
    for (int i = 0; i < kMany; ++i) paths.emplace_back(site.delivered(alice, std::to_string(i) + "\n").path);
    const auto before = site.messages(alice);
    const std::string crashed = desk.crashed();
    site.restart();
    std::size_t lost = 0;
    for (int i = 0; i < kMany; ++i) {
        const fs::path& path = paths[static_cast<std::size_t>(i)];
        if (what == "moved" || (what == "some of each" && i % 3 == 0)) {
            fs::rename(path, root_of(alice) / "cur" / (path.filename().string() + ":2,S"));
        } else if (what == "lost" || (what == "some of each" && i % 3 == 1)) {
            fs::remove(path);
            ++lost;
        }
    }
    int listed = 0;
    int synced = 0;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        if (operation == "open_dir" && name == ".") ++listed;
        if (operation.starts_with("sync") && name.find("/journal") == std::string::npos &&
            name.find(crashed) == std::string::npos)
            ++synced;
        return 0;
    };
    const JournalRecovery found = desk.recover(crashed);
    site.files().before = nullptr;
    CHECK(found.deliveries == kMany);
    CHECK(found.restored == lost);
    CHECK(listed == (what == "there" ? 0 : 1));
    CHECK(synced == 1);
    CHECK(site.messages(alice) == before);
}

TEST_CASE("journal: what a reader moves while it is looked for is found", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    std::vector<fs::path> paths;
    for (int i = 0; i < 9; ++i) paths.emplace_back(site.delivered(alice, std::to_string(i) + "\n").path);
    const std::string crashed = desk.crashed();
    site.restart();
    const auto cur = [&](const fs::path& path) { return root_of(alice) / "cur" / (path.filename().string() + ":2,S"); };
    fs::rename(paths.front(), cur(paths.front()));  // so that the mailbox is listed
    std::size_t next = 1;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        // Each is moved just before it is looked at.
        if (operation == "stat" && next < paths.size() && name == paths[next].filename()) {
            fs::rename(paths[next], cur(paths[next]));
            ++next;
        }
        return 0;
    };
    CHECK(desk.recover(crashed).restored == 0);
    site.files().before = nullptr;
    CHECK(next == paths.size());
    CHECK(site.messages(alice).size() == paths.size());
}

TEST_CASE("journal: mail that cannot be synced after it was brought back stays in the journal", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    site.delivered(alice, "x\n");
    const std::string crashed = desk.crashed();
    site.restart();
    site.files().before = [](std::string_view operation, const std::string&, DirRef) {
        return operation == "sync_volume" ? EIO : 0;
    };
    CHECK(desk.recover(crashed).kept == 1);
    CHECK(desk.recover(crashed).kept == 1);  // under the same name
    site.files().before = nullptr;
    CHECK(desk.recover(crashed).deliveries == 1);
    CHECK(desk.recover(crashed).deliveries == 0);
}

TEST_CASE("journal: a damaged segment is read as far as it can be and put aside", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    std::vector<std::string> paths;
    for (const char* text : {"first\n", "second\n", "third\n"}) paths.push_back(site.delivered(alice, text).path);
    const std::string crashed = desk.crashed();
    site.restart();
    flip_octet(crashed + "/segment-0", count_of(crashed + "/segment-0", "second\n"));
    for (const std::string& path : paths) fs::remove(path);
    const JournalRecovery found = desk.recover(crashed);
    CHECK(found.kept == 1);
    CHECK(site.messages(alice) == std::vector<std::string>{"first\n", "third\n"});
    CHECK(fs::file_size(crashed + "/segment-0") == kSmallSegment);
    CHECK(std::any_of(fs::directory_iterator(crashed), fs::directory_iterator(),
                      [](const auto& entry) { return entry.path().filename().string().starts_with("damaged-"); }));
    CHECK(desk.recover(crashed).deliveries == 0);
}

TEST_CASE("journal: a segment that was cut short is read as far as it goes and put aside, its size included",
          "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    std::vector<std::string> paths;
    for (const char* text : {"first\n", "second\n", "third\n"}) paths.push_back(site.delivered(alice, text).path);
    const std::string crashed = desk.crashed();
    site.restart();
    const std::string segment = crashed + "/segment-0";
    for (const std::string& path : paths) fs::remove(path);
    const std::size_t size = count_of(segment, GENERATE("second\n", "third\n"));
    const bool all_there = MaildirReader::contents(segment).substr(0, size).find("second\n") != std::string::npos;
    fs::resize_file(segment, size);
    CHECK(desk.recover(crashed).kept == 1);
    CHECK(site.messages(alice).size() == (all_there ? 2 : 1));
    std::vector<std::uintmax_t> aside;
    for (const auto& entry : fs::directory_iterator(crashed))
        if (entry.path().filename().string().starts_with("damaged-")) aside.push_back(entry.file_size());
    CHECK(aside == std::vector<std::uintmax_t>{size});
    CHECK(desk.recover(crashed).kept == 0);
}

TEST_CASE("journal: a segment whose first block cannot be read is read by its records", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    const std::string path = site.delivered(alice, "first\n").path;
    const std::string crashed = desk.crashed();
    site.restart();
    flip_octet(crashed + "/segment-0", GENERATE(0U, 9U, 17U, 30U));
    fs::remove(path);
    const JournalRecovery found = desk.recover(crashed);
    CHECK(found.restored == 1);
    CHECK(found.kept == 1);
    CHECK(site.messages(alice) == std::vector<std::string>{"first\n"});
}

TEST_CASE("journal: what was put aside is never overwritten", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    const auto aside = [&] {
        std::multiset<std::string> out;
        for (const auto& entry : fs::directory_iterator(desk.dir()))
            if (entry.path().filename().string().starts_with("damaged-"))
                out.insert(MaildirReader::contents(entry.path()));
        return out;
    };
    std::multiset<std::string> expected;
    for (int i = 0; i < 3; ++i) {
        site.restart(desk.open());
        site.delivered(alice, "x\n");
        const std::string crashed = desk.crashed();
        site.restart();
        // As if the power had failed then, each time with damage of its own in all segments.
        for (const char* name : {"segment-0", "segment-1", "segment-2"}) {
            fs::copy_file(crashed + "/" + name, desk.dir() + "/" + name, fs::copy_options::overwrite_existing);
            put(desk.dir() + "/" + name, "damage " + std::to_string(i) + name, std::ios::in | std::ios::out);
            expected.insert(MaildirReader::contents(desk.dir() + "/" + name));
        }
        desk.recover(desk.dir());
        CHECK(aside() == expected);
    }
}

TEST_CASE("journal: what cannot be brought back now is kept and tried again", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    const User bob = site.with_mailbox("bob@x");
    site.restart(desk.open());
    fs::remove(site.delivered(alice, "for alice\n").path);
    fs::remove(site.delivered(bob, "for bob\n").path);
    const std::string crashed = desk.crashed();
    site.restart();
    const fs::path box = MaildirReader::directory(alice, {});
    fs::rename(box, box.string() + ".unmounted");
    CHECK(desk.recover(crashed).kept == 1);
    CHECK(site.messages(bob) == std::vector<std::string>{"for bob\n"});
    fs::rename(box.string() + ".unmounted", box);
    CHECK(desk.recover(crashed).restored == 1);
    CHECK(site.messages(alice) == std::vector<std::string>{"for alice\n"});
    CHECK(site.messages(bob) == std::vector<std::string>{"for bob\n"});
    CHECK(desk.recover(crashed).deliveries == 0);
}

TEST_CASE("journal: a start that fails leaves no segment half made", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    site.delivered(alice, "x\n");
    site.restart();
    bool fired = true;
    for (std::size_t nth = 1; fired; ++nth) {
        fs::remove(desk.dir() + "/segment-1");
        {
            auto journal = must(Journal::open(site.files(), desk.plan(desk.dir())));
            site.files().arm(nth, ENOSPC);
            const auto started = std::move(journal).start(std::make_shared<Doubts>());
            fired = site.files().fired();
            site.files().disarm();
            CHECK(static_cast<bool>(started) != fired);
        }
        if (fs::exists(desk.dir() + "/segment-1")) CHECK(fs::file_size(desk.dir() + "/segment-1") == kSmallSegment);
        CHECK_FALSE(fs::exists(desk.dir() + "/unfinished"));
        CHECK(desk.recover(desk.dir()).kept == 0);
    }
}
