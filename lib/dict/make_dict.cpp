#include <array>

#include "base/nearest.h"
#include "base/text.h"
#include "dict/driver.h"
#include "dict/proxy_dict.h"
#include "dict/uri.h"

namespace roost {
namespace {

constexpr std::array<DictDriver, 1> kDrivers{{{"proxy", make_proxy_dict}}};

}  // namespace

std::span<const DictDriver> dict_drivers() { return kDrivers; }

Result<std::unique_ptr<Dict>> make_dict(std::string_view uri) {
    const std::string_view scheme = dict_scheme(uri);
    std::vector<std::string_view> schemes;
    std::string list;
    for (const DictDriver& driver : dict_drivers()) {
        if (driver.scheme == scheme) return driver.make(uri);
        schemes.push_back(driver.scheme);
        list += (list.empty() ? "" : ", ") + std::string(driver.scheme) + ":";
    }
    // What follows an unknown scheme may be anything, a password too.
    if (scheme.empty()) return config_error("the dict URI", "it has no scheme", "begin it with one of " + list);
    const std::string_view near = nearest(scheme, schemes);
    const std::string hint = near.empty() ? std::string() : "did you mean " + std::string(near) + ":? ";
    return config_error("the dict " + printable(scheme) + ":...", "there is no such kind of dict",
                        hint + "begin it with one of " + list);
}

}  // namespace roost
