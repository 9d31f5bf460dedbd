// roost explain: what a delivery would do now, and why, without doing it.
#include <iostream>

#include "base/log.h"
#include "base/text.h"
#include "commands.h"
#include "config/value.h"
#include "dry_run.h"
#include "mail/address.h"
#include "output.h"
#include "quota/limits.h"
#include "records.h"
#include "site_checks.h"
#include "store/instance.h"
#include "store/mail_store.h"
#include "usage_rows.h"

namespace roost::cli {
namespace {

// A setting that matters here. It owns its texts: the user whom they were read from is gone when they are shown.
struct Effective {
    std::string key;
    std::string value;
    std::string origin;
};

// What a dict says of usage, or why it says nothing.
struct Asked {
    std::string dict;
    std::optional<Usage> usage;
    std::optional<Error> error;
};

// All that can be said; what a delivery would not come to stays empty.
struct Explanation {
    std::string address;
    std::optional<UserRecord> record;
    bool detail_stripped = false;
    std::string detail;
    std::vector<Effective> settings;
    std::optional<Readiness> ready;
    std::string mda;
    std::string creator;
    std::string folder;
    std::string warning;
    std::uint64_t size = 0;
    std::optional<Usage> usage;
    Limits limits;
    std::optional<Asked> counters;  // if a dict is the authority and there is a mailbox
    std::optional<Asked> services;  // if other services share the limits
    bool services_remembered = false;
    std::optional<Usage> domain_usage;  // if the domain has limits
    Limits domain_limits;
    Outcome outcome = Outcome::delivered;
    std::string text;  // why, if it is not delivered
};

// Never called: an explanation stops short of both.
class NoCreator : public Creator {
public:
    Result<User> create(UserDb&, Mda&, const User& seen, Deadline) override { return seen; }
};
class NoDurability : public Durability {
public:
    Result<void> before_publish(std::span<Pending* const>) override { return {}; }
    Result<void> after_publish(std::span<Pending* const>) override { return {}; }
};

void fail(Explanation& out, const Error& error) {
    out.outcome = error.outcome;
    out.text = error.text();
}

Effective effective(std::string_view key, const Cascade::Value& value) {
    return {std::string(key), std::string(value.text), value.origin};
}

void explain_settings(Explanation& out, const User& user) {
    for (const std::string& key : user.settings().keys())
        if (key.starts_with("quota.") || key.starts_with("domain-quota.") || key.starts_with("delivery."))
            out.settings.push_back(effective(key, user.settings().explain(key)));
}

// What is asked for usage, and touches nothing.
struct Dicts {
    std::unique_ptr<DryDict> authority;  // null: the mailboxes are
    std::unique_ptr<DryDict> unified;    // null: no services share limits

