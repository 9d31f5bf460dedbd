#include "base/outcome.h"

#include <array>

namespace roost {
namespace {

constexpr int kExitNoUser = 67;
constexpr int kExitTemporary = 75;
constexpr int kExitRefused = 77;

constexpr std::array kTable{
    OutcomeRow{Outcome::delivered, "delivered", 250, "2.0.0", 0},
    OutcomeRow{Outcome::no_such_user, "no-such-user", 550, "5.1.1", kExitNoUser},
    OutcomeRow{Outcome::user_disabled, "user-disabled", 550, "5.2.1", kExitRefused},
    OutcomeRow{Outcome::over_quota, "over-quota", 552, "5.2.2", kExitRefused},
    OutcomeRow{Outcome::over_quota_deferred, "over-quota-deferred", 452, "4.2.2", kExitTemporary},
    OutcomeRow{Outcome::message_too_large, "message-too-large", 552, "5.2.3", kExitRefused},
    // A person at a terminal gets exit 64 instead: see roost-deliver.
    OutcomeRow{Outcome::malformed, "malformed", 501, "5.5.4", kExitTemporary},
    OutcomeRow{Outcome::misconfigured, "misconfigured", 451, "4.3.5", kExitTemporary},
    OutcomeRow{Outcome::store_full, "store-full", 452, "4.3.1", kExitTemporary},
    OutcomeRow{Outcome::trouble, "trouble", 451, "4.3.0", kExitTemporary},
};

constexpr bool in_enum_order() {
    for (std::size_t i = 0; i < kTable.size(); ++i)
        if (kTable[i].outcome != static_cast<Outcome>(i)) return false;
    return true;
}
static_assert(kTable.size() == kOutcomes && in_enum_order(), "row_of indexes the table by the enumerator");

}  // namespace

const OutcomeRow& row_of(Outcome outcome) { return kTable[static_cast<std::size_t>(outcome)]; }

bool is_temporary(Outcome outcome) { return row_of(outcome).exit_code == kExitTemporary; }

}  // namespace roost
