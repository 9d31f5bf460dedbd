// Bringing back what a crash lost or tore.
#pragma once

#include <string>

#include "base/files.h"
#include "base/folder.h"
#include "base/result.h"
#include "mail/message.h"
#include "mailbox.h"

namespace roost::maildir {

// Where a delivery went, as a journal keeps it: "NAME\nFOLDER", the file's name in new/ and the folder's.
struct Place {
    Folder folder;
    std::string name;
};
std::string render_place(const Place& place);
// An Error (trouble) for what render_place does not make.
Result<Place> parse_place(const std::string& text);

// Makes sure that the message lies whole in the mailbox, under its name with any flags, in its folder or in any other,
// and that it is on the disk with the directory that names it. One that is missing is put into its folder's new/, which
// is made if need be; a torn one is replaced where it lies. Returns whether it was missing or torn. The counts of
// mailbox and folder are forgotten, since a crash may have left it behind. As the mailbox's owner.
Result<bool> restore(Files& files, const Mailbox& mailbox, const std::string& place, const std::string& header,
                     const Message& message);

}  // namespace roost::maildir
