// Recovery beside mail programs that are at work in the mailbox.
#include <cerrno>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "journal_desk.h"
#include "maildir_reader.h"

using namespace roost;
using namespace roost::test;
namespace fs = std::filesystem;

namespace {

// A mailbox with one message, and the journal that a crash left then.
struct AfterCrash {
    Site site;
    Desk desk{site};
    User alice = site.with_mailbox("alice@x", {{"quota.storage", "1G"}});
    fs::path root = root_of(alice);
    fs::path path;  // of the message
    std::string name;
    std::string dir;

    AfterCrash() {
        site.restart(desk.open());
        path = site.delivered(alice, kHello).path;
        name = path.filename().string();
        dir = desk.crashed();
        site.restart();
    }
    fs::path in_cur(const std::string& flags) const { return root / "cur" / (name + flags); }
    JournalRecovery recover() {
        const JournalRecovery found = desk.recover(dir);
        site.files().before = nullptr;
        return found;
    }
};

using Mails = std::vector<std::string>;

}  // namespace

TEST_CASE("restore: a message is known by the unique part of its name, whatever mail programs make of the rest",
          "[maildir]") {
    AfterCrash crash;
    const std::string unique = crash.name.substr(0, crash.name.find(','));
    // As mbsync, Dovecot and Courier name it.
    const std::string rest = GENERATE(as<std::string>{}, ",S=23,W=26,U=1:2,S", ",U=1,S=23,W=26:2,S", ":2,", "",
                                      ",S=1,U=17:2,RS", ",U=1,FMD5=0123456789abcdef:2,S", ",W=7");
    const std::string name = unique + rest;
    const fs::path there = crash.root / GENERATE("cur", "new") / name;
    const bool torn = GENERATE(false, true);
    CAPTURE(there, torn);
    fs::rename(crash.path, there);
    if (torn) put(there, "Subj");
    CHECK(crash.recover().restored == (torn ? 1 : 0));
    CHECK(crash.site.messages(crash.alice) == Mails{kHello});
    CHECK(MaildirReader::contents(there) == kHello);
}

TEST_CASE("restore: another message is not taken for one that is lost", "[maildir]") {
    AfterCrash crash;
    const std::string unique = crash.name.substr(0, crash.name.find(','));
    // The next one of the same process, and one whose name only begins alike.
    put(crash.root / "cur" / (unique + "0,S=6:2,S"), "other\n");
    put(crash.root / "cur" / (unique.substr(0, unique.size() - 1) + ",S=6:2,S"), "other\n");
    fs::remove(crash.path);
    CHECK(crash.recover().restored == 1);
    CHECK(crash.site.messages(crash.alice) == Mails{kHello, "other\n", "other\n"});
}

TEST_CASE("restore: a message that a mail program moves between finding and looking is found again", "[maildir]") {
    AfterCrash crash;
    fs::create_directories(crash.root / ".Archive" / "cur");
    const bool read_before = GENERATE(false, true);
    const bool to_folder = GENERATE(false, true);
    const int moves = GENERATE(1, 4);
    CAPTURE(read_before, to_folder, moves);
    fs::path at = crash.path;
    const auto move_to = [&](const fs::path& next) { fs::rename(std::exchange(at, next), next); };
    if (read_before) move_to(crash.in_cur(":2,"));
    int moved = 0;
    crash.site.files().before = [&](std::string_view operation, const std::string& name, DirRef /*dir*/) {
        if (operation != "open" || name != at.filename() || moved == moves) return 0;
        const std::string flags = ":2," + std::string(static_cast<std::size_t>(++moved), 'S');
        move_to(to_folder ? crash.root / ".Archive" / "cur" / (crash.name + flags) : crash.in_cur(flags));
        return 0;
    };
    const JournalRecovery found = crash.recover();
    CHECK(moved == moves);
    CHECK(found.restored == 0);
    CHECK(found.kept == 0);
    CHECK(MaildirReader::contents(at) == kHello);
    CHECK(crash.site.recount(crash.alice) == Usage{kHello.size(), 1});
}

