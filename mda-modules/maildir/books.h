// The books of a mailbox, and of each folder that is counted apart: usage, kept in maildirsize beside other programs
// that keep it too, and counted anew when it cannot be trusted.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "base/files.h"
#include "base/result.h"
#include "mailbox.h"
#include "quota/folder_rules.h"
#include "user/user.h"

namespace roost::maildir {

// What the books of an account are kept by: of a user's mailbox, or of a folder that is counted apart, which has books
// of its own in its directory.
struct Terms {
    Limits limits;
    bool count_trash;  // else neither the folder Trash nor messages marked as trashed count, as Courier has it
    bool apart = false;
    std::set<std::string> left_out;  // directories of the folders that do not count in the mailbox
};
Terms terms_of(const User& user, const FolderRules& rules, const Folder& account);

// What maildirsize says. Counts the mailbox where the file is missing, too long or not to be trusted, where it was
// written under other terms, and where `coming` on top would exceed the limits and the file says more than a count just
// made, or is 15 minutes old. With nothing coming nobody is refused: then only if the count is 15 minutes old. Here and
// below `mailbox` is the account's: for a folder, see open_folder_books().
Result<Usage> usage(Files& files, Mailbox& mailbox, const Terms& terms, const Usage& coming);

// Counts the mailbox and writes maildirsize with what it found, or removes it where deliveries went on meanwhile.
Result<Usage> recount(Files& files, const Mailbox& mailbox, const Terms& terms);

// Writes the maildirsize of a mailbox that was just made and that nobody can have put mail in yet. False: there is none
// of ours, and whoever asks for usage counts.
bool begin_books(Files& files, const Mailbox& mailbox, const Terms& terms);

// Removes the count, so that whoever asks next counts anew.
Result<void> forget_count(Files& files, const Mailbox& mailbox);

// The same if it was written under other terms: for whoever leaves a message out of books that might count it.
Result<void> forget_other_count(Files& files, const Mailbox& mailbox, const Terms& terms);

// A folder as a mailbox of its own, for its books; nothing if there is no such folder.
Result<std::optional<Mailbox>> open_folder_books(Files& files, const Mailbox& mailbox, const Folder& folder);

// One delivery's line in the books. It is written before the message becomes visible, so that a crash in between counts
// too much rather than too little until the next recount.
class Entered {
public:
    // Enters a message of `bytes`. Where there are no books nothing is entered: whoever asks for usage makes them.
    // Books that were written under other terms are removed.
    static Result<Entered> enter(Files& files, Mailbox& mailbox, const Terms& terms, std::uint64_t bytes);

    // The message did not become visible.
    void take_back(Files& files, const Mailbox& mailbox);
    // The message is visible. If the file was replaced meanwhile by a count that may not have seen the message, the
    // count is removed.
    void confirm(Files& files, const Mailbox& mailbox);

private:
    Entered() = default;
    Fd file_;  // none: no books
    std::uint64_t bytes_ = 0;
};

}  // namespace roost::maildir
