#include "store/instance.h"

#include <memory>

namespace roost {
namespace {

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

Result<std::unique_ptr<Instance>> Instance::open(Config config, SqlUserDb::Use use, const Instance* former) {
    std::unique_ptr<Instance> out(new Instance(std::move(config)));  // NOLINT: the constructor is private
    const Config& checked = out->config_;
    if (former != nullptr) {
        out->lasting_ = former->lasting_;
    } else {
        out->lasting_ = std::make_shared<Lasting>();
        out->lasting_->durability = make_fsync_durability(out->lasting_->files);
    }
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

    out->accounts_ = std::make_unique<Accounts>(Accounts::Parts{
        checked, *out->mda_, out->files(), out->lasting_->reservations,
        [&db = *out->db_](std::string_view domain, const auto& visit) { return db.each_user(domain, visit); }});
    out->store_ = std::make_unique<MailStore>(
        MailStore::Parts{checked, *out->db_, *out->mda_, *out->creator_, *out->lasting_->durability, *out->accounts_});
    return out;
}

}  // namespace roost
