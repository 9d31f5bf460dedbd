#include "quota/outbox.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <thread>
#include <unordered_set>

#include "base/text.h"

namespace roost {
namespace {

using std::chrono::milliseconds;

const DirRef kHere{AT_FDCWD, {}};
constexpr std::string_view kEverybody = "*";
// The names of tens of millions of users; a file of more than this was not written by us.
constexpr std::size_t kMaxFile = 1024UL * 1024 * 1024;
constexpr std::size_t kMaxMark = 4096;
// Whoever holds the outbox exclusively needs it for a moment; one that was stopped then must not stop deliveries.
constexpr milliseconds kPatience{1000};
constexpr milliseconds kPause{1};

void put(std::string& out, std::string_view name) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    out += '\n';
    for (const char c : name) {
        const auto u = static_cast<unsigned char>(c);
        if (is_control(c) || c == '%' || c == '*') {
            out += '%';
            out += kDigits[u >> 4];
            out += kDigits[u & 15];
        } else {
            out += c;
        }
    }
    out += '\n';
}

// Nothing if it is no record of ours.
std::optional<std::string> name_of(std::string_view line) {
    std::string out;
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (line[i] != '%') {
            out += line[i];
            continue;
        }
        unsigned byte = 0;
        const char* const begin = line.data() + i + 1;
        if (i + 2 >= line.size() || std::from_chars(begin, begin + 2, byte, 16).ptr != begin + 2) return std::nullopt;
        out += static_cast<char>(byte);
        i += 2;
    }
    return out;
}

Outbox::Content parse(std::string_view text) {
    Outbox::Content out;
    std::unordered_set<std::string_view> seen;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        if (line.empty()) continue;
        if (line == kEverybody) {
            out.everybody = true;
        } else if (seen.insert(line).second) {
            if (auto name = name_of(line)) out.names.push_back(*std::move(name));
        }
    }
    return out;
}

std::string render(const Outbox::Content& content) {
    std::string out;
    if (content.everybody) out += "\n*\n";
    for (const std::string& name : content.names) put(out, name);
    return out;
}

// False: another holder kept it until the deadline.
Result<bool> lock_file(int fd, int how, const std::string& path, Deadline deadline) {
    while (::flock(fd, how | LOCK_NB) != 0) {
        if (errno == EINTR) continue;
        if (errno != EWOULDBLOCK) return system_error(errno, "cannot lock " + path);
        if (deadline.expired()) return false;
        std::this_thread::sleep_for(kPause);
    }
    return true;
}

}  // namespace

Outbox::Outbox(Files& files, std::string state)
    : files_(files),
      state_(std::move(state)),
      pending_(state_ + "/clone.pending"),
      lock_(state_ + "/clone.lock"),
      boot_(state_ + "/clone.boot") {}

Result<Fd> Outbox::open_here(const std::string& path, int flags) {
    auto fd = files_.open(kHere, path, flags);
    if (fd || fd.error().sys != ENOENT || (flags & O_ACCMODE) == O_RDONLY) return fd;
    auto dir = files_.make_path(state_, 0700);
    if (!dir) return std::move(dir).error();
    struct stat above {};
    if (::fstat(dir->get(), &above) != 0) return system_error(errno, "cannot look at " + state_);
    fd = files_.open(kHere, path, flags | O_CREAT, 0600);
    if (!fd) return fd;
    // Whoever may work in the directory may work on the file.
    if (::geteuid() == 0)
        if (auto owned = files_.set_owner(fd->get(), above.st_uid, above.st_gid, path); !owned)
            return std::move(owned).error();
    struct stat own {};
    if ((above.st_mode & S_IWGRP) != 0 && ::fstat(fd->get(), &own) == 0 && (own.st_mode & S_IWGRP) == 0 &&
        (own.st_uid == ::geteuid() || ::geteuid() == 0))
        if (auto shared = files_.set_mode(fd->get(), 0660, path); !shared) return std::move(shared).error();
    return fd;
}

Result<bool> Outbox::is_current(int fd) {
    auto theirs = files_.stat(kHere, pending_);
    if (!theirs && theirs.error().sys == ENOENT) return false;
    if (!theirs) return std::move(theirs).error();
    struct stat ours {};
    return ::fstat(fd, &ours) == 0 && ours.st_ino == theirs->st_ino && ours.st_dev == theirs->st_dev;
}

