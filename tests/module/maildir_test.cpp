// Maildir++ on disk: names, permissions, folders, links that a user planted,
// rubbish in tmp/.
#include "site.h"

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "maildir_reader.h"

using namespace roost;
using namespace roost::test;
namespace fs = std::filesystem;

namespace {

// Sets the umask while it lives.
class Umask {
public:
    explicit Umask(mode_t mask) : before_(::umask(mask)) {}
    Umask(const Umask&) = delete;
    Umask& operator=(const Umask&) = delete;
    ~Umask() { ::umask(before_); }

private:
    mode_t before_;
};

}  // namespace

TEST_CASE("a message's name is unique and tells its size, as stored and with CRLF", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const std::string header = "X: 1\nY: 2\r\n";  // 11 bytes, one newline without CR
    const std::string text = "a\nb\r\n\nc\rd\n";  // 10 bytes, three of them
    std::set<std::string> names;
    for (int i = 0; i < 20; ++i) {
        const Receipt receipt = site.delivered(alice, text, {{}, true, header, nullptr});
        CHECK(receipt.stored == 21);
        const fs::path path = receipt.path;
        CHECK(path.parent_path() == root_of(alice) / "new");
        CHECK(fs::file_size(path) == 21);
        const std::string name = path.filename();
        CHECK(std::regex_match(name, std::regex(R"(\d+\.M\d{1,6}P\d+Q\d+\.[^/:,]+,S=21,W=25)")));
        CHECK(names.insert(name).second);
    }
    CHECK(names.begin()->find("." + host_name() + ",S=") != std::string::npos);
}

TEST_CASE("a host's name cannot damage the names of messages", "[maildir]") {
    const std::string before = host_name();
    if (::unshare(CLONE_NEWUTS) != 0) ROOST_SKIP("needs root, to have a host name of its own");
    const std::string odd = "ho/st:1";
    REQUIRE(::sethostname(odd.data(), odd.size()) == 0);
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const Receipt receipt = site.delivered(alice, kHello);
    REQUIRE(::sethostname(before.data(), before.size()) == 0);
    CHECK(receipt.path.find(".ho\\057st\\0721,S=") != std::string::npos);
    CHECK(site.messages(alice).size() == 1);
}

TEST_CASE("a name that is taken is never overwritten", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const std::string operation = GENERATE("open", "rename_new", "give_name");
    int collisions = 0;
    site.files().before = [&](std::string_view called, const std::string& name, DirRef dir) {
        if (called == operation && name.find(",S=") != std::string::npos && ++collisions <= 3)
            put(fs::path(dir.path) / name, "another's\n");
        return 0;
    };
    const Receipt receipt = site.delivered(alice, kHello, {{}, true, {}, nullptr, operation == "give_name"});
    site.files().before = nullptr;
    CHECK(collisions == 4);
    CHECK(MaildirReader::contents(receipt.path) == kHello);
    const auto others = MaildirReader::files_in(root_of(alice) / (operation == "open" ? "tmp" : "new"));
    CHECK(others.size() == (operation == "open" ? 3 : 4));
    for (const auto& file : others)
        if (file != receipt.path) CHECK(MaildirReader::contents(file) == "another's\n");
}

TEST_CASE("a file without a name gets the one that its folder is to show, and passes through tmp where it cannot",
          "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const fs::path tmp = root_of(alice) / "tmp";
    const std::string refused = GENERATE("nothing", "open", "give_name");
    site.files().before = [&](std::string_view called, const std::string& name, DirRef /*dir*/) {
        if (called != refused || (refused == "open" && name != ".")) return 0;
        return refused == "open" ? EOPNOTSUPP : ENOENT;
    };
    const auto pending =
        must(site.mda().prepare(alice, {{}, true, "A: b\n", nullptr, true}, Message::from_text(kHello)));
    CHECK(MaildirReader::files_in(tmp).size() == (refused == "open" ? 1 : 0));
    CHECK(fs::is_empty(root_of(alice) / "new"));
    const std::string place = pending->redo().place;
    const Receipt receipt = must(pending->publish());
    site.files().before = nullptr;
    CHECK(fs::is_empty(tmp));
    CHECK(MaildirReader::contents(receipt.path) == "A: b\n" + kHello);
    CHECK(fs::path(receipt.path).filename() == place.substr(0, place.find('\n')));
}

