// MDA module `maildir`: Maildir++ mailboxes. See README.md.
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "books.h"
#include "folder.h"
#include "mailbox.h"
#include "module/module.h"
#include "owner.h"
#include "place.h"
#include "restore.h"
#include "staging.h"

namespace roost::maildir {
namespace {

constexpr Setting kSettings[] = {
    {"maildir.path", Kind::pattern, "/var/mail/roost/%{domain}/%{local}", Level::user,
     "Where a new mailbox is made: an absolute path, in which %{user} stands for the user's whole name, %{local} and "
     "%{domain} for its parts and %{hash} for two levels of directories that spread users evenly. With maildir.volumes "
     "it is the path below the chosen volume, without a slash in front. A mailbox stays where it was made."},
    {"maildir.volumes", Kind::paths, "", Level::user,
     "Directories, usually mount points, over which new mailboxes are spread: each is made on the one with the most "
     "free space. All must be there, or no mailbox is made. Empty: maildir.path is the whole path."},
    {"maildir.uids", Kind::id_range, "", Level::file,
     "A range of user ids, such as 5000-60000, from which each mailbox gets one of its own; everything in it belongs "
     "to that user, and the kernel keeps the users apart. It needs Roost to run as root, and is without effect "
     "otherwise. Empty: mailboxes belong to the user that Roost runs as."},
    {"maildir.gid", Kind::id, "", Level::file,
     "The number of the group that mailboxes with a uid of their own belong to. Empty: the group with the same number "
     "as the uid."},
    {"maildir.directory-mode", Kind::mode, "0700", Level::user,
     "The permissions of the directories in a mailbox, whatever the umask."},
    {"maildir.file-mode", Kind::mode, "0600", Level::user,
     "The permissions of the files in a mailbox, whatever the umask."},
    {"maildir.count-trash", Kind::boolean, "no", Level::file,
     "Whether the folder Trash, and messages marked as trashed, count for usage and limits. With no they do not, as "
     "the Maildir++ specification and Courier have it, and users can still throw mail away when they are full. With "
     "yes they do, as in Dovecot by default. All programs that share the mailboxes must agree."},
};

class MaildirMda final : public Mda {
public:
    explicit MaildirMda(const ModuleHost& host)
        : config_(host.config), files_(host.files), db_(host.db), restorer_(host.files) {}

    Result<Readiness> check(const User& user) override {
        Readiness out;
        if (user.allocated("maildir.path") == nullptr) out.missing.emplace_back("maildir.path");
        if (gives_uids(user) && user.allocated("maildir.uid") == nullptr) out.missing.emplace_back("maildir.uid");
        return out;
    }

    Result<Settings> allocate(const User& user) override { return maildir::allocate(files_, db_, user); }

    Result<void> release(const User& user, const Settings& allocation) override {
        return maildir::release(files_, user, allocation);
    }

    Result<Folder> destination(const User& user, const Folder& wanted, bool create_folder) override {
        if (auto ready = check(user); !ready || !ready->complete())
            return create_folder && is_usable(wanted) ? wanted : Folder();
        auto mailbox = mailbox_of(files_, user);
        if (!mailbox) return std::move(mailbox).error();
        auto acting = ActAs::begin((*mailbox)->owner);
        if (!acting) return std::move(acting).error();
        return find_target(files_, **mailbox, wanted, create_folder);
    }

    Result<std::unique_ptr<Pending>> prepare(const User& user, const Delivery& delivery,
                                             const Message& message) override {
        auto mailbox = mailbox_of(files_, user);
        if (!mailbox) return std::move(mailbox).error();
        return stage(files_, *std::move(mailbox), user, delivery, message);
    }

    Result<bool> restore(const User& user, const std::string& place, const std::string& header,
                         const Message& message) override {
        auto mailbox = open_mailbox(files_, user);
        if (!mailbox) return std::move(mailbox).error();
        auto acting = ActAs::begin(mailbox->owner);
        if (!acting) return std::move(acting).error();
        const std::lock_guard lock(restoring_);
        return restorer_.restore(*mailbox, place, header, message);
    }

    Result<void> settle_restored() override {
        const std::lock_guard lock(restoring_);
        return restorer_.settle();
    }

    Result<Usage> usage(const User& user, const Folder& account, const Usage& coming) override {
        return with_books(user, account, [&](Mailbox& books, const Terms& terms) {
            return maildir::usage(files_, books, terms, coming);
        });
    }

    Result<Usage> recount(const User& user, const Folder& account) override {
        return with_books(user, account, [&](const Mailbox& books, const Terms& terms) {
            return maildir::recount(files_, books, terms);
        });
    }

    Result<void> purge(const User& user) override { return maildir::purge(files_, user); }

    Result<std::optional<std::vector<std::string>>> directories() override {
        std::vector<std::string> out = parse_words(config_.text("maildir.volumes"));
        if (out.empty()) out.push_back(common_path(config_.text("maildir.path")));
        return std::optional(std::move(out));
    }

private:
    // Calls `work` with the mailbox or folder that the account's books are in, as its owner.
    template <class Work>
    Result<Usage> with_books(const User& user, const Folder& account, Work work) {
        auto opened = mailbox_of(files_, user);
        if (!opened) return std::move(opened).error();
        Mailbox& mailbox = **opened;
        auto acting = ActAs::begin(mailbox.owner);
        if (!acting) return std::move(acting).error();
        const Terms terms = terms_of(user, folder_rules(user.settings()), account);
        if (account.empty()) return work(mailbox, terms);
        auto folder = open_folder_books(files_, mailbox, account);
        if (!folder) return std::move(folder).error();
        return *folder ? work(**folder, terms) : Usage{};
    }

    const Config& config_;
    Files& files_;
    UserDb& db_;
    std::mutex restoring_;
    Restorer restorer_;
};

Result<std::unique_ptr<Mda>> make(const ModuleHost& host) {
    return std::unique_ptr<Mda>(std::make_unique<MaildirMda>(host));
}

constexpr ModuleInfo kInfo = {
    .abi = kModuleAbi,
    .kind = ModuleKind::mda,
    .name = "maildir",
    .summary = "Maildir++ mailboxes, one file per message, shared with Courier, Dovecot and others",
    .settings = kSettings,
    .make_mda = make,
    .make_creator = nullptr,
};

}  // namespace
}  // namespace roost::maildir

ROOST_MODULE(roost::maildir::kInfo)
