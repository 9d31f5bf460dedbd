// Looking at all that lies below a directory, without following links.
#pragma once

#include "base/files.h"
#include "base/result.h"

#include <functional>
#include <string>

namespace roost::mbox {

// Calls `visit` for each regular file at any depth below the open directory, in no order. Links and what is neither
// file nor directory are passed over.
Result<void> each_file(Files& files, DirRef dir,
                       const std::function<Result<void>(DirRef dir, const std::string& name)>& visit);

// Removes a directory with all that it holds. One that is not there is a success.
Result<void> remove_tree(Files& files, const std::string& path);

}  // namespace roost::mbox
