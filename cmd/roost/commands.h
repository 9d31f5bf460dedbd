// One function for each command; see its row in commands.cpp and roost(8).
#pragma once

#include "command_line.h"

namespace roost::cli {

Result<int> user_add(const Options& options);
Result<int> user_set(const Options& options);
Result<int> user_unset(const Options& options);
Result<int> user_show(const Options& options);
Result<int> user_list(const Options& options);
Result<int> user_remove(const Options& options);
Result<int> user_allocate(const Options& options);

Result<int> domain_set(const Options& options);
Result<int> domain_unset(const Options& options);
Result<int> domain_show(const Options& options);
Result<int> domain_list(const Options& options);
Result<int> domain_remove(const Options& options);

Result<int> plan_set(const Options& options);
Result<int> plan_unset(const Options& options);
Result<int> plan_show(const Options& options);
Result<int> plan_list(const Options& options);
Result<int> plan_remove(const Options& options);

Result<int> quota_show(const Options& options);
Result<int> quota_recount(const Options& options);
Result<int> quota_check(const Options& options);
Result<int> quota_publish(const Options& options);
Result<int> quota_report(const Options& options);

Result<int> config_check(const Options& options);
Result<int> config_show(const Options& options);
Result<int> config_sample(const Options& options);
Result<int> config_man(const Options& options);

Result<int> explain(const Options& options);
Result<int> list_all_modules(const Options& options);

Result<int> database_create(const Options& options);
Result<int> database_upgrade(const Options& options);
Result<int> database_show(const Options& options);

}  // namespace roost::cli
