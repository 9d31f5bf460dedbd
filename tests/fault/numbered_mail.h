// Messages whose every byte follows from a number in them, so that a copy found anywhere can be held against what was
// sent.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace roost::fault {

struct Number {
    unsigned round;   // the cut
    unsigned thread;  // that sent it
    unsigned serial;
    unsigned size;  // bytes, about

    auto operator<=>(const Number&) const = default;
};

// The message with this number.
std::string numbered_mail(const Number& number);

// The number of a message read from the store, if it is whole: trace fields that Roost put before it are passed over.
std::optional<Number> whole_number(std::string_view stored);

}  // namespace roost::fault
