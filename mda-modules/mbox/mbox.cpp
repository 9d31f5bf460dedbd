// MDA module `mbox`: all messages of a folder in one file. See README.md.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mailbox.h"
#include "module/module.h"
#include "place.h"
#include "staged_text.h"
#include "usage.h"

namespace roost::mbox {
namespace {

constexpr Setting kSettings[] = {
    {"mbox.path", Kind::pattern, "/var/mail/roost/%{domain}/%{local}/inbox", Level::user,
     "Where a new user's INBOX is made: the absolute path of a file, with %{user} %{local} %{domain} %{hash} as in "
     "maildir.path. Lock file and books lie beside it, so a directory for each user, as in the default, keeps the "
     "users "
     "apart. A mailbox stays where it was made."},
    {"mbox.folders", Kind::pattern, "/var/mail/roost/%{domain}/%{local}/folders", Level::user,
     "The directory for a new user's folders, which no other user may have. It is made with the mailbox."},
    {"mbox.folder-file", Kind::text, "messages.mbox", Level::file,
     "The name of the file in each folder's directory: the folder Lists/roost is Lists/roost/messages.mbox, and Lists "
     "can have messages too. In Dovecot this is mailbox_directory_name (DIRNAME). A name with a dot collides with no "
     "folder. Empty: Lists/roost is the file roost, and a folder holds either messages or folders."},
    {"mbox.file-mode", Kind::mode, "0600", Level::file, "The permissions of new mbox files, whatever the umask."},
    {"mbox.directory-mode", Kind::mode, "0700", Level::user,
     "The permissions of a user's own directories, whatever the umask."},
    {"mbox.locks", Kind::words, "fcntl dotlock", Level::file,
     "Which locks to hold while writing, and in which order: fcntl, dotlock (a file NAME.lock beside the mailbox) or "
     "both. All programs that share the mailboxes must use the same; the default is what Debian's policy demands."},
    {"mbox.lock-timeout", Kind::duration, "30s", Level::file,
     "How long to wait for other programs' locks before the delivery fails for the time being."},
    {"mbox.dotlock-stale", Kind::duration, "5m", Level::file,
     "The age at which a lock file is removed whose owner cannot be asked after, because it names no process of this "
     "machine. One that names a process is removed as soon as that process is gone, and never before."},
};

class MboxPending final : public Pending {
public:
    MboxPending(Target target, StagedText text) : target_(std::move(target)), text_(std::move(text)) {}

    // Empty: the file is synced under its lock, in publish.
    const SyncPlan& plan() const override { return plan_; }

    Result<Receipt> publish() override {
        auto grown = target_.mailbox.append(text_);
        if (!grown) return std::move(grown).error();
        return Receipt{target_.folder, target_.mailbox.path(), *grown};
    }

private:
    SyncPlan plan_;
    Target target_;
    StagedText text_;
};

class MboxMda final : public Mda {
public:
    MboxMda(const ModuleHost& host, Rules rules) : config_(host.config), files_(host.files), rules_(std::move(rules)) {}

    Result<Readiness> check(const User& user) override {
        Readiness out;
        for (const char* key : {"mbox.path", "mbox.folders"})
            if (user.allocated(key) == nullptr) out.missing.emplace_back(key);
        return out;
    }
    Result<Settings> allocate(const User& user) override { return mbox::allocate(files_, rules_, user); }
    Result<void> release(const User& user, const Settings& allocation) override {
        return mbox::release(files_, user, allocation);
    }
    Result<Folder> destination(const User& user, const Folder& wanted, bool create_folder) override {
        if (auto ready = check(user); !ready || !ready->complete())
            return create_folder && is_usable(wanted) ? wanted : Folder();
        return find_target(files_, rules_, user, wanted, create_folder);
    }
    Result<std::unique_ptr<Pending>> prepare(const User& user, const Delivery& delivery,
                                             const Message& message) override {
        auto target = open_target(files_, rules_, user, delivery.folder, delivery.create_folder);
        if (!target) return std::move(target).error();
        auto text = StagedText::make(files_, target->mailbox.dir(), delivery, message);
        if (!text) return std::move(text).error();
        return std::unique_ptr<Pending>(std::make_unique<MboxPending>(*std::move(target), *std::move(text)));
    }
    Result<Usage> usage(const User& user, const Folder& account, const Usage& /*coming*/) override {
        // Books that fit their file are never out of date.
        return count_usage(files_, rules_, user, account, Look::books);
    }
    Result<Usage> recount(const User& user, const Folder& account) override {
        return count_usage(files_, rules_, user, account, Look::store);
    }
    Result<void> purge(const User& user) override { return mbox::purge(files_, user); }
    Result<std::optional<std::vector<std::string>>> directories() override {
        return std::optional(
            std::vector{common_path(config_.text("mbox.path")), common_path(config_.text("mbox.folders"))});
    }

private:
    const Config& config_;
    Files& files_;
    Rules rules_;
};

Result<std::unique_ptr<Mda>> make(const ModuleHost& host) {
    Rules rules;
    auto locks = LockRules::make(host.config);
    if (!locks) return std::move(locks).error();
    rules.locks = *std::move(locks);
    auto mode = parse_mode(host.config.text("mbox.file-mode"));
    if (!mode) return std::move(mode).error();
    rules.file_mode = *mode;
    rules.folder_file = host.config.text("mbox.folder-file");
    if (!rules.folder_file.empty() && !is_usable_name(rules.folder_file))
        return config_error(std::string(host.config.origin("mbox.folder-file")) + ": mbox.folder-file",
                            "'" + rules.folder_file + "' cannot be the name of a mailbox",
                            "it must not have a slash, begin with a dot, or end in .lock");
    return std::unique_ptr<Mda>(std::make_unique<MboxMda>(host, std::move(rules)));
}

constexpr ModuleInfo kInfo = {
    .abi = kModuleAbi,
    .kind = ModuleKind::mda,
    .name = "mbox",
    .summary = "mbox files, all messages of a folder in one, shared with mutt, Dovecot and others under their locks",
    .settings = kSettings,
    .make_mda = make,
    .make_creator = nullptr,
};

}  // namespace
}  // namespace roost::mbox

ROOST_MODULE(roost::mbox::kInfo)
