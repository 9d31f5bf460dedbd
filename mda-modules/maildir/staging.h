// A delivery on its way into new/: through tmp/, or as a file without a name.
#pragma once

#include <memory>

#include "base/files.h"
#include "base/result.h"
#include "mailbox.h"
#include "module/mda.h"

namespace roost::maildir {

// Writes the message into the target folder's tmp/, or into a file without a name if that may be and the file system
// can do it, or links or clones the twin's file in tmp/, and returns what is left to do. Stale files in that tmp/ are
// removed in passing.
Result<std::unique_ptr<Pending>> stage(Files& files, std::shared_ptr<Mailbox> mailbox, const User& user,
                                       const Delivery& delivery, const Message& message);

}  // namespace roost::maildir
