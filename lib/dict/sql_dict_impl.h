// The dict behind every kind of SQL server.
#pragma once

#include "dict/dict.h"
#include "dict/sql_server.h"
#include "dict/sql_watch.h"

#include <soci/soci.h>

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace roost {

// One connection, made at the first use and after one that broke.
class SqlDict final : public Dict {
public:
    SqlDict(std::string name, SqlTable table, std::unique_ptr<SqlServer> server)
        : name_(std::move(name)), table_(std::move(table)), server_(std::move(server)) {}

    Result<std::vector<std::optional<std::string>>> get(std::string_view user, std::span<const std::string> keys,
                                                        Deadline deadline) override;
    Result<void> commit(std::span<const DictTransaction> transactions, Deadline deadline) override;
    Result<void> each(std::string_view key,
                      const std::function<bool(std::string_view user, std::string_view value)>& visit,
                      Deadline deadline) override;
    const std::string& name() const override { return name_; }

private:
    using Work = std::function<void(soci::session&)>;
    struct Failure {
        Error error;
        SqlFailure::Kind kind;
    };

    // Does `work`, which may throw, on the connection. `task` completes "cannot ...".
    std::optional<Failure> use(const std::string& task, const Work& work, Deadline deadline);
    std::optional<Failure> open(const std::string& task, Deadline deadline);
    // The same inside a transaction, again where the server has it rolled back for another's sake.
    std::optional<Failure> write(std::span<const SqlChange> changes, Deadline deadline);
    void apply(soci::session& session, std::span<const SqlChange* const> changes) const;
    void set_rows(soci::session& session, std::span<const SqlChange* const> changes) const;
    void change_row(soci::session& session, const SqlChange& change) const;

    const std::string name_;
    const SqlTable table_;
    const std::unique_ptr<SqlServer> server_;
    std::timed_mutex mutex_;  // held for the rest
    std::unique_ptr<soci::session> session_;
    SqlWatch watch_;
};

}  // namespace roost
