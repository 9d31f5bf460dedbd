// mbox files: the text that is appended, files shared with other mail programs, links that a user planted.
#include "site.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <regex>

#include "mbox_files.h"

using namespace roost;
using namespace roost::test;
namespace fs = std::filesystem;

namespace {

// What stands in a file that one message was put into, without its From_ line.
std::string without_from_line(const std::string& text) {
    CHECK(std::regex_search(text,
                            std::regex("^From \\S+ (Sun|Mon|Tue|Wed|Thu|Fri|Sat) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|"
                                       "Oct|Nov|Dec) [ 123]\\d \\d\\d:\\d\\d:\\d\\d \\d{4}\n")));
    return text.substr(text.find('\n') + 1);
}

}  // namespace

TEST_CASE("a message is stored as a From_ line, itself with quoted From_ lines, and an empty line", "[mbox]") {
    using namespace std::string_literals;
    const std::pair<std::string, std::string> rows[] = {
        {kHello, kHello + "\n"},
        {"", "\n"},
        {"\n", "\n\n"},
        {"no newline", "no newline\n\n"},
        {"From me\n", ">From me\n\n"},
        {">From me\n>>From me\n", ">>From me\n>>>From me\n\n"},
        {" From me\nFromage\nFrom\nfrom me\nx>From me\n", " From me\nFromage\nFrom\nfrom me\nx>From me\n\n"},
        {"a\nFrom ", "a\n>From \n\n"},
        {"a\nFrom", "a\nFrom\n\n"},
        {"a\n>", "a\n>\n\n"},
        {"a\n> From b\n", "a\n> From b\n\n"},
        {"a\r\nFrom b\r\n>From c\r\n", "a\r\n>From b\r\n>>From c\r\n\n"},
        {"bare\rFrom b\rend", "bare\rFrom b\rend\n\n"},
        {"nul \0\nFrom \0 \xff\n"s, "nul \0\n>From \0 \xff\n\n"s},
    };
    for (const auto& [message, stored] : rows) {
        Site site;
        const User alice = site.with_mailbox("alice@example.org");
        const Receipt receipt = site.delivered(alice, message);
        const std::string text = contents(inbox_of(alice));
        CHECK(without_from_line(text) == stored);
        CHECK(receipt.stored == text.size());
        CHECK(receipt.path == inbox_of(alice));
    }
}

TEST_CASE("From_ lines are quoted wherever the pieces of a large message end", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    // Larger than what is kept in memory: the message comes in pieces of 256 KiB.
    for (std::size_t shift = 0; shift < 10; ++shift) {
        std::string message = "Subject: x\n\n";
        for (std::size_t edge = 32 * 1024; edge < 2 * Message::kMemory; edge += 32 * 1024) {
            message.append(edge - message.size() - shift, 'x');
            message += "\n>>From b\nFrom c\n";
        }
        const std::string file = site.dir() + "/message";
        put(file, message);
        const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
        const Message large =
            must(Message::read(site.files(), fd.get(), site.dir() + "/spool", Deadline::in(std::chrono::minutes(1))));
        must(must(site.mda().prepare(alice, {}, large))->publish());
        CHECK((site.messages(alice).back() == message));
        CHECK(site.messages(alice).size() == 1);
        put(inbox_of(alice), "");
    }
}

TEST_CASE("the From_ line names the envelope sender", "[mbox]") {
    const auto sender = [](const std::string& header, const std::string& message) {
        Site site;
        const User alice = site.with_mailbox("alice@example.org");
        site.delivered(alice, message, {{}, true, header, nullptr});
        const std::string text = contents(inbox_of(alice));
        without_from_line(text);
        return text.substr(5, text.find(' ', 5) - 5);
    };
    CHECK(sender("Return-Path: <bob@example.net>\nDelivered-To: a\n", kHello) == "bob@example.net");
    CHECK(sender("Return-Path: <>\n", kHello) == "MAILER-DAEMON");
    CHECK(sender("", kHello) == "MAILER-DAEMON");
    CHECK(sender("", "Return-Path: <dan@example.net>\r\n" + kHello) == "dan@example.net");
    CHECK(sender("", kHello + "Return-Path: <body@example.net>\n") == "MAILER-DAEMON");
    CHECK(sender("Return-Path: <\"a b\"@example.net>\n", kHello) == "\"a_b\"@example.net");
}

