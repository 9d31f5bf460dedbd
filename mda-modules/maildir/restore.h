// Bringing back what a crash lost or tore.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>

#include "base/files.h"
#include "base/folder.h"
#include "base/result.h"
#include "mail/message.h"
#include "mail_index.h"
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

// Makes sure that messages lie whole in their mailboxes. One thread at a time.
class Restorer {
public:
    explicit Restorer(Files& files) : files_(files) {}

    // The message, whatever mail programs have added to its name, in its folder or in any other. One that is missing is
    // put into its folder's new/, which is made if need be; a torn one is replaced where it lies. Mail programs may
    // move it meanwhile, but not time and again. Returns whether it was missing or torn. The counts of mailbox and
    // folder are forgotten, since a crash may have left it behind; on a volume that is mounted read-only a message that
    // is whole is left alone with them. As the mailbox's owner.
    Result<bool> restore(const Mailbox& mailbox, const std::string& place, const std::string& header,
                         const Message& message);
    // Everything that restore() found or put is on the disk.
    Result<void> settle();

private:
    // A file system, by a directory on it.
    struct Volume {
        Fd directory;
        std::string path;
    };
    Result<std::optional<Spot>> find(const Mailbox& mailbox, const Place& place);
    // Restores it if it stays where it is found, or is nowhere; else an Error with ENOENT.
    // `forgotten`: whether the counts are.
    Result<bool> look(const Mailbox& mailbox, const Place& place, const std::string& header, const Message& message,
                      const Result<void>& forgotten);

    Files& files_;
    MailIndex index_;
    std::map<dev_t, Volume> volumes_;
};

}  // namespace roost::maildir
