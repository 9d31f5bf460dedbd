#include "quota/limits.h"

#include <limits>

#include "catch.h"

using namespace roost;

TEST_CASE("admission: every limit at, below and above, grace for the last message alone, no overflow") {
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
    const Allowance none;
    const Allowance tenth{true, 10};
    const Allowance ten{false, 10};
    struct Row {
        const char* name;
        Usage used;
        Limits limits;
        std::uint64_t stored;
        std::uint64_t size;
        Outcome want;
    };
    const auto full = Outcome::over_quota;
    const auto ok = Outcome::delivered;
    for (const Row& row : {
             Row{"no limits", {kMost, kMost}, {{}, {}, {}, none, false}, kMost, kMost, ok},
             Row{"storage: fits exactly", {60, 1}, {100, {}, {}, none, false}, 40, 40, ok},
             Row{"storage: one too many", {60, 1}, {100, {}, {}, none, false}, 41, 41, full},
             Row{"storage 0 is nothing, not unlimited", {0, 0}, {0, {}, {}, none, false}, 1, 1, full},
             Row{"grace: within a share", {99, 1}, {100, {}, {}, tenth, false}, 11, 11, ok},
             Row{"grace: beyond the share", {99, 1}, {100, {}, {}, tenth, false}, 12, 12, full},
             Row{"grace: a size", {0, 0}, {100, {}, {}, ten, false}, 110, 110, ok},
             Row{"grace: not for a full mailbox", {100, 1}, {100, {}, {}, tenth, false}, 1, 1, full},
             Row{"messages: the last one", {0, 9}, {{}, 10, {}, none, false}, 5, 5, ok},
             Row{"messages: full", {0, 10}, {{}, 10, {}, none, false}, 5, 5, full},
             Row{"messages: grace is for bytes", {0, 10}, {{}, 10, {}, tenth, false}, 5, 5, full},
             Row{"messages 0", {0, 0}, {{}, 0, {}, none, false}, 5, 5, full},
             Row{"message: exactly", {0, 0}, {{}, {}, 50, none, false}, 60, 50, ok},
             Row{"message: too large", {0, 0}, {{}, {}, 50, none, false}, 60, 51, Outcome::message_too_large},
             Row{"too large wins over full", {100, 1}, {100, {}, 50, none, false}, 51, 51, Outcome::message_too_large},
             Row{"overflow of the sum", {kMost - 1, 1}, {kMost, {}, {}, none, false}, 5, 5, full},
             Row{"overflow of the grace", {kMost - 9, 1}, {kMost - 5, {}, {}, tenth, false}, 6, 6, ok},
             Row{"defer", {100, 1}, {100, {}, {}, none, true}, 1, 1, Outcome::over_quota_deferred},
         }) {
        INFO(row.name);
        CHECK(admit(row.used, row.limits, row.stored, row.size) == row.want);
    }
}

TEST_CASE("only limits on usage make a delivery ask for it") {
    CHECK_FALSE(needs_usage({{}, {}, 5, {}, false}));
    CHECK(needs_usage({5, {}, {}, {}, false}));
    CHECK(needs_usage({{}, 5, {}, {}, false}));
}
