#include "book_entry.h"

#include <utility>

#include "base/log.h"
#include "folder.h"

namespace roost::maildir {
namespace {

using Counted = FolderRule::Counted;

}  // namespace

BookEntry::BookEntry(const User& user, const Folder& folder) : folder_(folder) {
    const FolderRules rules = folder_rules(user.settings());
    counted_ = rules.counted(folder);
    mailbox_terms_ = terms_of(user, rules, {});
    terms_ = counted_ == Counted::apart ? terms_of(user, rules, folder) : mailbox_terms_;
    left_out_ = counted_ == Counted::mailbox && is_trash(folder) && !mailbox_terms_.count_trash;
}

Result<void> BookEntry::enter(Files& files, Mailbox& mailbox, std::uint64_t bytes) {
    if (counted_ == Counted::nowhere || left_out_) return {};
    if (counted_ == Counted::apart) {
        auto folder = open_folder_books(files, mailbox, folder_);
        if (!folder) return std::move(folder).error();
        if (!*folder) return {};  // removed by a mail program: publishing will tell
        own_ = **std::move(folder);
    }
    auto entered = Entered::enter(files, own_ ? *own_ : mailbox, terms_, bytes);
    if (!entered) return std::move(entered).error();
    entered_.emplace(*std::move(entered));
    return {};
}

void BookEntry::take_back(Files& files, const Mailbox& mailbox) {
    if (entered_) entered_->take_back(files, at(mailbox));
}

void BookEntry::confirm(Files& files, const Mailbox& mailbox) {
    if (entered_) entered_->confirm(files, at(mailbox));
    if (auto forgot = forget_others(files, mailbox); !forgot) log(LogLevel::warning, forgot.error().text());
}

Result<void> BookEntry::forget(Files& files, const Mailbox& mailbox) {
    return counted_ == Counted::nowhere || left_out_ ? Result<void>() : forget_count(files, at(mailbox));
}

// Rules change while deliveries run, and not in all processes at once. The mailbox's books tell by their stamp which
// folders they leave out, and a folder is left with books of its own only while all that comes into it is entered
// there.
Result<void> BookEntry::forget_others(Files& files, const Mailbox& mailbox) const {
    if (counted_ != Counted::mailbox) {
        auto forgot = forget_other_count(files, mailbox, mailbox_terms_);
        if (!forgot) return forgot;
    }
    if (counted_ == Counted::apart || folder_.empty()) return {};
    auto folder = open_folder_books(files, mailbox, folder_);
    if (!folder) return std::move(folder).error();
    return *folder ? forget_count(files, **folder) : Result<void>();
}

}  // namespace roost::maildir