TEST_CASE("a From_ line begins a line behind an empty one, whatever another program left", "[mbox]") {
    const std::pair<std::string, std::string> rows[] = {
        {kForeign, ""},
        {kForeign.substr(0, kForeign.size() - 1), "\n"},
        {kForeign.substr(0, kForeign.size() - 2), "\n\n"},
        {"From a Mon Jan  1 00:00:00 2024\r\n\r\nx\r\n\r\n", ""},
        {"From a Mon Jan  1 00:00:00 2024\r\n\r\nx\r\n", "\n"},
    };
    for (const auto& [before, between] : rows) {
        Site site;
        const User alice = site.with_mailbox("alice@example.org", {{"quota.storage", "1G"}});
        put(inbox_of(alice), before);
        const Usage used = site.usage(alice);
        CHECK(used == Usage{before.size(), 1});
        const Receipt receipt = site.delivered(alice, kHello);
        const std::string text = contents(inbox_of(alice));
        REQUIRE(text.starts_with(before + between + "From MAILER-DAEMON "));
        CHECK(without_from_line(text.substr(before.size() + between.size())) == kHello + "\n");
        CHECK(site.usage(alice) == Usage{used.storage + receipt.stored, 2});
    }
}

TEST_CASE("files and directories have the configured permissions, whatever the umask", "[mbox]") {
    Site site({"mbox.file-mode=0660", "mbox.directory-mode=0750"});
    const mode_t before = ::umask(0077);
    const User alice = site.with_mailbox("alice@example.org");
    site.delivered(alice, kHello);
    site.delivered(alice, kHello, {{"Lists", "roost"}, true, {}, nullptr});
    ::umask(before);
    const fs::path dir = fs::path(inbox_of(alice)).parent_path();
    const auto mode = [](const fs::path& path) { return static_cast<unsigned>(fs::status(path).permissions()); };
    CHECK(mode(dir) == 0750);
    CHECK(mode(dir / "inbox") == 0660);
    CHECK(mode(dir / ".inbox.books") == 0660);
    CHECK(mode(dir / "folders" / "Lists") == 0750);
    CHECK(mode(dir / "folders" / "Lists" / "roost" / "messages.mbox") == 0660);
}

TEST_CASE("with no name for folders' files a folder is a file, and one that cannot be goes to INBOX", "[mbox]") {
    Site site({"mbox.folder-file="});
    const User alice = site.with_mailbox("alice@example.org");
    const std::string folders = *alice.allocated("mbox.folders");
    const auto deliver = [&](Folder folder) {
        return site.delivered(alice, kHello, {std::move(folder), true, {}, nullptr}).folder;
    };
    CHECK(deliver({"Lists", "roost"}) == Folder{"Lists", "roost"});
    CHECK(fs::is_regular_file(folders + "/Lists/roost"));
    CHECK(deliver({"Lists"}).empty());
    CHECK(deliver({"Lists", "roost", "deep"}).empty());
    CHECK(deliver({"Entw\u00fcrfe"}) == Folder{"Entw\u00fcrfe"});
    CHECK(fs::is_regular_file(folders + "/Entw&APw-rfe"));
    CHECK(site.messages(alice).size() == 2);
}

TEST_CASE("a file that another program removed when it was empty is made again", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    site.delivered(alice, kHello);
    fs::remove(inbox_of(alice));
    CHECK(site.usage(alice) == Usage{0, 0});
    site.delivered(alice, kHello);
    CHECK(site.messages(alice) == std::vector{kHello});
}

TEST_CASE("where file and books are gone the mailbox is, even if there is a directory", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const fs::path dir = fs::path(inbox_of(alice)).parent_path();
    fs::remove_all(dir);
    fs::create_directory(dir);  // as below an unmounted volume
    const auto failed = site.deliver(alice, kHello);
    REQUIRE_FALSE(failed);
    CHECK(is_temporary(failed.error().outcome));
    CHECK(failed.error().hint.find("mounted") != std::string::npos);
    CHECK(fs::is_empty(dir));
}

