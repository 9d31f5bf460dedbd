#include "dict/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <thread>

namespace roost {
namespace {

constexpr DirRef kRoot{AT_FDCWD, {}};
constexpr std::time_t kStale = 60;  // seconds; Dovecot's

std::string parent_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

bool same_file(const struct stat& a, const struct stat& b) { return a.st_ino == b.st_ino && a.st_dev == b.st_dev; }

Result<struct stat> stat_of(int fd, const std::string& path) {
    struct stat out {};
    if (::fstat(fd, &out) != 0) return system_error(errno, "cannot look at " + path);
    return out;
}

// Only root gives files away; for others the system's choice of an owner has to do.
Result<void> give(Files& files, int fd, const std::string& path, mode_t mode, const struct stat& like) {
    auto owned = files.set_owner(fd, like.st_uid, like.st_gid, path);
    if (!owned && owned.error().sys != EPERM) return owned;
    return files.set_mode(fd, mode, path);
}

// Makes what is missing of the directory of `path`, and says how that directory is.
Result<struct stat> make_parent(Files& files, const std::string& path) {
    const std::string parent = parent_of(path);
    auto there = files.stat(kRoot, parent);
    if (there || there.error().sys != ENOENT) return there;
    auto above = make_parent(files, parent);
    if (!above) return above;
    const mode_t mode = (above->st_mode & S_ISGID) != 0 ? above->st_mode & 07777U : 0700U;
    auto made = files.make_dir(kRoot, parent, mode);
    if (!made) return std::move(made).error();
    if (*made) {
        auto fd = files.open_dir(kRoot, parent);
        if (!fd) return std::move(fd).error();
        if (auto given = give(files, fd->get(), parent, mode, *above); !given) return std::move(given).error();
    }
    return files.stat(kRoot, parent);
}

// As a file in the place of a former one, or the first one in its directory.
Result<void> dress(Files& files, int fd, const std::string& path, int old) {
    if (old >= 0) {
        auto former = stat_of(old, path);
        return former ? give(files, fd, path, former->st_mode & 07777U, *former) : Result<void>(former.error());
    }
    auto parent = make_parent(files, path);
    return parent ? give(files, fd, path, parent->st_mode & 0666U, *parent) : Result<void>(parent.error());
}

// Whether a lock file and what it protects have been as they are for a minute.
Result<bool> is_stale(Files& files, const std::string& lock, const std::string& path) {
    std::time_t changed = 0;
    for (const std::string& name : {lock, path}) {
        auto found = files.stat(kRoot, name);
        if (!found && found.error().sys == ENOENT && name == lock) return false;
        if (!found && found.error().sys == ENOENT) continue;
        if (!found) return std::move(found).error();
        changed = std::max({changed, found->st_mtime, found->st_ctime});
    }
    return std::time(nullptr) > changed + kStale;
}

}  // namespace

FileLock::FileLock(FileLock&& other) noexcept
    : files_(other.files_),
      path_(std::move(other.path_)),
      kind_(other.kind_),
      old_(std::move(other.old_)),
      new_(std::move(other.new_)) {}

FileLock::~FileLock() {
    if (new_) (void)bool(files_.unlink(kRoot, new_name()));
}

std::string FileLock::new_name() const { return path_ + (kind_ == FileLockKind::dotlock ? ".lock" : ".tmp"); }

Result<FileLock> FileLock::take(Files& files, const std::string& path, FileLockKind kind, Deadline deadline) {
    using namespace std::chrono_literals;
    FileLock out(files, path, kind);
    for (auto pause = 2ms;; pause = std::min(pause * 2, 50ms)) {
        auto taken = kind == FileLockKind::dotlock ? out.take_dotlock() : out.take_record_lock();
        if (!taken) return std::move(taken).error();
        if (*taken) return out;
        if (deadline.expired())
            return Error{Outcome::trouble, "cannot lock " + path, "another program has the lock",
                         "see who holds " + (kind == FileLockKind::dotlock ? out.new_name() : path), 0};
        std::this_thread::sleep_for(std::min(pause, deadline.remaining() + 1ms));
    }
}

// False: somebody else has it.
Result<bool> FileLock::take_dotlock() {
    auto made = files_.open(kRoot, new_name(), O_RDWR | O_CREAT | O_EXCL, 0600);
    if (!made && made.error().sys == ENOENT) {
        auto parent = make_parent(files_, path_);
        if (!parent) return std::move(parent).error();
        made = files_.open(kRoot, new_name(), O_RDWR | O_CREAT | O_EXCL, 0600);
    }
    if (!made && made.error().sys == EEXIST) {
        auto stale = is_stale(files_, new_name(), path_);
        if (!stale) return std::move(stale).error();
        if (*stale)
            if (auto gone = files_.unlink(kRoot, new_name()); !gone) return std::move(gone).error();
        return false;
    }
    if (!made) return std::move(made).error();
    new_ = *std::move(made);
    auto old = files_.open(kRoot, path_, O_RDONLY);
    if (!old && old.error().sys != ENOENT) return std::move(old).error();
    if (old) old_ = *std::move(old);
    return true;
}

Result<bool> FileLock::take_record_lock() {
    auto old = files_.open(kRoot, path_, O_RDWR);
    if (!old && old.error().sys == ENOENT) {
        if (auto parent = make_parent(files_, path_); !parent) return std::move(parent).error();
        old = files_.open(kRoot, path_, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (!old && old.error().sys == EEXIST) return false;
        if (old)
            if (auto dressed = dress(files_, old->get(), path_, -1); !dressed) return std::move(dressed).error();
    }
    if (!old) return std::move(old).error();
    struct flock whole {};
    whole.l_type = F_WRLCK;
    const int failed = kind_ == FileLockKind::fcntl ? ::fcntl(old->get(), F_OFD_SETLK, &whole)
                                                    : ::flock(old->get(), LOCK_EX | LOCK_NB);
    if (failed != 0 && (errno == EAGAIN || errno == EACCES || errno == EINTR)) return false;
    if (failed != 0) return system_error(errno, "cannot lock " + path_);
    // Whoever had the lock before may have put another file there.
    auto locked = stat_of(old->get(), path_);
    if (!locked) return std::move(locked).error();
    auto there = files_.stat(kRoot, path_);
    if (!there || !same_file(*there, *locked)) return false;
    auto made = files_.open(kRoot, new_name(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (!made) return std::move(made).error();
    old_ = *std::move(old);
    new_ = *std::move(made);
    return true;
}

Result<std::optional<std::string>> FileLock::read() {
    if (!old_) return std::optional<std::string>();
    auto text = files_.read_all(old_.get(), path_, kLargestDictFile);
    if (!text) return std::move(text).error();
    return std::optional(*std::move(text));
}

Result<void> FileLock::replace(std::string_view text) {
    if (auto dressed = dress(files_, new_.get(), path_, old_ ? old_.get() : -1); !dressed) return dressed;
    if (auto written = files_.write(new_.get(), text, new_name()); !written) return written;
    if (auto synced = files_.sync_data(new_.get(), new_name()); !synced) return synced;
    auto own = stat_of(new_.get(), new_name());
    if (!own) return std::move(own).error();
    auto there = files_.stat(kRoot, new_name());
    if (!there || !same_file(*there, *own)) {
        new_.reset();  // it is another's
        return Error{Outcome::trouble, "cannot change " + path_, "another program took the lock away",
                     "is a clock wrong, or did this take a minute?", 0};
    }
    if (auto renamed = files_.rename(kRoot, new_name(), kRoot, path_); !renamed) return renamed;
    new_.reset();
    return {};
}

}  // namespace roost
