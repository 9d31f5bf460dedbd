// A journal beside the mailboxes of a Site.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "maildir_reader.h"
#include "site.h"
#include "store/journal.h"

namespace roost::test {

inline constexpr std::uint64_t kSmallSegment = 64UL * 1024;

class Desk {
public:
    // Segments of `segment_size` bytes that may grow to `largest`.
    explicit Desk(Site& site, std::uint64_t segment_size = kSmallSegment, std::uint64_t largest = 0)
        : site_(site), size_(segment_size), largest_(largest) {}

    std::string dir() const { return site_.dir() + "/journal"; }
    JournalPlan plan(const std::string& dir) const { return {dir, size_, 3, std::chrono::hours(1), largest_, quick}; }
    std::unique_ptr<Durability> open() {
        auto journal = must(Journal::open(site_.files(), plan(dir())));
        must(journal.recover(site_.config(), site_.db(), site_.mda()));
        return must(std::move(journal).start(std::make_shared<Doubts>()));
    }
    // What the disk would hold if the power failed now, as far as the journal goes.
    std::string crashed() {
        const std::string copy = site_.dir() + "/crashed" + std::to_string(++crashes_);
        std::filesystem::copy(dir(), copy);
        return copy;
    }
    JournalRecovery recover(const std::string& dir) {
        return must(must(Journal::open(site_.files(), plan(dir))).recover(site_.config(), site_.db(), site_.mda()));
    }

    std::chrono::milliseconds quick = std::chrono::minutes(1);

private:
    Site& site_;
    std::uint64_t size_;
    std::uint64_t largest_;
    int crashes_ = 0;
};

// A delivery that fails when it is to become visible, after it was journaled.
inline void deliver_in_vain(Site& site, const User& user, const std::string& message) {
    site.files().before = [](std::string_view operation, const std::string&, DirRef) {
        return operation == "rename_new" ? EIO : 0;
    };
    CHECK_FALSE(site.deliver(user, message));
    site.files().before = nullptr;
}

// Changes one octet of a file.
inline void flip_octet(const std::string& path, std::size_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const char octet = static_cast<char>(file.get() ^ 1);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(octet);
}

// Where the text stands in the file.
inline std::size_t count_of(const std::string& path, const std::string& text) {
    const std::string bytes = MaildirReader::contents(path);
    const std::size_t at = bytes.find(text);
    REQUIRE(at != std::string::npos);
    return at;
}

}  // namespace roost::test
