#include "numbered_mail.h"

#include <cstdint>
#include <cstdio>

namespace roost::fault {
namespace {

constexpr std::string_view kField = "X-Number: ";

// Whether these are whole lines of the fields that Roost writes.
bool trace_fields(std::string_view text) {
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        if (end == std::string_view::npos) return false;
        const std::string_view line = text.substr(0, end);
        bool known = line.starts_with(' ') || line.starts_with('\t');
        for (const std::string_view name : {"Return-Path: ", "Delivered-To: ", "Received: "})
            known = known || line.starts_with(name);
        if (!known) return false;
        text.remove_prefix(end + 1);
    }
    return true;
}

}  // namespace

std::string numbered_mail(const Number& number) {
    std::string text(kField);
    text += std::to_string(number.round) + "." + std::to_string(number.thread) + "." + std::to_string(number.serial) +
            "." + std::to_string(number.size) + "\n\n";
    text.reserve(number.size + 128);
    std::uint64_t state = (std::uint64_t{number.round} << 40U) ^ (std::uint64_t{number.thread} << 32U) ^ number.serial;
    while (text.size() < number.size) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        for (unsigned shift = 0; shift < 64; shift += 4) text += "0123456789abcdef"[(state >> shift) & 15U];
        text += '\n';
    }
    return text;
}

std::optional<Number> whole_number(std::string_view stored) {
    const std::size_t begin = stored.find(kField);
    if (begin == std::string_view::npos || !trace_fields(stored.substr(0, begin))) return std::nullopt;
    Number number{};
    const std::string line(stored.substr(begin + kField.size(), 64));
    if (std::sscanf(line.c_str(), "%u.%u.%u.%u", &number.round, &number.thread, &number.serial,  // NOLINT
                    &number.size) != 4)
        return std::nullopt;
    if (number.size > (64U << 20U) || stored.substr(begin) != numbered_mail(number)) return std::nullopt;
    return number;
}

}  // namespace roost::fault