TEST_CASE("restore: a message that never stays where it is found is tried again at the next start", "[maildir]") {
    AfterCrash crash;
    fs::path at = crash.path;
    int moved = 0;
    crash.site.files().before = [&](std::string_view operation, const std::string& name, DirRef /*dir*/) {
        if (operation != "open" || name != at.filename()) return 0;
        const fs::path next = crash.in_cur(":2," + std::string(static_cast<std::size_t>(++moved), 'S'));
        fs::rename(std::exchange(at, next), next);
        return 0;
    };
    CHECK(crash.recover().kept == 1);
    CHECK(moved > 1);
    CHECK(moved < 100);
    const JournalRecovery found = crash.recover();
    CHECK(found.deliveries == 1);
    CHECK(found.restored == 0);
    CHECK(found.kept == 0);
    CHECK(crash.site.messages(crash.alice) == Mails{kHello});
}

TEST_CASE("restore: a message that a user deletes between finding and looking is brought back once", "[maildir]") {
    AfterCrash crash;
    crash.site.files().before = [&](std::string_view operation, const std::string& name, DirRef /*dir*/) {
        if (operation == "open" && name == crash.name) fs::remove(crash.path);
        return 0;
    };
    CHECK(crash.recover().restored == 1);
    CHECK(crash.site.messages(crash.alice) == Mails{kHello});
}

TEST_CASE("restore: a folder that is renamed or removed while a message is looked for in it", "[maildir]") {
    AfterCrash crash;
    fs::create_directories(crash.root / ".Archive" / "cur");
    fs::rename(crash.path, crash.root / ".Archive" / "cur" / (crash.name + ":2,S"));
    const bool removed = GENERATE(false, true);
    CAPTURE(removed);
    int opened = 0;
    crash.site.files().before = [&](std::string_view operation, const std::string& name, DirRef /*dir*/) {
        // First to be listed.
        if (operation != "open_dir" || name != ".Archive" || ++opened != 2) return 0;
        if (removed)
            fs::remove_all(crash.root / ".Archive");
        else
            fs::rename(crash.root / ".Archive", crash.root / ".Old");
        return 0;
    };
    const JournalRecovery found = crash.recover();
    CHECK(opened >= 2);
    CHECK(found.restored == (removed ? 1 : 0));
    CHECK(found.kept == 0);
    CHECK(crash.site.messages(crash.alice, {"Old"}).size() == (removed ? 0 : 1));
    CHECK(crash.site.messages(crash.alice).size() == (removed ? 1 : 0));
}

TEST_CASE("restore: a torn message that a mail program moves before it is replaced is replaced where it went",
          "[maildir]") {
    AfterCrash crash;
    const bool linked = GENERATE(false, true);
    const bool deleted = GENERATE(false, true);
    CAPTURE(linked, deleted);
    put(crash.path, "Subj");
    if (linked) fs::create_hard_link(crash.path, crash.site.dir() + "/of-another-user");
    bool moved = false;
    crash.site.files().before = [&](std::string_view operation, const std::string& name, DirRef /*dir*/) {
        if (operation != "rename" || name != crash.name || std::exchange(moved, true)) return 0;
        if (deleted)
            fs::remove(crash.path);
        else
            fs::rename(crash.path, crash.in_cur(":2,S"));
        return 0;
    };
    CHECK(crash.recover().restored == 1);
    CHECK(moved);
    CHECK(crash.site.messages(crash.alice) == Mails{kHello});
    CHECK(fs::exists(crash.in_cur(":2,S")) == !deleted);
    CHECK(crash.site.reader().leftovers(crash.alice).empty());
}

