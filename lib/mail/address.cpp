#include "mail/address.h"

#include "base/text.h"

namespace roost {
namespace {

Error malformed(std::string_view what, std::string_view text, std::string_view why) {
    return {Outcome::malformed, std::string(what) + " " + excerpt(text), std::string(why), {}, 0};
}

// The content of a quoted string, RFC 5321 section 4.1.2: a backslash takes the next character as it is.
std::string unquoted(std::string_view local) {
    if (local.size() < 2 || !local.starts_with('"') || !local.ends_with('"')) return std::string(local);
    std::string out;
    const std::string_view inner = local.substr(1, local.size() - 2);
    for (std::size_t i = 0; i < inner.size(); ++i) {
        if (inner[i] == '\\' && i + 1 < inner.size()) ++i;
        out += inner[i];
    }
    return out;
}

Result<void> check(std::string_view what, std::string_view text) {
    if (text.size() > kMaxAddress) return malformed(what, text, "it is longer than 320 octets");
    for (const char c : text)
        if (is_control(c)) return malformed(what, text, "it has a control character");
    return {};
}

}  // namespace

std::string_view without_brackets(std::string_view text) {
    if (text.starts_with('<') && text.ends_with('>') && text.size() >= 2) return text.substr(1, text.size() - 2);
    return text;
}

std::string Address::text() const { return domain.empty() ? local : local + "@" + domain; }

Result<Address> parse_address(std::string_view text) {
    const std::string_view bare = without_brackets(text);
    auto checked = check("address", bare);
    if (!checked) return std::move(checked).error();
    const std::size_t at = bare.rfind('@');
    const std::string local = unquoted(bare.substr(0, at));
    const Address out{lower(local), at == std::string_view::npos ? "" : lower(bare.substr(at + 1)), local};
    if (out.local.empty()) return malformed("address", text, "it has no local part");
    if (at != std::string_view::npos && out.domain.empty()) return malformed("address", text, "it has no domain");
    return out;
}

Result<std::string> parse_sender(std::string_view text) {
    const std::string_view bare = without_brackets(text);
    auto checked = check("sender", bare);
    if (!checked) return std::move(checked).error();
    bool quoted = false;
    for (std::size_t i = 0; i < bare.size(); ++i) {
        if (quoted && bare[i] == '\\') {
            ++i;
        } else if (bare[i] == '"') {
            quoted = !quoted;
        } else if (!quoted && (bare[i] == '<' || bare[i] == '>' || bare[i] == ' ')) {
            return malformed("sender", text, "it has a blank or an angle bracket inside");
        }
    }
    return std::string(bare);
}

Split split_detail(const Address& address, std::string_view separators) {
    const std::size_t at = separators.empty() ? std::string::npos : address.local.find_first_of(separators, 1);
    if (at == std::string::npos) return {address, {}};
    return {{address.local.substr(0, at), address.domain, address.written.substr(0, at)},
            address.written.substr(at + 1)};
}

}  // namespace roost
