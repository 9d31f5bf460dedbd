// Everything that one roost.conf sets up, in the order in which it must be set up.
#pragma once

#include "base/files.h"
#include "config/config.h"
#include "module/loader.h"
#include "quota/clone.h"
#include "store/accounts.h"
#include "store/doubts.h"
#include "store/durability.h"
#include "store/mail_store.h"
#include "user/sql_user_db.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace roost {

// Where programs look for their configuration when no -c is given.
inline constexpr const char* kDefaultConfigPath = "/etc/roost/roost.conf";

// Reads and checks roost.conf with the tables of the modules it selects (and, where the file or a record mentions
// settings of other installed modules, with theirs). Opens nothing else.
Result<Config> load_config(const std::string& path, const std::vector<std::string>& overrides);

// The dict that the setting `key` names, which is not asked again for some seconds after it failed; null if the setting
// is empty. Connects to nothing. Errors (misconfigured) name the setting.
Result<std::unique_ptr<Dict>> dict_of(const Config& config, std::string_view key);
// The same of the dict whose counters are the authority; null: the mailboxes are.
Result<std::unique_ptr<Dict>> authority_of(const Config& config);

// A configuration with its database, modules and mail store. Not movable: the parts refer to each other.
class Instance {
public:
    // `config` from load_config. Opens the database and makes the modules; the database must exist. `use`: whether this
    // process serves for long. `journal`: whether it may keep the journal that delivery.durability asks for, which one
    // process at a time can; others sync each delivery themselves. What a crash left in the journal is brought back
    // before this returns. `former`: the instance that this one takes the place of, or null; what must not be
    // forgotten while the process runs, as that a volume is in doubt or which mail is on its way, goes on in this one.
    // `ready`: called when database and modules are there, before anything is started that has threads or delivers; an
    // Error of it is returned.
    enum class Journaling { no, yes };
    static Result<std::unique_ptr<Instance>> open(Config config, SqlUserDb::Use use = SqlUserDb::Use::lasting,
                                                  Journaling journaling = Journaling::no,
                                                  const Instance* former = nullptr,
                                                  const std::function<Result<void>(Instance&)>& ready = {});

    const Config& config() const { return config_; }
    Files& files() { return lasting_->files; }
    SqlUserDb& db() { return *db_; }
    Mda& mda() { return *mda_; }
    Creator& creator() { return *creator_; }
    Accounts& accounts() { return *accounts_; }
    // The dict whose counters are the authority; null: the mailboxes are.
    Dict* authority() { return authority_.get(); }
    MailStore& store() { return *store_; }
    // Null: there is none.
    Clone* clone() { return clone_.get(); }
    const Durability& durability() const { return *lasting_->durability; }
    // How many syncs have failed, in this process.
    std::uint64_t sync_failures() const { return lasting_->files.failures(); }

private:
    // As long as any instance of the process.
    struct Lasting {
        std::shared_ptr<Doubts> doubts = std::make_shared<Doubts>();
        WatchedFiles files{doubts};
        bool journaled = false;
        std::unique_ptr<Durability> durability;
        Reservations reservations;
    };

    explicit Instance(Config config) : config_(std::move(config)) {}
    Result<void> set_up_durability(Journaling journaling, const Instance* former);
    Config config_;
    std::shared_ptr<Lasting> lasting_;
    std::unique_ptr<SqlUserDb> db_;
    std::unique_ptr<Mda> mda_;
    std::unique_ptr<Creator> creator_;
    std::unique_ptr<Dict> authority_;  // if it is a dict
    std::unique_ptr<Dict> unified_;    // if other services share limits
    std::unique_ptr<Accounts> accounts_;
    std::unique_ptr<MailStore> store_;
    std::unique_ptr<Clone> clone_;
};

}  // namespace roost
