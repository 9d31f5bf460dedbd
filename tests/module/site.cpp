#include "site.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace roost::test {

Site::Site(const std::vector<std::string>& settings) {
    const char* named = std::getenv("ROOST_MODULE");  // NOLINT(concurrency-mt-unsafe): nothing else runs yet
    module_ = named == nullptr ? "maildir" : named;
    std::string pattern = std::string(ROOST_TEST_DIR) + "/site.XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    // Mailboxes that have a uid of their own lie below.
    std::filesystem::permissions(pattern, std::filesystem::perms{0755});
    dir_ = pattern;
    mail_ = dir_ + "/mail";
    std::filesystem::create_directory(mail_);

    reader_ = make_reader(module_);
    std::vector<std::string> all = reader_->settings(mail_);
    for (std::string setting : settings) {
        for (std::size_t at = 0; (at = setting.find("%DIR%", at)) != std::string::npos;) setting.replace(at, 5, dir_);
        const std::string key = setting.substr(0, setting.find('=') + 1);
        all.erase(
            std::remove_if(all.begin(), all.end(), [&](const std::string& other) { return other.starts_with(key); }),
            all.end());
        all.push_back(setting);
    }
    const std::string conf = dir_ + "/roost.conf";
    std::ofstream(conf) << "[store]\nmda = " << module_ << "\n";
    const ModuleInfo* info = must(load_module(ROOST_TEST_MODULES, ModuleKind::mda, module_));
    Schema schema;
    must(schema.add(info->settings));
    config_ = std::make_unique<Config>(must(Config::make(must(ConfigFile::read(conf, all)), std::move(schema))));
    mda_ = must(make_mda(*info, {*config_, files_, db_}));
    durability_ = make_fsync_durability(files_);
}

Site::~Site() {
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
}

User Site::user(const std::string& name, Settings settings) {
    UserRecord& record = db_.records[name];
    record.name = name;
    record.domain = name.find('@') == std::string::npos ? "" : name.substr(name.rfind('@') + 1);
    record.settings = std::move(settings);
    return must(User::make(*config_, record));
}

User Site::with_mailbox(const std::string& name, Settings settings) {
    User incomplete = user(name, std::move(settings));
    if (must(mda_->check(incomplete)).complete()) return incomplete;
    return allocated(incomplete, must(mda_->allocate(incomplete)));
}

User Site::allocated(const User& user, const Settings& allocation) {
    must(db_.overwrite_allocation(user.name(), allocation));
    return must(User::make(*config_, db_.records.at(user.name())));
}

Result<Receipt> Site::deliver(const User& user, const std::string& message, const Delivery& delivery) {
    const Message whole = Message::from_text(message);
    auto pending = mda_->prepare(user, delivery, whole);
    if (!pending) return std::move(pending).error();
    Pending* const group[] = {pending->get()};
    auto settled = durability_->before_publish(group);
    if (!settled) return std::move(settled).error();
    auto receipt = (*pending)->publish();
    if (!receipt) {
        durability_->forget(**pending);
        return receipt;
    }
    settled = durability_->after_publish(group);
    if (!settled) {
        must((*pending)->withdraw());
        durability_->forget(**pending);
        return std::move(settled).error();
    }
    return receipt;
}

Receipt Site::delivered(const User& user, const std::string& message, const Delivery& delivery) {
    return must(deliver(user, message, delivery));
}

Usage Site::usage(const User& user, const Usage& coming, const Folder& account) {
    return must(mda_->usage(user, account, coming));
}
Usage Site::recount(const User& user, const Folder& account) { return must(mda_->recount(user, account)); }

std::vector<std::string> Site::messages(const User& user, const Folder& folder) {
    auto out = reader_->messages(user, folder);
    std::sort(out.begin(), out.end());
    return out;
}

}  // namespace roost::test
