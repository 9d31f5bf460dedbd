// The header writer. Input: eight bytes of time, a line with the host, a line with the session, then an address. Each
// is one field, whatever came in.
#include "mail/header.h"

#include "base/text.h"
#include "check.h"
#include "mail/address.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <string>

using namespace roost;

namespace {

void check_field(std::string_view field, std::string_view name) {
    check(field.starts_with(std::string(name) + ": "), "a field begins with its name");
    check(field.ends_with('\n'), "a field ends with a newline");
    field.remove_suffix(1);
    std::size_t column = 0;
    for (std::size_t i = 0; i < field.size(); ++i) {
        if (field[i] == '\n') {
            check(i + 2 < field.size() && field[i + 1] == '\t' && field[i + 2] != '\n', "a field goes on behind a tab");
            column = 0;
            continue;
        }
        // RFC 5322 section 2.1.1.
        check(++column <= 998, "a field's lines are short enough");
        check(!is_control(field[i]) || field[i] == '\t', "a field has no control characters");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint64_t kLast = 9223372036;  // of the system clock, in the year 2262
    std::int64_t seconds = 0;
    if (size < sizeof seconds) return 0;
    std::memcpy(&seconds, data, sizeof seconds);
    seconds = static_cast<std::int64_t>(static_cast<std::uint64_t>(seconds) % kLast);
    std::string_view rest = text_of(data + sizeof seconds, size - sizeof seconds);
    // These two are ours.
    const std::string host = printable(take_until(rest, '\n')).substr(0, 255);
    const std::string session = printable(take_until(rest, '\n')).substr(0, 64);

    if (const auto sender = parse_sender(rest)) check_field(return_path_field(*sender), "Return-Path");
    if (parse_address(rest)) check_field(delivered_to_field(rest), "Delivered-To");

    ::setenv("TZ", "UTC", 1);
    const std::string received = received_field(host, session, "LMTP", std::chrono::system_clock::from_time_t(seconds));
    check_field(received, "Received");
    std::tm tm{};
    const std::size_t date = received.rfind("; ") + 2;
    const char* const end = ::strptime(received.c_str() + date, "%a, %d %b %Y %H:%M:%S +0000", &tm);
    check(end != nullptr && *end == '\n' && ::timegm(&tm) == seconds, "the date is the one that it should be");
    return 0;
}
