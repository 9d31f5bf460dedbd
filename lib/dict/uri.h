// The URI of a dict, read as Dovecot writes it: "SCHEME:WORD:key=value:key=value".
#pragma once

#include "base/result.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace roost {

// Parts end at ":". A colon inside one is written "\:"; any other backslash stands for itself. Inside brackets at the
// start of a value or after ";", as in "host=[::1]", colons are plain; the brackets belong to the value. A key is given
// at most once. A value: copy it freely.
class DictUri {
public:
    // What URIs of a scheme hold.
    struct Form {
        std::span<const std::string_view> words;  // what the leading parts without a key are, as "PATH": all needed
        std::span<const std::string_view> keys;   // the parameters that may follow, in any order
    };

    // Errors (misconfigured) list what the scheme has, and quote nothing that may belong to a password.
    static Result<DictUri> parse(std::string_view uri, const Form& form);

    // The URI for messages: the values of "password" and keys that end with it are left out.
    const std::string& name() const { return name_; }

    // The n-th leading part, never empty.
    const std::string& word(std::size_t n) const { return words_[n]; }
    // What was given, be it empty; nullopt: nothing.
    std::optional<std::string> get(std::string_view key) const;
    std::string get(std::string_view key, std::string_view otherwise) const;
    Result<std::uint64_t> number(std::string_view key, std::uint64_t otherwise, std::uint64_t least,
                                 std::uint64_t most) const;
    // "yes" or "no".
    Result<bool> yes(std::string_view key, bool otherwise) const;

    // An Error (misconfigured) about this URI.
    Error wrong(std::string why, std::string hint = {}) const;

private:
    struct Parameter {
        std::string key;
        std::string value;
    };
    std::string name_;
    std::vector<std::string> words_;
    std::vector<Parameter> parameters_;
};

// What stands before the first colon; empty: there is none.
std::string_view dict_scheme(std::string_view uri);

}  // namespace roost
