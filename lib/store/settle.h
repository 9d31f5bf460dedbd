// What is made right about a user's usage behind the verdict of a delivery.
#pragma once

#include "store/instance.h"

#include <string>

namespace roost {

// Accounts::settle for a user by name, if there is anything to settle. Failures are logged.
void settle_usage(Instance& instance, const std::string& user);

}  // namespace roost
