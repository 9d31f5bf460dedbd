// One kind of SQL server: what SqlDict must know of it.
#pragma once

#include "base/deadline.h"
#include "base/result.h"
#include "dict/sql_table.h"

#include <soci/soci.h>

#include <exception>
#include <string>

namespace roost {

// What an exception of SOCI means.
struct SqlFailure {
    enum class Kind {
        again,       // rolled back for the sake of another transaction
        value,       // a user or a number does not fit into its column
        definition,  // table, columns or rights are not as they should be
        other,       // the connection is not to be used any more
    };
    Kind kind = Kind::other;
    std::string why;
    std::string hint;
};

// Holds the URI's parameters. Functions that take a session throw what SOCI throws. Any thread, one session each.
class SqlServer {
public:
    virtual ~SqlServer() = default;

    virtual void open(soci::session& session, Deadline deadline) const = 0;
    // The descriptor of the connection: nothing is to be read from it while nothing is asked. -1: there is none.
    virtual int descriptor(soci::session& session) const = 0;
    // Called at the start of each use.
    virtual void limit(soci::session& session, Deadline deadline) const = 0;
    // The statement that begins a transaction which writes.
    virtual std::string begin() const = 0;

    // The statement that sets both columns of `rows` users, whose numbers are parameters in the order user, bytes,
    // messages. It makes the rows that are missing, or affects fewer rows than it is given.
    virtual std::string set_rows(const SqlTable& table, std::size_t rows) const = 0;
    // The statement that makes the rows of those users who have none, with zeros.
    virtual std::string add_rows(const SqlTable& table, std::size_t rows) const = 0;

    // `thrown` by SOCI. `opening`: before there was a connection.
    virtual SqlFailure explain(const std::exception& thrown, const SqlTable& table, bool opening) const = 0;
};

// ":u0, :b0, :m0" and so on, or with zeros for both numbers: the rows of a VALUES.
std::string sql_rows(std::size_t rows, std::string_view numbers);

}  // namespace roost
