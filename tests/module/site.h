// A module under test, with all that it needs: configuration, users, files that can fail, a private directory.
#pragma once

#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "catch.h"

#include "fake_user_db.h"
#include "faulty_files.h"
#include "module/loader.h"
#include "module/mda.h"
#include "reader.h"
#include "store/durability.h"

namespace roost::test {

// Ends a test that cannot run here: ctest reports it as skipped, not as passed.
#define ROOST_SKIP(reason)                                 \
    do {                                                   \
        std::cout << "SKIPPED: " << (reason) << std::endl; \
        return;                                            \
    } while (false)

// The module is the one that ROOST_MODULE names (maildir without it). The directory goes with the Site. What a test
// asks for and does not get ends the test.
class Site {
public:
    // `settings`: more "key=value" for roost.conf, in which "%DIR%" stands for the private directory.
    explicit Site(const std::vector<std::string>& settings = {});
    Site(const Site&) = delete;
    Site& operator=(const Site&) = delete;
    ~Site();

    Mda& mda() { return *mda_; }
    FaultyFiles& files() { return files_; }
    FakeUserDb& db() { return db_; }
    Reader& reader() { return *reader_; }
    const Config& config() const { return *config_; }
    const std::string& module() const { return module_; }
    const std::string& dir() const { return dir_; }    // everything
    const std::string& mail() const { return mail_; }  // mailboxes

    // A user with these settings and no mailbox yet; made, or its settings replaced.
    User user(const std::string& name, Settings settings = {});
    // The same with a mailbox, allocated if it has none.
    User with_mailbox(const std::string& name, Settings settings = {});
    // The user with an allocation, in the database too.
    User allocated(const User& user, const Settings& allocation);

    // All of a delivery: prepare, sync, publish, sync; withdrawn where that last sync fails.
    Result<Receipt> deliver(const User& user, const std::string& message, const Delivery& delivery = {});
    // The same where nothing must fail.
    Receipt delivered(const User& user, const std::string& message, const Delivery& delivery = {});
    // As if the program had ended and begun anew: a sync that failed is forgotten. What a Durability has left to do is
    // done before.
    void restart(std::unique_ptr<Durability> durability) { durability_ = std::move(durability); }
    void restart() { durability_ = make_fsync_durability(files_); }
    // Of the mailbox, or of a folder that is counted apart.
    Usage usage(const User& user, const Usage& coming = {}, const Folder& account = {});
    Usage recount(const User& user, const Folder& account = {});

    // All messages that a mail program sees in one folder, sorted.
    std::vector<std::string> messages(const User& user, const Folder& folder = {});

private:
    std::string module_;
    std::string dir_;
    std::string mail_;
    FaultyFiles files_;
    FakeUserDb db_;
    std::unique_ptr<Reader> reader_;
    std::unique_ptr<Config> config_;
    std::unique_ptr<Mda> mda_;
    std::unique_ptr<Durability> durability_;
};

// What a Result holds; its Error's text ends the test.
template <class T>
T must(Result<T> result) {
    if (!result) FAIL(result.error().text());
    return *std::move(result);
}
inline void must(const Result<void>& result) {
    if (!result) FAIL(result.error().text());
}

inline const std::string kHello = "Subject: hello\n\nHello.\n";

// Writes a file, as another program would.
inline void put(const std::filesystem::path& path, const std::string& text, std::ios::openmode how = std::ios::trunc) {
    std::ofstream out(path, std::ios::binary | how);
    out << text;
    out.close();
    REQUIRE(out.good());
}

inline std::string host_name() {
    std::array<char, 256> name{};
    REQUIRE(::gethostname(name.data(), name.size() - 1) == 0);
    return name.data();
}

}  // namespace roost::test
