// What recovery cannot bring back is kept, and nothing else.
#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "base/log.h"
#include "journal_desk.h"
#include "maildir_reader.h"

using namespace roost;
using namespace roost::test;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> files_in(const std::string& dir, const std::string& prefix) {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(dir))
        if (entry.path().filename().string().starts_with(prefix)) out.push_back(entry.path());
    return out;
}

// A journal in which mail for Alice and Bob is, as a crash left it; Bob's mailbox is away.
struct Crash {
    Site site;
    Desk desk{site};
    User alice = site.with_mailbox("alice@x");
    User bob = site.with_mailbox("bob@x");
    std::string alices;
    std::string dir;
    fs::path aside = site.dir() + "/aside";

    Crash() {
        site.restart(desk.open());
        alices = site.delivered(alice, "to alice\n").path;
        fs::remove(site.delivered(bob, "to bob\n").path);
        dir = desk.crashed();
        site.restart();
        fs::rename(root_of(bob), aside);
    }
    void bring_back_mailbox() { fs::rename(aside, root_of(bob)); }
};

}  // namespace

TEST_CASE("kept: mail that was brought back does not come again while other mail is kept", "[maildir]") {
    Crash crash;
    fs::remove(crash.alices);
    JournalRecovery found = crash.desk.recover(crash.dir);
    CHECK(found.restored == 1);
    CHECK(found.kept == 1);
    const auto kept = files_in(crash.dir, "kept-");
    REQUIRE(kept.size() == 1);
    CHECK(MaildirReader::contents(kept.front()).find("to alice") == std::string::npos);
    fs::remove(crash.alices);  // by Alice
    found = crash.desk.recover(crash.dir);
    CHECK(found.deliveries == 1);
    CHECK(found.restored == 0);
    CHECK(files_in(crash.dir, "kept-") == kept);
    crash.bring_back_mailbox();
    CHECK(crash.desk.recover(crash.dir).restored == 1);
    CHECK(crash.site.messages(crash.alice).empty());
    CHECK(crash.site.messages(crash.bob) == std::vector<std::string>{"to bob\n"});
    CHECK(files_in(crash.dir, "kept-").empty());
    CHECK(files_in(crash.dir, "unfinished").empty());
    CHECK(crash.desk.recover(crash.dir).deliveries == 0);
}

TEST_CASE("kept: mail of a user whose mailbox was given up waits for a new one", "[maildir]") {
    Crash crash;
    CHECK(crash.desk.recover(crash.dir).kept == 1);
    crash.site.db().records.at("bob@x").allocation.reset();
    JournalRecovery found = crash.desk.recover(crash.dir);
    CHECK(found.kept == 1);
    CHECK(found.orphans == 0);
    const User bob = crash.site.with_mailbox("bob@x");
    CHECK(crash.desk.recover(crash.dir).restored == 1);
    CHECK(crash.site.messages(bob) == std::vector<std::string>{"to bob\n"});
    CHECK(files_in(crash.dir, "kept-").empty());
}

TEST_CASE("kept: mail of a user who is gone is let go", "[maildir]") {
    Crash crash;
    CHECK(crash.desk.recover(crash.dir).kept == 1);
    crash.site.db().records.erase("bob@x");
    const JournalRecovery found = crash.desk.recover(crash.dir);
    CHECK(found.orphans == 1);
    CHECK(found.kept == 0);
    CHECK(files_in(crash.dir, "kept-").empty());
}

TEST_CASE("kept: a mailbox that is away is told of once, with the number of its deliveries", "[maildir]") {
    Crash crash;
    crash.bring_back_mailbox();
    crash.site.restart(crash.desk.open());
    for (int i = 0; i < 3; ++i) crash.site.delivered(crash.bob, "more to bob\n");
    crash.dir = crash.desk.crashed();
    crash.site.restart();
    fs::rename(root_of(crash.bob), crash.aside);
    const std::string log = crash.site.dir() + "/log";
    must(open_log("test", log, LogLevel::info));
    CHECK(crash.desk.recover(crash.dir).failed == 3);
    must(open_log("test", "stderr", LogLevel::warning));
    const std::string text = MaildirReader::contents(log);
    const std::string told = "mailbox of bob@x: ";
    CHECK(text.find(told) != std::string::npos);
    CHECK(text.find(told) == text.rfind(told));
    CHECK(text.find("(3 deliveries)\n") != std::string::npos);
    CHECK(text.find("3 deliveries were looked for, 0 of them brought back, 0 belonged to users that are gone, 3 could "
                    "not be brought back") != std::string::npos);
}

