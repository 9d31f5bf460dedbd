// Dicts in Redis: one server, one that sentinels watch over, or a cluster.
//
// A transaction is MULTI, its changes, EXEC; a set is SET, and EXPIRE after it where keys expire, an unset DEL, as
// Dovecot's driver does it. An add is a script that leaves an absent key absent. In a cluster the changes to each slot
// are a transaction of their own, and users' keys lie in slots of their own: a failure may leave one of them changed
// and another not. Redis undoes nothing: an add to what is no number fails, and what stands beside it is applied.
#pragma once

#include "dict/dict.h"
#include "dict/redis_link.h"

namespace roost {

// As make_dict. Null where the URI asks for something that `libraries`, which outlive the dict, do not have.
Result<std::unique_ptr<Dict>> make_redis_dict(std::string_view uri, const RedisLibraries& libraries);

}  // namespace roost
