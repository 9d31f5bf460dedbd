#include "quota/reservations.h"

#include <algorithm>

namespace roost {

Reservations::Reservation Reservations::Turn::reserve(const Usage& room) {
    entry_->coming.storage += room.storage;
    entry_->coming.messages += room.messages;
    return {entry_, room};
}

void Reservations::Reservation::counted(const Turn& turn) {
    turn.entry_->coming.storage -= room_.storage;
    turn.entry_->coming.messages -= room_.messages;
    entry_.reset();
}

Reservations::Reservation::~Reservation() {
    if (entry_) counted(turn());
}

Reservations::Turn Reservations::turn(const std::string& user) {
    std::shared_ptr<Entry> entry;
    {  // the wait for one user's turn is outside
        const std::lock_guard guard(mutex_);
        auto& slot = entries_[user];
        if (!slot) slot = std::make_shared<Entry>();
        entry = slot;
        if (entries_.size() > sweep_at_) {
            // Turns and reservations hold their entry.
            std::erase_if(entries_, [](const auto& item) { return item.second.use_count() == 1; });
            constexpr std::size_t kLeast = 64;
            sweep_at_ = std::max(kLeast, 2 * entries_.size());
        }
    }
    return Turn(std::move(entry));
}

}  // namespace roost
