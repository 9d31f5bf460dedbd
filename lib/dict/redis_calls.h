// Calls to Redis servers that are each answered as a whole, sent all at once, and again where a cluster redirects them.
#pragma once

#include "dict/redis_nodes.h"

#include <span>

namespace roost {

// One command, or MULTI with its commands and EXEC, about keys of one slot.
struct RedisCall {
    std::uint16_t slot = 0;
    std::string commands;
    std::size_t replies = 1;            // how many answer them
    RedisReply reply;                   // the last one; the first error of MULTI's commands, in whose place EXEC fails
    std::optional<RedisAddress> asked;  // where a slot that is just moving has gone
};

// Makes all calls, those to one key in their order. Calls that fail carry their error replies; an Error is a server
// that could not be reached or did not answer, and then `nodes` has forgotten its connections.
Result<void> run(RedisNodes& nodes, std::span<RedisCall> calls, Deadline deadline);

}  // namespace roost
