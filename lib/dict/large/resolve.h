// Addresses of host names.
#pragma once

#include "dict/redis_link.h"

namespace roost {

// As RedisLibraries says. The system's resolver keeps no deadline, so it works in a thread of its own, which a call
// that ran out of time leaves behind.
Result<std::vector<SocketAddress>> resolve(const std::string& host, const std::string& port, Deadline deadline);

}  // namespace roost
