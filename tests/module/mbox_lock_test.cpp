// The locks of mbox files, which other mail programs take too.
#include "site.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "base/deadline.h"
#include "mbox_files.h"

using namespace roost;
using namespace roost::test;
namespace fs = std::filesystem;

namespace {

// A process that holds an fcntl lock on a file as other mail programs do, until it goes out of scope.
class Holder {
public:
    Holder(const std::string& path, short type) {
        std::array<int, 2> ready{};
        REQUIRE(::pipe(ready.data()) == 0);
        pid_ = ::fork();
        REQUIRE(pid_ >= 0);
        if (pid_ == 0) {
            const int fd = ::open(path.c_str(), O_RDWR);
            struct flock lock {};
            lock.l_type = type;
            lock.l_whence = SEEK_SET;
            const char byte = ::fcntl(fd, F_SETLK, &lock) == 0 ? 'y' : 'n';
            if (::write(ready[1], &byte, 1) == 1) ::pause();
            ::_exit(0);
        }
        char byte = 'n';
        CHECK(::read(ready[0], &byte, 1) == 1);
        CHECK(byte == 'y');
        ::close(ready[0]);
        ::close(ready[1]);
    }
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;
    ~Holder() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    pid_t pid() const { return pid_; }

private:
    pid_t pid_ = -1;
};

// The number of a process that is gone.
pid_t dead_process() {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    ::waitpid(pid, nullptr, 0);
    return pid;
}

}  // namespace

TEST_CASE("settings of locks that make no sense are refused at the start", "[mbox]") {
    const ModuleInfo* info = must(load_module(ROOST_TEST_MODULES, ModuleKind::mda, "mbox"));
    Site site;
    for (const std::string setting :
         {"mbox.locks=", "mbox.locks=flock", "mbox.locks=fcntl fcntl", "mbox.folder-file=.x", "mbox.folder-file=a/b"}) {
        Schema schema;
        must(schema.add(info->settings));
        const Config config =
            must(Config::make(must(ConfigFile::read(site.dir() + "/roost.conf", {setting})), std::move(schema)));
        const auto made = make_mda(*info, {config, site.files(), site.db()});
        REQUIRE_FALSE(made);
        CHECK(made.error().outcome == Outcome::misconfigured);
        CHECK(made.error().text().find(setting.substr(0, setting.find('='))) != std::string::npos);
    }
}

TEST_CASE("a lock that another program holds is waited for, then the delivery fails for now", "[mbox]") {
    Site site({"mbox.lock-timeout=100ms"});
    const User alice = site.with_mailbox("alice@example.org");
    put(inbox_of(alice), kForeign);
    const std::string lock = inbox_of(alice) + ".lock";
    const auto refused = [&](const std::string& by) {
        const auto failed = site.deliver(alice, kHello);
        REQUIRE_FALSE(failed);
        CHECK(is_temporary(failed.error().outcome));
        CHECK(failed.error().text().find(by) != std::string::npos);
        CHECK(contents(inbox_of(alice)) == kForeign);
    };
    SECTION("fcntl, to write") {
        const Holder holder(inbox_of(alice), F_WRLCK);
        refused("process " + std::to_string(holder.pid()));
    }
    SECTION("fcntl, to read") {
        const Holder holder(inbox_of(alice), F_RDLCK);
        refused("fcntl");
    }
    SECTION("a lock file of a living process") {
        const std::string by = GENERATE("", "host");
        put(lock, std::to_string(::getppid()) + (by.empty() ? "\n" : ":" + host_name()));
        const std::array<timespec, 2> old{};  // older than any lock should be
        REQUIRE(::utimensat(AT_FDCWD, lock.c_str(), old.data(), 0) == 0);
        refused("process " + std::to_string(::getppid()));
        CHECK(fs::exists(lock));
        fs::remove(lock);
    }
    SECTION("a lock file whose owner cannot be asked after") {
        put(lock, GENERATE("", "0", "1:no-such-host", "nonsense"));
        refused(lock);
        CHECK(fs::exists(lock));
        fs::remove(lock);
    }
    SECTION("something else that has the lock file's name") {
        put(lock, kForeign + kForeign + kForeign + kForeign);
        const std::array<timespec, 2> old{};
        REQUIRE(::utimensat(AT_FDCWD, lock.c_str(), old.data(), 0) == 0);
        refused("no lock file");
        CHECK(fs::exists(lock));
        fs::remove(lock);
    }
    site.delivered(alice, kHello);
    CHECK(site.messages(alice).size() == 2);
    CHECK(site.reader().leftovers(alice).empty());
}

TEST_CASE("a lock is waited for as long as it takes, within the limit", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const std::string lock = inbox_of(alice) + ".lock";
    put(lock, std::to_string(::getpid()));
    int tries = 0;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        if (operation == "link" && name == "inbox.lock" && ++tries == 3) fs::remove(lock);
        return 0;
    };
    site.delivered(alice, kHello);
    CHECK(tries >= 3);
}

