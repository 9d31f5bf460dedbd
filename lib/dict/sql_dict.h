// "sqlite:PATH", "pgsql:..." and "mysql:...": a dict in a table, one row a user.
#pragma once

#include "dict/dict.h"

namespace roost {

// It holds kDictStorage and kDictMessages; any other key is an Error (misconfigured). A transaction that sets both
// writes the row, made where it is missing; one that unsets both removes it; one that unsets one of them makes it 0,
// since the other lies in the same row. Whole numbers alone.
//
// commit() puts up to some hundred transactions into one of the server's. One with a user or a number that the table
// cannot hold is left out, and is the Error in the end; all others are applied.
//
// Deadlines hold once there is a connection: it is shut down where they pass. Making it takes up to one second longer,
// or two seconds where less is left, because the client libraries count in seconds. In SQLite waiting for other
// writers ends by the deadline.
Result<std::unique_ptr<Dict>> make_sqlite_dict(std::string_view uri);

// These stand among large_dict_drivers(): they bring the servers' client libraries with them.
Result<std::unique_ptr<Dict>> make_pgsql_dict(std::string_view uri);
Result<std::unique_ptr<Dict>> make_mysql_dict(std::string_view uri);

}  // namespace roost