TEST_CASE("kept: mail of a user who was removed is for nobody who gets the name later", "[maildir]") {
    Crash crash;
    const bool alone = GENERATE(true, false);
    if (!alone) fs::rename(root_of(crash.alice), crash.site.dir() + "/alice");
    CHECK(crash.desk.recover(crash.dir).kept == 1);
    must(Journal::forget_kept(crash.site.files(), crash.dir, "carol@x"));
    REQUIRE(files_in(crash.dir, "kept-").size() == 1);
    must(Journal::forget_kept(crash.site.files(), crash.dir, "bob@x"));
    CHECK(files_in(crash.dir, "kept-").empty() == alone);
    crash.bring_back_mailbox();
    if (!alone) fs::rename(crash.site.dir() + "/alice", root_of(crash.alice));
    fs::remove(crash.alices);
    CHECK(crash.desk.recover(crash.dir).restored == (alone ? 0 : 1));
    CHECK(crash.site.messages(crash.bob).empty());
    CHECK(crash.site.messages(crash.alice).size() == (alone ? 0 : 1));
    must(Journal::forget_kept(crash.site.files(), crash.dir + "/none", "bob@x"));
}

TEST_CASE("kept: a damaged segment stays whole beside what could not be brought back", "[maildir]") {
    Crash crash;
    const std::string segment = crash.dir + "/segment-0";
    flip_octet(segment, count_of(segment, "to alice\n"));
    const std::string damaged = MaildirReader::contents(segment);
    CHECK(crash.desk.recover(crash.dir).kept == 2);
    REQUIRE(files_in(crash.dir, "damaged-").size() == 1);
    CHECK(MaildirReader::contents(files_in(crash.dir, "damaged-").front()) == damaged);
    crash.bring_back_mailbox();
    CHECK(crash.desk.recover(crash.dir).restored == 1);
    CHECK(crash.site.messages(crash.bob) == std::vector<std::string>{"to bob\n"});
    CHECK(files_in(crash.dir, "kept-").empty());
    CHECK(files_in(crash.dir, "damaged-").size() == 1);
}

TEST_CASE("kept: whatever fails on the way, nothing is given up, and the next start does it", "[maildir]") {
    Crash crash;
    crash.bring_back_mailbox();
    const bool away = GENERATE(true, false);
    const bool damaged = GENERATE(false, true);
    const bool alone = GENERATE(false, true);  // nothing but Bob's mail is in the segment
    if (alone) {
        crash.site.restart(crash.desk.open());
        crash.site.delivered(crash.bob, "to bob\n");
        crash.dir = crash.desk.crashed();
        crash.site.restart();
    }
    if (damaged && !alone) flip_octet(crash.dir + "/segment-0", count_of(crash.dir + "/segment-0", "to alice\n"));
    if (damaged && alone) fs::resize_file(crash.dir + "/segment-1", kSmallSegment / 2);
    FaultyFiles& files = crash.site.files();
    bool fired = true;
    for (std::size_t nth = 1; fired; ++nth) {
        CAPTURE(away, damaged, alone, nth);
        for (const User* user : {&crash.alice, &crash.bob})
            for (const auto& entry : fs::directory_iterator(root_of(*user) / "new")) fs::remove(entry);
        const std::string dir = crash.dir + "-" + std::to_string(nth);
        fs::copy(crash.dir, dir);
        if (away) fs::rename(root_of(crash.bob), crash.aside);
        {
            auto journal = must(Journal::open(files, crash.desk.plan(dir)));
            files.arm(nth, ENOSPC);
            static_cast<void>(journal.recover(crash.site.config(), crash.site.db(), crash.site.mda()));
            fired = files.fired();
            files.disarm();
        }
        INFO(files.failed_operation());
        CHECK(files_in(dir, "segment-").size() == 3);
        if (away) crash.bring_back_mailbox();
        crash.desk.recover(dir);
        crash.desk.recover(dir);
        for (const std::string& segment : files_in(dir, "segment-")) CHECK(fs::file_size(segment) == kSmallSegment);
        CHECK(crash.site.messages(crash.bob) == std::vector<std::string>{"to bob\n"});
        CHECK(crash.site.messages(crash.alice).size() == (alone || damaged ? 0 : 1));
        CHECK(files_in(dir, "kept-").empty());
        CHECK(files_in(dir, "unfinished").empty());
        CHECK(files_in(dir, "damaged-").empty() == !damaged);
    }
}