TEST_CASE("tmp that was empty is not opened again until something changes in it", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const fs::path tmp = root_of(alice) / "tmp";
    int opened = 0;
    site.files().before = [&](std::string_view called, const std::string& name, DirRef /*dir*/) {
        if (called == "open_dir" && name == "tmp") ++opened;
        return 0;
    };
    const auto opened_by_delivery = [&] {
        opened = 0;
        site.delivered(alice, kHello, {{}, true, {}, nullptr, true});
        return opened;
    };
    CHECK(opened_by_delivery() == 1);
    CHECK(opened_by_delivery() == 1);  // made a moment ago: its time of change may be older than its last change
    fs::last_write_time(tmp, fs::file_time_type::clock::now() - std::chrono::hours(1));
    CHECK(opened_by_delivery() == 1);
    CHECK(opened_by_delivery() == 0);
    put(tmp / "stale", "x");
    site.files().on_stat = [](const std::string& name, struct stat& st) {
        if (name == "stale") st.st_mtim.tv_sec = st.st_ctim.tv_sec = st.st_atim.tv_sec = 1;
    };
    CHECK(opened_by_delivery() == 1);
    CHECK(fs::is_empty(tmp));
}

TEST_CASE("permissions are what the settings say, whatever the umask", "[maildir]") {
    const mode_t mask = GENERATE(0000U, 0022U, 0077U, 0777U);
    const bool shared = GENERATE(false, true);
    const bool may_be_nameless = GENERATE(false, true);
    const Umask umask(mask);
    std::vector<std::string> settings;
    if (shared) settings = {"maildir.directory-mode=0750", "maildir.file-mode=0640"};
    Site site(settings);
    const User alice = site.with_mailbox("alice@example.org");
    site.delivered(alice, kHello, {{}, true, {}, nullptr, may_be_nameless});
    site.delivered(alice, kHello, {{"Lists"}, true, {}, nullptr, may_be_nameless});
    site.recount(alice);
    std::set<std::string> files;
    CHECK((fs::status(root_of(alice)).permissions() & fs::perms{07777}) == fs::perms(shared ? 0750 : 0700));
    for (const auto& entry : fs::recursive_directory_iterator(root_of(alice))) {
        INFO(entry.path());
        const auto expected = entry.is_directory() ? (shared ? 0750 : 0700) : (shared ? 0640 : 0600);
        CHECK((entry.status().permissions() & fs::perms{07777}) == fs::perms(expected));
        if (!entry.is_directory()) files.insert(entry.path().filename());
    }
    CHECK(files.contains("maildirfolder"));
    CHECK(files.contains("maildirsize"));
    CHECK(files.size() == 4);
}

TEST_CASE("a folder is a Maildir with the mark of one, under its name in modified UTF-7", "[maildir]") {
    struct Row {
        Folder folder;
        std::string directory;
    };
    // RFC 3501 section 5.1.3 has the third; the others follow from its rules.
    const Row rows[] = {
        {{"Lists", "roost"}, ".Lists.roost"},
        {{"Entw\u00fcrfe"}, ".Entw&APw-rfe"},
        {{"mail", "\u53f0\u5317", "\u65e5\u672c\u8a9e"}, ".mail.&U,BTFw-.&ZeVnLIqe-"},
        {{"&"}, ".&-"},
        {{"A&B"}, ".A&-B"},
        {{"&&\u53f0&"}, ".&-&-&U,A-&-"},
        {{"\U0001f600"}, ".&2D3eAA-"},
        {{"a\U0001f600\u00e9z"}, ".a&2D3eAADp-z"},
        {{"\u00e9\u00e9\u00e9\u00e9"}, ".&AOkA6QDpAOk-"},
        {{"\u0080"}, ".&AIA-"},
        {{"with space!"}, ".with space!"},
        {{"back\\slash:colon,comma"}, ".back\\slash:colon,comma"},
    };
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    for (const Row& row : rows) {
        INFO(row.directory);
        const Receipt receipt = site.delivered(alice, kHello, {row.folder, true, {}, nullptr});
        CHECK(receipt.folder == row.folder);
        const fs::path dir = root_of(alice) / row.directory;
        CHECK(fs::path(receipt.path).parent_path() == dir / "new");
        CHECK(fs::file_size(dir / "maildirfolder") == 0);
        for (const char* name : {"new", "cur", "tmp"}) CHECK(fs::is_directory(dir / name));
    }
}

