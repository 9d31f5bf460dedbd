#include "staged_text.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <ctime>
#include <optional>

#include "journal.h"
#include "text.h"

namespace roost::mbox {
namespace {

Result<Fd> open_unlinked(Files& files, DirRef dir) {
    auto fd = files.open(dir, ".", O_TMPFILE | O_RDWR, 0600);
    if (fd || (fd.error().sys != EOPNOTSUPP && fd.error().sys != EISDIR)) return fd;
    // A file system without O_TMPFILE, such as NFS.
    static std::atomic<unsigned> counter{0};
    const std::string name = ".roost-text." + std::to_string(::getpid()) + "." + std::to_string(++counter);
    fd = files.open(dir, name, O_CREAT | O_TRUNC | O_RDWR, 0600);
    if (!fd) return fd;
    auto unlinked = files.unlink(dir, name);
    if (!unlinked) return std::move(unlinked).error();
    return fd;
}

}  // namespace

Result<StagedText> StagedText::make(Files& files, DirRef dir, const Delivery& delivery, const Message& message) {
    StagedText text;
    Quoter quoter;
    std::string buffer;
    const auto add = [&](std::string_view bytes) -> Result<void> {
        buffer.clear();
        quoter.add(bytes, buffer);
        return text.take(files, dir, buffer);
    };
    const auto begin = [&](std::string_view message_head) {
        std::optional<std::string> sender = return_path(delivery.header);
        if (!sender && message.trace().return_path) sender = return_path(message_head);
        if (!sender) sender = message.from_line_sender();
        text.head_ = from_line(sender.value_or(""), std::time(nullptr));
        return add(delivery.header);
    };
    auto done = message.each([&](std::string_view chunk) -> Result<void> {
        if (text.head_.empty()) {
            auto begun = begin(chunk);
            if (!begun) return begun;
        }
        return add(chunk);
    });
    if (done && text.head_.empty()) done = begin({});
    if (!done) return std::move(done).error();
    buffer.clear();
    quoter.finish(buffer);
    done = text.take(files, dir, buffer);
    if (!done) return std::move(done).error();
    return text;
}

Result<void> StagedText::take(Files& files, DirRef dir, std::string_view bytes) {
    if (!rest_) {
        const std::size_t room = Intent::kWitness - std::min(head_.size(), Intent::kWitness);
        head_ += bytes.substr(0, room);
        bytes.remove_prefix(std::min(room, bytes.size()));
        if (bytes.empty()) return {};
        auto fd = open_unlinked(files, dir);
        if (!fd) return std::move(fd).error();
        rest_ = *std::move(fd);
    }
    rest_size_ += bytes.size();
    return files.write(rest_.get(), bytes, "the staged message in " + std::string(dir.path));
}

Result<void> StagedText::write_rest(Files& files, int fd, const std::string& path) const {
    if (rest_size_ == 0) return {};
    return files.copy(rest_.get(), 0, rest_size_, fd, path);
}

}  // namespace roost::mbox
