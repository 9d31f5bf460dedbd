#include "count.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <limits>
#include <utility>

#include "entries.h"
#include "folder.h"

namespace roost::maildir {
namespace {

bool is_gone(const Error& error) { return error.sys == ENOENT || error.sys == ESTALE; }

}  // namespace

std::optional<std::uint64_t> size_in_name(std::string_view name) {
    const std::size_t tag = name.find(",S=");
    if (tag == std::string_view::npos) return std::nullopt;
    name.remove_prefix(tag + 3);
    std::uint64_t size = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), size);
    if (error != std::errc{}) return std::nullopt;
    const bool ends = end == name.data() + name.size() || *end == ',' || *end == ':';
    return ends ? std::optional(size) : std::nullopt;
}

bool is_marked_trashed(std::string_view name) {
    const std::size_t info = name.rfind(":2,");
    return info != std::string_view::npos && name.find('T', info + 3) != std::string_view::npos;
}

Result<Count> Count::make(Files& files, const Mailbox& mailbox, bool count_trash,
                          const std::set<std::string>& left_out) {
    Count count;
    if (auto added = count.add_maildir(files, mailbox.ref(), {}, count_trash); !added) return std::move(added).error();
    if (!count.seen_.empty()) count.cur_changed_ = count.seen_.back().changed.value_or(timespec{});
    auto listing = files.open_dir(mailbox.ref(), ".");
    if (!listing) return std::move(listing).error();
    const std::string trash = folder_directory({"Trash"});
    auto listed = each_entry(listing->get(), mailbox.path, [&](const Entry& entry) -> Result<void> {
        if (!entry.name.starts_with('.') || (entry.type != DT_DIR && entry.type != DT_UNKNOWN)) return {};
        if (left_out.contains(entry.name) || (entry.name == trash && !count_trash)) return {};
        auto dir = files.open_dir(mailbox.ref(), entry.name);
        if (!dir) {
            const int sys = dir.error().sys;
            if (is_gone(dir.error()) || sys == ENOTDIR || sys == ELOOP) return {};
            return std::move(dir).error();
        }
        const std::string path = mailbox.path + "/" + entry.name;
        auto cur = files.stat({dir->get(), path}, "cur");
        if (!cur && is_gone(cur.error())) return {};
        if (!cur) return std::move(cur).error();
        return count.add_maildir(files, {dir->get(), path}, entry.name + "/", count_trash);
    });
    if (!listed) return std::move(listed).error();
    return count;
}

Result<void> Count::add_maildir(Files& files, DirRef dir, const std::string& prefix, bool count_trashed) {
    // First new: a message that a reader moves to cur meanwhile is counted twice rather than not at all, and the change
    // shows in still_holds().
    auto added = add_directory(files, dir, "new", prefix, count_trashed);
    return added ? add_directory(files, dir, "cur", prefix, count_trashed) : added;
}

Result<void> Count::add_directory(Files& files, DirRef dir, const std::string& name, const std::string& prefix,
                                  bool count_trashed) {
    auto fd = files.open_dir(dir, name);
    if (!fd && is_gone(fd.error())) return {};
    if (!fd) return std::move(fd).error();
    const std::string path = std::string(dir.path) + "/" + name;
    auto changed = settled_change(fd->get(), path);
    if (!changed) return std::move(changed).error();
    if (!*changed) {
        seen_.push_back({prefix + name, std::nullopt});
        return {};
    }
    const DirRef here{fd->get(), path};
    auto listed = each_entry(here.fd, path, [&](const Entry& entry) -> Result<void> {
        if (entry.name.starts_with('.') || (entry.type != DT_REG && entry.type != DT_UNKNOWN)) return {};
        if (!count_trashed && is_marked_trashed(entry.name)) return {};
        auto size = size_in_name(entry.name);
        if (!size) {
            auto file = files.stat(here, entry.name);
            if (!file && is_gone(file.error())) return {};
            if (!file) return std::move(file).error();
            if (!S_ISREG(file->st_mode)) return {};
            size = static_cast<std::uint64_t>(file->st_size);
        }
        // Names are the mail user's: no sum of theirs wraps around to a small one.
        if (__builtin_add_overflow(used_.storage, *size, &used_.storage))
            used_.storage = std::numeric_limits<std::uint64_t>::max();
        ++used_.messages;
        return {};
    });
    if (!listed) return listed;
    seen_.push_back({prefix + name, *changed});
    return {};
}

bool Count::still_holds(Files& files, const Mailbox& mailbox) const {
    return std::all_of(seen_.begin(), seen_.end(),
                       [&](const Seen& seen) { return is_unchanged(files, mailbox.ref(), seen); });
}

}  // namespace roost::maildir
