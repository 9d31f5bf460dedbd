// What deliveries ask of the user database; administration is in sql_user_admin.cpp.
#include "user/sql_user_db.h"

#include "base/text.h"
#include "db/schema.h"
#include "user/settings_json.h"
#include "user/sql_user_impl.h"
#include "user/user_lock.h"

#include <cstdint>

namespace roost {
namespace {

std::string allocation_label(std::string_view name) { return "allocation of " + user_label(name); }

// The number that follows the highest one in use, so that a number is not given to a new user soon after its last
// holder has gone; past the end of the range, the first gap. Nothing: the range is exhausted.
std::optional<std::int64_t> free_number(soci::session& sql, const std::string& pool, std::int64_t from,
                                        std::int64_t to) {
    std::int64_t number = 0;
    soci::indicator given = soci::i_null;
    sql << "SELECT max(number) FROM numbers WHERE pool = :pool AND number BETWEEN :from AND :to", soci::use(pool),
        soci::use(from), soci::use(to), soci::into(number, given);
    if (given != soci::i_ok) return from;
    if (number < to) return number + 1;

    int taken = 0;
    sql << "SELECT count(*) FROM numbers WHERE pool = :pool AND number = :from", soci::use(pool), soci::use(from),
        soci::into(taken);
    if (taken == 0) return from;
    sql << "SELECT n.number + 1 FROM numbers n WHERE n.pool = :pool AND n.number >= :from AND n.number < :to AND NOT "
           "EXISTS (SELECT 1 FROM numbers m WHERE m.pool = n.pool AND m.number = n.number + 1) ORDER BY n.number LIMIT "
           "1",
        soci::use(pool), soci::use(from), soci::use(to), soci::into(number, given);
    if (!sql.got_data()) return std::nullopt;
    return number;
}

Database::Use use_of(SqlUserDb::Use use) {
    switch (use) {
        case SqlUserDb::Use::once:
            return Database::Use::once;
        case SqlUserDb::Use::command:
            return Database::Use::command;
        case SqlUserDb::Use::lasting:
            break;
    }
    return Database::Use::lasting;
}

// See UserDb::add_allocation. `own`: the user's settings; `had`: what was allocated before. The names that are looked
// at lie side by side in the order of the table, so that it takes a look at as many rows as domains have such a name.
Result<void> refuse_shared(soci::session& sql, const std::string& name, const Settings& own,
                           const std::optional<Settings>& had, const Settings& allocation) {
    const std::string local = name.substr(0, name.rfind('@'));
    const std::string from = local + "@";
    const std::string to = local + "[";  // what follows "@" where case does not count
    for (const auto& [key, path] : allocation) {
        if (!path.starts_with('/') || own.contains(key)) continue;
        if (had && had->contains(key) && had->find(key)->second == path) continue;
        const std::string value = render_value(path);
        std::string other;
        sql << "SELECT name FROM users WHERE (name = :local OR (name >= :from AND name < :to)) AND name <> :name "
               "AND instr(CAST(allocation AS TEXT), :value) > 0 LIMIT 1",
            soci::use(local), soci::use(from), soci::use(to), soci::use(name), soci::use(value), soci::into(other);
        if (sql.got_data())
            return config_error("the mailbox " + printable(path) + " of " + name,
                                "it is that of " + printable(lower(other)) + " already",
                                "put %{user}, or %{domain} and %{local}, into " + key + ", or set it for the user");
    }
    return {};
}

}  // namespace

SqlUserDb::SqlUserDb(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SqlUserDb::~SqlUserDb() = default;

Result<std::unique_ptr<SqlUserDb>> SqlUserDb::open(const std::string& url, Missing missing,
                                                   std::chrono::milliseconds busy_time, Use use) {
    const auto creation = missing == Missing::create ? Database::Missing::create : Database::Missing::fail;
    auto db = Database::open(url, creation, busy_time, use_of(use));
    if (!db) return std::move(db).error();
    auto current = bring_up_to_date(**db, schema_steps(), creation);
    // It says more than whatever a log that belongs to another file makes of the tables. A single lookup is spared it
    // as long as nothing looks wrong.
    if (!current || use != Use::once)
        if (auto in_place = (*db)->check_place(); !in_place) return std::move(in_place).error();
    if (!current) return std::move(current).error();
    return std::unique_ptr<SqlUserDb>(new SqlUserDb(std::make_unique<Impl>(std::move(*db))));
}

SqlUserDb::Impl::Lookup::Lookup(soci::session& sql) : statement(sql) {
    statement.alloc();
    statement.prepare(find_query());
    row.each([&](Column& column) { statement.exchange(soci::into(column.text, column.given)); });
    statement.exchange(soci::use(domain));
    statement.exchange(soci::use(name));
    statement.define_and_bind();
}

Result<GroupWriter*> SqlUserDb::Impl::writer() {
    const std::lock_guard guard(mutex);
    if (!writer_) {
        // A process that looks up once has no other thread that could wait.
        if (db->use() != Database::Use::once) {
            auto opened = db->another();
            if (!opened) return std::move(opened).error();
            written_ = *std::move(opened);
        }
        writer_.emplace(written_ ? *written_ : *db);
    }
    return &*writer_;
}

Result<std::optional<UserRecord>> SqlUserDb::find(std::string_view name) {
    using Answer = std::optional<UserRecord>;
    if (!is_usable_name(name)) return Answer{};
    const std::string key = lower(name);
    const std::lock_guard guard(impl_->mutex);
    const auto state = impl_->db->state();
    if (state)
        if (const UserRecord* known = impl_->known.find(key, *state)) return Answer(*known);
    auto found = impl_->db->read("look up the " + user_label(name), [&](soci::session& sql) -> Result<bool> {
        if (!impl_->lookup) impl_->lookup = std::make_unique<Impl::Lookup>(sql);
        Impl::Lookup& lookup = *impl_->lookup;
        lookup.name = key;
        lookup.domain = domain_of(lookup.name);
        const bool got = lookup.statement.execute(true);
        // To the end, which lets go of the snapshot.
        while (lookup.statement.got_data()) lookup.statement.fetch();
        return got;
    });
    if (!found) {
        impl_->lookup.reset();
        if (auto in_place = impl_->db->check_place(); !in_place) return std::move(in_place).error();
        return std::move(found).error();
    }
    if (!*found) {
        // Not in the file that is open; mail would bounce.
        if (auto in_place = impl_->db->check_place(); !in_place) return std::move(in_place).error();
        return Answer{};
    }
    auto record = record_of(impl_->lookup->row);
    if (!record) return std::move(record).error();
    if (state) impl_->known.add(key, *record, *state);
    return Answer(std::move(*record));
}

void SqlUserDb::fold_log() {
    const std::unique_lock guard(impl_->mutex, std::try_to_lock);
    if (guard) impl_->db->fold_log();
}

Result<bool> SqlUserDb::add_allocation(const UserRecord& seen, const Settings& allocation) {
    auto json = render_settings(allocation_label(seen.name), allocation);
    if (!json) return std::move(json).error();
    soci::indicator had = seen.allocation ? soci::i_ok : soci::i_null;
    return impl_->write("write the " + allocation_label(seen.name), [&](soci::session& sql) -> Result<bool> {
        auto alone = refuse_shared(sql, seen.name, seen.settings, seen.allocation, allocation);
        if (!alone) return std::move(alone).error();
        // A program may have written a blob, which equals no text.
        soci::statement update =
            (sql.prepare << "UPDATE users SET allocation = :allocation, version = version + 1 "
                            "WHERE name = :name AND version = :version AND "
                            "CAST(allocation AS TEXT) IS :seen",
             soci::use(*json), soci::use(seen.name), soci::use(seen.version), soci::use(seen.allocation_text, had));
        update.execute(true);
        return update.get_affected_rows() == 1;
    });
}

Result<void> SqlUserDb::overwrite_allocation(std::string_view name, const Settings& allocation) {
    const std::string key = lower(name);
    auto json = render_settings(allocation_label(key), allocation);
    if (!json) return std::move(json).error();
    return impl_->write("write the " + allocation_label(key), [&](soci::session& sql) -> Result<void> {
        Column own;
        sql << "SELECT settings FROM users WHERE name = :name", soci::use(key), soci::into(own.text, own.given);
        auto settings = own ? parse_settings(user_label(key), own.text) : Result<Settings>(Settings{});
        if (!settings) return std::move(settings).error();
        auto alone = refuse_shared(sql, key, *settings, std::nullopt, allocation);
        if (!alone) return alone;
        soci::statement update =
            (sql.prepare << "UPDATE users SET allocation = :allocation, version = version + 1 WHERE name = :name",
             soci::use(*json), soci::use(key));
        update.execute(true);
        if (update.get_affected_rows() == 1) return {};
        return Error{Outcome::trouble, "cannot write the " + allocation_label(key), "the user is gone", {}, 0};
    });
}

Result<void> SqlUserDb::check_allocation(const UserRecord& seen, const Settings& allocation) {
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->read("look for the paths of " + user_label(seen.name), [&](soci::session& sql) {
        return refuse_shared(sql, seen.name, seen.settings, seen.allocation, allocation);
    });
}

Result<std::unique_ptr<Lock>> SqlUserDb::lock(std::string_view name, Deadline deadline) {
    // Not under the mutex: the path never changes, and waiting must not keep other threads from looking up.
    const std::string& path = impl_->db->path();
    return lock_user(path + ".lock", path, lower(name), deadline);
}

Result<std::uint32_t> SqlUserDb::own_number(std::string_view pool, std::string_view name, IdRange range) {
    const std::string in(pool);
    const std::string key = lower(name);
    const std::string bounds = std::to_string(range.from) + "-" + std::to_string(range.to);
    const std::string what = "number of " + user_label(key) + " from " + in + " " + bounds;
    if (range.from > range.to) return config_error(what, "the range is empty", "write it as FROM-TO");
    return impl_->write("give out the " + what, [&](soci::session& sql) -> Result<std::uint32_t> {
        std::int64_t number = 0;
        sql << "SELECT number FROM numbers WHERE pool = :pool AND name = :name", soci::use(in), soci::use(key),
            soci::into(number);
        if (sql.got_data()) {
            if (number >= range.from && number <= range.to) return static_cast<std::uint32_t>(number);
            return config_error(what, "the user has " + std::to_string(number) + ", which lies outside",
                                "widen the range again, or delete the row from the table numbers once the user's "
                                "files have another owner");
        }
        const auto next = free_number(sql, in, range.from, range.to);
        if (!next) return config_error(what, "every number is taken", "widen the range");
        sql << "INSERT INTO numbers (pool, number, name) VALUES (:pool, :number, :name)", soci::use(in),
            soci::use(*next), soci::use(key);
        return static_cast<std::uint32_t>(*next);
    });
}

}  // namespace roost
