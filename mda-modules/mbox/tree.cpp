#include "tree.h"

#include <dirent.h>
#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <vector>

namespace roost::mbox {
namespace {

// Deeper than any folder can lie: nobody makes us walk for ever, or run out of descriptors.
constexpr int kMaxDepth = 32;

// The names in a directory, without "." and "..".
Result<std::vector<std::string>> names_in(Files& files, DirRef dir) {
    auto again = files.open_dir(dir, ".");  // with a position of its own
    if (!again) return std::move(again).error();
    const auto close = [](DIR* stream) { ::closedir(stream); };
    const int fd = ::fcntl(again->get(), F_DUPFD_CLOEXEC, 0);
    const std::unique_ptr<DIR, decltype(close)> stream(fd < 0 ? nullptr : ::fdopendir(fd), close);
    if (!stream) return system_error(errno, "cannot list " + std::string(dir.path));
    std::vector<std::string> names;
    while (true) {
        errno = 0;
        const dirent* entry = ::readdir(stream.get());  // NOLINT(concurrency-mt-unsafe): the stream is ours alone
        if (entry == nullptr) break;
        const std::string name(entry->d_name);
        if (name != "." && name != "..") names.push_back(name);
    }
    if (errno != 0) return system_error(errno, "cannot list " + std::string(dir.path));
    return names;
}

Error too_deep(DirRef dir) {
    return {Outcome::trouble, "cannot look into " + std::string(dir.path), "directories are nested too deeply", {}, 0};
}

// What to do with a directory after all in it was visited; what to do with everything else.
struct Visitor {
    std::function<Result<void>(DirRef above, const std::string& name)> leave;
    std::function<Result<void>(DirRef dir, const std::string& name, mode_t mode)> entry;
};

Result<void> walk(Files& files, DirRef dir, const Visitor& visitor, int depth) {
    if (depth > kMaxDepth) return too_deep(dir);
    auto names = names_in(files, dir);
    if (!names) return std::move(names).error();
    for (const std::string& name : *names) {
        auto st = files.stat(dir, name);
        if (!st && st.error().sys == ENOENT) continue;  // gone in between
        if (!st) return std::move(st).error();
        Result<void> done;
        if (S_ISDIR(st->st_mode)) {
            auto below = files.open_dir(dir, name);
            if (!below) return std::move(below).error();
            done = walk(files, {below->get(), std::string(dir.path) + "/" + name}, visitor, depth + 1);
            if (done && visitor.leave) done = visitor.leave(dir, name);
        } else {
            done = visitor.entry(dir, name, st->st_mode);
        }
        if (!done) return done;
    }
    return {};
}

}  // namespace

Result<void> each_file(Files& files, DirRef dir,
                       const std::function<Result<void>(DirRef dir, const std::string& name)>& visit) {
    const Visitor visitor{nullptr, [&](DirRef at, const std::string& name, mode_t mode) -> Result<void> {
                              return S_ISREG(mode) ? visit(at, name) : Result<void>();
                          }};
    return walk(files, dir, visitor, 0);
}

Result<void> remove_tree(Files& files, const std::string& path) {
    auto dir = files.open_dir({AT_FDCWD, {}}, path);
    if (!dir) return dir.error().sys == ENOENT ? Result<void>() : std::move(dir).error();
    const Visitor visitor{
        [&](DirRef above, const std::string& name) { return files.remove_dir(above, name); },
        [&](DirRef at, const std::string& name, mode_t /*mode*/) { return files.unlink(at, name); },
    };
    auto emptied = walk(files, {dir->get(), path}, visitor, 0);
    if (!emptied) return emptied;
    return files.remove_dir({AT_FDCWD, {}}, path);
}

}  // namespace roost::mbox
