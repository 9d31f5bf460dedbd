// roost quota check: warnings for what no delivery has noticed yet, as a limit that was lowered.
#include <optional>
#include <string>
#include <vector>

#include "base/text.h"
#include "commands.h"
#include "output.h"
#include "records.h"
#include "scope.h"
#include "store/after_delivery.h"
#include "store/warner.h"
#include "terminal.h"

namespace roost::cli {
namespace {

void show(Listing& listing, const Warning& warning) {
    if (listing.json()) {
        listing.row(Json{{"name", warning.whom},
                         {"threshold", warning.threshold.text()},
                         {"percent", warning.percent()},
                         {"used", warning.used},
                         {"limit", warning.limit}});
        return;
    }
    listing.line(printable(warning.whom) + "\t" + warning.threshold.text() + "\t" + std::to_string(warning.percent()) +
                 "%");
}

// A command whose failure makes the status that of a failure, too.
roost::Command watched(roost::Command command, int& status) {
    command.failed = [before = std::move(command.failed), &status] {
        status = kFailure;
        if (before) before();
    };
    return command;
}

}  // namespace

Result<int> quota_check(const Options& options) {
    auto scope = Scope::of(options, "quota check", false);
    if (!scope) return std::move(scope).error();
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto instance = Instance::open(*std::move(config));
    if (!instance) return std::move(instance).error();

    int status = kSuccess;
    Progress progress("checked", options.quiet);
    std::optional<Listing> listing;
    if (options.json || options.verbose) listing.emplace(options.json);
    std::vector<std::string> warned;  // whose usage may have grown by a message
    const auto complain = [&](const Error& error) {
        progress.wipe();
        print_error(error);
        status = kFailure;
    };
    const auto one = [&](std::string_view name) -> Result<void> {
        auto warnings =
            warn(**instance, name, [&](roost::Command command) { run_command(watched(std::move(command), status)); });
        if (!warnings) return std::move(warnings).error();
        if (warnings->failed) status = kFailure;
        if (!warnings->given.empty()) warned.emplace_back(name);
        for (const Warning& warning : warnings->given) {
            progress.wipe();
            if (listing) show(*listing, warning);
        }
        return {};
    };
    // Asking for each while they are listed would need a second connection to the database.
    std::vector<std::string> names;
    auto listed = each_in((*instance)->db(), *scope, [&](Result<UserRecord> record) {
        if (record) {
            names.push_back(record->name);
        } else {
            complain(record.error());
        }
        return true;
    });
    if (!listed) return std::move(listed).error();
    for (const std::string& name : names) {
        if (auto done = one(name); !done) complain(done.error());
        progress.step();
    }
    publish_before_end(**instance, warned);
    return status;
}

}  // namespace roost::cli
