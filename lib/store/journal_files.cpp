#include "store/journal_files.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

namespace roost::journal {

Result<void> make_file(Files& files, DirRef dir,
                       const std::function<Result<void>(int file, std::string_view path)>& fill,
                       const std::function<Result<void>()>& place) {
    const std::string path = std::string(dir.path) + "/" + kUnfinished;
    auto file = files.open(dir, kUnfinished, O_WRONLY | O_CREAT | O_TRUNC, kFileMode);
    if (!file) return std::move(file).error();
    auto done = fill(file->get(), path);
    if (done) done = files.sync(file->get(), path);
    if (done) done = place();
    if (done) return files.sync(dir.fd, dir.path);
    static_cast<void>(files.unlink(dir, kUnfinished));
    return done;
}

Result<void> fill_with_zeroes(Files& files, int file, std::string_view path, std::uint64_t from, std::uint64_t to) {
    constexpr std::size_t kPiece = 1024UL * 1024;
    const std::string zeroes(kPiece, '\0');
    for (std::uint64_t at = from; at < to; at += kPiece) {
        const auto piece = std::string_view(zeroes).substr(0, std::min<std::uint64_t>(kPiece, to - at));
        if (auto done = files.write_at(file, at, piece, path); !done) return done;
    }
    return {};
}

Result<void> make_segment(Files& files, DirRef dir, const std::string& name, std::uint64_t size,
                          const std::function<Result<void>()>& aside) {
    return make_file(
        files, dir, [&](int file, std::string_view path) { return fill_with_zeroes(files, file, path, 0, size); },
        [&] {
            auto done = aside();
            return done ? files.rename(dir, kUnfinished, dir, name) : done;
        });
}

}  // namespace roost::journal
