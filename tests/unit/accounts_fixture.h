// What the tests of accounts share: mailboxes, users and a dict in memory.
#pragma once

#include "store/accounts.h"

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>

#include "catch.h"
#include "db_scratch.h"
#include "quota/folder_rules.h"

namespace accounts {

using namespace roost;

constexpr std::uint64_t kSize = 10;  // of each message in these tests

// Mailboxes that are nothing but their usage. Any thread.
class CountingMda : public Mda {
public:
    std::map<std::string, Usage> boxes;  // by user, and by user, "/" and a folder for those counted apart
    std::string unreadable;
    int looks = 0;
    std::function<void()> on_look;  // while the store is looked at: what it does is not seen

    Result<Readiness> check(const User& user) override {
        if (user.allocated("box.name") != nullptr) return Readiness{};
        return Readiness{{"box.name"}};
    }
    Result<Usage> usage(const User& user, const Folder& account, const Usage&) override {
        const std::lock_guard lock(mutex_);
        ++looks;
        if (user.name() == unreadable) return system_error(EIO, "cannot read the mailbox");
        return boxes[box_of(user, account)];
    }
    Result<Usage> recount(const User& user, const Folder& account) override {
        auto seen = usage(user, account, {});
        if (on_look) on_look();
        return seen;
    }
    Result<Settings> allocate(const User&) override { return Settings{}; }
    Result<void> release(const User&, const Settings&) override { return {}; }
    Result<std::unique_ptr<Pending>> prepare(const User& user, const Delivery& delivery, const Message&) override {
        const bool apart = folder_rules(user.settings()).counted(delivery.folder) != FolderRule::Counted::mailbox;
        return std::unique_ptr<Pending>(
            std::make_unique<Ready>(*this, box_of(user, apart ? delivery.folder : Folder()), delivery.folder));
    }
    Result<void> purge(const User&) override { return {}; }

    static std::string box_of(const User& user, const Folder& account) {
        return account.empty() ? user.name() : user.name() + "/" + folder_name(account);
    }

private:
    class Ready : public Pending {
    public:
        Ready(CountingMda& mda, std::string box, Folder folder)
            : mda_(mda), box_(std::move(box)), folder_(std::move(folder)) {}
        const SyncPlan& plan() const override { return plan_; }
        Result<Receipt> publish() override {
            std::this_thread::yield();
            const std::lock_guard lock(mda_.mutex_);
            Usage& used = mda_.boxes[box_];
            used = {used.storage + kSize, used.messages + 1};
            return Receipt{folder_, {}, kSize};
        }

    private:
        CountingMda& mda_;
        std::string box_;
        Folder folder_;
        SyncPlan plan_;
    };

    std::mutex mutex_;
};

// A key-value store in memory that can be down. Any thread.
class MemoryDict : public Dict {
public:
    std::map<std::string, std::string> values;  // "user key": value
    std::atomic<bool> down = false;
    std::chrono::milliseconds slow{0};  // how long a commit is under way before it does anything
    std::atomic<int> calls = 0;

    Result<std::vector<std::optional<std::string>>> get(std::string_view user, std::span<const std::string> keys,
                                                        Deadline) override {
        const std::lock_guard lock(mutex_);
        ++calls;
        if (down) return broken();
        std::vector<std::optional<std::string>> out;
        for (const std::string& key : keys) {
            const auto found = values.find(place(user, key));
            out.push_back(found == values.end() ? std::nullopt : std::optional(found->second));
        }
        return out;
    }
    Result<void> commit(std::span<const DictTransaction> transactions, Deadline) override {
        std::this_thread::sleep_for(slow);
        const std::lock_guard lock(mutex_);
        ++calls;
        if (down) return broken();
        for (const auto& [user, changes] : transactions)
            for (const DictChange& change : changes) {
                const std::string at = place(user, change.key);
                if (change.kind == DictChange::Kind::unset) values.erase(at);
                if (change.kind == DictChange::Kind::set) values[at] = change.value;
                if (change.kind == DictChange::Kind::add && values.contains(at))
                    values[at] = std::to_string(std::stoll(values[at]) + change.diff);
            }
        return {};
    }
    Result<void> each(std::string_view, const std::function<bool(std::string_view, std::string_view)>&,
                      Deadline) override {
        return broken();
    }
    const std::string& name() const override { return name_; }

private:
    static std::string place(std::string_view user, std::string_view key) {
        return std::string(user) + " " + std::string(key);
    }
    static Error broken() { return {Outcome::trouble, "dict memory", "it is down", {}, 0}; }
    std::mutex mutex_;
    std::string name_ = "memory";
};

struct Fixture {
    explicit Fixture(std::vector<std::string> overrides = {}, MemoryDict* authority = nullptr,
                     MemoryDict* unified = nullptr)
        : config(configure(std::move(overrides))),
          accounts({config, mda, files, reservations,
                    [this](std::string_view domain, const auto& visit) {
                        ++listings;
                        for (const auto& [name, record] : records)
                            if (record.domain == domain && !visit(name, record)) break;
                        return Result<void>();
                    },
                    authority, unified}) {}

    scratch::Dir dir;
    Config config;
    CountingMda mda;
    Files files;
    Reservations reservations;
    std::map<std::string, UserRecord> records;
    int listings = 0;
    Accounts accounts;

    User add(const std::string& name, Usage used = {}, Settings settings = {}, Settings domain_settings = {}) {
        UserRecord record;
        record.name = name;
        record.settings = std::move(settings);
        record.domain_settings = std::move(domain_settings);
        record.allocation = Settings{{"box.name", name}};
        const std::size_t at = name.rfind('@');
        if (at != std::string::npos) record.domain = name.substr(at + 1);
        records[name] = record;
        mda.boxes[name] = used;
        return scratch::must(User::make(config, record));
    }
    Accounts::Admission admit(const User& user, Accounts::Room* room = nullptr, const Folder& folder = {}) {
        return scratch::must(accounts.admit(user, folder, kSize, kSize, room));
    }
    // One delivery from the door to the mailbox.
    Outcome deliver(const User& user, const Folder& folder = {}) {
        Accounts::Room room;
        const Outcome outcome = admit(user, &room, folder).outcome;
        if (outcome != Outcome::delivered) return outcome;
        std::this_thread::sleep_for(std::chrono::microseconds(100));  // as writing takes its time
        auto pending = scratch::must(mda.prepare(user, {folder, true, {}, nullptr}, Message::from_text("x")));
        scratch::must(accounts.publish(user, room, *pending));
        return outcome;
    }
    Usage domain_books() {
        DomainBooks books(files, dir.path());
        const auto said = scratch::must(books.peek("x"));
        REQUIRE(said.has_value());
        return *said;
    }

private:
    Config configure(std::vector<std::string> overrides) {
        overrides.push_back("store.state=" + dir.path());
        return scratch::must(Config::make(scratch::must(ConfigFile::read("/dev/null", overrides)), Schema()));
    }
};

}  // namespace accounts
