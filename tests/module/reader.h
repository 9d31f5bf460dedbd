// Reads back what a module stored, by the rules of the format alone: a module's reader knows its layout, the contract
// suite does not.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/folder.h"
#include "user/user.h"

namespace roost::test {

class Reader {
public:
    virtual ~Reader() = default;
    // What roost.conf must say so that the module's mailboxes lie below `dir`, as "key=value".
    virtual std::vector<std::string> settings(const std::string& dir) const = 0;
    // The messages that a mail program would see, in any order, each with the bytes that were delivered (trace fields
    // included), as far as the format can give them back. None if there is no such folder.
    virtual std::vector<std::string> messages(const User& user, const Folder& folder) const = 0;
    // The folder is there for a mail program.
    virtual bool has_folder(const User& user, const Folder& folder) const = 0;
    // Puts a message into a folder that is there, as a mail program does.
    virtual void add(const User& user, const Folder& folder, const std::string& message) const = 0;
    // What the format makes of a message: as it comes back.
    virtual std::string as_stored(std::string message) const = 0;
    // The mailbox is there, or any part of it.
    virtual bool exists(const Settings& allocation) const = 0;
    // Takes the mailbox away as a whole, as an unmounted volume does.
    virtual void take_away(const Settings& allocation) const = 0;
    // What a delivery leaves that is no mail: staged files, locks, intents. By path.
    virtual std::vector<std::string> leftovers(const User& user) const = 0;
};

std::unique_ptr<Reader> make_reader(std::string_view module);

}  // namespace roost::test
