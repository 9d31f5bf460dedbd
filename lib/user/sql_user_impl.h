// What the parts of SqlUserDb share. Private to them.
#pragma once

#include "db/database.h"
#include "db/group_writer.h"
#include "user/known_records.h"
#include "user/sql_user_db.h"

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace roost {

// A column that may be NULL, as text whatever its type.
struct Column {
    std::string text;
    soci::indicator given = soci::i_null;

    explicit operator bool() const { return given == soci::i_ok; }
};

// One row of the lookup, as read. Every column comes as text, because SQLite lets other programs put values of any
// type into any column.
struct UserRow {
    Column name, enabled, settings, allocation, version;
    Column domain_settings, plan, known_plan, plan_settings;

    // The columns in the order of the two queries below.
    template <class Bind>
    void each(Bind bind) {
        for (Column* column :
             {&name, &enabled, &settings, &allocation, &version, &domain_settings, &plan, &known_plan, &plan_settings})
            bind(*column);
    }
};

// The lookup of one user, by :domain and :name: a descent in each of three trees, whatever their sizes.
std::string find_query();
// The next :batch users after the name :after, in the order of names; unless :any, those whose name ends in :suffix.
std::string list_query();

// Whether a record of this name can be meant: not empty, UTF-8, no control characters.
bool is_usable_name(std::string_view name);
Result<void> check_name(std::string_view kind, std::string_view name);

// The part behind the last "@", or nothing.
std::string_view domain_of(std::string_view name);

// An Error (misconfigured) names the level whose JSON, number or plan is wrong.
Result<UserRecord> record_of(const UserRow& row);

// "user alice@example.org", for messages.
std::string user_label(std::string_view name);

class SqlUserDb::Impl {
public:
    // The prepared lookup with its variables, which it refers to.
    struct Lookup {
        explicit Lookup(soci::session& sql);
        std::string name, domain;
        UserRow row;
        soci::statement statement;
    };

    explicit Impl(std::unique_ptr<Database> opened) : db(std::move(opened)) {
        db->on_reopen([this] { lookup.reset(); });
    }

    // Writes for a delivery: on a connection of its own, so that no lookup waits for the disk, and together
    // with what other threads write. As Database::write(), but not under the mutex, and `work` may be called twice.
    template <class Work>
    std::invoke_result_t<Work&, soci::session&> write(const std::string& task, Work work) {
        auto opened = writer();
        if (!opened) return std::move(opened).error();
        std::optional<std::invoke_result_t<Work&, soci::session&>> result;
        auto written = (*opened)->write(task, [&](soci::session& sql) -> Result<void> {
            result.emplace(work(sql));
            if (!*result) return result->error();
            return {};
        });
        if (!written) return std::move(written).error();
        return *std::move(result);
    }

    std::mutex mutex;  // guards all below
    std::unique_ptr<Database> db;
    std::unique_ptr<Lookup> lookup;
    KnownRecords known;

private:
    Result<GroupWriter*> writer();

    std::unique_ptr<Database> written_;  // none: `db` is written to
    std::optional<GroupWriter> writer_;  // none: not needed yet
};

}  // namespace roost
