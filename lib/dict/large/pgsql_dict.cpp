// "pgsql:host=...": PostgreSQL, 9.5 or later.
#include <libpq-fe.h>
#include <soci/postgresql/soci-postgresql.h>

#include "dict/large/sql_login.h"
#include "dict/sql_dict.h"
#include "dict/sql_dict_impl.h"

namespace roost {
namespace {

constexpr std::array<std::string_view, 4> kOwnKeys{"sslmode", "sslrootcert", "sslcert", "sslkey"};

class PgsqlServer final : public SqlServer {
public:
    PgsqlServer(std::string options, SqlConnectTime time) : options_(std::move(options)), time_(time) {}

    void open(soci::session& session, Deadline deadline) const override {
        session.open(soci::postgresql, options_ + sql_option("connect_timeout", time_.seconds(deadline)));
    }
    int descriptor(soci::session& session) const override {
        return ::PQsocket(static_cast<soci::postgresql_session_backend*>(session.get_backend())->conn_);
    }
    void limit(soci::session&, Deadline) const override {}
    std::string begin() const override { return "BEGIN"; }
    std::string set_rows(const SqlTable& table, std::size_t rows) const override;
    std::string add_rows(const SqlTable& table, std::size_t rows) const override {
        return "INSERT INTO " + table.table + " (" + table.user + ", " + table.fields[0] + ", " + table.fields[1] +
               ") VALUES " + sql_rows(rows, "0, 0") + " ON CONFLICT (" + table.user + ") DO NOTHING";
    }
    SqlFailure explain(const std::exception& thrown, const SqlTable& table, bool opening) const override;

private:
    const std::string options_;
    const SqlConnectTime time_;
};

// An UPDATE, and an INSERT of zeros for who has no row: PostfixAdmin's quota2 has a trigger that makes an INSERT for
// somebody who has a row add to its numbers, also where ON CONFLICT would update it.
std::string PgsqlServer::set_rows(const SqlTable& table, std::size_t rows) const {
    std::string values;
    for (std::size_t i = 0; i < rows; ++i) {
        const std::string n = std::to_string(i);
        if (i > 0) values += ", ";
        values.append("(CAST(:u").append(n).append(" AS text), CAST(:b").append(n);
        values.append(" AS bigint), CAST(:m").append(n).append(" AS bigint))");
    }
    return "UPDATE " + table.table + " AS roost_row SET " + table.fields[0] + " = roost_new.b, " + table.fields[1] +
           " = roost_new.m FROM (VALUES " + values + ") AS roost_new (u, b, m) WHERE roost_row." + table.user +
           " = roost_new.u";
}

SqlFailure PgsqlServer::explain(const std::exception& thrown, const SqlTable& table, bool opening) const {
    using Kind = SqlFailure::Kind;
    const auto* any = dynamic_cast<const soci::soci_error*>(&thrown);
    std::string text = any != nullptr ? any->get_error_message() : thrown.what();
    if (opening) {
        // SOCI has a line of its own first.
        const auto line = text.find('\n');
        return {Kind::other, sql_first_line(std::string_view(text).substr(line == std::string::npos ? 0 : line + 1)),
                "check host, dbname, user and password in the URI, and the server's pg_hba.conf"};
    }
    for (const char* const level : {"ERROR:", "FATAL:"})
        if (const auto at = text.find(level); at != std::string::npos) text.erase(0, at + 6);
    const std::string why = sql_first_line(text);
    const auto* error = dynamic_cast<const soci::postgresql_soci_error*>(&thrown);
    const std::string state = error != nullptr ? error->sqlstate() : std::string();
    if (state == "40001" || state == "40P01" || state == "55P03") return {Kind::again, why, {}};
    if (state.starts_with("22") || state.starts_with("23")) return {Kind::value, why, {}};
    if (state == "42P01" || state == "3F000") return {Kind::definition, why, "make it: " + table.create()};
    if (state == "42703") return {Kind::definition, why, "name the columns in the URI as the table has them"};
    if (state == "42P10") return {Kind::definition, why, "make " + table.user + " its primary key"};
    if (state == "42501")
        return {Kind::definition, why, "GRANT SELECT, INSERT, UPDATE, DELETE ON " + table.table + " TO the URI's user"};
    return {Kind::other, why, {}};
}

}  // namespace

Result<std::unique_ptr<Dict>> make_pgsql_dict(std::string_view text) {
    const auto keys = sql_server_keys(kOwnKeys);
    auto uri = DictUri::parse(text, {{}, keys});
    if (!uri) return std::move(uri).error();
    auto table = SqlTable::of(*uri, '"');
    if (!table) return std::move(table).error();
    auto time = SqlConnectTime::of(*uri);
    if (!time) return std::move(time).error();
    std::string options = "client_encoding=UTF8 fallback_application_name=roost ";
    for (const std::string_view key : {"host", "port", "dbname", "user", "password"})
        if (const auto value = uri->get(key)) options += sql_option(key, *value);
    for (const std::string_view key : kOwnKeys)
        if (const auto value = uri->get(key)) options += sql_option(key, *value);
    return std::unique_ptr<Dict>(std::make_unique<SqlDict>(uri->name(), std::move(*table),
                                                           std::make_unique<PgsqlServer>(std::move(options), *time)));
}

}  // namespace roost
