// Deliveries to mbox files that were interrupted: what the next one makes of what they left.
#include "site.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "mbox_files.h"

using namespace roost;
using namespace roost::test;
namespace fs = std::filesystem;

namespace {

const Delivery kDelivery{{}, true, "Return-Path: <bob@example.net>\nReceived: by here\n", nullptr};

std::string with_header(const std::string& message) { return kDelivery.header + message; }

// Leaves a mailbox as a deliverer does that is gone after it has written `written` bytes of its text, and returns what
// the mailbox held before.
std::string interrupt(Site& site, const User& user, const std::string& message, std::uint64_t written) {
    const std::string path = inbox_of(user);
    const std::string before = contents(path);
    bool began = false;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        // Nothing of what would undo it works.
        began = began || (operation == "sync_data" && name == path);
        return began && (operation == "sync_data" || operation == "truncate" || operation == "write") ? EIO : 0;
    };
    REQUIRE_FALSE(site.deliver(user, message, kDelivery));
    site.files().before = nullptr;
    REQUIRE(fs::file_size(path) >= before.size() + written);
    fs::resize_file(path, before.size() + written);
    return before;
}

// How large the text of a message is in the file.
std::uint64_t text_size(const std::string& message) {
    Site site;
    return site.delivered(site.with_mailbox("alice@example.org"), message, kDelivery).stored;
}

const std::string kSmall = "Subject: small\n\nFrom here on\n" + std::string(300, 's') + "\n";
const std::string kLarge =
    "Subject: large\n\n" + std::string(150'000, 'l') + "\nFrom me\n" + std::string(9000, 'm') + "\n";

}  // namespace

TEST_CASE("wherever an append was interrupted, the next delivery takes it back", "[mbox]") {
    const std::string message = GENERATE(kSmall, kLarge);
    const std::uint64_t size = text_size(message);
    const std::string earlier = GENERATE(std::string(), kForeign);
    for (const std::uint64_t written : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{5}, std::uint64_t{60},
                                        size / 3, size / 2, size - 2, size - 1}) {
        INFO(written << " of " << size);
        Site site;
        const User alice = site.with_mailbox("alice@example.org", {{"quota.storage", "1G"}});
        put(inbox_of(alice), earlier);
        const std::string before = interrupt(site, alice, message, written);
        const Receipt receipt = site.delivered(alice, "next\n", kDelivery);
        const std::string after = contents(inbox_of(alice));
        CHECK((after.substr(0, before.size()) == before));
        CHECK(after.size() == before.size() + receipt.stored);
        const auto messages = site.messages(alice);
        CHECK(std::count(messages.begin(), messages.end(), with_header("next\n")) == 1);
        CHECK(site.usage(alice) == site.recount(alice));
        CHECK(site.reader().leftovers(alice).empty());
    }
}

TEST_CASE("what another program appended behind an interrupted append is not lost", "[mbox]") {
    const std::string message = GENERATE(kSmall, kLarge);
    const std::string begin = GENERATE("", "\n");  // some programs end the line that they find
    const std::uint64_t size = text_size(message);
    const bool large = GENERATE(false, true);
    const std::string foreign = large ? kForeign + std::string(200'000, 'f') + "\n\n" + kForeign : kForeign;
    for (const std::uint64_t written : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{5}, std::uint64_t{40},
                                        size / 3, size / 2, size - 2, size - 1}) {
        INFO(written << " of " << size);
        Site site;
        const User alice = site.with_mailbox("alice@example.org");
        site.delivered(alice, "earlier\n", kDelivery);
        const std::string before = interrupt(site, alice, message, written);
        append(inbox_of(alice), begin + foreign);
        site.delivered(alice, "next\n", kDelivery);
        const std::string after = contents(inbox_of(alice));
        REQUIRE((after.substr(0, before.size()) == before));
        // Nothing but line ends between what was there and the foreign message.
        const std::size_t at = after.find_first_not_of('\n', before.size());
        REQUIRE((after.substr(at, foreign.size()) == foreign));
        CHECK(MboxReader::split(after.substr(at + foreign.size())) == std::vector{with_header("next\n")});
    }
}

TEST_CASE("a mailbox that another program has rewritten since is left as it is", "[mbox]") {
    const std::uint64_t written = GENERATE(200, 0);  // 0: all of it
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    site.delivered(alice, "earlier\n", kDelivery);
    interrupt(site, alice, kSmall, written == 0 ? text_size(kSmall) : written);
    std::string text = contents(inbox_of(alice));
    SECTION("lengthened") { text += "another line\n"; }
    SECTION("marked in place") { text.insert(text.rfind("Subject:"), "Status: O\n"); }
    SECTION("a message before it removed") { text.erase(0, text.rfind("From bob")); }
    SECTION("all removed, another message there") { text = kForeign + kForeign + kForeign + kForeign; }
    SECTION("another file") {
        put(inbox_of(alice) + ".new", text);
        fs::rename(inbox_of(alice) + ".new", inbox_of(alice));
    }
    put(inbox_of(alice), text);
    site.delivered(alice, "next\n", kDelivery);
    const std::string after = contents(inbox_of(alice));
    CHECK(after.substr(0, text.size()) == text);
    CHECK(after.ends_with("\n" + with_header("next\n") + "\n"));
}

