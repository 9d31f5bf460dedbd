#include "stamp.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "unique_name.h"

namespace roost::maildir {
namespace {

constexpr const char* kName = "roost-stamp";

// As many folders as anybody gives limits to.
constexpr std::size_t kMostBytes = 256UL * 1024;

std::string text_of(std::int64_t seconds, std::int64_t nanoseconds) {
    return std::to_string(seconds) + "." + std::to_string(nanoseconds);
}

// Which file it is: the inode, and where the file system knows it the time of its birth, since numbers of inodes are
// used again.
Result<std::string> identity(int file) {
    struct statx st {};
    if (::statx(file, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) != 0)
        return system_error(errno, "cannot look at maildirsize");
    return std::to_string(st.stx_ino) + " " + text_of(st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
}

// Nothing is there: the empty stamp.
Result<std::string> read(Files& files, const Mailbox& mailbox) {
    auto text = files.read_small(mailbox.ref(), kName, kMostBytes);
    if (text) return text;
    if (text.error().sys == ENOENT || text.error().sys == EFBIG) return std::string();
    return text;
}

}  // namespace

Result<std::string> stamp_for(int file, const Terms& terms, const struct timespec& cur_changed) {
    if (!terms.apart && terms.left_out.empty()) return std::string();
    auto out = identity(file);
    if (!out) return out;
    *out += '\n';
    if (terms.apart) *out += "cur " + text_of(cur_changed.tv_sec, cur_changed.tv_nsec) + "\n";
    for (const std::string& directory : terms.left_out) *out += directory + "\n";
    return out;
}

Result<bool> has_stamp(Files& files, const Mailbox& mailbox, int file, const Terms& terms) {
    struct timespec changed {};
    if (terms.apart) {
        const auto cur = files.stat(mailbox.ref(), "cur");
        if (!cur) return cur.error();
        changed = cur->st_mtim;
    }
    auto wanted = stamp_for(file, terms, changed);
    if (!wanted) return std::move(wanted).error();
    if (wanted->empty()) {
        const auto there = files.stat(mailbox.ref(), kName);
        if (!there && there.error().sys == ENOENT) return true;
    }
    auto said = read(files, mailbox);
    if (!said) return std::move(said).error();
    return *said == *wanted;
}

Result<void> write_stamp(Files& files, const Mailbox& mailbox, DirRef tmp, const std::string& stamp) {
    if (stamp.empty()) return remove_stamp(files, mailbox);
    const std::string name = unique_name();
    auto fd = files.open(tmp, name, O_WRONLY | O_CREAT | O_EXCL, mailbox.file_mode);
    if (!fd) return std::move(fd).error();
    const std::string path = std::string(tmp.path) + "/" + name;
    Result<void> done = files.set_mode(fd->get(), mailbox.file_mode, path);
    if (done) done = files.write(fd->get(), stamp, path);
    if (done) done = files.rename(tmp, name, mailbox.ref(), kName);
    if (!done) static_cast<void>(files.unlink(tmp, name));
    return done;
}

bool is_stamp(Files& files, const Mailbox& mailbox, const std::string& stamp) {
    const auto said = read(files, mailbox);
    return said && *said == stamp;
}

Result<void> remove_stamp(Files& files, const Mailbox& mailbox) { return files.unlink(mailbox.ref(), kName); }

}  // namespace roost::maildir
