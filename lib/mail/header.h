// The trace header fields that delivery puts before a message.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace roost {

// "Return-Path: <sender>\n" (RFC 5321 section 4.4).
std::string return_path_field(std::string_view sender);
// "Delivered-To: address\n".
std::string delivered_to_field(std::string_view address);
// "Received: by HOST (Roost) id SESSION; DATE\n" folded below 78 columns (RFC 5322 section 3.6.7). With `protocol`,
// " with PROTOCOL" (RFC 3848).
std::string received_field(std::string_view host, std::string_view session, std::string_view protocol,
                           std::chrono::system_clock::time_point now);

}  // namespace roost
