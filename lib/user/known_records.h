// Users that were looked up before.
#pragma once

#include "db/database.h"
#include "user/user.h"

#include <cstddef>
#include <string>
#include <unordered_map>

namespace roost {

// Keeps records for as long as the database is in the state that they were read in: one commit, whoever's, and all are
// forgotten. Bounded. One thread at a time.
class KnownRecords {
public:
    static constexpr std::size_t kMost = 8192;

    // `name` in lower case. Null: it has to be looked up. The record is there until the next call of add().
    const UserRecord* find(const std::string& name, const Database::State& now) const {
        if (now != state_) return nullptr;
        const auto found = records_.find(name);
        return found == records_.end() ? nullptr : &found->second;
    }
    // `state`: from before the record was read, so that a record which changed meanwhile is not taken for an older one.
    void add(const std::string& name, const UserRecord& record, const Database::State& state) {
        if (state != state_ || records_.size() >= kMost) records_.clear();
        state_ = state;
        records_.insert_or_assign(name, record);
    }

private:
    Database::State state_{};
    std::unordered_map<std::string, UserRecord> records_;
};

}  // namespace roost
