#include "output.h"

#include <iomanip>
#include <iostream>

#include "base/text.h"
#include "config/value.h"

namespace roost::cli {

std::string to_text(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json to_json(const Settings& settings) {
    Json out = Json::object();
    for (const auto& [key, value] : settings) out[key] = value;
    return out;
}

Json to_json(const std::optional<std::uint64_t>& limit) { return limit ? Json(*limit) : Json(nullptr); }

std::string to_line(const Settings& settings) {
    std::string out;
    for (const auto& [key, value] : settings) out += (out.empty() ? "" : " ") + printable(key) + "=" + printable(value);
    return out;
}

std::string size_text(const std::optional<std::uint64_t>& limit) { return limit ? format_size(*limit) : "unlimited"; }

void print_error(const Error& error) { std::cerr << "roost: " << printable(error.text()) << '\n'; }

Listing::~Listing() {
    if (json_) std::cout << (any_ ? "\n]\n" : "[]\n");
}

void Listing::row(const Json& row) {
    std::cout << (any_ ? ",\n " : "[\n ") << to_text(row);
    any_ = true;
}

void Listing::line(std::string_view text) { std::cout << text << '\n'; }

void print_field(std::string_view name, std::string_view value) {
    constexpr int kColumn = 11;
    if (value.empty()) {
        std::cout << name << '\n';
    } else {
        std::cout << std::left << std::setw(kColumn) << name << printable(value) << '\n';
    }
}

void print_settings(const Settings& settings) {
    for (const auto& [key, value] : settings) std::cout << "  " << printable(key) << " = " << printable(value) << '\n';
}

void print_json(const Json& value) { std::cout << value.dump(2, ' ', false, Json::error_handler_t::replace) << '\n'; }

}  // namespace roost::cli
