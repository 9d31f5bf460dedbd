// A mailbox's books: usage, kept in maildirsize beside other programs that keep it too, and counted anew when it cannot
// be trusted.
#pragma once

#include <cstdint>
#include <optional>

#include "base/files.h"
#include "base/result.h"
#include "mailbox.h"
#include "quota/limits.h"
#include "user/user.h"

namespace roost::maildir {

// What the books of a user are kept by.
struct Terms {
    Limits limits;
    bool count_trash;  // else neither the folder Trash nor messages marked as trashed count, as Courier has it
};
Terms terms_of(const User& user);

// What maildirsize says. Counts the mailbox where the file is missing, too long or not to be trusted, and where
// `coming` on top would exceed the limits and the file says more than a count just made, or is 15 minutes old.
Result<Usage> usage(Files& files, const Mailbox& mailbox, const Terms& terms, const Usage& coming);

// Counts the mailbox and writes maildirsize with what it found, or removes it where deliveries went on meanwhile.
Result<Usage> recount(Files& files, const Mailbox& mailbox, const Terms& terms);

// Removes the count, so that whoever asks next counts anew.
Result<void> forget_count(Files& files, const Mailbox& mailbox);

// One delivery's line in the books. It is written before the message becomes visible, so that a crash in between counts
// too much rather than too little until the next recount.
class Entered {
public:
    // Enters a message of `bytes`. Where there are no books nothing is entered: whoever asks for usage makes them.
    static Result<Entered> enter(Files& files, const Mailbox& mailbox, const Terms& terms, std::uint64_t bytes);

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
