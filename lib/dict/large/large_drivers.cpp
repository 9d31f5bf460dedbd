#include <array>

#include "dict/driver.h"
#include "dict/large/redis_tls.h"
#include "dict/large/resolve.h"
#include "dict/redis.h"
#include "dict/sql_dict.h"

namespace roost {
namespace {

constexpr RedisLibraries kLibraries{resolve, make_redis_tls};

constexpr std::array kDrivers{
    DictDriver{"redis", [](std::string_view uri) { return make_redis_dict(uri, kLibraries); }},
    DictDriver{"pgsql", make_pgsql_dict},
    DictDriver{"mysql", make_mysql_dict},
};

}  // namespace

Result<std::span<const DictDriver>> large_dict_drivers() { return std::span<const DictDriver>(kDrivers); }

}  // namespace roost
