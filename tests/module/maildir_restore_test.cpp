// Recovery beside mail programs that are at work in the mailbox.
#include <filesystem>
#include <string>
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
