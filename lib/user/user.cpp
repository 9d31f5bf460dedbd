#include "user/user.h"

#include <vector>

namespace roost {

Result<User> User::make(const Config& config, UserRecord record) {
    std::vector<Cascade::Layer> layers;
    if (!record.plan.empty()) layers.push_back({Level::plan, record.plan, record.plan_settings});
    if (!record.domain.empty()) layers.push_back({Level::domain, record.domain, record.domain_settings});
    layers.push_back({Level::user, record.name, record.settings});
    auto settings = Cascade::make(config, std::move(layers));
    if (!settings) return std::move(settings).error();
    return User(std::move(record), std::move(*settings));
}

std::string_view User::local() const { return std::string_view(record_.name).substr(0, record_.name.rfind('@')); }

const std::string* User::allocated(std::string_view key) const {
    if (!record_.allocation) return nullptr;
    const auto found = record_.allocation->find(key);
    return found == record_.allocation->end() ? nullptr : &found->second;
}

}  // namespace roost