TEST_CASE("a mailbox that was there before is taken, with the mail in it", "[mbox]") {
    // As administrators link /var/spool/mail to /var/mail.
    Site site({"mbox.path=%DIR%/spool/%{local}", "mbox.folders=%DIR%/spool/%{local}.folders"});
    fs::create_directory_symlink(site.mail(), site.dir() + "/spool");
    put(site.mail() + "/alice", kForeign);
    const User alice = site.with_mailbox("alice@example.org");
    CHECK(site.usage(alice) == Usage{kForeign.size(), 1});
    site.delivered(alice, kHello);
    CHECK(site.messages(alice).size() == 2);
    must(site.mda().purge(alice));
    CHECK(fs::is_empty(site.mail()));  // the directory is not the user's own
}

TEST_CASE("nothing but a regular file of one name is taken for a mailbox", "[mbox]") {
    const std::string kind = GENERATE("link", "hard link", "fifo", "directory", "dangling link", "books link");
    const bool in_folder = GENERATE(false, true);
    INFO(kind << (in_folder ? " in a folder" : ""));
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const Delivery delivery{in_folder ? Folder{"Lists"} : Folder{}, true, {}, nullptr};
    const fs::path file = MboxReader::file(alice, delivery.folder);
    site.delivered(alice, kHello, delivery);
    const std::string victim = site.dir() + "/victim";
    put(victim, "precious\n");
    if (kind == "books link") {
        const fs::path books = file.parent_path() / ("." + file.filename().string() + ".books");
        fs::remove(books);
        fs::create_symlink(victim, books);
    } else {
        fs::remove(file);
        if (kind == "link") fs::create_symlink(victim, file);
        if (kind == "dangling link") fs::create_symlink(site.dir() + "/none", file);
        if (kind == "hard link") fs::create_hard_link(victim, file);
        if (kind == "fifo") REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
        if (kind == "directory") fs::create_directory(file);
    }
    const auto refused = site.deliver(alice, kHello, delivery);
    if (refused) {
        // What can be nobody's attack costs the folder, not the mail.
        CHECK((in_folder && kind == "directory"));
        CHECK(refused->folder.empty());
    } else {
        CHECK(is_temporary(refused.error().outcome));
        CHECK(refused.error().text().find(file.parent_path().string()) != std::string::npos);
        if (kind == "fifo") CHECK(refused.error().why.find("regular") != std::string::npos);
    }
    CHECK(contents(victim) == "precious\n");
    CHECK_FALSE(fs::exists(site.dir() + "/none"));
}

TEST_CASE("a link in the place of a directory is not followed", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const fs::path dir = fs::path(inbox_of(alice)).parent_path();
    fs::create_directory(site.dir() + "/elsewhere");
    SECTION("of a folder") { fs::create_directory_symlink(site.dir() + "/elsewhere", dir / "folders" / "Lists"); }
    SECTION("of all folders") {
        fs::remove(dir / "folders");
        fs::create_directory_symlink(site.dir() + "/elsewhere", dir / "folders");
    }
    SECTION("of the user") {
        fs::remove_all(dir);
        fs::create_directory_symlink(site.dir() + "/elsewhere", dir);
    }
    const auto refused = site.deliver(alice, kHello, {{"Lists", "x"}, true, {}, nullptr});
    REQUIRE_FALSE(refused);
    CHECK(is_temporary(refused.error().outcome));
    CHECK(fs::is_empty(site.dir() + "/elsewhere"));
}

TEST_CASE("names that would be lock files or books cannot be mailboxes", "[mbox]") {
    Site site({"mbox.path=%DIR%/mail/%{local}"});
    for (const char* name : {"alice.lock@example.org"}) {
        const auto refused = site.mda().allocate(site.user(name));
        REQUIRE_FALSE(refused);
        CHECK(refused.error().outcome == Outcome::misconfigured);
    }
}