TEST_CASE("a dot directory without cur is no folder until a delivery may make it one", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const fs::path dir = root_of(alice) / ".Lists";
    fs::create_directories(dir / "new");
    CHECK(site.delivered(alice, kHello, {{"Lists"}, false, {}, nullptr}).folder.empty());
    CHECK(site.delivered(alice, kHello, {{"Lists"}, true, {}, nullptr}).folder == Folder{"Lists"});
    CHECK(fs::exists(dir / "maildirfolder"));
    CHECK(fs::is_directory(dir / "cur"));
}

TEST_CASE("a file in a folder's place sends its mail to INBOX", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    put(root_of(alice) / ".Lists", "a dot file\n");
    CHECK(site.delivered(alice, kHello, {{"Lists"}, true, {}, nullptr}).folder.empty());
    CHECK(MaildirReader::contents(root_of(alice) / ".Lists") == "a dot file\n");
}

TEST_CASE("a folder made lately is synced into its mailbox by those who find it, too", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    fs::create_directories(root_of(alice) / ".Lists" / "cur");  // another program's, perhaps not synced
    const auto pending = must(site.mda().prepare(alice, {{"Lists"}, true, {}, nullptr}, Message::from_text(kHello)));
    std::vector<std::string> synced;
    for (const SyncTarget& target : pending->plan().after) synced.push_back(target.path);
    CHECK(synced == std::vector<std::string>{root_of(alice) / ".Lists" / "new", root_of(alice)});
}

TEST_CASE("new, cur and tmp that are missing are made again, and synced", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    site.delivered(alice, kHello, {{"Lists"}, true, {}, nullptr});
    const Folder folder = GENERATE(Folder{}, Folder{"Lists"});
    const bool may_be_nameless = GENERATE(false, true);
    const fs::path dir = MaildirReader::directory(alice, folder);
    for (const char* name : {"new", "cur", "tmp"}) {
        fs::remove_all(dir / name);
        std::atomic<bool> synced = false;  // by one of several threads
        site.files().before = [&](std::string_view called, const std::string& path, DirRef /*dir*/) {
            if (called == "sync" && path == dir.string() && fs::exists(dir / name)) synced = true;
            return 0;
        };
        CHECK(site.delivered(alice, kHello, {folder, true, {}, nullptr, may_be_nameless}).folder == folder);
        site.files().before = nullptr;
        CHECK(fs::is_directory(dir / name));
        CHECK(synced);
    }
}

TEST_CASE("a link in the place of a part of the mailbox is a temporary failure that changes nothing beyond it",
          "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    site.delivered(alice, kHello, {{"Lists"}, true, {}, nullptr});
    site.recount(alice);
    const fs::path outside = fs::path(site.dir()) / "outside";
    for (const char* name : {"new", "cur", "tmp"}) fs::create_directories(outside / name);
    put(outside / "victim", "0S\n1 1\n");

    const std::string part =
        GENERATE("new", "cur", "tmp", ".Lists", ".Lists/new", ".Lists/cur", ".Lists/tmp", "maildirsize");
    const fs::path planted = root_of(alice) / part;
    fs::remove_all(planted);
    fs::create_symlink(part == "maildirsize" ? outside / "victim" : outside, planted);

    const Folder folder = part.starts_with(".Lists") ? Folder{"Lists"} : Folder{};
    const bool may_be_nameless = GENERATE(false, true);
    const auto failed = site.deliver(alice, kHello, {folder, true, {}, nullptr, may_be_nameless});
    REQUIRE_FALSE(failed);
    CHECK(is_temporary(failed.error().outcome));
    CHECK(failed.error().text().find("symbolic link") != std::string::npos);
    CHECK(failed.error().text().find(planted.string()) != std::string::npos);
    CHECK(MaildirReader::contents(outside / "victim") == "0S\n1 1\n");
    for (const char* name : {"new", "cur", "tmp"}) CHECK(fs::is_empty(outside / name));
    CHECK(fs::is_symlink(planted));
}

TEST_CASE("a link in the place of the whole mailbox is not followed", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    fs::rename(root_of(alice), site.dir() + "/elsewhere");
    fs::create_directory_symlink(site.dir() + "/elsewhere", root_of(alice));
    const auto failed = site.deliver(alice, kHello);
    REQUIRE_FALSE(failed);
    CHECK(is_temporary(failed.error().outcome));
    CHECK(failed.error().text().find("MAILBOXES in roost-users(5)") != std::string::npos);
    CHECK_FALSE(site.mda().purge(alice));
    CHECK(fs::is_directory(site.dir() + "/elsewhere/cur"));
}