Result<Fd> Outbox::open_locked(Hold hold) {
    const Deadline deadline = Deadline::in(kPatience);
    while (true) {
        auto fd = open_here(pending_, O_RDWR | O_APPEND);
        if (!fd) return fd;
        auto locked = lock_file(fd->get(), hold == Hold::exclusive ? LOCK_EX : LOCK_SH, pending_, deadline);
        if (!locked) return std::move(locked).error();
        if (!*locked)
            return Error{Outcome::trouble, "cannot write " + pending_,
                         "another process has kept it locked all the time", "see who: fuser " + pending_, 0};
        auto current = is_current(fd->get());
        if (!current) return std::move(current).error();
        if (*current) return fd;
    }
}

Result<void> Outbox::append(std::string_view text) {
    const std::lock_guard guard(mutex_);
    if (out_ && drained_) return files_.write(out_.get(), text, pending_);
    if (out_) {
        auto locked = lock_file(out_.get(), LOCK_SH, pending_, Deadline::in(kPatience));
        if (!locked) return std::move(locked).error();
        const auto current = is_current(out_.get());
        if (!*locked || !current || !*current) out_.reset();
    }
    if (!out_) {
        auto fd = open_locked(Hold::shared);
        if (!fd) return std::move(fd).error();
        out_ = *std::move(fd);
    }
    auto done = files_.write(out_.get(), text, pending_);
    ::flock(out_.get(), LOCK_UN);
    return done;
}

Result<void> Outbox::add(std::span<const std::string> names) {
    std::string text;
    for (const std::string& name : names) put(text, name);
    return text.empty() ? Result<void>() : append(text);
}

Result<void> Outbox::add_everybody() { return append(render({{}, true})); }

Result<void> Outbox::sync() {
    auto fd = open_here(pending_, O_RDWR);
    if (!fd) return std::move(fd).error();
    if (auto done = files_.sync(fd->get(), pending_); !done) return done;
    auto dir = files_.open_dir(kHere, state_, Files::Follow::yes);
    if (!dir) return std::move(dir).error();
    return files_.sync(dir->get(), state_);
}

bool Outbox::empty() {
    struct stat st {};
    return ::stat(pending_.c_str(), &st) != 0 || st.st_size == 0;
}

namespace {

Result<std::string> boot_id(Files& files) {
    auto id = files.read_small(kHere, "/proc/sys/kernel/random/boot_id", kMaxMark);
    if (!id) return id;
    return std::string(trim(id->substr(0, id->find('\n'))));
}

}  // namespace

Result<bool> Outbox::torn() {
    auto mark = files_.read_small(kHere, boot_, kMaxMark);
    if (!mark && mark.error().sys == ENOENT) return false;
    if (!mark) return std::move(mark).error();
    auto id = boot_id(files_);
    if (!id) return std::move(id).error();
    return *mark != *id + "\n";
}

Result<void> Outbox::mark() {
    auto id = boot_id(files_);
    if (!id) return std::move(id).error();
    const std::string draft = boot_ + ".new";
    if (auto gone = files_.unlink(kHere, draft); !gone) return gone;
    auto fd = open_here(draft, O_WRONLY);
    if (!fd) return std::move(fd).error();
    if (auto done = files_.write(fd->get(), *id + "\n", draft); !done) return done;
    if (auto done = files_.sync(fd->get(), draft); !done) return done;
    if (auto done = files_.rename(kHere, draft, kHere, boot_); !done) return done;
    auto dir = files_.open_dir(kHere, state_, Files::Follow::yes);
    if (!dir) return std::move(dir).error();
    return files_.sync(dir->get(), state_);
}

Result<void> Outbox::unmark() {
    if (auto done = sync(); !done) return done;
    return files_.unlink(kHere, boot_);
}

Result<std::optional<Outbox::Drain>> Outbox::drain(Deadline deadline) {
    auto fd = open_here(lock_, O_RDWR);
    if (!fd) return std::move(fd).error();
    auto locked = lock_file(fd->get(), LOCK_EX, lock_, deadline);
    if (!locked) return std::move(locked).error();
    if (!*locked) return std::optional<Drain>();
    const std::lock_guard guard(mutex_);
    out_.reset();  // while another process drained it may have gone
    drained_ = true;
    return std::optional<Drain>(Drain(*this, *std::move(fd)));
}

