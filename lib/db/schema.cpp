#include "db/schema.h"

#include "db/sqlite_sql.h"

#include <cstdint>

namespace roost {
namespace {

constexpr std::string_view kStepLine = "\n-- step ";

Result<std::int64_t> read_version(Database& db) {
    return db.read("read the schema version", [](soci::session& sql) -> Result<std::int64_t> {
        std::int64_t number = 0;
        soci::indicator given = soci::i_ok;
        sql << "SELECT max(version) FROM roost_schema", soci::into(number, given);
        return given == soci::i_ok ? number : 0;
    });
}

// 0: there are no tables of Roost's.
Result<std::int64_t> version_of(Database& db) {
    auto version = read_version(db);
    if (version) return version;
    // Only after a failure, so that the common case costs one query.
    auto tables = db.read("read the schema", [](soci::session& sql) -> Result<int> {
        int count = 0;
        sql << "SELECT count(*) FROM sqlite_master WHERE name = 'roost_schema'", soci::into(count);
        return count;
    });
    if (!tables) return version;
    // If it is there, somebody may have made it since the first try.
    return *tables == 0 ? std::int64_t{0} : read_version(db);
}

Error newer(const Database& db, std::int64_t version, std::size_t known) {
    return config_error(
        "cannot use the user database " + db.path(),
        "its schema is version " + std::to_string(version) + ", this Roost knows up to " + std::to_string(known),
        "run the newer Roost that upgraded it");
}

}  // namespace

SchemaSteps split_steps(std::string_view sql) {
    SchemaSteps steps;
    std::size_t begin = sql.find(kStepLine);
    while (begin != std::string_view::npos) {
        const std::size_t end = sql.find(kStepLine, begin + 1);
        steps.emplace_back(sql.substr(begin, end == std::string_view::npos ? end : end - begin));
        begin = end;
    }
    return steps;
}

const SchemaSteps& schema_steps() {
    static const SchemaSteps steps = split_steps(kSqliteSql);
    return steps;
}

Result<void> bring_up_to_date(Database& db, std::span<const std::string> steps, Database::Missing missing) {
    const auto latest = static_cast<std::int64_t>(steps.size());
    auto version = version_of(db);
    if (!version) return std::move(version).error();
    if (*version == latest) return {};
    if (*version < 0)
        return config_error("cannot use the user database " + db.path(),
                            "its schema is version " + std::to_string(*version) + ", which there never was",
                            "restore the number in the table roost_schema");
    if (*version > latest) return newer(db, *version, steps.size());
    if (*version == 0) {
        if (missing == Database::Missing::fail)
            return config_error("cannot use the user database " + db.path(), "it has no tables of Roost's",
                                "check users.database, or make them: roost database create");
        auto switched = db.use_write_ahead_log();
        if (!switched) return switched;
    }
    return db.write("upgrade the schema", [&](soci::session&) -> Result<void> {
        // Again, now that nobody else can be at it.
        auto reached = version_of(db);
        while (reached && *reached >= 0 && *reached < latest) {
            const std::int64_t from = *reached;
            db.run(steps[static_cast<std::size_t>(from)]);
            reached = version_of(db);
            if (reached && *reached != from + 1)
                return Error{Outcome::trouble, "cannot upgrade the schema of " + db.path(),
                             "step " + std::to_string(from + 1) + " left version " + std::to_string(*reached),
                             "report this fault in Roost", 0};
        }
        if (!reached) return std::move(reached).error();
        if (*reached > latest) return newer(db, *reached, steps.size());
        return {};
    });
}

}  // namespace roost
