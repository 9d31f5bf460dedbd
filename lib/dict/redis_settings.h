// What the URI of a Redis dict says; roost-quota(7) describes it.
#pragma once

#include "dict/uri.h"

#include <chrono>

namespace roost {

struct RedisAddress {
    std::string path;  // of a Unix socket; empty: TCP
    std::string host;  // a name or an address, without brackets
    std::string port;

    std::string text() const;
    bool operator==(const RedisAddress&) const = default;
};

struct RedisTlsSettings {
    bool on = false;
    std::string ca;           // a PEM file; empty: the system's authorities
    std::string certificate;  // of the client, with its chain, a PEM file; empty: none
    std::string key;          // empty: in the certificate's file
};

struct RedisSettings {
    enum class Kind { server, sentinel, cluster };
    Kind kind = Kind::server;
    std::string name;                     // for messages, without passwords
    std::vector<RedisAddress> addresses;  // of the server, of the sentinels, or of some nodes of the cluster
    std::string master;                   // what the sentinels call it
    std::string prefix;
    std::string user, password;
    std::string sentinel_user, sentinel_password;
    std::uint64_t db = 0;
    std::string expire_secs;  // empty: keys do not expire
    std::chrono::milliseconds timeout{};
    RedisTlsSettings tls;
};

Result<RedisSettings> redis_settings(std::string_view uri);

}  // namespace roost
