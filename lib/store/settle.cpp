#include "store/settle.h"

#include "base/log.h"

namespace roost {

void settle_usage(Instance& instance, const std::string& user) {
    if (!instance.accounts().settles()) return;
    auto record = instance.db().find(user);
    if (record && !*record) return;
    auto found = record ? User::make(instance.config(), **std::move(record)) : Result<User>(std::move(record).error());
    if (found) {
        instance.accounts().settle(*found);
    } else {
        log(LogLevel::warning, found.error().text());
    }
}

}  // namespace roost
