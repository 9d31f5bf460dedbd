// The user record. Input: two lines with a user's name each, then a column's JSON.
#include "base/text.h"
#include "check.h"
#include "user/settings_json.h"
#include "user/user.h"

#include <algorithm>

using namespace roost;

namespace {

const Config& plain_config() {
    static const Config config = [] {
        auto file = ConfigFile::read("/dev/null", {});
        check(bool(file), "an empty file is a configuration");
        auto made = Config::make(*std::move(file), Schema());
        check(bool(made), "an empty file is a whole configuration");
        return *std::move(made);
    }();
    return config;
}

std::string path_of(std::string_view name, std::string_view pattern, std::size_t components) {
    UserRecord record;
    record.name = lower(name);
    const std::size_t at = record.name.rfind('@');
    if (at != std::string::npos) record.domain = record.name.substr(at + 1);
    const auto user = User::make(plain_config(), std::move(record));
    check(bool(user), "a record without settings is a user");
    const auto path = expand_path("maildir.path", pattern, *user);
    check(bool(path), "the pattern is one");
    std::string_view rest = std::string_view(*path).substr(1);
    for (std::size_t i = 0; i < components; ++i) {
        check(!rest.empty(), "a path has as many components as its pattern");
        const std::string_view one = take_until(rest, '/');
        check(!one.empty() && !one.starts_with('.') && std::none_of(one.begin(), one.end(), is_control),
              "a component leads nowhere else");
    }
    check(rest.empty(), "a path has no more components than its pattern");
    return *path;
}

void try_names(std::string_view one, std::string_view other) {
    if (one.empty() || other.empty()) return;
    for (const auto& [pattern, components] :
         {std::pair("/m/%{domain}/%{local}", 3), std::pair("/m/%{hash}/%{user}", 4)}) {
        const auto count = static_cast<std::size_t>(components);
        const bool same = path_of(one, pattern, count) == path_of(other, pattern, count);
        check(same == (lower(one) == lower(other)), "no two names share a path");
    }
}

void try_settings(std::string_view json) {
    const auto settings = parse_settings("user alice, column settings", json);
    if (!settings) {
        const std::string text = settings.error().text();
        check(settings.error().outcome == Outcome::misconfigured, "bad JSON is the administrator's fault");
        check(std::none_of(text.begin(), text.end(), is_control) && is_utf8(text), "an error's text is clean");
        return;
    }
    const auto rendered = render_settings("user alice", *settings);
    check(bool(rendered), "what was read can be written");
    const auto again = parse_settings("user alice", *rendered);
    check(again && *again == *settings, "what was written is read again");
    UserRecord record;
    record.name = "alice";
    record.settings = *settings;
    const auto user = User::make(plain_config(), std::move(record));
    if (!user) check(user.error().outcome == Outcome::misconfigured, "a bad setting is the administrator's fault");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view rest = text_of(data, size);
    const std::string_view one = take_until(rest, '\n');
    const std::string_view other = take_until(rest, '\n');
    try_names(one, other);
    try_settings(rest);
    return 0;
}