TEST_CASE("restore: a message that moves while the mailbox is listed, to where that was done, is not lost",
          "[maildir]") {
    AfterCrash crash;
    const fs::path junk = crash.root / ".Junk" / "cur";
    fs::create_directories(junk);
    fs::rename(crash.path, junk / crash.name);
    bool moved = false;
    crash.site.files().before = [&](std::string_view operation, const std::string& name, DirRef /*dir*/) {
        if (operation == "open_dir" && name == ".Junk" && !std::exchange(moved, true))
            fs::rename(junk / crash.name, crash.in_cur(":2,S"));
        return 0;
    };
    CHECK(crash.recover().restored == 0);
    CHECK(moved);
    CHECK(crash.site.messages(crash.alice) == Mails{kHello});
}

TEST_CASE("restore: a mailbox that changes all the time is not listed for ever", "[maildir]") {
    AfterCrash crash;
    fs::remove(crash.path);
    int listed = 0;
    crash.site.files().before = [&](std::string_view operation, const std::string& name, DirRef /*dir*/) {
        if (operation == "open_dir" && name == ".") put(crash.root / "cur" / std::to_string(++listed), "another\n");
        if (operation == "stat" && name == "cur") put(crash.root / "cur" / ("x" + std::to_string(listed)), "another\n");
        return 0;
    };
    CHECK(crash.recover().restored == 1);
    CHECK(listed < 10);
}

TEST_CASE("restore: on a volume that is mounted read-only, mail that is whole is done with, and only that",
          "[maildir]") {
    AfterCrash crash;
    crash.site.usage(crash.alice);
    const std::string state = GENERATE("in new", "in cur", "lost", "torn");
    CAPTURE(state);
    if (state == "in cur") fs::rename(crash.path, crash.in_cur(":2,S"));
    if (state == "lost") fs::remove(crash.path);
    if (state == "torn") put(crash.path, "Subj");
    const bool whole = state.starts_with("in ");
    // As a volume does that has given up: what is not on the disk yet will never be.
    const bool given_up = GENERATE(false, true);
    CAPTURE(given_up);
    const std::string mail = crash.site.mail();
    bool writable = false;
    crash.site.files().before = [&](std::string_view operation, const std::string& name, DirRef dir) {
        if (writable || (!name.starts_with(mail) && !dir.path.starts_with(mail))) return 0;
        const bool writes = operation != "open" && operation != "open_dir" && operation != "stat" &&
                            !operation.starts_with("sync") && operation != "clone";
        const bool makes = operation == "open" && dir.path.ends_with("/tmp");
        return writes || makes || (given_up && operation == "sync") ? EROFS : 0;
    };
    const JournalRecovery found = crash.desk.recover(crash.dir);
    CHECK(found.restored == 0);
    CHECK(found.kept == (whole && !given_up ? 0 : 1));
    writable = true;
    CHECK(crash.recover().restored == (whole ? 0 : 1));
    CHECK(crash.recover().deliveries == 0);
    CHECK(crash.site.messages(crash.alice) == Mails{kHello});
}

TEST_CASE("restore: what is found whole is counted anew, since a crash may have taken its entry", "[maildir]") {
    AfterCrash crash;
    if (GENERATE(false, true)) fs::rename(crash.path, crash.in_cur(":2,S"));
    put(crash.root / "maildirsize", "1073741824S\n0 0\n");
    CHECK(crash.site.usage(crash.alice) == Usage{});
    CHECK(crash.recover().restored == 0);
    CHECK(crash.site.usage(crash.alice) == Usage{kHello.size(), 1});
}

TEST_CASE("restore: what is brought back is counted, also if somebody counts just before", "[maildir]") {
    AfterCrash crash;
    if (GENERATE(false, true))
        fs::remove(crash.path);
    else
        put(crash.path, "");
    bool counted = false;
    crash.site.files().before = [&](std::string_view operation, const std::string& name, DirRef /*dir*/) {
        if (operation == "rename" && name == crash.name && !std::exchange(counted, true))
            static_cast<void>(crash.site.recount(crash.alice));
        return 0;
    };
    CHECK(crash.recover().restored == 1);
    CHECK(counted);
    CHECK(crash.site.usage(crash.alice) == Usage{kHello.size(), 1});
}
