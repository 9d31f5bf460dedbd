// What commands print: listings and records, for people or as JSON.
#pragma once

#include "base/result.h"
#include "config/setting.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace roost::cli {

using Json = nlohmann::ordered_json;

// JSON on one line; bytes that are no UTF-8 become U+FFFD.
std::string to_text(const Json& value);
Json to_json(const Settings& settings);
// A number, or null for unlimited.
Json to_json(const std::optional<std::uint64_t>& limit);
// "key=value key=value".
std::string to_line(const Settings& settings);
// A size for people, or "unlimited".
std::string size_text(const std::optional<std::uint64_t>& limit);

// "roost: " and the error, on standard error.
void print_error(const Error& error);

// Prints rows as they come: lines, or one JSON array. Memory stays constant.
class Listing {
public:
    explicit Listing(bool json) : json_(json) {}
    ~Listing();  // ends the array
    Listing(const Listing&) = delete;
    Listing& operator=(const Listing&) = delete;

    bool json() const { return json_; }
    void row(const Json& row);
    void line(std::string_view text);

private:
    bool json_;
    bool any_ = false;
};

// A name and its value in two columns; without a value, the heading of what follows.
void print_field(std::string_view name, std::string_view value);
// Each setting on a line of its own, indented.
void print_settings(const Settings& settings);
void print_json(const Json& value);

}  // namespace roost::cli
