// When usage has crossed thresholds, and what is said of it. Pure.
#pragma once

#include "base/result.h"
#include "config/value.h"
#include "quota/limits.h"

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace roost {

// A threshold that was crossed.
struct Warning {
    std::string whom;  // "alice@example.org", or "@example.org" for a domain
    Threshold threshold;
    std::uint64_t used = 0;  // bytes or messages, as the threshold has it
    std::uint64_t limit = 0;
    std::vector<Threshold> crossed = {};  // all that it speaks for, its own threshold included

    // What share of the limit is used, in per cent; at least what a rising threshold asks for.
    std::uint64_t percent() const;
};

// The thresholds that usage was at or above when it was last looked at, rising and falling ones alike.
using Reached = std::set<Threshold>;

struct Judged {
    std::vector<Warning> due;  // at most one rising or falling one of each kind
    Reached reached;           // to be remembered for the next time
};

// Level-triggered: a rising threshold is due if it is reached and was not before, a falling one if it was and is not
// any more, whatever moved: usage or limit. Of several rising ones of a kind the highest is due, of falling ones the
// lowest; the others count as said. Without a limit nothing is reached. `used * 100 >= limit * percent` is reached.
Judged judge_thresholds(std::string_view whom, std::span<const Threshold> thresholds, const Limits& limits,
                        const Usage& used, const Reached& before);

// So that a warning that could not be given is due again, unless usage is elsewhere by then.
void take_back(Reached& reached, std::span<const Threshold> crossed);

// What is remembered between two looks. Messages and commands are told of apart: one may fail while the other does not.
struct Told {
    Reached by_message;
    Reached by_command;
    bool empty() const { return by_message.empty() && by_command.empty(); }
    bool operator==(const Told&) const = default;
};

// As lines of text, one if both are the same, and back. What cannot be read is nothing.
std::string render_told(const Told& told);
Told parse_told(std::string_view text);

// Puts in %{user} %{percent} %{threshold} %{kind} %{used} %{limit} %{date} and %%: "alice@example.org", "85", "80",
// "storage", "850.0M", "1.0G", `date`. An Error (misconfigured) names an unknown variable.
Result<std::string> expand_warning(std::string_view pattern, const Warning& warning, std::string_view date);

}  // namespace roost
