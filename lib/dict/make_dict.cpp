#include <algorithm>
#include <array>

#include "base/nearest.h"
#include "base/text.h"
#include "dict/driver.h"
#include "dict/file.h"
#include "dict/proxy_dict.h"
#include "dict/redis.h"
#include "dict/sql_dict.h"
#include "dict/uri.h"

namespace roost {
namespace {

constexpr RedisLibraries kNoLibraries{};

// The one table of drivers, but for those of large_dict_drivers(): nothing registers itself.
constexpr std::array kDrivers{
    DictDriver{"redis", [](std::string_view uri) { return make_redis_dict(uri, kNoLibraries); }},
    DictDriver{"sqlite", make_sqlite_dict},
    DictDriver{"file",
               [](std::string_view uri) {
                   static Files files;
                   return make_file_dict(uri, files);
               }},
    DictDriver{"proxy", make_proxy_dict},
};

// Null: no driver of these makes it. The schemes seen are added to `schemes`.
Result<std::unique_ptr<Dict>> make_with(std::span<const DictDriver> drivers, std::string_view uri,
                                        std::vector<std::string_view>& schemes) {
    for (const DictDriver& driver : drivers) {
        if (std::find(schemes.begin(), schemes.end(), driver.scheme) == schemes.end()) schemes.push_back(driver.scheme);
        if (driver.scheme != dict_scheme(uri)) continue;
        auto made = driver.make(uri);
        if (!made || *made) return made;
    }
    return std::unique_ptr<Dict>();
}

Error unknown_scheme(std::string_view uri, std::span<const std::string_view> schemes) {
    std::string hint = "begin it with one of";
    for (const std::string_view known : schemes) hint += " " + std::string(known) + ":";
    // What is no scheme may be anything, a password too.
    const std::string_view scheme = dict_scheme(uri);
    if (scheme.empty()) return config_error("the dict URI", "it has no scheme", hint);
    const std::string_view near = nearest(scheme, schemes);
    if (!near.empty()) hint = "did you mean " + std::string(near) + ":? " + hint;
    return config_error("the dict " + printable(scheme) + ":...", "there is no such kind of dict", hint);
}

}  // namespace

Result<std::unique_ptr<Dict>> make_dict(std::string_view uri) {
    std::vector<std::string_view> schemes;
    auto made = make_with(kDrivers, uri, schemes);
    if (!made || *made) return made;
    auto large = large_dict_drivers();
    if (!large) return std::move(large).error();
    made = make_with(*large, uri, schemes);
    if (!made || *made) return made;
    return unknown_scheme(uri, schemes);
}

}  // namespace roost