TEST_CASE("a lock file is taken over when its owner is gone", "[mbox]") {
    Site site({"mbox.lock-timeout=100ms", "mbox.dotlock-stale=1h"});
    const User alice = site.with_mailbox("alice@example.org");
    const std::string lock = inbox_of(alice) + ".lock";
    SECTION("a process of this machine") {
        put(lock, std::to_string(dead_process()) + GENERATE(std::string(), "\n", ":" + host_name()));
    }
    SECTION("unknown, and old") {
        put(lock, GENERATE("", "0", "1:no-such-host"));
        const std::array<timespec, 2> old{{{std::time(nullptr) - 3700, 0}, {std::time(nullptr) - 3700, 0}}};
        REQUIRE(::utimensat(AT_FDCWD, lock.c_str(), old.data(), 0) == 0);
    }
    SECTION("a Roost, whatever process has its number now") {
        const std::string own = fs::path(inbox_of(alice)).parent_path() / ".inbox.roost-lock";
        put(own, std::to_string(::getpid()) + ":" + host_name());
        fs::create_hard_link(own, lock);
    }
    site.delivered(alice, kHello);
    CHECK_FALSE(fs::exists(lock));
    CHECK(site.reader().leftovers(alice).empty());
}

TEST_CASE("a lock file that was made is ours, even if the answer got lost on the way", "[mbox]") {
    Site site({"mbox.lock-timeout=100ms"});
    const User alice = site.with_mailbox("alice@example.org");
    const fs::path inbox = inbox_of(alice);
    site.files().before = [&](std::string_view operation, const std::string&, DirRef) {
        if (operation != "link") return 0;
        fs::create_hard_link(inbox.parent_path() / ".inbox.roost-lock", inbox.string() + ".lock");
        return EEXIST;
    };
    site.delivered(alice, kHello);
    CHECK_FALSE(fs::exists(inbox.string() + ".lock"));
}

TEST_CASE("exactly the configured locks are held while the mailbox is written", "[mbox]") {
    const std::string locks = GENERATE("fcntl", "dotlock", "fcntl dotlock", "dotlock fcntl");
    INFO(locks);
    Site site({"mbox.locks=" + locks});
    const User alice = site.with_mailbox("alice@example.org");
    int writes = 0;
    site.files().before = [&](std::string_view operation, const std::string& name, DirRef) {
        if (operation != "write" || name != inbox_of(alice)) return 0;
        ++writes;
        CHECK(fs::exists(inbox_of(alice) + ".lock") == (locks.find("dotlock") != std::string::npos));
        // As another program sees it.
        const int status = in_child([&] {
            const int fd = ::open(inbox_of(alice).c_str(), O_RDWR | O_CLOEXEC);
            struct flock lock {};
            lock.l_type = F_RDLCK;
            lock.l_whence = SEEK_SET;
            return ::fcntl(fd, F_SETLK, &lock) == 0 ? 0 : 1;
        });
        CHECK(WEXITSTATUS(status) == (locks.find("fcntl") != std::string::npos ? 1 : 0));
        return 0;
    };
    site.delivered(alice, kHello);
    CHECK(writes == 1);
    CHECK_FALSE(fs::exists(inbox_of(alice) + ".lock"));
}

TEST_CASE("without permission to make a lock file nothing is written unlocked", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    site.files().before = [](std::string_view operation, const std::string& name, DirRef) {
        const bool lock = operation == "link" || name == ".inbox.roost-lock";
        return lock ? EACCES : 0;
    };
    const auto failed = site.deliver(alice, kHello);
    REQUIRE_FALSE(failed);
    CHECK(is_temporary(failed.error().outcome));
    CHECK(failed.error().hint.find("mbox.locks") != std::string::npos);
    CHECK(contents(inbox_of(alice)).empty());
}

TEST_CASE("a mailbox that another program replaces while we wait is found again", "[mbox]") {
    Site site;
    const User alice = site.with_mailbox("alice@example.org");
    const auto pending = must(site.mda().prepare(alice, {}, Message::from_text(kHello)));
    put(inbox_of(alice) + ".new", kForeign);
    fs::rename(inbox_of(alice) + ".new", inbox_of(alice));
    must(pending->publish());
    CHECK(site.messages(alice).size() == 2);
}

TEST_CASE("sixteen processes that append at once lose nothing and tear nothing", "[mbox]") {
    const std::string locks = GENERATE("fcntl", "dotlock", "fcntl dotlock");
    Site site({"mbox.locks=" + locks});
    const User alice = site.with_mailbox("alice@example.org", {{"quota.storage", "1G"}});
    constexpr int kProcesses = 16;
    constexpr int kEach = 8;
    std::vector<pid_t> children;
    for (int p = 0; p < kProcesses; ++p) {
        const pid_t pid = ::fork();
        REQUIRE(pid >= 0);
        if (pid == 0) {
            int failures = 0;
            for (int i = 0; i < kEach; ++i) {
                const std::string text = std::to_string(p) + "/" + std::to_string(i) + "\nFrom here\n";
                if (!site.deliver(alice, text + std::string(static_cast<std::size_t>(p) * 10'000, 'x') + "\n"))
                    ++failures;
            }
            ::_exit(failures);
        }
        children.push_back(pid);
    }
    for (const pid_t pid : children) {
        int status = 0;
        REQUIRE(::waitpid(pid, &status, 0) == pid);
        CHECK(status == 0);
    }
    std::vector<std::string> got;
    for (const std::string& message : site.messages(alice)) got.push_back(message.substr(0, message.find('\n')));
    std::vector<std::string> expected;
    for (int p = 0; p < kProcesses; ++p)
        for (int i = 0; i < kEach; ++i) expected.push_back(std::to_string(p) + "/" + std::to_string(i));
    std::sort(got.begin(), got.end());
    std::sort(expected.begin(), expected.end());
    CHECK(got == expected);
    CHECK(site.usage(alice) == site.recount(alice));
    CHECK(site.usage(alice).messages == kProcesses * kEach);
}
