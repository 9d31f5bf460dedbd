// The servers of a Redis dict: one, the master that sentinels name, or the nodes of a cluster.
#pragma once

#include "dict/redis_link.h"

#include <cstdint>

namespace roost {

// Keeps a connection to each server that was needed, and makes a new one where one broke. One thread at a time.
class RedisNodes {
public:
    // Both outlive it.
    RedisNodes(const RedisSettings& settings, const RedisLibraries& libraries)
        : settings_(settings), libraries_(libraries) {}

    // To be called before anything is sent: forgets connections that broke meanwhile, and learns anew who serves which
    // slot where that changed. A link lives until the next call of begin() or forget().
    Result<void> begin(Deadline deadline);

    // The connection for a slot of the cluster; outside a cluster any slot will do.
    Result<RedisLink*> for_slot(std::uint16_t slot, Deadline deadline);
    // The connection to a server by its address, as a redirection names it.
    Result<RedisLink*> at(const RedisAddress& address, Deadline deadline);
    // One for each server that holds keys.
    Result<std::vector<RedisLink*>> all(Deadline deadline);

    // A redirection said that this server has the slot.
    void moved(std::uint16_t slot, const RedisAddress& to);
    // Closes all connections: nobody knows what they still have to say.
    void forget();

private:
    struct Node {
        RedisAddress address;
        std::unique_ptr<RedisLink> link;
    };
    Result<RedisLink*> link(Node& node, Deadline deadline);
    Result<void> ask_sentinels(Deadline deadline);
    Result<RedisAddress> ask_sentinel(const RedisAddress& sentinel, Deadline deadline);
    Result<void> check_master(RedisLink& link, Deadline deadline);
    Result<void> learn_slots(Deadline deadline);
    Result<void> read_slots(const RedisReply& reply, const RedisLink& from);
    std::size_t index(const RedisAddress& address);

    const RedisSettings& settings_;
    const RedisLibraries& libraries_;
    std::vector<std::unique_ptr<Node>> nodes_;
    std::vector<std::uint16_t> slots_;  // of a cluster: which of nodes_ has it
    bool stale_ = true;                 // what is known of the cluster may be wrong
};

}  // namespace roost
