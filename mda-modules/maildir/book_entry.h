// A delivery's entry in the books that its folder is counted in.
#pragma once

#include <cstdint>
#include <optional>

#include "base/files.h"
#include "base/result.h"
#include "books.h"
#include "mailbox.h"
#include "user/user.h"

namespace roost::maildir {

// The mailbox's books, the folder's own, or none. One delivery's; the calls come in the order below.
class BookEntry {
public:
    BookEntry(const User& user, const Folder& folder);

    // Before the message becomes visible.
    Result<void> enter(Files& files, Mailbox& mailbox, std::uint64_t bytes);
    // It did not become visible.
    void take_back(Files& files, const Mailbox& mailbox);
    // It is visible. Books that should know nothing of it, but were kept under other rules, are removed.
    void confirm(Files& files, const Mailbox& mailbox);
    // It was taken out again.
    Result<void> forget(Files& files, const Mailbox& mailbox);

private:
    // Whose books: the mailbox's, or the folder's that are open.
    const Mailbox& at(const Mailbox& mailbox) const { return own_ ? *own_ : mailbox; }
    Result<void> forget_others(Files& files, const Mailbox& mailbox) const;

    Folder folder_;
    FolderRule::Counted counted_;
    bool left_out_;  // by the rule for Trash
    Terms mailbox_terms_;
    Terms terms_;  // of the books that it is entered in
    std::optional<Mailbox> own_;
    std::optional<Entered> entered_;
};

}  // namespace roost::maildir