TEST_CASE("usage reads a mailbox only after another program changed it", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", {{"quota.storage", "1G"}});
    const Receipt receipt = site.delivered(alice, kHello);
    site.delivered(alice, kHello, {{"Lists"}, true, {}, nullptr});
    int opened = 0;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        if (operation == "open" && (name == "inbox" || name == "messages.mbox")) ++opened;
        return 0;
    };
    CHECK(site.usage(alice) == Usage{2 * receipt.stored, 2});
    CHECK(opened == 0);
    append(inbox_of(alice), kForeign + "From the body of it\n\nFrom x Tue Jan 2 3:04 2024\n\n\n");
    const Usage now = site.usage(alice);
    CHECK(now.messages == 4);
    CHECK(now.storage == fs::file_size(inbox_of(alice)) + receipt.stored);
    CHECK(opened == 1);
    CHECK(site.usage(alice) == now);
    CHECK(opened == 1);
    CHECK(site.recount(alice) == now);
    CHECK(opened == 3);
}

TEST_CASE("what another program appended between two deliveries is counted", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    site.delivered(alice, kHello);
    append(inbox_of(alice), kForeign);
    site.delivered(alice, kHello);
    CHECK(site.usage(alice) == Usage{fs::file_size(inbox_of(alice)), 3});
}

TEST_CASE("the name of a new file is durable before its first message counts as delivered", "[mbox]") {
    const Folder folder = GENERATE(Folder{}, Folder{"Lists", "roost"});
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const fs::path file = MboxReader::file(alice, folder);
    bool synced = false;
    bool written = false;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        if (operation == "sync" && name == file.parent_path()) synced = true;
        if (operation == "write" && name == file) written = synced;
        return 0;
    };
    site.delivered(alice, kHello, {folder, true, {}, nullptr});
    CHECK(written);
    synced = written = false;
    site.delivered(alice, kHello, {folder, true, {}, nullptr});
    CHECK_FALSE(synced);  // once is enough
}

TEST_CASE("messages are counted right across the pieces in which a file is read", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const std::string line = "From a@b Mon Jan  1 00:00:00 2024\n";
    // Every place of an edge, for pieces of 256 KiB and what is read beyond them for the end of a line.
    for (const std::size_t edge : {std::size_t{256} * 1024, std::size_t{257} * 1024, std::size_t{513} * 1024}) {
        for (std::size_t shift = 0; shift < line.size() + 2; ++shift) {
            std::string text = line;
            text.resize(edge - shift - 1, 'x');
            text += "\n" + line + "\n>" + line;
            put(inbox_of(alice), text);
            REQUIRE(site.recount(alice) == Usage{text.size(), 2});
        }
    }
}

TEST_CASE("files in the folders' directory that are no mailboxes do not count", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const std::string folders = *alice.allocated("mbox.folders");
    put(folders + "/subscriptions", "Lists\n");
    put(folders + "/.index", kForeign);
    put(folders + "/roost", "\n" + kForeign);
    fs::create_directory_symlink(folders, folders + "/loop");
    fs::create_symlink(folders + "/roost", folders + "/link");
    CHECK(site.recount(alice) == Usage{kForeign.size() + 1, 1});
    CHECK(site.usage(alice) == Usage{kForeign.size() + 1, 1});
}

TEST_CASE("where the file cannot grow it stays as it was, and the failure is temporary", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    std::string before;
    while (before.size() < 100'000) before += kForeign;
    put(inbox_of(alice), before);
    const std::size_t size = GENERATE(200, 80'000);  // below and above what is kept in memory
    const std::string message = kHello + std::string(size, 'x') + "\n";
    const int status = in_child([&] {
        ::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{before.size() + size / 2, before.size() + size / 2};
        if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
        const auto failed = site.deliver(alice, message);
        if (failed) return 3;
        return is_temporary(failed.error().outcome) && failed.error().sys == EFBIG ? 0 : 4;
    });
    CHECK(WEXITSTATUS(status) == 0);
    CHECK((contents(inbox_of(alice)) == before));
    CHECK(site.reader().leftovers(alice).empty());
    site.delivered(alice, message);
    CHECK(contents(inbox_of(alice)).size() > before.size());
}
