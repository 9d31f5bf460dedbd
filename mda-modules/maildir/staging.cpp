#include "staging.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "base/log.h"
#include "book_entry.h"
#include "folder.h"
#include "restore.h"
#include "stale.h"
#include "unique_name.h"

namespace roost::maildir {
namespace {

// How often a name that is taken is replaced by another one. Names are unique, so a second try is one too many.
constexpr int kTries = 16;
// A file of at most this many bytes is put together first, since a system call costs more than copying it.
constexpr std::uint64_t kOneWrite = 64UL * 1024;

class StagedMail final : public Pending {
public:
    StagedMail(Files& files, std::shared_ptr<Mailbox> mailbox, Target target, const User& user, BookEntry books,
               std::string tags, std::uint64_t size)
        : files_(files),
          mailbox_(std::move(mailbox)),
          target_(std::move(target)),
          user_(user.name()),
          books_(std::move(books)),
          tags_(std::move(tags)),
          size_(size),
          tmp_path_(target_.maildir.tmp_path()),
          fresh_path_(target_.maildir.fresh_path()) {}
    StagedMail(const StagedMail&) = delete;
    StagedMail& operator=(const StagedMail&) = delete;

    ~StagedMail() override {
        if (name_.empty() || nameless_) return;
        // What cannot be removed now is stale in 36 hours.
        if (auto acting = ActAs::begin(mailbox_->owner)) static_cast<void>(files_.unlink(tmp(), name_));
    }

    const SyncPlan& plan() const override { return plan_; }

    Redo redo() const override { return {user_, render_place({target_.folder, name_}), header_, message_}; }

    Staged staged() const override {
        if (name_.empty() || nameless_) return {};
        return {target_.maildir.tmp.get(), name_, file_.get()};
    }

    Result<Receipt> publish() override {
        if (name_.empty())
            return Error{Outcome::trouble, "delivery to " + fresh_path_, "published twice", "this is a fault in Roost",
                         0};
        auto acting = ActAs::begin(mailbox_->owner);
        if (!acting) return std::move(acting).error();
        auto entered = books_.enter(files_, *mailbox_, size_);
        if (!entered) return std::move(entered).error();
        std::string final_name = name_;
        auto moved = move_to(final_name);
        if (!moved) {
            books_.take_back(files_, *mailbox_);
            return std::move(moved).error();
        }
        name_.clear();
        nameless_ = false;
        published_ = final_name;
        books_.confirm(files_, *mailbox_);
        return Receipt{target_.folder, fresh_path_ + "/" + final_name, size_};
    }

    Result<void> withdraw() override {
        auto acting = ActAs::begin(mailbox_->owner);
        if (!acting) return std::move(acting).error();
        // Back into tmp/, from where the destructor removes it: unlike removing it here, that tells whether a reader
        // was faster.
        if (auto opened = open_tmp(); !opened) return opened;
        auto moved = files_.rename_new(fresh(), published_, tmp(), published_);
        if (!moved && moved.error().sys == ENOENT) return {};
        if (!moved) return moved;
        name_ = published_;
        return books_.forget(files_, *mailbox_);
    }

    // Makes the file, as the mailbox's owner.
    Result<void> fill(const Delivery& delivery, const Message& message) {
        const Staged twin = delivery.twin != nullptr ? delivery.twin->staged() : Staged{};
        Result<void> done;
        if (!link(twin)) {
            was_nameless_ = delivery.may_be_nameless && create_nameless();
            if (!was_nameless_) done = create();
            if (done && !clone(twin)) done = write(delivery.header, message);
        }
        if (!done) return done;
        header_ = delivery.header;
        message_ = &message;
        plan_.before.push_back({file_.get(), staged_path()});
        plan_syncs_afterwards();
        return {};
    }

private:
    DirRef tmp() const { return {target_.maildir.tmp.get(), tmp_path_}; }
    DirRef fresh() const { return {target_.maildir.fresh.get(), fresh_path_}; }
    std::string staged_path() const { return (nameless_ ? fresh_path_ : tmp_path_) + "/" + name_; }

    void plan_syncs_afterwards() {
        plan_.after.clear();
        plan_.after.push_back({target_.maildir.fresh.get(), fresh_path_});
        if (target_.fresh) plan_.after.push_back({mailbox_->root.get(), mailbox_->path});
        // That it has a name now is written in the file's own inode, too.
        if (was_nameless_) plan_.after.push_back({file_.get(), staged_path()});
    }

    Result<void> open_tmp() {
        if (target_.maildir.tmp) return {};
        auto opened = files_.open_dir(fresh(), "../tmp");
        if (!opened) return std::move(opened).error();
        target_.maildir.tmp = *std::move(opened);
        return {};
    }

    // Shares the twin's file, if ours would be equal in owner, group and mode too.
    bool link(const Staged& twin) {
        struct stat st {};
        if (twin.file_fd < 0 || ::fstat(twin.file_fd, &st) != 0) return false;
        struct stat dir {};
        if (::fstat(target_.maildir.tmp.get(), &dir) != 0) return false;
        const Owner self = mailbox_->owner.value_or(Owner{::geteuid(), ::getegid()});
        // In a set-group-id directory files take the directory's group.
        const gid_t group = (dir.st_mode & S_ISGID) != 0 ? dir.st_gid : self.gid;
        constexpr mode_t kPermissions = 07777;
        if (st.st_uid != self.uid || st.st_gid != group || (st.st_mode & kPermissions) != mailbox_->file_mode ||
            static_cast<std::uint64_t>(st.st_size) != size_)
            return false;
        Fd file(::fcntl(twin.file_fd, F_DUPFD_CLOEXEC, 0));
        if (!file) return false;
        const std::string name = unique_name() + tags_;
        if (!files_.link({twin.dir_fd, "the other recipient's tmp"}, twin.name, tmp(), name)) return false;
        name_ = name;
        file_ = std::move(file);
        return true;
    }

