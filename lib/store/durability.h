// When deliveries are safe.
#pragma once

#include "base/files.h"
#include "module/mda.h"

#include <memory>
#include <span>

namespace roost {

// Settles groups of prepared deliveries. An Error means that nothing of the group may be acknowledged. Any thread.
class Durability {
public:
    virtual ~Durability() = default;
    virtual Result<void> before_publish(std::span<Pending* const> group) = 0;
    virtual Result<void> after_publish(std::span<Pending* const> group) = 0;
};

// `delivery.durability = fsync`: files before publishing, directories after it, each once however often the group
// names it.
std::unique_ptr<Durability> make_fsync_durability(Files& files);

}  // namespace roost
