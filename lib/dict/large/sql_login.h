// How to reach an SQL server: the parameters of a URI as SOCI's options.
#pragma once

#include "base/deadline.h"
#include "base/result.h"
#include "dict/sql_table.h"

#include <string>
#include <string_view>
#include <vector>

namespace roost {

// What both servers have; each adds its own.
inline constexpr std::array<std::string_view, 6> kSqlLoginKeys{"host", "port",     "dbname",
                                                               "user", "password", "connect_timeout"};

// kSqlLoginKeys, kSqlTableKeys and `more`.
std::vector<std::string_view> sql_server_keys(std::span<const std::string_view> more);

// key='value', as both client libraries read it.
std::string sql_option(std::string_view key, std::string_view value);

// The seconds for making a connection: what is left, rounded up, but 2 at least, which is PostgreSQL's least; no more
// than the URI's connect_timeout.
class SqlConnectTime {
public:
    static Result<SqlConnectTime> of(const DictUri& uri);
    std::string seconds(Deadline deadline) const;

private:
    explicit SqlConnectTime(std::uint64_t most) : most_(most) {}
    std::uint64_t most_;
};

// The first line of what a client library or a server says, for messages.
std::string sql_first_line(std::string_view text);

}  // namespace roost