Outbox::Drain& Outbox::Drain::operator=(Drain&& other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(lock_, other.lock_);
    std::swap(size_, other.size_);
    std::swap(read_, other.read_);
    return *this;
}

Outbox::Drain::~Drain() {
    if (!lock_) return;  // moved from
    const std::lock_guard guard(owner_->mutex_);
    owner_->drained_ = false;
    lock_.reset();
}

Result<Outbox::Content> Outbox::Drain::read() {
    size_ = 0;
    read_ = {};
    std::unique_lock guard(owner_->mutex_);
    // Somebody may have removed the file by hand.
    if (owner_->out_) {
        const auto current = owner_->is_current(owner_->out_.get());
        if (!current || !*current) owner_->out_.reset();
    }
    if (owner_->empty()) return Content();
    auto fd = owner_->open_locked(Hold::exclusive);
    if (!fd) return std::move(fd).error();
    // Up to here there are whole records. Nobody but us takes any out, so the rest needs no lock.
    struct stat st {};
    if (::fstat(fd->get(), &st) != 0) return system_error(errno, "cannot look at " + owner_->pending_);
    ::flock(fd->get(), LOCK_UN);
    guard.unlock();
    auto text = owner_->files_.read_all(fd->get(), owner_->pending_, kMaxFile);
    if (!text) return std::move(text).error();
    text->resize(std::min(text->size(), static_cast<std::size_t>(st.st_size)));
    size_ = text->size();
    read_ = parse(*text);
    return read_;
}

Result<void> Outbox::Drain::finish(const Content& left) {
    constexpr std::uint64_t kWorthIt = 64UL * 1024;
    const std::string text = render(left);
    // Where nothing came out, the file may stay as it is, unless it repeats itself.
    const bool same = left.names.size() == read_.names.size() && left.everybody == read_.everybody;
    if (same && size_ < 2 * text.size() + kWorthIt) return {};
    const std::lock_guard guard(owner_->mutex_);
    auto fd = owner_->open_locked(Hold::exclusive);
    if (!fd) return std::move(fd).error();
    struct stat st {};
    if (::fstat(fd->get(), &st) != 0) return system_error(errno, "cannot look at " + owner_->pending_);
    const auto size = static_cast<std::uint64_t>(st.st_size);
    if (size <= size_ && left.empty()) return owner_->files_.truncate(fd->get(), 0, owner_->pending_);
    const std::string draft = owner_->pending_ + ".new";
    if (auto gone = owner_->files_.unlink(kHere, draft); !gone) return gone;
    auto next = owner_->open_here(draft, O_WRONLY);
    if (!next) return std::move(next).error();
    if (auto done = owner_->files_.write(next->get(), text, draft); !done) return done;
    if (size > size_)
        if (auto done = owner_->files_.copy(fd->get(), size_, size - size_, next->get(), draft); !done) return done;
    owner_->out_.reset();
    return owner_->files_.rename(kHere, draft, kHere, owner_->pending_);
}

std::optional<milliseconds> Outbox::Drain::failed_ago() const {
    struct stat st {};
    if (::fstat(lock_.get(), &st) != 0 || st.st_size == 0) return std::nullopt;
    using Clock = std::chrono::system_clock;
    const Clock::time_point then(std::chrono::duration_cast<Clock::duration>(
        std::chrono::seconds(st.st_mtim.tv_sec) + std::chrono::nanoseconds(st.st_mtim.tv_nsec)));
    const auto ago = std::chrono::duration_cast<milliseconds>(Clock::now() - then);
    // A clock that was put back must not stop anything.
    return ago.count() < 0 ? milliseconds::max() : ago;
}

bool Outbox::Drain::remember(bool failed) {
    const bool before = failed_ago().has_value();
    if (failed || before) {
        // What cannot be written is remembered as before.
        if (auto cut = owner_->files_.truncate(lock_.get(), 0, owner_->lock_); !cut) return false;
        if (failed &&
            (::lseek(lock_.get(), 0, SEEK_SET) != 0 || !owner_->files_.write(lock_.get(), "trouble\n", owner_->lock_)))
            return false;
    }
    return failed != before;
}

}  // namespace roost
