#include <poll.h>

#include <algorithm>
#include <random>
#include <set>
#include <thread>

#include "dict/sql_dict_impl.h"

namespace roost {
namespace {

using namespace std::chrono_literals;

// Transactions of ours in one of the server's, and rows in one statement; SQLite has the lowest bound for the latter,
// 32766 parameters.
constexpr std::size_t kGroup = 500;
constexpr std::size_t kRows = 250;
constexpr std::size_t kPage = 1000;  // users that each() asks for at once
constexpr int kTries = 20;           // of a transaction that is in others' way

// A statement with parameters in the order of its SQL. What is bound must live until it was run.
class Statement {
public:
    explicit Statement(soci::session& session) : statement_(session) {}

    template <class T>
    void bind(const T& value) {
        statement_.exchange(soci::use(value));
    }
    template <class... T>
    void into(T&... to) {
        statement_.exchange(soci::into(to...));
    }
    // Whether there is a row.
    bool run(const std::string& sql) {
        statement_.alloc();
        statement_.prepare(sql, soci::details::st_one_time_query);
        statement_.define_and_bind();
        return statement_.execute(true);
    }
    bool next() { return statement_.fetch(); }
    // How many rows it changed.
    std::size_t change(const std::string& sql) {
        run(sql);
        return static_cast<std::size_t>(std::max<long long>(statement_.get_affected_rows(), 0));
    }

private:
    soci::statement statement_;
};

// What SOCI binds.
struct Row {
    std::string user;
    std::array<long long, 2> numbers;
};

void wait_a_little(Deadline deadline) {
    thread_local std::minstd_rand random{std::random_device{}()};
    std::this_thread::sleep_for(std::min<std::chrono::milliseconds>(deadline.remaining(), 1ms + random() % 50 * 1ms));
}

}  // namespace

std::string sql_rows(std::size_t rows, std::string_view numbers) {
    std::string sql;
    for (std::size_t i = 0; i < rows; ++i) {
        const std::string n = std::to_string(i);
        if (i > 0) sql += ", ";
        sql.append("(:u").append(n).append(", ");
        if (numbers.empty())
            sql.append(":b").append(n).append(", :m").append(n);
        else
            sql += numbers;
        sql += ")";
    }
    return sql;
}

std::optional<SqlDict::Failure> SqlDict::open(const std::string& task, Deadline deadline) {
    auto session = std::make_unique<soci::session>();
    try {
        server_->open(*session, deadline);
    } catch (const std::exception& thrown) {
        const SqlFailure failure = server_->explain(thrown, table_, true);
        return Failure{{failure.kind == SqlFailure::Kind::definition ? Outcome::misconfigured : Outcome::trouble,
                        "cannot " + task + " the dict " + name_, failure.why, failure.hint, 0},
                       SqlFailure::Kind::other};
    }
    session_ = std::move(session);
    return std::nullopt;
}

std::optional<SqlDict::Failure> SqlDict::use(const std::string& task, const Work& work, Deadline deadline) {
    const std::unique_lock lock(mutex_, deadline.remaining());
    const auto late = [&](const char* why) {
        return Failure{{Outcome::trouble, "cannot " + task + " the dict " + name_, why, {}, 0},
                       SqlFailure::Kind::other};
    };
    if (!lock) return late("other calls took all the time");
    if (session_) {
        // Nothing was asked: what is to be read is the connection's end.
        pollfd unasked{server_->descriptor(*session_), POLLIN, 0};
        if (unasked.fd >= 0 && ::poll(&unasked, 1, 0) != 0) session_.reset();
    }
    if (!session_)
        if (auto failure = open(task, deadline)) return failure;

    std::optional<SqlFailure> failure;
    watch_.begin(server_->descriptor(*session_), deadline);
    try {
        server_->limit(*session_, deadline);
        work(*session_);
    } catch (const std::exception& thrown) {
        failure = server_->explain(thrown, table_, false);
    }
    const bool shut = watch_.end();
    if (shut || (failure && failure->kind == SqlFailure::Kind::other)) session_.reset();
    if (!failure) return std::nullopt;
    if (shut) return late("no answer in time");
    return Failure{{failure->kind == SqlFailure::Kind::definition ? Outcome::misconfigured : Outcome::trouble,
                    "cannot " + task + " the dict " + name_, std::move(failure->why), std::move(failure->hint), 0},
                   failure->kind};
}

Result<std::vector<std::optional<std::string>>> SqlDict::get(std::string_view user, std::span<const std::string> keys,
                                                             Deadline deadline) {
    std::vector<std::size_t> fields;
    for (const std::string& key : keys) {
        auto field = sql_field(key, name_);
        if (!field) return std::move(field).error();
        fields.push_back(*field);
    }
    std::array<std::optional<std::string>, 2> row;
    const auto failure = use(
        "read from",
        [&](soci::session& session) {
            const std::string name(user);
            std::array<std::string, 2> texts;
            std::array<soci::indicator, 2> states{soci::i_null, soci::i_null};
            Statement statement(session);
            statement.into(texts[0], states[0]);
            statement.into(texts[1], states[1]);
            statement.bind(name);
            const bool found = statement.run("SELECT " + table_.fields[0] + ", " + table_.fields[1] + " FROM " +
                                             table_.table + " WHERE " + table_.user + " = :u");
            for (std::size_t i = 0; i < row.size(); ++i)
                if (found && states[i] == soci::i_ok) row[i] = texts[i];
        },
        deadline);
    if (failure) return failure->error;
    std::vector<std::optional<std::string>> values;
    values.reserve(fields.size());
    for (const std::size_t field : fields) values.push_back(row[field]);
    return values;
}

Result<void> SqlDict::each(std::string_view key,
                           const std::function<bool(std::string_view user, std::string_view value)>& visit,
                           Deadline deadline) {
    auto field = sql_field(key, name_);
    if (!field) return std::move(field).error();
    std::vector<std::pair<std::string, std::optional<std::string>>> page;
    do {
        // Page by page in the order of the primary key: no cursor, lock or result is held while visitors are at work.
        const std::optional<std::string> last = page.empty() ? std::nullopt : std::optional(page.back().first);
        page.clear();
        const auto failure = use(
            "list",
            [&](soci::session& session) {
                std::string user;
                std::string value;
                soci::indicator state = soci::i_null;
                Statement statement(session);
                statement.into(user);
                statement.into(value, state);
                if (last) statement.bind(*last);
                bool found = statement.run("SELECT " + table_.user + ", " + table_.fields[*field] + " FROM " +
                                           table_.table + (last ? " WHERE " + table_.user + " > :u" : "") +
                                           " ORDER BY " + table_.user + " LIMIT " + std::to_string(kPage));
                for (; found; found = statement.next())
                    page.emplace_back(user, state == soci::i_ok ? std::optional(value) : std::nullopt);
            },
            deadline);
        if (failure) return failure->error;
        for (const auto& [user, value] : page)
            if (value && !visit(user, *value)) return {};
    } while (page.size() == kPage);
    return {};
}

Result<void> SqlDict::commit(std::span<const DictTransaction> transactions, Deadline deadline) {
    std::optional<Error> unfit;
    while (!transactions.empty()) {
        std::vector<SqlChange> group;
        std::set<std::string_view> users;
        // The order of what different users' transactions do does not matter, so a user is in a group once.
        while (!transactions.empty() && group.size() < kGroup && users.insert(transactions.front().user).second) {
            auto change = SqlChange::of(transactions.front(), name_);
            if (change)
                group.push_back(*change);
            else if (!unfit)
                unfit = change.error();
            transactions = transactions.subspan(1);
        }
        auto failure = write(group, deadline);
        if (failure && failure->kind == SqlFailure::Kind::value && group.size() > 1) {
            failure.reset();
            for (std::size_t i = 0; i < group.size() && !failure; ++i) {
                failure = write({&group[i], 1}, deadline);
                if (!failure || failure->kind != SqlFailure::Kind::value) continue;
                if (!unfit) unfit = failure->error;
                failure.reset();
            }
        }
        if (failure && failure->kind != SqlFailure::Kind::value) return failure->error;
        if (failure && !unfit) unfit = failure->error;
    }
    if (unfit) return *unfit;
    return {};
}

std::optional<SqlDict::Failure> SqlDict::write(std::span<const SqlChange> changes, Deadline deadline) {
    // All who write take rows in the same order, so that they rarely wait for one another in a circle.
    std::vector<const SqlChange*> ordered;
    for (const SqlChange& change : changes) ordered.push_back(&change);
    std::sort(ordered.begin(), ordered.end(), [](const SqlChange* a, const SqlChange* b) { return a->user < b->user; });
    std::optional<Failure> failure;
    for (int i = 0; i < kTries && !changes.empty(); ++i) {
        failure = use(
            "write to",
            [&](soci::session& session) {
                session << server_->begin();
                try {
                    apply(session, ordered);
                    session << "COMMIT";
                } catch (...) {
                    try {
                        session << "ROLLBACK";
                    } catch (const soci::soci_error&) {  // it is rolled back already, or the connection is broken
                    }
                    throw;
                }
            },
            deadline);
        if (!failure || failure->kind != SqlFailure::Kind::again || deadline.expired()) break;
        wait_a_little(deadline);
    }
    return failure;
}

void SqlDict::apply(soci::session& session, std::span<const SqlChange* const> changes) const {
    std::vector<const SqlChange*> rows;
    for (const SqlChange* change : changes)
        if (change->sets_all()) rows.push_back(change);
    for (std::size_t at = 0; at < rows.size(); at += kRows)
        set_rows(session, std::span(rows).subspan(at, std::min(kRows, rows.size() - at)));
    for (const SqlChange* change : changes)
        if (!change->sets_all()) change_row(session, *change);
}

void SqlDict::set_rows(soci::session& session, std::span<const SqlChange* const> changes) const {
    std::vector<Row> rows;
    for (const SqlChange* change : changes)
        rows.push_back({std::string(change->user), {change->fields[0].number, change->fields[1].number}});
    const auto set = [&] {
        Statement statement(session);
        for (const Row& row : rows) {
            statement.bind(row.user);
            for (const long long& number : row.numbers) statement.bind(number);
        }
        return statement.change(server_->set_rows(table_, rows.size()));
    };
    if (set() >= rows.size()) return;
    Statement statement(session);
    for (const Row& row : rows) statement.bind(row.user);
    statement.change(server_->add_rows(table_, rows.size()));
    set();
}

void SqlDict::change_row(soci::session& session, const SqlChange& change) const {
    using Kind = SqlChange::Field::Kind;
    const std::string user(change.user);
    if (change.removes()) {
        Statement statement(session);
        statement.bind(user);
        statement.change("DELETE FROM " + table_.table + " WHERE " + table_.user + " = :u");
        return;
    }
    // Updates the fields that change in one of these ways; 0: there are none, or there is no row.
    std::array<long long, 2> numbers{};
    const auto update = [&](bool set_alone) -> std::size_t {
        Statement statement(session);
        std::string assignments;
        for (std::size_t i = 0; i < numbers.size(); ++i) {
            const SqlChange::Field& field = change.fields[i];
            if (field.kind == Kind::keep || (set_alone && field.kind != Kind::set)) continue;
            numbers[i] = field.kind == Kind::clear ? 0 : field.number;
            const std::string& column = table_.fields[i];
            assignments += (assignments.empty() ? "" : ", ") + column + " = " +
                           (field.kind == Kind::add ? column + " + " : "") + ":n" + std::to_string(i);
            statement.bind(numbers[i]);
        }
        if (assignments.empty()) return 0;
        statement.bind(user);
        return statement.change("UPDATE " + table_.table + " SET " + assignments + " WHERE " + table_.user + " = :u");
    };
    const bool sets = change.fields[0].kind == Kind::set || change.fields[1].kind == Kind::set;
    if (update(false) > 0 || !sets) return;
    Statement statement(session);
    statement.bind(user);
    statement.change(server_->add_rows(table_, 1));
    update(true);
}

}  // namespace roost
