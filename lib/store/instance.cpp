#include "store/instance.h"

#include <sys/stat.h>

#include <chrono>
#include <memory>

#include "store/journal.h"
#include "store/resting_dict.h"

namespace roost {
namespace {

// How long a dict that failed is not asked again.
constexpr auto kRest = std::chrono::seconds(5);

std::string module_dir(const ConfigFile& file) {
    const ConfigFile::Entry* entry = file.find("store.modules");
    return entry == nullptr || entry->value.empty() ? std::string(default_module_dir()) : entry->value;
}

std::string value_or_default(const ConfigFile& file, const Schema& schema, std::string_view key) {
    const ConfigFile::Entry* entry = file.find(key);
    return entry == nullptr ? std::string(schema.find(key)->default_value) : entry->value;
}

// The table of an installed module that is not selected, so that its settings can be checked where they stand.
SettingTable table_of_section(const std::string& dir, std::string_view section) {
    for (const ModuleKind kind : {ModuleKind::mda, ModuleKind::creator})
        if (auto module = load_module(dir, kind, section)) return (*module)->settings;
    return {};
}

}  // namespace

Result<std::unique_ptr<Dict>> dict_of(const Config& config, std::string_view key) {
    const std::string_view uri = config.text(key);
    if (uri.empty()) return std::unique_ptr<Dict>();
    auto dict = make_dict(uri);
    if (!dict) {
        dict.error().what = std::string(config.origin(key)) + ": " + std::string(key) + ": " + dict.error().what;
        return dict;
    }
    return std::unique_ptr<Dict>(std::make_unique<RestingDict>(*std::move(dict), kRest));
}

Result<std::unique_ptr<Dict>> authority_of(const Config& config) {
    if (config.text("quota.authority") != "dict") return std::unique_ptr<Dict>();
    auto out = dict_of(config, "quota.dict");
    if (out && !*out)
        return config_error(std::string(config.origin("quota.authority")) + ": quota.authority is dict",
                            "quota.dict is empty", "set it to the URI of the dict with the counters");
    return out;
}

Result<Config> load_config(const std::string& path, const std::vector<std::string>& overrides) {
    auto file = ConfigFile::read(path, overrides);
    if (!file) return std::move(file).error();
    const std::string dir = module_dir(*file);
    Schema schema;
    auto mda = load_module(dir, ModuleKind::mda, value_or_default(*file, schema, "store.mda"));
    if (!mda) return std::move(mda).error();
    auto creator = load_module(dir, ModuleKind::creator, value_or_default(*file, schema, "store.creator"));
    if (!creator) return std::move(creator).error();
    for (const ModuleInfo* module : {*mda, *creator}) {
        auto added = schema.add(module->settings);
        if (!added) return std::move(added).error();
    }
    schema.set_finder([dir](std::string_view section) { return table_of_section(dir, section); });
    return Config::make(*std::move(file), std::move(schema));
}

Result<std::unique_ptr<Instance>> Instance::open(Config config, SqlUserDb::Use use, Journaling journaling,
                                                 const Instance* former,
                                                 const std::function<Result<void>(Instance&)>& ready) {
    std::unique_ptr<Instance> out(new Instance(std::move(config)));  // NOLINT: the constructor is private
    const Config& checked = out->config_;
    out->lasting_ = former != nullptr ? former->lasting_ : std::make_shared<Lasting>();
    auto db = SqlUserDb::open(std::string(checked.text("users.database")), SqlUserDb::Missing::fail,
                              checked.duration("users.busy-time"), use);
    if (!db) return std::move(db).error();
    out->db_ = *std::move(db);

    std::string dir(checked.text("store.modules"));
    if (dir.empty()) dir = default_module_dir();
    const ModuleHost host{checked, out->files(), *out->db_};
    auto mda_module = load_module(dir, ModuleKind::mda, checked.text("store.mda"));
    if (!mda_module) return std::move(mda_module).error();
    auto mda = make_mda(**mda_module, host);
    if (!mda) return std::move(mda).error();
    out->mda_ = *std::move(mda);
    auto creator_module = load_module(dir, ModuleKind::creator, checked.text("store.creator"));
    if (!creator_module) return std::move(creator_module).error();
    auto creator = make_creator(**creator_module, host);
    if (!creator) return std::move(creator).error();
    out->creator_ = *std::move(creator);
    auto clone = Clone::make(checked);
    if (!clone) return std::move(clone).error();
    out->clone_ = *std::move(clone);

    auto authority = authority_of(checked);
    if (!authority) return std::move(authority).error();
    out->authority_ = *std::move(authority);
    auto unified = dict_of(checked, "quota.unified.dict");
    if (!unified) return std::move(unified).error();
    out->unified_ = *std::move(unified);
    if (ready)
        if (auto going_on = ready(*out); !going_on) return std::move(going_on).error();
    out->accounts_ = std::make_unique<Accounts>(Accounts::Parts{
        checked, *out->mda_, out->files(), out->lasting_->reservations,
        [&db = *out->db_](std::string_view domain, const auto& visit) { return db.each_user(domain, visit); },
        out->authority_.get(), out->unified_.get()});
    if (auto done = out->set_up_durability(journaling, former); !done) return std::move(done).error();
    out->store_ = std::make_unique<MailStore>(
        MailStore::Parts{checked, *out->db_, *out->mda_, *out->creator_, *out->lasting_->durability, *out->accounts_});
    return out;
}

Result<void> Instance::set_up_durability(Journaling journaling, const Instance* former) {
    const bool wanted = journaling == Journaling::yes && config_.text("delivery.durability") == "journal";
    if (former != nullptr) {
        if (wanted == lasting_->journaled) return {};
        return config_error(std::string(config_.origin("delivery.durability")) + ": delivery.durability",
                            "it cannot change while roostd runs", "restart roostd");
    }
    if (journaling == Journaling::yes) {
        JournalPlan plan;
        plan.dir = std::string(config_.text("store.state")) + "/journal";
        struct stat st {};
        // One that an earlier run left is read in any case: it may hold mail.
        if (wanted || ::stat(plan.dir.c_str(), &st) == 0) {
            auto journal = Journal::open(files(), std::move(plan));
            if (!journal) return std::move(journal).error();
            auto recovered = journal->recover(config_, *db_, *mda_);
            if (!recovered) return std::move(recovered).error();
            if (wanted) {
                auto started = (*std::move(journal)).start(lasting_->doubts);
                if (!started) return std::move(started).error();
                lasting_->durability = *std::move(started);
                lasting_->journaled = true;
                return {};
            }
        }
    }
    lasting_->durability = make_fsync_durability(files(), lasting_->doubts);
    return {};
}

}  // namespace roost
