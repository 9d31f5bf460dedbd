// What one user's accounts hold: the mailbox and the folders that are counted apart.
#pragma once

#include "module/mda.h"
#include "output.h"
#include "quota/folder_rules.h"
#include "user/user.h"

#include <optional>
#include <vector>

namespace roost::cli {

// The user's accounts as Mda::usage names them: the mailbox, then the folders.
std::vector<Folder> accounts_of(const User& user);

// True if the user has a mailbox.
Result<bool> has_mailbox(Mda& mda, const User& user);

Json to_json(const Usage& usage);

}  // namespace roost::cli