TEST_CASE("purge removes links, not what they point at", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const fs::path outside = fs::path(site.dir()) / "outside";
    fs::create_directories(outside / "cur");
    put(outside / "cur" / "mail", kHello);
    fs::create_directory_symlink(outside, root_of(alice) / ".Link");
    fs::create_symlink(outside / "cur" / "mail", root_of(alice) / "cur" / "link");
    fs::create_directories(root_of(alice) / "deep" / "er" / "still");
    must(site.mda().purge(alice));
    CHECK_FALSE(fs::exists(root_of(alice)));
    CHECK(MaildirReader::contents(outside / "cur" / "mail") == kHello);
}

TEST_CASE("files in tmp that nobody touched for 36 hours go in passing, others stay", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const Folder folder = GENERATE(Folder{}, Folder{"Lists"});
    const bool may_be_nameless = GENERATE(false, true);
    site.delivered(alice, kHello, {folder, true, {}, nullptr});
    const fs::path tmp = MaildirReader::directory(alice, folder) / "tmp";
    const std::time_t now = std::time(nullptr);
    // What the file system would say of these files in as many hours from now.
    const auto hours_old = [&](const std::string& name) -> std::time_t {
        if (name.ends_with(".37h")) return now - std::time_t{37} * 3600;
        if (name.ends_with(".35h")) return now - std::time_t{35} * 3600;
        return now;
    };
    site.files().on_stat = [&](const std::string& name, struct stat& st) {
        st.st_mtim.tv_sec = st.st_ctim.tv_sec = now - std::time_t{100} * 3600;
        st.st_atim.tv_sec = hours_old(name);
        if (name == "written.lately") st.st_mtim.tv_sec = now;
    };
    const std::string recent = std::to_string(now - 3600) + ".M1P1Q1.host,S=1,W=1.37h";
    const std::string past = std::to_string(now - std::time_t{40} * 3600) + ".M1P1Q1.host,S=1,W=1.37h";
    const std::string future = std::to_string(now + std::time_t{40} * 3600) + ".M1P1Q1.host,S=1,W=1.37h";
    for (const std::string& name :
         {recent, past, future, std::string("no time.37h"), std::string("no time.35h"), std::string("read.lately"),
          std::string("written.lately"), std::string(".nfs0001.37h")})
        put(tmp / name, "x");
    fs::create_directory(tmp / "directory.37h");
    fs::create_symlink("/etc/passwd", tmp / "link.37h");

    site.delivered(alice, kHello, {folder, true, {}, nullptr, may_be_nameless});
    for (const std::string& name : {past, future, std::string("no time.37h")}) CHECK_FALSE(fs::exists(tmp / name));
    for (const std::string& name :
         {recent, std::string("no time.35h"), std::string("read.lately"), std::string("written.lately"),
          std::string(".nfs0001.37h"), std::string("directory.37h"), std::string("link.37h")}) {
        INFO(name);
        CHECK(fs::exists(fs::symlink_status(tmp / name)));
    }
}

TEST_CASE("a delivery removes few stale files at once, several deliveries all", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    site.files().on_stat = [](const std::string& /*name*/, struct stat& st) {
        st.st_mtim.tv_sec = st.st_ctim.tv_sec = st.st_atim.tv_sec = 1;
    };
    constexpr int kMany = 70;
    const fs::path tmp = root_of(alice) / "tmp";
    for (int i = 0; i < kMany; ++i) put(tmp / ("stale" + std::to_string(i)), "x");
    site.delivered(alice, kHello);
    const std::size_t left = MaildirReader::files_in(tmp).size();
    CHECK(left > 0);
    CHECK(left < kMany);
    for (int i = 0; i < 3; ++i) site.delivered(alice, kHello);
    CHECK(MaildirReader::files_in(tmp).empty());
}

TEST_CASE("cleaning tmp that fails does not stop a delivery", "[maildir]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    put(root_of(alice) / "tmp" / "stale", "x");
    site.files().on_stat = [](const std::string& /*name*/, struct stat& st) {
        st.st_mtim.tv_sec = st.st_ctim.tv_sec = st.st_atim.tv_sec = 1;
    };
    site.files().before = [](std::string_view called, const std::string& name, DirRef /*dir*/) {
        return called == "unlink" && name == "stale" ? EACCES : 0;
    };
    site.delivered(alice, kHello);
    site.files().before = nullptr;
    CHECK(site.messages(alice).size() == 1);
}