TEST_CASE("kept: what a start that was killed has not finished is gone after the next", "[maildir]") {
    Crash crash;
    crash.bring_back_mailbox();
    put(crash.dir + "/unfinished", "half of it");
    CHECK(crash.desk.recover(crash.dir).kept == 0);
    CHECK(files_in(crash.dir, "unfinished").empty());
    CHECK(crash.site.messages(crash.bob) == std::vector<std::string>{"to bob\n"});
}

TEST_CASE("kept: what was not acknowledged is not", "[maildir]") {
    Site site;
    Desk desk(site);
    const User alice = site.with_mailbox("alice@x");
    site.restart(desk.open());
    deliver_in_vain(site, alice, "refused\n");
    fs::remove(site.delivered(alice, "taken\n").path);
    const std::string crashed = desk.crashed();
    site.restart();
    const std::string aside = site.dir() + "/aside";
    fs::rename(root_of(alice), aside);
    CHECK(desk.recover(crashed).kept == 1);
    CHECK(desk.recover(crashed).kept == 1);
    fs::rename(aside, root_of(alice));
    CHECK(desk.recover(crashed).restored == 1);
    CHECK(site.messages(alice) == std::vector<std::string>{"taken\n"});
}

TEST_CASE("kept: a volume that cannot be synced keeps no mail of others", "[maildir]") {
    Crash crash;
    crash.bring_back_mailbox();
    fs::remove(crash.alices);
    bool failed = false;
    bool bobs = false;  // the volume that is synced is his
    crash.site.files().before = [&](std::string_view what, const std::string&, DirRef dir) {
        if (what == "stat" || what == "open") bobs = dir.path.find("/bob") != std::string::npos;
        if (what != "sync_volume" || (failed && !bobs)) return 0;
        failed = true;
        return EIO;
    };
    JournalRecovery found = crash.desk.recover(crash.dir);
    crash.site.files().before = nullptr;
    CHECK(failed);
    CHECK(found.failed == 1);
    CHECK(found.restored == 2);
    for (const User* user : {&crash.alice, &crash.bob})
        for (const auto& entry : fs::directory_iterator(root_of(*user) / "new")) fs::remove(entry);
    CHECK(crash.desk.recover(crash.dir).restored == 1);
    CHECK(crash.site.messages(crash.alice).empty());
    CHECK(crash.site.messages(crash.bob) == std::vector<std::string>{"to bob\n"});
}

TEST_CASE("kept: a part of a segment that the disk cannot read is damage", "[maildir]") {
    Crash crash;
    crash.bring_back_mailbox();
    fs::remove(crash.alices);
    const std::uint64_t bad = GENERATE(4096U, 40960U);  // in the block of the records, or behind them
    crash.site.files().before = [&](std::string_view what, const std::string& name, DirRef) {
        if (what != "read_at") return 0;
        std::size_t plus = 0;
        const std::uint64_t at = std::stoull(name, &plus);
        return at <= bad && bad < at + std::stoull(name.substr(plus)) ? EIO : 0;
    };
    const JournalRecovery found = crash.desk.recover(crash.dir);
    crash.site.files().before = nullptr;
    CHECK(found.kept == 3);  // each segment has the bad place
    CHECK(files_in(crash.dir, "damaged-").size() == 3);
    CHECK(crash.site.messages(crash.bob).size() == (bad > 4096 ? 1 : 0));
    CHECK(crash.desk.recover(crash.dir).kept == 0);
}
