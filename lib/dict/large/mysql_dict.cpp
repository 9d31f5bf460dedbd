// "mysql:host=...": MariaDB and MySQL.
#include <soci/mysql/soci-mysql.h>

#include <mysql.h>
#include <mysqld_error.h>

#include "dict/large/sql_login.h"
#include "dict/sql_dict.h"
#include "dict/sql_dict_impl.h"

namespace roost {
namespace {

class MysqlServer final : public SqlServer {
public:
    MysqlServer(std::string options, SqlConnectTime time) : options_(std::move(options)), time_(time) {}

    void open(soci::session& session, Deadline deadline) const override;
    int descriptor(soci::session& session) const override { return ::mysql_get_socket(handle(session)); }
    void limit(soci::session&, Deadline) const override {}
    std::string begin() const override { return "BEGIN"; }
    std::string set_rows(const SqlTable& table, std::size_t rows) const override {
        return insert(table, sql_rows(rows, {})) + table.fields[0] + " = VALUES(" + table.fields[0] + "), " +
               table.fields[1] + " = VALUES(" + table.fields[1] + ")";
    }
    std::string add_rows(const SqlTable& table, std::size_t rows) const override {
        return insert(table, sql_rows(rows, "0, 0")) + table.user + " = " + table.table + "." + table.user;
    }
    SqlFailure explain(const std::exception& thrown, const SqlTable& table, bool opening) const override;

private:
    static MYSQL* handle(soci::session& session) {
        return static_cast<soci::mysql_session_backend*>(session.get_backend())->conn_;
    }
    static std::string insert(const SqlTable& table, const std::string& rows) {
        return "INSERT INTO " + table.table + " (" + table.user + ", " + table.fields[0] + ", " + table.fields[1] +
               ") VALUES " + rows + " ON DUPLICATE KEY UPDATE ";
    }

    const std::string options_;
    const SqlConnectTime time_;
};

void MysqlServer::open(soci::session& session, Deadline deadline) const {
    // The library has a state that all connections share, which the first one sets up.
    static const int ready = ::mysql_server_init(0, nullptr, nullptr);
    if (ready != 0) throw soci::soci_error("the client library cannot be set up");
    session.open(soci::mysql, options_ + sql_option("connect_timeout", time_.seconds(deadline)));
    // Else it would cut what does not fit: one user's name would become another's.
    session << "SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES')";
}

SqlFailure MysqlServer::explain(const std::exception& thrown, const SqlTable& table, bool opening) const {
    using Kind = SqlFailure::Kind;
    const auto* any = dynamic_cast<const soci::soci_error*>(&thrown);
    const std::string why = sql_first_line(any != nullptr ? any->get_error_message() : thrown.what());
    if (opening) return {Kind::other, why, "check host, dbname, user and password in the URI"};
    const auto* error = dynamic_cast<const soci::mysql_soci_error*>(&thrown);
    switch (error != nullptr ? error->err_num_ : 0) {
        case ER_LOCK_DEADLOCK:
        case ER_LOCK_WAIT_TIMEOUT:
            return {Kind::again, why, {}};
        case ER_WARN_DATA_OUT_OF_RANGE:
        case ER_DATA_TOO_LONG:
        case ER_DATA_OUT_OF_RANGE:
        case ER_TRUNCATED_WRONG_VALUE:
        case ER_TRUNCATED_WRONG_VALUE_FOR_FIELD:
        case ER_DUP_ENTRY:
        case ER_CANT_AGGREGATE_2COLLATIONS:  // a letter that the table's character set lacks
        case ER_CONSTRAINT_FAILED:
        case ER_NO_REFERENCED_ROW_2:
            return {Kind::value, why, {}};
        case ER_NO_SUCH_TABLE:
            return {Kind::definition, why, "make it: " + table.create()};
        case ER_BAD_FIELD_ERROR:
            return {Kind::definition, why, "name the columns in the URI as the table has them"};
        case ER_TABLEACCESS_DENIED_ERROR:
        case ER_COLUMNACCESS_DENIED_ERROR:
            return {Kind::definition, why,
                    "GRANT SELECT, INSERT, UPDATE, DELETE ON " + table.table + " TO the URI's user"};
        default:
            return {Kind::other, why, {}};
    }
}

}  // namespace

Result<std::unique_ptr<Dict>> make_mysql_dict(std::string_view text) {
    const auto keys = sql_server_keys({});
    auto uri = DictUri::parse(text, {{}, keys});
    if (!uri) return std::move(uri).error();
    auto table = SqlTable::of(*uri, '`');
    if (!table) return std::move(table).error();
    auto time = SqlConnectTime::of(*uri);
    if (!time) return std::move(time).error();
    auto port = uri->number("port", 3306, 1, 65535);
    if (!port) return std::move(port).error();
    std::string options = "charset=utf8mb4 " + sql_option("port", std::to_string(*port));
    if (const auto host = uri->get("host"))
        options += sql_option(host->starts_with('/') ? "unix_socket" : "host", *host);
    for (const std::string_view key : {"dbname", "user", "password"})
        if (const auto value = uri->get(key)) options += sql_option(key, *value);
    return std::unique_ptr<Dict>(std::make_unique<SqlDict>(uri->name(), std::move(*table),
                                                           std::make_unique<MysqlServer>(std::move(options), *time)));
}

}  // namespace roost
