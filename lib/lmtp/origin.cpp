#include "lmtp/origin.h"

#include "base/text.h"

#include <algorithm>
#include <span>

namespace roost::lmtp {
namespace {

struct Attribute {
    std::string_view name;
    std::string Origin::*field;  // null: without use here
};

constexpr Attribute kXclient[] = {
    {"NAME", &Origin::name}, {"ADDR", &Origin::address}, {"HELO", &Origin::helo}, {"PORT", nullptr},
    {"PROTO", nullptr},      {"LOGIN", nullptr},         {"DESTADDR", nullptr},   {"DESTPORT", nullptr},
};
constexpr Attribute kXforward[] = {
    {"NAME", &Origin::name}, {"ADDR", &Origin::address}, {"HELO", &Origin::helo}, {"IDENT", &Origin::queue_id},
    {"PORT", nullptr},       {"PROTO", nullptr},         {"SOURCE", nullptr},
};

// The decoded value. nullopt: it is not xtext, too long, or holds what may not stand in a log.
std::optional<std::string> decode_value(std::string_view value) {
    constexpr std::size_t kLongest = 255;
    if (same_word(value, "[UNAVAILABLE]") || same_word(value, "[TEMPUNAVAIL]")) return "";
    auto out = decode_xtext(value);
    if (!out || out->size() > kLongest || !is_utf8(*out) || std::any_of(out->begin(), out->end(), is_control))
        return std::nullopt;
    return out;
}

// The address without the tag of RFC 5321 section 4.1.3. nullopt: it is none.
std::optional<std::string> plain_address(std::string text) {
    constexpr std::string_view kTag = "IPV6:";
    if (same_word(std::string_view(text).substr(0, kTag.size()), kTag)) text.erase(0, kTag.size());
    if (text.find_first_not_of("0123456789abcdefABCDEF.:") != std::string::npos) return std::nullopt;
    return text;
}

std::optional<Reply> take(std::string_view arguments, std::span<const Attribute> known, Origin& origin) {
    const auto bad = [](std::string text) { return Reply{501, "5.5.4", std::move(text)}; };
    Origin told = origin;
    if (arguments.empty()) return bad("NAME=value must follow");
    for (std::string_view rest = arguments; !rest.empty(); rest = trim(rest)) {
        const std::string_view word = rest.substr(0, rest.find(' '));
        rest.remove_prefix(word.size());
        const std::size_t equals = word.find('=');
        if (equals == std::string_view::npos) return bad("An attribute is NAME=value, not " + std::string(word));
        const std::string_view name = word.substr(0, equals);
        const auto attribute =
            std::find_if(known.begin(), known.end(), [&](const Attribute& one) { return same_word(name, one.name); });
        if (attribute == known.end()) return bad("The attribute " + std::string(name) + " is not known here");
        auto value = decode_value(word.substr(equals + 1));
        if (value && attribute->field == &Origin::address) value = plain_address(*std::move(value));
        if (!value) return bad("The value of " + std::string(name) + " is malformed");
        if (attribute->field != nullptr) told.*attribute->field = *std::move(value);
    }
    origin = std::move(told);
    return std::nullopt;
}

}  // namespace

std::optional<Reply> take_xclient(std::string_view arguments, Origin& origin) {
    return take(arguments, kXclient, origin);
}

std::optional<Reply> take_xforward(std::string_view arguments, Origin& origin) {
    return take(arguments, kXforward, origin);
}

}  // namespace roost::lmtp
