// TLS to a Redis server, by OpenSSL.
#pragma once

#include "dict/redis_link.h"

namespace roost {

// As RedisLibraries says: the server's certificate must be signed by one of the authorities and be for `host`.
Result<std::unique_ptr<TlsFilter>> make_redis_tls(const RedisTlsSettings& settings, const std::string& host);

}  // namespace roost
