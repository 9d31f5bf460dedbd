// "sqlite:PATH": the file must be there; the table is the administrator's too.
#include <soci/sqlite3/soci-sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "dict/sql_dict.h"
#include "dict/sql_dict_impl.h"

namespace roost {
namespace {

constexpr std::array<std::string_view, 1> kSqliteWords{"PATH"};

sqlite_api::sqlite3* handle(soci::session& session) {
    return static_cast<soci::sqlite3_session_backend*>(session.get_backend())->conn_;
}

class SqliteServer final : public SqlServer {
public:
    explicit SqliteServer(std::string path) : path_(std::move(path)) {}

    void open(soci::session& session, Deadline) const override {
        // SQLite would make it.
        struct stat st {};
        if (::stat(path_.c_str(), &st) != 0) throw soci::soci_error("there is no such file");
        session.open(soci::sqlite3, path_);
    }
    int descriptor(soci::session&) const override { return -1; }
    void limit(soci::session& session, Deadline deadline) const override {
        const auto left = std::min<std::chrono::milliseconds::rep>(deadline.remaining().count(), INT_MAX);
        sqlite_api::sqlite3_busy_timeout(handle(session), static_cast<int>(left));
    }
    std::string begin() const override { return "BEGIN IMMEDIATE"; }
    std::string set_rows(const SqlTable& table, std::size_t rows) const override {
        return insert(table, sql_rows(rows, {})) + "DO UPDATE SET " + table.fields[0] + " = excluded." +
               table.fields[0] + ", " + table.fields[1] + " = excluded." + table.fields[1];
    }
    std::string add_rows(const SqlTable& table, std::size_t rows) const override {
        return insert(table, sql_rows(rows, "0, 0")) + "DO NOTHING";
    }
    SqlFailure explain(const std::exception& thrown, const SqlTable& table, bool opening) const override;

private:
    static std::string insert(const SqlTable& table, const std::string& rows) {
        return "INSERT INTO " + table.table + " (" + table.user + ", " + table.fields[0] + ", " + table.fields[1] +
               ") VALUES " + rows + " ON CONFLICT (" + table.user + ") ";
    }

    const std::string path_;
};

SqlFailure SqliteServer::explain(const std::exception& thrown, const SqlTable& table, bool opening) const {
    using Kind = SqlFailure::Kind;
    const auto* error = dynamic_cast<const soci::sqlite3_soci_error*>(&thrown);
    const auto* any = dynamic_cast<const soci::soci_error*>(&thrown);
    std::string why = any != nullptr ? any->get_error_message() : thrown.what();
    // SOCI puts the names of its functions before SQLite's message.
    if (const auto colon = why.find(": "); why.starts_with("sqlite3_") && colon != std::string::npos)
        why.erase(0, colon + 2);
    const std::string rights = "let user id " + std::to_string(::geteuid()) + " read and write " + path_ +
                               ", its -wal and -shm files and its directory";
    if (error == nullptr)
        return {Kind::other, why, opening ? "check its path, and make it: sqlite3 PATH '" + table.create() + "'" : ""};
    switch (error->result() & 0xff) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return {Kind::other, "another program kept it locked", "find it with fuser " + path_};
        case SQLITE_CONSTRAINT:
        case SQLITE_MISMATCH:
        case SQLITE_TOOBIG:
        case SQLITE_RANGE:
            return {Kind::value, why, {}};
        case SQLITE_READONLY:
        case SQLITE_CANTOPEN:
        case SQLITE_PERM:
            return {Kind::other, why, rights};
        default:
            break;
    }
    if (why.find("no such table") != std::string::npos) return {Kind::definition, why, "make it: " + table.create()};
    if (why.find("column") != std::string::npos)
        return {Kind::definition, why, "name the columns in the URI as the table has them"};
    if (why.find("ON CONFLICT") != std::string::npos)
        return {Kind::definition, why, "make " + table.user + " its primary key"};
    return {Kind::other, why, {}};
}

}  // namespace

Result<std::unique_ptr<Dict>> make_sqlite_dict(std::string_view text) {
    auto uri = DictUri::parse(text, {kSqliteWords, kSqlTableKeys});
    if (!uri) return std::move(uri).error();
    const std::string& path = uri->word(0);
    if (!path.starts_with('/')) return uri->wrong("PATH is not absolute", "write sqlite:/PATH");
    // SOCI takes such a text for a list of options.
    if (path.find('=') != std::string::npos && path.find(' ') != std::string::npos)
        return uri->wrong("the path has both a blank and '='", "choose another name");
    // Not '"': SQLite takes a name in those that is no column for a text.
    auto table = SqlTable::of(*uri, '`');
    if (!table) return std::move(table).error();
    return std::unique_ptr<Dict>(
        std::make_unique<SqlDict>(uri->name(), std::move(*table), std::make_unique<SqliteServer>(path)));
}

}  // namespace roost
