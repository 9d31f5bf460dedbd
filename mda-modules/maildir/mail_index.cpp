#include "mail_index.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

namespace roost::maildir {
namespace {

// Clocks are set back, too.
constexpr std::int64_t kSlackSeconds = 600;
// How often a mailbox that changes all the time is listed for one message.
constexpr int kListings = 5;

bool is_not_there(const Error& error) { return error.sys == ENOENT || error.sys == ENOTDIR || error.sys == ELOOP; }

// When a file of that name was made; 0 if the name does not tell.
std::int64_t seconds_of(std::string_view name) {
    std::int64_t seconds = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), seconds);
    return error == std::errc{} && seconds > 0 ? seconds : 0;
}

std::string path_in(const std::string& folder, std::string_view part) {
    return folder.empty() ? std::string(part) : folder + "/" + std::string(part);
}

}  // namespace

std::string_view unique_part(std::string_view name) { return name.substr(0, name.find_first_of(",:")); }

bool MailIndex::is_current(Files& files, const Mailbox& mailbox, std::int64_t since) const {
    if (seen_.empty() || mailbox.state.st_dev != device_ || mailbox.state.st_ino != inode_ || since < since_)
        return false;
    return std::all_of(seen_.begin(), seen_.end(),
                       [&](const Seen& seen) { return is_unchanged(files, mailbox.ref(), seen); });
}

Result<void> MailIndex::list_folder(Files& files, DirRef dir, const std::string& folder) {
    // First new: from there mail programs move messages to cur.
    for (const char* part : {"new", "cur"}) {
        auto listing = files.open_dir(dir, part);
        if (!listing && is_not_there(listing.error())) continue;
        if (!listing) return std::move(listing).error();
        const std::string path = std::string(dir.path) + "/" + part;
        auto changed = settled_change(listing->get(), path);
        if (!changed) return std::move(changed).error();
        seen_.push_back({path_in(folder, part), *changed});
        auto listed = each_entry(listing->get(), path, [&](const Entry& entry) -> Result<void> {
            const std::string_view unique = unique_part(entry.name);
            if (seconds_of(unique) >= since_) spots_.emplace(unique, Spot{folder, part, entry.name});
            return {};
        });
        // A mail program may remove a folder at any time.
        if (!listed && !is_not_there(listed.error())) return listed;
    }
    return {};
}

Result<void> MailIndex::list(Files& files, const Mailbox& mailbox, std::int64_t since) {
    seen_.clear();
    spots_.clear();
    device_ = mailbox.state.st_dev;
    inode_ = mailbox.state.st_ino;
    since_ = since;
    auto listing = files.open_dir(mailbox.ref(), ".");
    if (!listing) return std::move(listing).error();
    struct stat st {};
    if (::fstat(listing->get(), &st) != 0) return system_error(errno, "cannot look at " + mailbox.path);
    std::vector<std::string> folders;
    auto done = each_entry(listing->get(), mailbox.path, [&](const Entry& entry) -> Result<void> {
        const bool may_be = entry.name.starts_with('.') && (entry.type == DT_DIR || entry.type == DT_UNKNOWN);
        if (may_be) folders.push_back(entry.name);
        return {};
    });
    if (done) done = list_folder(files, mailbox.ref(), {});
    for (const std::string& folder : folders) {
        if (!done) break;
        auto dir = files.open_dir(mailbox.ref(), folder);
        if (!dir && is_not_there(dir.error())) continue;
        done = dir ? list_folder(files, {dir->get(), mailbox.path + "/" + folder}, folder)
                   : Result<void>(std::move(dir).error());
    }
    if (done) seen_.push_back({".", st.st_mtim});
    if (!done) seen_.clear();
    return done;
}

Result<std::optional<Spot>> MailIndex::find(Files& files, const Mailbox& mailbox, const std::string& folder,
                                            std::string_view unique) {
    const std::int64_t since = std::max<std::int64_t>(seconds_of(unique) - kSlackSeconds, 0);
    for (int listings = 0;; ++listings) {
        const bool last = is_current(files, mailbox, since) || listings == kListings;
        if (!last)
            if (auto listed = list(files, mailbox, since); !listed) return std::move(listed).error();
        const auto [begin, end] = spots_.equal_range(std::string(unique));
        const auto own = std::find_if(begin, end, [&](const auto& each) { return each.second.folder == folder; });
        if (begin != end) return std::optional(own == end ? begin->second : own->second);
        if (last) return std::optional<Spot>();
    }
}

void MailIndex::add(Files& files, const Mailbox& mailbox, Spot spot) {
    const std::string path = path_in(spot.folder, spot.part);
    for (Seen& seen : seen_)
        if (seen.path == path)
            if (const auto now = files.stat(mailbox.ref(), path)) seen.changed = now->st_mtim;
    spots_.emplace(unique_part(spot.name), std::move(spot));
}

}  // namespace roost::maildir
