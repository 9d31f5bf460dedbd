// Administration of the user database: users, domains, plans.
#include "base/text.h"
#include "user/settings_json.h"
#include "user/sql_user_db.h"
#include "user/sql_user_impl.h"

namespace roost {
namespace {

constexpr int kBatch = 200;

Error damaged(const std::string& path, const std::string& why) {
    return {Outcome::trouble, "the user database " + path, "it is damaged: " + why,
            "restore a backup: see BACKUP in "
            "roost-users(5)",
            0};
}

// The JSON of `old` with the changes made.
Result<std::string> changed(const std::string& label, const Column& old, const std::vector<SettingChange>& changes) {
    auto settings = old ? parse_settings(label + ", column settings", old.text) : Result<Settings>(Settings{});
    if (!settings) return std::move(settings).error();
    for (const auto& [key, value] : changes) {
        if (value)
            settings->insert_or_assign(key, *value);
        else
            settings->erase(key);
    }
    return render_settings(label, *settings);
}

// How many rows a statement changed.
template <class... Uses>
long long change(soci::session& sql, const char* text, const Uses&... uses) {
    soci::statement statement(sql);
    statement.alloc();
    statement.prepare(text);
    (statement.exchange(soci::use(uses)), ...);
    statement.define_and_bind();
    statement.execute(true);
    return statement.get_affected_rows();
}

bool is_plan(soci::session& sql, const std::string& name) {
    int count = 0;
    sql << "SELECT count(*) FROM plans WHERE name = :name", soci::use(name), soci::into(count);
    return count > 0;
}

// Rows of domains and plans.
Result<DomainRecord> domain_record(const Column& name, const Column& plan, const Column& settings) {
    DomainRecord record{lower(name.text), plan ? lower(plan.text) : std::string(), {}};
    if (!settings) return record;
    auto parsed = parse_settings("domain " + printable(record.name) + ", column settings", settings.text);
    if (!parsed) return std::move(parsed).error();
    record.settings = std::move(*parsed);
    return record;
}

Result<PlanRecord> plan_record(const Column& name, const Column& settings) {
    PlanRecord record{lower(name.text), {}};
    if (!settings) return record;
    auto parsed = parse_settings("plan " + printable(record.name) + ", column settings", settings.text);
    if (!parsed) return std::move(parsed).error();
    record.settings = std::move(*parsed);
    return record;
}

}  // namespace

Result<bool> SqlUserDb::add_user(std::string_view name, const Settings& settings, bool enabled) {
    if (auto usable = check_name("user", name); !usable) return std::move(usable).error();
    const std::string key = lower(name);
    auto json = render_settings(user_label(key), settings);
    if (!json) return std::move(json).error();
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->write("add the " + user_label(key), [&](soci::session& sql) -> Result<bool> {
        const int on = enabled ? 1 : 0;
        return change(sql,
                      "INSERT INTO users (name, enabled, settings) VALUES (:name, :enabled, :settings) "
                      "ON CONFLICT DO NOTHING",
                      key, on, *json) == 1;
    });
}

Result<bool> SqlUserDb::change_user(std::string_view name, const std::vector<SettingChange>& changes,
                                    std::optional<bool> enabled) {
    const std::string key = lower(name);
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->write("change the " + user_label(key), [&](soci::session& sql) -> Result<bool> {
        Column old;
        sql << "SELECT settings FROM users WHERE name = :name", soci::use(key), soci::into(old.text, old.given);
        if (!sql.got_data()) return false;
        if (!changes.empty()) {
            auto json = changed(user_label(key), old, changes);
            if (!json) return std::move(json).error();
            change(sql, "UPDATE users SET settings = :settings, version = version + 1 WHERE name = :name", *json, key);
        }
        if (enabled) {
            const int on = *enabled ? 1 : 0;
            change(sql, "UPDATE users SET enabled = :enabled, version = version + 1 WHERE name = :name", on, key);
        }
        return true;
    });
}

Result<bool> SqlUserDb::remove_user(std::string_view name, bool forget_numbers) {
    const std::string key = lower(name);
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->write("remove the " + user_label(key), [&](soci::session& sql) -> Result<bool> {
        if (forget_numbers) change(sql, "DELETE FROM numbers WHERE name = :name", key);
        return change(sql, "DELETE FROM users WHERE name = :name", key) == 1;
    });
}

// In batches, each its own query: a snapshot held for the whole listing would keep the write-ahead log growing, and
// the visitor may call the database itself.
Result<void> SqlUserDb::each_user(std::string_view domain,
                                  const std::function<bool(std::string_view name, Result<UserRecord>)>& visit) {
    const int any = domain.empty() ? 1 : 0;
    const std::string suffix = "@" + lower(domain);
    std::string after;
    std::vector<UserRow> rows(kBatch);
    std::size_t count = kBatch;
    while (count == kBatch) {
        {
            const std::lock_guard guard(impl_->mutex);
            auto read = impl_->db->read("list the users", [&](soci::session& sql) -> Result<void> {
                UserRow row;
                soci::statement list(sql);
                list.alloc();
                list.prepare(list_query());
                row.each([&](Column& column) { list.exchange(soci::into(column.text, column.given)); });
                list.exchange(soci::use(after));
                list.exchange(soci::use(any));
                list.exchange(soci::use(suffix));
                list.exchange(soci::use(kBatch));
                list.define_and_bind();
                count = 0;
                for (bool got = list.execute(true); got; got = list.fetch()) rows[count++] = row;
                return {};
            });
            if (!read) return read;
        }
        for (std::size_t i = 0; i < count; ++i) {
            const std::string name = lower(rows[i].name.text);
            if (!visit(name, record_of(rows[i]))) return {};
        }
        if (count == 0) break;
        // Else it would go round for ever.
        if (lower(rows[count - 1].name.text) <= lower(after))
            return damaged(impl_->db->path(), "its table users is not in the order of names");
        after = rows[count - 1].name.text;
    }
    return {};
}

Result<void> SqlUserDb::change_domain(std::string_view name, const std::vector<SettingChange>& changes,
                                      std::optional<std::string> plan) {
    if (auto usable = check_name("domain", name); !usable) return usable;
    const std::string key = lower(name);
    const std::string label = "domain " + printable(key);
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->write("change the " + label, [&](soci::session& sql) -> Result<void> {
        Column old_settings;
        Column new_plan;
        sql << "SELECT settings, plan FROM domains WHERE name = :name", soci::use(key),
            soci::into(old_settings.text, old_settings.given), soci::into(new_plan.text, new_plan.given);
        if (plan) {
            new_plan = {lower(*plan), plan->empty() ? soci::i_null : soci::i_ok};
            // Else the domain's mail would wait until it does: see record_of.
            if (new_plan && !is_plan(sql, new_plan.text))
                return Error{Outcome::no_such_user, label, "there is no plan " + printable(new_plan.text),
                             "make it first: roost plan set " + printable(new_plan.text), 0};
        }
        auto json = changed(label, old_settings, changes);
        if (!json) return std::move(json).error();
        sql << "INSERT INTO domains (name, plan, settings) VALUES (:name, :plan, :settings) "
               "ON CONFLICT (name) DO UPDATE SET plan = excluded.plan, settings = excluded.settings",
            soci::use(key), soci::use(new_plan.text, new_plan.given), soci::use(*json);
        return {};
    });
}

Result<bool> SqlUserDb::remove_domain(std::string_view name) {
    const std::string key = lower(name);
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->write("remove the domain " + printable(key), [&](soci::session& sql) -> Result<bool> {
        return change(sql, "DELETE FROM domains WHERE name = :name", key) == 1;
    });
}

Result<std::optional<DomainRecord>> SqlUserDb::find_domain(std::string_view name) {
    using Answer = std::optional<DomainRecord>;
    const std::string key = lower(name);
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->read("look up the domain " + printable(key), [&](soci::session& sql) -> Result<Answer> {
        Column found, plan, settings;
        sql << "SELECT name, plan, settings FROM domains WHERE name = :name", soci::use(key),
            soci::into(found.text, found.given), soci::into(plan.text, plan.given),
            soci::into(settings.text, settings.given);
        if (!sql.got_data()) return Answer{};
        auto record = domain_record(found, plan, settings);
        if (!record) return std::move(record).error();
        return Answer(std::move(*record));
    });
}

Result<std::vector<DomainRecord>> SqlUserDb::domains() {
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->read("list the domains", [&](soci::session& sql) -> Result<std::vector<DomainRecord>> {
        std::vector<DomainRecord> all;
        Column name, plan, settings;
        soci::statement list =
            (sql.prepare << "SELECT name, plan, settings FROM domains ORDER BY name", soci::into(name.text, name.given),
             soci::into(plan.text, plan.given), soci::into(settings.text, settings.given));
        for (bool got = list.execute(true); got; got = list.fetch()) {
            auto record = domain_record(name, plan, settings);
            if (!record) return std::move(record).error();
            all.push_back(std::move(*record));
        }
        return all;
    });
}

Result<void> SqlUserDb::change_plan(std::string_view name, const std::vector<SettingChange>& changes) {
    if (auto usable = check_name("plan", name); !usable) return usable;
    const std::string key = lower(name);
    const std::string label = "plan " + printable(key);
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->write("change the " + label, [&](soci::session& sql) -> Result<void> {
        Column old;
        sql << "SELECT settings FROM plans WHERE name = :name", soci::use(key), soci::into(old.text, old.given);
        auto json = changed(label, old, changes);
        if (!json) return std::move(json).error();
        sql << "INSERT INTO plans (name, settings) VALUES (:name, :settings) "
               "ON CONFLICT (name) DO UPDATE SET settings = excluded.settings",
            soci::use(key), soci::use(*json);
        return {};
    });
}

Result<bool> SqlUserDb::remove_plan(std::string_view name) {
    const std::string key = lower(name);
    const std::string label = "plan " + printable(key);
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->write("remove the " + label, [&](soci::session& sql) -> Result<bool> {
        std::string domain;
        sql << "SELECT name FROM domains WHERE plan = :name LIMIT 1", soci::use(key), soci::into(domain);
        if (sql.got_data())
            return config_error("cannot remove the " + label, "the domain " + printable(domain) + " is on it",
                                "move its domains to another plan first");
        return change(sql, "DELETE FROM plans WHERE name = :name", key) == 1;
    });
}

Result<std::optional<PlanRecord>> SqlUserDb::find_plan(std::string_view name) {
    using Answer = std::optional<PlanRecord>;
    const std::string key = lower(name);
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->read("look up the plan " + printable(key), [&](soci::session& sql) -> Result<Answer> {
        Column found, settings;
        sql << "SELECT name, settings FROM plans WHERE name = :name", soci::use(key),
            soci::into(found.text, found.given), soci::into(settings.text, settings.given);
        if (!sql.got_data()) return Answer{};
        auto record = plan_record(found, settings);
        if (!record) return std::move(record).error();
        return Answer(std::move(*record));
    });
}

Result<std::vector<PlanRecord>> SqlUserDb::plans() {
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->read("list the plans", [&](soci::session& sql) -> Result<std::vector<PlanRecord>> {
        std::vector<PlanRecord> all;
        Column name, settings;
        soci::statement list = (sql.prepare << "SELECT name, settings FROM plans ORDER BY name",
                                soci::into(name.text, name.given), soci::into(settings.text, settings.given));
        for (bool got = list.execute(true); got; got = list.fetch()) {
            auto record = plan_record(name, settings);
            if (!record) return std::move(record).error();
            all.push_back(std::move(*record));
        }
        return all;
    });
}

Result<void> SqlUserDb::check_integrity() {
    const std::lock_guard guard(impl_->mutex);
    auto found = impl_->db->read("check the tables", [](soci::session& sql) -> Result<std::string> {
        std::string first;
        sql << "PRAGMA quick_check(1)", soci::into(first);
        return first;
    });
    if (!found) return std::move(found).error();
    if (*found == "ok") return {};
    // A line that names the database may stand before it.
    return damaged(impl_->db->path(), found->substr(found->rfind('\n') + 1));
}

Result<DatabaseSummary> SqlUserDb::summary() {
    const std::lock_guard guard(impl_->mutex);
    return impl_->db->read("count the records", [&](soci::session& sql) -> Result<DatabaseSummary> {
        DatabaseSummary out;
        out.path = impl_->db->path();
        sql << "SELECT version FROM roost_schema", soci::into(out.schema);
        const auto count = [&](const char* query, std::uint64_t& into) {
            long long rows = 0;
            sql << query, soci::into(rows);
            into = static_cast<std::uint64_t>(rows);
        };
        count("SELECT count(*) FROM users", out.users);
        count("SELECT count(*) FROM users WHERE allocation IS NOT NULL", out.mailboxes);
        count("SELECT count(*) FROM domains", out.domains);
        count("SELECT count(*) FROM plans", out.plans);
        return out;
    });
}

}  // namespace roost
