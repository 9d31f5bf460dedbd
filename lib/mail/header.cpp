#include "mail/header.h"

#include <array>
#include <ctime>

namespace roost {
namespace {

// The date of RFC 5322 section 3.3, in local time.
std::string date_text(std::chrono::system_clock::time_point now) {
    constexpr std::array<const char*, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array<const char*, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
    std::tm tm{};
    ::localtime_r(&seconds, &tm);
    std::array<char, 32> rest{};
    // Names of days and months are English whatever the locale; the rest of the format has no words in it.
    std::string out = std::string(kDays[static_cast<std::size_t>(tm.tm_wday)]) + ", " + std::to_string(tm.tm_mday) +
                      " " + kMonths[static_cast<std::size_t>(tm.tm_mon)];
    const std::size_t length = std::strftime(rest.data(), rest.size(), " %Y %H:%M:%S %z", &tm);
    return out.append(rest.data(), length);
}

}  // namespace

std::string return_path_field(std::string_view sender) { return "Return-Path: <" + std::string(sender) + ">\n"; }

std::string delivered_to_field(std::string_view address) { return "Delivered-To: " + std::string(address) + "\n"; }

std::string received_field(std::string_view host, std::string_view session, std::string_view protocol,
                           std::chrono::system_clock::time_point now) {
    std::string out = "Received: by " + std::string(host) + " (Roost)";
    if (!protocol.empty()) out += " with " + std::string(protocol);
    return out + "\n\tid " + std::string(session) + "; " + date_text(now) + "\n";
}

}  // namespace roost
