// Room that deliveries in flight have been promised.
#pragma once

#include "quota/limits.h"

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace roost {

// Within one process, keeps deliveries that run at the same time from carrying a user past a limit together: usage plus
// what is on its way must fit. Any thread.
class Reservations {
    struct Entry {
        std::mutex mutex;
        Usage coming;
    };

public:
    // Room promised to one delivery, given back when this is destroyed.
    class Reservation;

    // One thread's turn at one user's books: while it lasts nobody else judges or counts mail of that user, so that
    // what is on its way and what is counted already never overlap. Keep it short, and only one at a time.
    class Turn {
    public:
        // What admitted deliveries that are not counted yet will add.
        const Usage& coming() const { return entry_->coming; }
        Reservation reserve(const Usage& room);

    private:
        friend class Reservations;
        explicit Turn(std::shared_ptr<Entry> entry) : entry_(std::move(entry)), lock_(entry_->mutex) {}
        std::shared_ptr<Entry> entry_;
        std::unique_lock<std::mutex> lock_;
    };

    class Reservation {
    public:
        Reservation(Reservation&& other) noexcept = default;
        Reservation& operator=(Reservation&& other) noexcept = delete;
        ~Reservation();
        // A turn at the books of the user that this is for.
        Turn turn() const { return Turn(entry_); }
        // Gives the room back in that turn, for it is counted now.
        void counted(const Turn& turn);

    private:
        friend class Turn;
        Reservation(std::shared_ptr<Entry> entry, const Usage& room) : entry_(std::move(entry)), room_(room) {}
        std::shared_ptr<Entry> entry_;
        Usage room_;
    };

    Turn turn(const std::string& user);

private:
    std::mutex mutex_;
    // Users with deliveries in flight; swept when it has grown to twice what it held after the last time.
    std::unordered_map<std::string, std::shared_ptr<Entry>> entries_;
    std::size_t sweep_at_ = 64;
};

}  // namespace roost
