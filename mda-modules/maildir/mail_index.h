// Where the messages of a mailbox lie.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/files.h"
#include "base/result.h"
#include "entries.h"
#include "mailbox.h"

namespace roost::maildir {

// A message's file: in the directory `folder` of the mailbox, empty for INBOX, in its part "new" or "cur".
struct Spot {
    std::string folder;
    std::string part;
    std::string name;
};

// What a name keeps whatever mail programs make of it: they add flags behind a colon, and add, change and drop fields
// behind a comma, such as sizes and IMAP UIDs.
std::string_view unique_part(std::string_view name);

// Finds files of one mailbox after the other. The mailbox is listed once, and anew only when something has changed in
// it, as its directories' times tell; of its files only those are kept in mind whose names say that they are hardly
// older than the one that is looked for. One thread at a time.
class MailIndex {
public:
    // The file with that unique part, preferably in `folder`; nothing if there is none in new/ and cur/ of any folder.
    // What is found may have moved on meanwhile. Nothing is said only when nothing changed while the mailbox was
    // listed, since a listing may miss what mail programs move, or when that goes on and on.
    Result<std::optional<Spot>> find(Files& files, const Mailbox& mailbox, const std::string& folder,
                                     std::string_view unique);
    // A file that was put there by us, after find().
    void add(Files& files, const Mailbox& mailbox, Spot spot);

private:
    bool is_current(Files& files, const Mailbox& mailbox, std::int64_t since) const;
    Result<void> list(Files& files, const Mailbox& mailbox, std::int64_t since);
    Result<void> list_folder(Files& files, DirRef dir, const std::string& folder);

    dev_t device_ = 0;
    ino_t inode_ = 0;
    std::int64_t since_ = 0;                            // in seconds since 1970; what is older is not in `spots_`
    std::vector<Seen> seen_;                            // empty: no mailbox is known
    std::unordered_multimap<std::string, Spot> spots_;  // by unique parts
};

}  // namespace roost::maildir
