#include "quota_domains.h"

#include <optional>
#include <utility>

namespace roost::cli {

void DomainsSeen::add(const User& user, const Usage& held) {
    if (user.domain().empty()) return;
    const Limits limits = Accounts::domain_limits(user.settings());
    if (!needs_usage(limits)) return;
    Domain& domain = domains_[std::string(user.domain())];
    domain.limits = limits;
    domain.held.storage += held.storage;
    domain.held.messages += held.messages;
}

Result<void> DomainsSeen::add(SqlUserDb& db, const Config& config, const std::string& domain) {
    if (domain.empty() || domains_.contains(domain)) return {};
    UserRecord record;
    record.name = "@" + domain;
    record.domain = domain;
    auto found = db.find_domain(domain);
    if (!found) return std::move(found).error();
    if (*found) {
        record.domain_settings = std::move((*found)->settings);
        record.plan = std::move((*found)->plan);
    }
    if (!record.plan.empty()) {
        auto plan = db.find_plan(record.plan);
        if (!plan) return std::move(plan).error();
        if (*plan) record.plan_settings = std::move((*plan)->settings);
    }
    auto nobody = User::make(config, std::move(record));
    if (!nobody) return std::move(nobody).error();
    add(*nobody);
    return {};
}

}  // namespace roost::cli
