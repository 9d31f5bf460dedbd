// Path templates: see expand_path in user.h.
#include "base/text.h"
#include "user/hash.h"
#include "user/user.h"

#include <algorithm>
#include <array>

namespace roost {
namespace {

constexpr std::string_view kHint = "use %{user} %{local} %{domain} %{hash} %%, as in /var/mail/%{domain}/%{local}";

constexpr char kLower[] = "0123456789abcdef";

// Two levels of 256 directories each.
std::string hash_path(std::string_view name) {
    const std::uint64_t hash = fnv1a64(name);
    const auto digit = [&](unsigned shift) { return kLower[(hash >> shift) & 15]; };
    return {digit(4), digit(0), '/', digit(12), digit(8)};
}

// True if a "/"-separated component of `pattern` is "..".
bool climbs(std::string_view pattern) {
    const std::string framed = "/" + std::string(pattern) + "/";
    return framed.find("/../") != std::string::npos;
}

}  // namespace

Result<std::string> expand_path(std::string_view key, std::string_view pattern, const User& user) {
    const auto wrong = [&, whole = pattern](std::string why) {
        return config_error(std::string(key) + " " + excerpt(whole) + " for " + user.name(), std::move(why),
                            std::string(kHint));
    };
    if (!pattern.starts_with('/')) return wrong("not an absolute path");
    if (climbs(pattern)) return wrong("'..' has no place in it");

    std::string path;
    while (!pattern.empty()) {
        const std::size_t percent = pattern.find('%');
        path += pattern.substr(0, percent);
        if (percent == std::string_view::npos) break;
        pattern.remove_prefix(percent);
        if (pattern.starts_with("%%")) {
            path += '%';
            pattern.remove_prefix(2);
            continue;
        }
        const std::size_t end = pattern.find('}');
        if (!pattern.starts_with("%{") || end == std::string_view::npos) return wrong("a '%' that begins no variable");
        const std::string_view name = pattern.substr(2, end - 2);
        pattern.remove_prefix(end + 1);
        if (name == "user")
            path += path_component(user.name());
        else if (name == "local")
            path += path_component(user.local());
        else if (name == "domain")
            // "alice@" is not "alice", though neither has a domain.
            path += user.name().ends_with('@') ? "%40" : path_component(user.domain());
        else if (name == "hash")
            path += hash_path(user.name());
        else
            return wrong("unknown variable %{" + printable(name) + "}");
    }
    return path;
}

std::string common_path(std::string_view pattern) {
    std::string fixed;
    for (std::size_t percent = pattern.find('%'); percent != std::string_view::npos; percent = pattern.find('%')) {
        const bool plain = pattern.substr(percent + 1).starts_with('%');
        fixed += pattern.substr(0, percent + (plain ? 1 : 0));
        pattern = plain ? pattern.substr(percent + 2) : std::string_view();
    }
    fixed += pattern;
    return fixed.substr(0, std::max<std::size_t>(fixed.find_last_of('/'), 1));
}

}  // namespace roost
