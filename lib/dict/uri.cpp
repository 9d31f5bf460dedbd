#include "dict/uri.h"

#include <algorithm>
#include <charconv>

#include "base/nearest.h"
#include "base/text.h"

namespace roost {
namespace {

bool is_secret(std::string_view key) { return key.ends_with("password"); }

std::string joined(std::span<const std::string_view> words) {
    std::string out;
    for (const std::string_view word : words) {
        if (!out.empty()) out += ", ";
        out += word;
    }
    return out;
}

// Takes the next part and the colon after it from `rest`.
std::string_view take_part(std::string_view& rest) {
    std::size_t end = 0;
    while (end < rest.size() && rest[end] != ':') {
        const bool starts_address = end > 0 && (rest[end - 1] == '=' || rest[end - 1] == ';');
        const std::size_t close =
            rest[end] == '[' && starts_address ? rest.find_first_of("[]=", end + 1) : std::string_view::npos;
        if (close != std::string_view::npos && rest[close] == ']')
            end = close + 1;
        else
            end += rest[end] == '\\' && rest.substr(end + 1, 1) == ":" ? 2 : 1;
    }
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(rest.size(), end + 1));
    return part;
}

std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && text.substr(i + 1, 1) == ":") ++i;
        out += text[i];
    }
    return out;
}

}  // namespace

std::string_view dict_scheme(std::string_view uri) {
    const std::size_t colon = uri.find(':');
    return colon == std::string_view::npos ? std::string_view() : uri.substr(0, colon);
}

Result<DictUri> DictUri::parse(std::string_view uri, const Form& form) {
    DictUri out;
    const std::string scheme(dict_scheme(uri));
    out.name_ = scheme;
    std::string_view rest = uri.substr(std::min(uri.size(), scheme.size() + 1));
    const bool ends_with_colon = rest.ends_with(':') && !rest.ends_with("\\:");
    bool secret_seen = false;
    // What is wrong with the part that `name_` ends before.
    const auto bad_part = [&](std::string why, std::string hint) {
        out.name_ += ":...";
        return out.wrong(std::move(why), std::move(hint));
    };
    const std::string known =
        form.keys.empty() ? scheme + ": takes no parameters" : scheme + ": takes " + joined(form.keys);

    for (const std::string_view what : form.words) {
        const std::string_view part = take_part(rest);
        if (part.empty())
            return bad_part("the " + std::string(what) + " is missing", "write " + scheme + ":" + std::string(what));
        out.words_.push_back(unescaped(part));
        out.name_ += ":" + printable(part);
    }
    while (!rest.empty()) {
        const std::string_view part = take_part(rest);
        const std::size_t equals = part.find('=');
        const std::string key(part.substr(0, equals));
        if (equals == std::string_view::npos || key.empty()) {
            const std::string shown = secret_seen ? "a part after the password" : "'" + printable(part) + "'";
            return bad_part(shown + " is not key=value", "write a colon inside a value as \\:; " + known);
        }
        if (std::find(form.keys.begin(), form.keys.end(), key) == form.keys.end()) {
            const std::string shown = secret_seen ? "a parameter after the password" : "'" + printable(key) + "'";
            const std::string_view near = secret_seen ? std::string_view() : nearest(key, form.keys);
            return bad_part(shown + " is not known",
                            near.empty() ? known : "did you mean " + std::string(near) + "? " + known);
        }
        if (out.get(key)) return bad_part("'" + key + "' is given twice", "leave one of them");
        out.parameters_.push_back({key, unescaped(part.substr(equals + 1))});
        out.name_ += ":" + key + "=";
        if (is_secret(key))
            secret_seen = true;
        else
            out.name_ += printable(part.substr(equals + 1));
    }
    if (ends_with_colon) return out.wrong("a colon ends it", "remove it, or write \\: if it belongs to the last value");
    return out;
}

std::optional<std::string> DictUri::get(std::string_view key) const {
    for (const Parameter& parameter : parameters_)
        if (parameter.key == key) return parameter.value;
    return std::nullopt;
}

std::string DictUri::get(std::string_view key, std::string_view otherwise) const {
    return get(key).value_or(std::string(otherwise));
}

Result<std::uint64_t> DictUri::number(std::string_view key, std::uint64_t otherwise, std::uint64_t least,
                                      std::uint64_t most) const {
    const auto text = get(key);
    if (!text) return otherwise;
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
    if (error != std::errc() || end != text->data() + text->size() || number < least || number > most)
        return wrong(std::string(key) + "=" + printable(*text) + " is not a number from " + std::to_string(least) +
                     " to " + std::to_string(most));
    return number;
}

Result<bool> DictUri::yes(std::string_view key, bool otherwise) const {
    const auto text = get(key);
    if (!text) return otherwise;
    if (*text == "yes") return true;
    if (*text == "no") return false;
    return wrong(std::string(key) + "=" + printable(*text) + " is neither yes nor no");
}

Error DictUri::wrong(std::string why, std::string hint) const {
    return config_error("the dict " + name_, std::move(why), std::move(hint));
}

}  // namespace roost