TEST_CASE("a message that ends as an interrupted one began is not mistaken for it", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const std::string before = interrupt(site, alice, kSmall, 0);
    // The same sender and date, delivered by another program.
    const std::string text = "From bob@example.net Mon Jan  1 00:00:00 2024\nSubject: mine\n\nx\n\n";
    append(inbox_of(alice), text);
    site.delivered(alice, "next\n", kDelivery);
    CHECK(contents(inbox_of(alice)).starts_with(before + text));
}

TEST_CASE("books that a power cut damaged say nothing, and mail goes on", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org", {{"quota.storage", "1G"}});
    site.delivered(alice, "earlier\n", kDelivery);
    const std::string books = fs::path(inbox_of(alice)).parent_path() / ".inbox.books";
    const std::string whole = contents(books);
    struct stat st {};
    REQUIRE(::stat(inbox_of(alice).c_str(), &st) == 0);
    const auto inode = st.st_ino;
    const std::string damaged[] = {
        whole.substr(0, whole.find("\nsum") - 1) + "7" + whole.substr(whole.find("\nsum")),  // 7 messages
        "",
        std::string(600, '\0'),
        whole.substr(0, 100),
        "roost mbox 1\nappend " + std::to_string(inode) + " 0 99999 0\n" + whole.substr(whole.find("sum")),
        "roost mbox 1\nappend 18446744073709551615 0 18446744073709551615 9999999\nsum 1\n",
        "roost mbox 1\ncount 1 2 3\nsum x\n",
        "nonsense\n",
    };
    std::size_t count = 1;
    for (const std::string& text : damaged) {
        put(books, text);
        CHECK(site.usage(alice).messages == count);
        site.delivered(alice, "next\n", kDelivery);
        ++count;
        CHECK(site.messages(alice).size() == count);
        CHECK(site.usage(alice) == site.recount(alice));
    }
    put(books, "roost mbox 2\n");
    const auto failed = site.deliver(alice, "next\n", kDelivery);
    REQUIRE_FALSE(failed);
    CHECK(is_temporary(failed.error().outcome));
    CHECK(failed.error().text().find("later version") != std::string::npos);
    CHECK(site.usage(alice).messages == count);  // finds out for itself
}

TEST_CASE("a failure after the last step that cannot be undone at once is undone by the next delivery", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    site.delivered(alice, "earlier\n", kDelivery);
    int writes = 0;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        // The books lose the intent, but that may not be durable.
        if (operation == "write" && name.ends_with(".books") && ++writes == 2) return EIO;
        return operation == "truncate" ? EIO : 0;
    };
    REQUIRE_FALSE(site.deliver(alice, kSmall, kDelivery));
    site.files().before = nullptr;
    site.delivered(alice, kSmall, kDelivery);
    CHECK(site.messages(alice) == std::vector{with_header(kSmall), with_header("earlier\n")});
}

TEST_CASE("a deliverer killed before any operation leaves nothing that outlives the next delivery", "[mbox]") {
    const std::string message = GENERATE(kSmall, kLarge);
    bool reached = true;
    for (int nth = 1; reached; ++nth) {
        INFO("operation " << nth);
        Site site;
        const User alice = site.with_mailbox("alice@example.org", {{"quota.storage", "1G"}});
        site.delivered(alice, "earlier\n", kDelivery);
        const pid_t pid = ::fork();
        REQUIRE(pid >= 0);
        if (pid == 0) {
            int count = 0;
            site.files().before = [&](std::string_view, const std::string&, DirRef) {
                if (++count == nth) ::raise(SIGKILL);
                return 0;
            };
            ::_exit(site.deliver(alice, message, kDelivery) ? 0 : 1);
        }
        int status = 0;
        REQUIRE(::waitpid(pid, &status, 0) == pid);
        reached = WIFSIGNALED(status);
        if (!reached) REQUIRE(WEXITSTATUS(status) == 0);

        site.delivered(alice, "next\n", kDelivery);
        std::vector<std::string> got = site.messages(alice);
        const auto killed = std::count(got.begin(), got.end(), with_header(message));
        CHECK(killed <= 1);
        if (!reached) CHECK(killed == 1);
        got.erase(std::remove(got.begin(), got.end(), with_header(message)), got.end());
        CHECK(got == std::vector{with_header("earlier\n"), with_header("next\n")});
        CHECK(site.usage(alice) == site.recount(alice));
        CHECK(site.reader().leftovers(alice).empty());
    }
}
