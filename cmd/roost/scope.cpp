#include "scope.h"

#include <algorithm>

#include "records.h"

namespace roost::cli {
namespace {

template <class T>
void add_once(std::vector<T>& list, T value) {
    if (std::find(list.begin(), list.end(), value) == list.end()) list.push_back(std::move(value));
}

bool is_in_domain_of(const Scope& scope, std::string_view name) {
    return std::any_of(scope.domains.begin(), scope.domains.end(),
                       [&](const std::string& domain) { return name.ends_with("@" + domain); });
}

}  // namespace

Result<Scope> Scope::of(const Options& options, std::string_view command, bool all_by_default) {
    const std::string what = "command " + std::string(command);
    const bool some = !options.operands.empty() || !options.domains.empty();
    if (some && options.all)
        return usage_error(what, "--all and other names exclude each other", "keep --all alone, or leave it out");
    if (!some && !options.all && !all_by_default)
        return usage_error(what, "it is not said whose", "give NAME ..., --domain DOMAIN or --all");
    Scope out;
    out.all = !some;
    for (const std::string& typed : options.domains) {
        auto domain = domain_name(typed);
        if (!domain) return std::move(domain).error();
        add_once(out.domains, *std::move(domain));
    }
    for (const std::string& typed : options.operands) {
        auto name = user_name(typed);
        if (!name) return std::move(name).error();
        if (!is_in_domain_of(out, *name)) add_once(out.users, *std::move(name));
    }
    return out;
}

bool Scope::has_domain(std::string_view domain) const {
    return all || std::find(domains.begin(), domains.end(), domain) != domains.end();
}

Result<void> each_in(SqlUserDb& db, const Scope& scope, const std::function<bool(Result<UserRecord>)>& visit) {
    std::vector<Result<UserRecord>> named;
    for (const std::string& name : scope.users) {
        auto record = need_user(db, name);
        if (!record && record.error().outcome == Outcome::no_such_user) return std::move(record).error();
        named.push_back(std::move(record));
    }
    bool go_on = true;
    for (Result<UserRecord>& record : named)
        if (go_on) go_on = visit(std::move(record));
    const auto list = [&](std::string_view domain) {
        return db.each_user(domain, [&](std::string_view /*name*/, Result<UserRecord> record) {
            go_on = visit(std::move(record));
            return go_on;
        });
    };
    if (scope.all) return list({});
    for (const std::string& domain : scope.domains) {
        if (!go_on) break;
        auto listed = list(domain);
        if (!listed) return listed;
    }
    return {};
}

}  // namespace roost::cli
