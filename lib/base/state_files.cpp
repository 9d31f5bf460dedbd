#include "base/state_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "base/text.h"

namespace roost {
namespace {

constexpr mode_t kFileMode = 0600;
constexpr mode_t kFolderMode = 0700;
constexpr DirRef kRoot{AT_FDCWD, {}};

}  // namespace

std::string StateFiles::path(std::string_view name, std::string_view before) const {
    return folder_ + "/" + std::string(before) + path_component(name);
}

// Gives what root made to whom `like` belongs to.
Result<void> StateFiles::adopt(int fd, const std::string& path, const std::string& like) {
    if (::geteuid() != 0) return {};
    auto owner = files_.stat(kRoot, like);
    if (!owner) return std::move(owner).error();
    return files_.set_owner(fd, owner->st_uid, owner->st_gid, path);
}

Result<Fd> StateFiles::open(const std::string& path, int flags) {
    auto fd = files_.open(kRoot, path, flags & ~O_CREAT);
    if (fd || fd.error().sys != ENOENT) return fd;
    fd = files_.open(kRoot, path, flags | O_CREAT, kFileMode);
    if (!fd && fd.error().sys == ENOENT) {
        auto made = files_.make_path(folder_, kFolderMode);
        if (!made) return std::move(made).error();
        if (auto done = adopt(made->get(), folder_, state_); !done) return std::move(done).error();
        fd = files_.open(kRoot, path, flags | O_CREAT, kFileMode);
    }
    if (!fd) return fd;
    if (auto done = adopt(fd->get(), path, state_); !done) return std::move(done).error();
    return fd;
}

Result<std::optional<std::string>> StateFiles::get(std::string_view name, std::size_t limit) {
    auto text = files_.read_small(kRoot, path(name), limit);
    if (text) return std::optional(*std::move(text));
    if (text.error().sys == ENOENT || text.error().sys == EFBIG) return std::optional<std::string>();
    return std::move(text).error();
}

Result<void> StateFiles::put(std::string_view name, std::string_view text) {
    // Nobody else's, so that what two write at once is not mixed.
    const std::string draft = path(name, "..") + "." + std::to_string(::getpid()) + "." + std::to_string(::gettid());
    auto fd = open(draft, O_WRONLY | O_TRUNC);
    if (!fd) return std::move(fd).error();
    Result<void> done = files_.write(fd->get(), text, draft);
    if (done) done = files_.rename(kRoot, draft, kRoot, path(name));
    if (!done) static_cast<void>(files_.unlink(kRoot, draft));
    return done;
}

Result<bool> StateFiles::remove(std::string_view name) {
    // A look first: it does not make the folder's other users wait, and nearly always there is nothing.
    const std::string file = path(name);
    if (auto there = files_.stat(kRoot, file); !there && there.error().sys == ENOENT) return false;
    auto gone = files_.unlink(kRoot, file);
    if (!gone) return std::move(gone).error();
    return true;
}

Result<std::vector<std::string>> StateFiles::names() const {
    std::vector<std::string> out;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(folder_, error), end; !error && entry != end;
         entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        // What begins with a dot is a draft, or no user's.
        if (!name.starts_with('.')) out.push_back(path_component_value(name));
    }
    if (error && error != std::errc::no_such_file_or_directory)
        return system_error(error.value(), "cannot read " + folder_);
    return out;
}

}  // namespace roost