    // Lets the new file share the twin's blocks.
    bool clone(const Staged& twin) {
        struct stat st {};
        if (twin.file_fd < 0 || ::fstat(twin.file_fd, &st) != 0 || static_cast<std::uint64_t>(st.st_size) != size_)
            return false;
        return static_cast<bool>(files_.clone(twin.file_fd, file_.get(), staged_path()));
    }

    // A file that new/ will hold, without a name yet. False: it takes one in tmp/.
    bool create_nameless() {
        auto file = files_.open(fresh(), ".", O_RDWR | O_TMPFILE, mailbox_->file_mode);
        if (!file) return false;
        file_ = *std::move(file);
        name_ = unique_name() + tags_;
        nameless_ = true;
        return static_cast<bool>(files_.set_mode(file_.get(), mailbox_->file_mode, staged_path()));
    }

    Result<void> create() {
        nameless_ = false;
        if (auto opened = open_tmp(); !opened) return opened;
        for (int tries = 1;; ++tries) {
            const std::string name = unique_name() + tags_;
            // Readable too, for a twin to be cloned from it.
            auto file = files_.open(tmp(), name, O_RDWR | O_CREAT | O_EXCL, mailbox_->file_mode);
            if (!file && file.error().sys == EEXIST && tries < kTries) continue;
            if (!file) return std::move(file).error();
            name_ = name;
            file_ = *std::move(file);
            break;
        }
        return files_.set_mode(file_.get(), mailbox_->file_mode, staged_path());
    }

    Result<void> write(const std::string& header, const Message& message) {
        const std::string path = staged_path();
        if (size_ > kOneWrite) {
            auto done = files_.write(file_.get(), header, path);
            return done ? message.write_to(files_, file_.get(), path) : done;
        }
        std::string all;
        all.reserve(size_);
        all = header;
        auto done = message.each([&](std::string_view bytes) -> Result<void> {
            all += bytes;
            return {};
        });
        return done ? files_.write(file_.get(), all, path) : done;
    }

    // Gives a file that was made without a name one in tmp/, by way of a copy.
    Result<void> copy_to_tmp() {
        const Fd nameless = std::move(file_);
        auto done = create();
        if (done) done = files_.copy(nameless.get(), 0, size_, file_.get(), staged_path());
        plan_syncs_afterwards();
        return done;
    }

    // Moves the file to new/ under `name`, or another one if that is taken.
    Result<void> move_to(std::string& name) {
        for (int tries = 1;; ++tries) {
            auto moved = nameless_ ? files_.give_name(file_.get(), fresh(), name)
                                   : files_.rename_new(tmp(), name_, fresh(), name);
            if (!moved && nameless_ && moved.error().sys != EEXIST) {
                // Where there is no /proc, or a file system that has such files and no links.
                if (auto copied = copy_to_tmp(); !copied) return copied;
                continue;
            }
            if (moved || moved.error().sys != EEXIST || tries == kTries) return moved;
            name = unique_name() + tags_;
        }
    }

    Files& files_;
    std::shared_ptr<Mailbox> mailbox_;
    Target target_;
    std::string user_;
    BookEntry books_;
    std::string tags_;
    std::uint64_t size_;
    std::string tmp_path_;
    std::string fresh_path_;
    std::string name_;           // in tmp/; empty: nothing is there, not yet or not any more
    bool nameless_ = false;      // the file will get that name, and has none yet
    bool was_nameless_ = false;  // it was when the plan was made
    std::string published_;      // in new/, once it is there
    Fd file_;
    std::string header_;
    const Message* message_ = nullptr;
    SyncPlan plan_;
};

// How many lines of the header do not end in CRLF yet.
std::uint64_t bare_newlines(std::string_view text) {
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < text.size(); ++i)
        if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) ++count;
    return count;
}

}  // namespace

Result<std::unique_ptr<Pending>> stage(Files& files, std::shared_ptr<Mailbox> mailbox, const User& user,
                                       const Delivery& delivery, const Message& message) {
    const std::uint64_t size = delivery.header.size() + message.size();
    const std::uint64_t with_crlf = size + bare_newlines(delivery.header) + message.bare_newlines();

    std::unique_ptr<StagedMail> staged;  // before the guard, so that it is destroyed after it
    {
        auto acting = ActAs::begin(mailbox->owner);
        if (!acting) return std::move(acting).error();
        auto target = open_target(files, *mailbox, delivery.folder, delivery.create_folder,
                                  delivery.may_be_nameless ? Tmp::unless_empty : Tmp::open);
        if (!target) return std::move(target).error();
        if (target->maildir.tmp) remove_stale(files, {target->maildir.tmp.get(), target->maildir.tmp_path()});
        BookEntry books(user, target->folder);
        staged = std::make_unique<StagedMail>(files, std::move(mailbox), *std::move(target), user, std::move(books),
                                              size_tags(size, with_crlf), size);
        auto filled = staged->fill(delivery, message);
        if (!filled) return std::move(filled).error();
    }
    return std::unique_ptr<Pending>(std::move(staged));
}

}  // namespace roost::maildir