    static Result<Dicts> make(const Config& config) {
        Dicts out;
        auto authority = authority_of(config);
        if (!authority) return std::move(authority).error();
        if (*authority) out.authority = std::make_unique<DryDict>(*std::move(authority));
        auto unified = dict_of(config, "quota.unified.dict");
        if (!unified) return std::move(unified).error();
        if (*unified) out.unified = std::make_unique<DryDict>(*std::move(unified));
        return out;
    }
};

// What is held of the limits by others: what a dict says of it is no verdict yet.
void explain_usage(Explanation& out, const Dicts& dicts, Accounts& accounts, const User& user) {
    if (dicts.authority && out.ready->complete()) {
        auto said = accounts.peek(user);
        out.counters = said ? Asked{dicts.authority->name(), *said, {}}
                            : Asked{dicts.authority->name(), {}, std::move(said).error()};
    }
    if (auto services = accounts.services(user)) {
        out.services_remembered = services->remembered;
        out.services = Asked{dicts.unified->name(), services->usage, std::move(services->trouble)};
    }
    out.domain_limits = Accounts::domain_limits(user.settings());
    if (!user.domain().empty() && needs_usage(out.domain_limits))
        if (auto held = accounts.domain(std::string(user.domain()), out.domain_limits)) out.domain_usage = *held;
}

// From the mailbox on: is there one, and does the message fit?
void explain_mailbox(Explanation& out, SqlUserDb& db, DryRun& dry, const Dicts& dicts, Accounts& accounts,
                     const User& user, const Folder& folder) {
    auto ready = dry.mda().check(user);
    if (!ready) return fail(out, ready.error());
    out.ready = *std::move(ready);
    out.limits = limits_of(user.settings());
    explain_usage(out, dicts, accounts, user);
    if (out.ready->complete()) {
        auto usage = accounts.mailbox(user, {out.size, 1});
        // A dict that cannot be asked hinders nobody who has no limits.
        if (!usage && !out.counters) return fail(out, usage.error());
        if (usage) out.usage = *usage;
    } else {
        auto tried = check_database(user.settings().config());
        if (tried) tried = dry.try_mailbox(db, user);
        if (!tried) return fail(out, tried.error());
    }
    auto admission = accounts.admit(user, folder, out.size, out.size, nullptr);
    if (!admission) return fail(out, admission.error());
    out.outcome = admission->outcome;
    out.text = std::move(admission->text);
}

Explanation explain_recipient(const Config& config, SqlUserDb& db, DryRun& dry, const Dicts& dicts,
                              const std::string& address, std::uint64_t size) {
    Explanation out;
    out.address = address;
    out.size = size;
    out.mda = config.text("store.mda");
    out.creator = config.text("store.creator");
    NoCreator creator;
    NoDurability durability;
    Reservations reservations;
    Accounts accounts({config, dry.mda(), dry.files(), reservations,
                       [&db](std::string_view domain, const auto& visit) { return db.each_user(domain, visit); },
                       dicts.authority.get(), dicts.unified.get()});
    MailStore store({config, dry.db(), dry.mda(), creator, durability, accounts});
    Recipient recipient;
    recipient.address = address;
    Routing routing = store.route(recipient);

    if (!routing.route) {
        out.outcome = routing.verdict.outcome;
        out.text = routing.verdict.text;
        // A refused user has a record nevertheless.
        if (!routing.verdict.user.empty())
            if (auto record = dry.db().find(routing.verdict.user)) out.record = *std::move(record);
    } else {
        out.record = routing.route->user.record();
        out.detail = routing.route->detail;
    }
    auto parsed = parse_address(address);
    if (out.record && parsed) out.detail_stripped = out.record->name != parsed->text();
    if (out.record) {
        if (auto user = User::make(config, *out.record)) explain_settings(out, *user);
    }
    if (!routing.route) return out;
    MailStore::Target target = MailStore::target(recipient, *routing.route);
    out.warning = std::move(target.warning);
    auto folder = store.destination(*routing.route, target.folder);
    out.folder = folder_name(folder ? *folder : target.folder);
    explain_mailbox(out, db, dry, dicts, accounts, routing.route->user, folder ? *folder : target.folder);
    if (!folder && out.outcome == Outcome::delivered) fail(out, folder.error());
    // Without a log nothing is delivered.
    if (auto writable = check_log(std::string(config.text("log.target"))); !writable) fail(out, writable.error());
    return out;
}

Json to_json(const Asked& asked) {
    return {{"dict", asked.dict},
            {"usage", asked.usage ? cli::to_json(*asked.usage) : Json(nullptr)},
            {"error", asked.error ? Json(asked.error->text()) : Json(nullptr)}};
}

Json to_json(const Explanation& e) {
    const OutcomeRow& row = row_of(e.outcome);
    Json settings = Json::array();
    for (const auto& [key, value, origin] : e.settings)
        settings.push_back({{"key", key}, {"value", value}, {"origin", origin}});
    Json out{{"address", e.address}, {"user", nullptr}, {"mailbox", nullptr}};
    if (e.record)
        out["user"] = {{"name", e.record->name},
                       {"rule", e.detail_stripped ? "detail stripped" : "exact"},
                       {"enabled", e.record->enabled},
                       {"domain", e.record->domain},
                       {"plan", e.record->plan}};
    out["detail"] = e.detail;
    out["settings"] = std::move(settings);
    if (e.ready)
        out["mailbox"] = {{"complete", e.ready->complete()},
                          {"missing", e.ready->missing},
                          {"mda", e.mda},
                          {"creator", e.creator},
                          {"allocation", e.record->allocation ? cli::to_json(*e.record->allocation) : Json(nullptr)}};
    out["folder"] = e.folder.empty() ? Json(nullptr) : Json(e.folder);
    out["warning"] = e.warning.empty() ? Json(nullptr) : Json(e.warning);
    out["size"] = e.size;
    out["usage"] = e.usage ? cli::to_json(*e.usage) : Json(nullptr);
    out["limits"] = e.ready ? Json{{"storage", cli::to_json(e.limits.storage)},
                                   {"messages", cli::to_json(e.limits.messages)},
                                   {"message", cli::to_json(e.limits.message)}}
                            : Json(nullptr);
    if (e.counters) out["counters"] = to_json(*e.counters);
    if (e.services) out["services"] = to_json(*e.services);
    if (e.domain_usage)
        out["domain"] = {{"usage", cli::to_json(*e.domain_usage)},
                         {"limits",
                          {{"storage", cli::to_json(e.domain_limits.storage)},
                           {"messages", cli::to_json(e.domain_limits.messages)}}}};
    out["outcome"] = {{"name", row.name},
                      {"reply", row.reply_code},
                      {"enhanced", row.enhanced},
                      {"exit", row.exit_code},
                      {"text", e.text}};
    return out;
}

void print_user(const Explanation& e) {
    if (!e.record) {
        print_field("user", "none");
        return;
    }
    print_field("user", e.record->name + (e.detail_stripped ? ", found after the detail was taken off the address"
                                                            : ", found by the exact address"));
    print_field("enabled", e.record->enabled ? "yes" : "no");
    print_field("domain", e.record->domain.empty() ? "none" : e.record->domain);
    print_field("plan", e.record->plan.empty() ? "none" : e.record->plan);
    if (!e.detail.empty()) print_field("detail", e.detail);
    print_field("settings", "");
    for (const auto& [key, value, origin] : e.settings)
        std::cout << "  " << key << " = " << printable(value) << "  (" << printable(origin) << ")\n";
}

std::string held_text(const std::optional<Usage>& usage, const Limits& limits) {
    return (usage ? format_size(usage->storage) : "unknown") + " of " + size_text(limits.storage) + ", " +
           (usage ? std::to_string(usage->messages) : "unknown") + " of " +
           (limits.messages ? std::to_string(*limits.messages) : "unlimited") + " messages";
}

// What a dict says, and what becomes of it if it says nothing.
std::string asked_text(const Asked& asked, std::string_view otherwise) {
    if (asked.error) return "not known" + std::string(otherwise) + ": " + asked.error->text();
    if (!asked.usage) return "none yet in " + asked.dict + ": the store is counted";
    return format_size(asked.usage->storage) + ", " + std::to_string(asked.usage->messages) + " messages, in " +
           asked.dict;
}

void print_usage(const Explanation& e) {
    print_field("usage", held_text(e.usage || e.counters ? e.usage : Usage{}, e.limits));
    if (e.counters) {
        const bool doubted = e.usage && e.counters->usage && *e.usage != *e.counters->usage;
        print_field("counters", asked_text(*e.counters, {}) + (doubted ? ", to be counted anew" : ""));
    }
    if (e.services)
        print_field("services", asked_text(*e.services, e.services_remembered ? ", and what was known last counts"
                                                                              : ", and none of it counts"));
    if (e.domain_usage) print_field("domain use", held_text(*e.domain_usage, e.domain_limits));
}

void print(const Explanation& e) {
    print_field("address", e.address);
    print_user(e);
    if (e.ready && e.ready->complete()) {
        print_field("mailbox", "of module " + e.mda + ": " + to_line(e.record->allocation.value_or(Settings{})));
    } else if (e.ready) {
        print_field("mailbox", "none yet: creator " + e.creator + " would let module " + e.mda + " make it");
    }
    if (!e.folder.empty()) print_field("folder", e.folder);
    if (!e.warning.empty()) print_field("warning", e.warning);
    print_field("message", std::to_string(e.size) + " bytes");
    if (e.ready) print_usage(e);
    const OutcomeRow& row = row_of(e.outcome);
    print_field("outcome", std::string(row.name) + " (" + std::to_string(row.reply_code) + " " +
                               std::string(row.enhanced) + ", exit " + std::to_string(row.exit_code) + ")");
    if (!e.text.empty()) print_field("why", e.text);
}

}  // namespace

Result<int> explain(const Options& options) {
    constexpr std::uint64_t kUsualSize = 8192;
    std::uint64_t size = kUsualSize;
    if (options.size) {
        auto parsed = parse_size(*options.size);
        if (!parsed || !*parsed)
            return usage_error("option --size", "'" + printable(*options.size) + "' is not a size",
                               "write bytes or 512K, 10M, 1G");
        size = **parsed;
    }
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto db = open_database(*config, SqlUserDb::Missing::fail);
    if (!db) return std::move(db).error();
    auto dry = DryRun::make(*config, **db);
    if (!dry) return std::move(dry).error();
    auto dicts = Dicts::make(*config);
    if (!dicts) return std::move(dicts).error();
    // What a delivery would log is said in the explanation.
    if (auto quiet = open_log("roost", "stderr", LogLevel::error); !quiet) return std::move(quiet).error();
    const Explanation explanation = explain_recipient(*config, **db, **dry, *dicts, options.operands.front(), size);
    if (options.json) {
        print_json(to_json(explanation));
    } else {
        print(explanation);
    }
    return kSuccess;
}

}  // namespace roost::cli
