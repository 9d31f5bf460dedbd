#include "quota/clone.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "catch.h"
#include "db_scratch.h"
#include "store/after_delivery.h"
#include "store/clone_feed.h"

using namespace roost;
using std::chrono::milliseconds;

namespace {

using Names = std::vector<std::string>;

// A dict in memory, whose transactions are applied one key at a time as a table with one row for each user does it: an
// unset removes the row.
class TableDict : public Dict {
public:
    std::map<std::string, std::map<std::string, std::string>, std::less<>> users;
    std::vector<DictTransaction> transactions;
    std::set<std::string> refused;  // a commit that has one of these fails there
    bool broken = false;
    int gets = 0;

    Result<std::vector<std::optional<std::string>>> get(std::string_view user, std::span<const std::string> keys,
                                                        Deadline) override {
        ++gets;
        if (broken) return error();
        std::vector<std::optional<std::string>> out;
        for (const std::string& key : keys) {
            const auto row = users.find(user);
            const bool there = row != users.end() && row->second.contains(key);
            out.push_back(there ? std::optional(row->second.at(key)) : std::nullopt);
        }
        return out;
    }
    Result<void> commit(std::span<const DictTransaction> given, Deadline) override {
        for (const DictTransaction& transaction : given) {
            if (broken || refused.contains(transaction.user)) return error();
            transactions.push_back(transaction);
            for (const DictChange& change : transaction.changes) {
                if (change.kind == DictChange::Kind::unset) {
                    users.erase(transaction.user);
                } else {
                    users[transaction.user][change.key] = change.value;
                }
            }
        }
        return {};
    }
    Result<void> each(std::string_view key, const std::function<bool(std::string_view, std::string_view)>& visit,
                      Deadline) override {
        for (const auto& [user, values] : users)
            if (values.contains(std::string(key)) && !visit(user, values.at(std::string(key)))) break;
        return {};
    }
    const std::string& name() const override { return name_; }

    std::string held(const std::string& user) const {
        const auto row = users.find(user);
        if (row == users.end()) return "-";
        const auto& values = row->second;
        const auto value = [&](const char* key) { return values.contains(key) ? values.at(key) : std::string("-"); };
        return value(kDictStorage) + " " + value(kDictMessages);
    }

private:
    static Error error() { return {Outcome::trouble, "the dict", "it is away", {}, 0}; }
    std::string name_ = "memory:";
};

std::filesystem::path modules() {
    return std::filesystem::read_symlink("/proc/self/exe").parent_path() / ".." / ".." / "modules";
}

// A Roost with some users, and a clone in memory.
struct CloneSite {
    explicit CloneSite(bool unset = false) {
        std::ofstream conf(dir / "roost.conf");
        conf << "[users]\ndatabase = sqlite:" << (dir / "users.db") << "\n[store]\nstate = " << (dir / "state")
             << "\n[maildir]\npath = " << (dir / "mail/%{user}") << "\n";
        if (std::filesystem::exists(modules())) conf << "[store]\nmodules = " << modules().string() << "\n";
        conf.close();
        auto made = scratch::open_db(dir / "users.db");
        for (const char* name : {"alice@x", "bob@x", "carol@x"}) REQUIRE(*made->add_user(name, {}, true));
        auto config = load_config(dir / "roost.conf", {});
        REQUIRE(config);
        auto opened = Instance::open(*std::move(config));
        REQUIRE(opened);
        instance = *std::move(opened);
        auto memory = std::make_unique<TableDict>();
        dict = memory.get();
        clone.emplace(std::move(memory), unset, milliseconds(500));
        outbox.emplace(instance->files(), dir / "state");
    }

    // One message of about `size` bytes.
    void deliver(const std::string& user, std::size_t size) {
        Envelope envelope;
        Recipient recipient;
        recipient.address = user;
        envelope.recipients.push_back(recipient);
        MessageBuilder builder(instance->files(), dir / "state/spool", MessageBuilder::FromLine::keep);
        REQUIRE(builder.append("Subject: x\n\n" + std::string(size, 'x') + "\n"));
        const Message message = std::move(builder).finish();
        const auto verdicts = instance->store().deliver(envelope, message, Deadline::in(std::chrono::minutes(1)),
                                                        MailStore::Together::no);
        REQUIRE(verdicts.front().outcome == Outcome::delivered);
    }
    std::string usage(const std::string& user) {
        const auto record = instance->db().find(user);
        REQUIRE((record && *record));
        const auto made = User::make(instance->config(), **record);
        REQUIRE(made);
        const auto seen = usage_of(*instance, *made);
        REQUIRE(seen);
        const Usage& out = *seen;
        return std::to_string(out.storage) + " " + std::to_string(out.messages);
    }
    CloneFeed feed() { return CloneFeed({*instance, *clone, &witnesses, nullptr}); }
    Outbox::Drain right() {
        auto taken = outbox->drain(Deadline::in(milliseconds(0)));
        REQUIRE((taken && *taken));
        return **std::move(taken);
    }
    Drained::State drain() {
        CloneFeed own = feed();
        Outbox::Drain held = right();
        return roost::drain(held, own, std::nullopt).state;
    }

    scratch::Dir dir;
    std::unique_ptr<Instance> instance;
    TableDict* dict = nullptr;
    std::optional<Clone> clone;
    std::optional<Outbox> outbox;
    Witnesses witnesses;
};

using State = Drained::State;

}  // namespace

TEST_CASE("a user's two keys are written as decimal absolutes in one transaction", "[clone]") {
    auto memory = std::make_unique<TableDict>();
    TableDict& dict = *memory;
    Clone clone(std::move(memory), false, milliseconds(0));
    const std::vector<CloneEntry> entries{{"a@x", Usage{9'667'146, 789}}, {"b@x", std::nullopt}};
    REQUIRE(clone.publish(entries, Deadline::in(milliseconds(0))));
    REQUIRE(dict.transactions.size() == 2);
    CHECK(dict.transactions[0].user == "a@x");
    CHECK(dict.held("a@x") == "9667146 789");
    // A user who is gone has its keys unset.
    CHECK(dict.transactions[1].changes.size() == 2);
    CHECK(dict.held("b@x") == "-");
    auto read = clone.read("a@x", Deadline::in(milliseconds(0)));
    CHECK(**read == Usage{9'667'146, 789});
    dict.users["a@x"][kDictMessages] = "many";
    CHECK_FALSE(clone.read("a@x", Deadline::in(milliseconds(0)))->has_value());
}

TEST_CASE("with quota-clone.unset both keys are unset before either is set, so that a row keeps both", "[clone]") {
    auto memory = std::make_unique<TableDict>();
    TableDict& dict = *memory;
    Clone clone(std::move(memory), true, milliseconds(0));
    REQUIRE(clone.publish(std::vector{CloneEntry{"a@x", Usage{5, 1}}}, Deadline::in(milliseconds(0))));
    REQUIRE(clone.publish(std::vector{CloneEntry{"a@x", Usage{7, 2}}}, Deadline::in(milliseconds(0))));
    CHECK(dict.held("a@x") == "7 2");
    REQUIRE(dict.transactions[1].changes.size() == 4);
    CHECK(dict.transactions[1].changes[1].kind == DictChange::Kind::unset);
    CHECK(dict.transactions[1].changes[2].kind == DictChange::Kind::set);
}

TEST_CASE("what the outbox names goes into the clone as the authority says it", "[clone]") {
    CloneSite site;
    site.deliver("alice@x", 1000);
    site.deliver("alice@x", 500);
    site.deliver("bob@x", 10);
    REQUIRE(site.outbox->add(Names{"alice@x", "bob@x", "carol@x", "nobody@x"}));
    site.dict->users["nobody@x"] = {{kDictStorage, "1"}, {kDictMessages, "1"}};
    CHECK(site.drain() == State::empty);
    CHECK(site.dict->held("alice@x") == site.usage("alice@x"));
    CHECK(site.usage("alice@x").ends_with(" 2"));
    CHECK(site.dict->held("bob@x") == site.usage("bob@x"));
    CHECK(site.dict->held("carol@x") == "0 0");
    CHECK(site.dict->held("nobody@x") == "-");
    CHECK(site.outbox->empty());
}

TEST_CASE("a dict that is away keeps every name in the outbox until it is back", "[clone]") {
    CloneSite site;
    site.deliver("alice@x", 1000);
    site.deliver("bob@x", 1000);
    REQUIRE(site.outbox->add(Names{"alice@x", "bob@x"}));
    site.dict->broken = true;
    CHECK(site.drain() == State::failed);
    CHECK(site.drain() == State::failed);
    CHECK_FALSE(site.outbox->empty());
    site.dict->broken = false;
    CHECK(site.drain() == State::empty);
    CHECK(site.dict->held("alice@x") == site.usage("alice@x"));
    CHECK(site.dict->held("bob@x") == site.usage("bob@x"));
}

TEST_CASE("a batch that fails in the middle is published again whole", "[clone]") {
    CloneSite site;
    REQUIRE(site.outbox->add(Names{"alice@x", "bob@x", "carol@x"}));
    site.dict->refused = {"bob@x"};
    CHECK(site.drain() == State::failed);
    CHECK(site.right().read()->names.size() == 3);
    site.dict->refused.clear();
    CHECK(site.drain() == State::empty);
    CHECK(site.dict->held("carol@x") == "0 0");
}

TEST_CASE("a record that cannot be used does not keep others out of the clone", "[clone]") {
    CloneSite site;
    scratch::Foreign(site.dir / "users.db").run("UPDATE users SET settings = 'nonsense' WHERE name = 'bob@x'");
    REQUIRE(site.outbox->add(Names{"bob@x", "carol@x"}));
    CHECK(site.drain() == State::some);
    CHECK(site.dict->held("carol@x") == "0 0");
    scratch::Foreign(site.dir / "users.db").run("UPDATE users SET settings = '{}' WHERE name = 'bob@x'");
    CHECK(site.drain() == State::empty);
    CHECK(site.dict->held("bob@x") == "0 0");
}

TEST_CASE("everybody is published with one record of the outbox", "[clone]") {
    CloneSite site;
    for (int i = 0; i < 1200; ++i) REQUIRE(*site.instance->db().add_user("u" + std::to_string(i) + "@x", {}, true));
    REQUIRE(site.outbox->add_everybody());
    site.dict->refused = {"u700@x"};
    CHECK(site.drain() == State::failed);
    CHECK_FALSE(site.outbox->empty());
    site.dict->refused.clear();
    CHECK(site.drain() == State::empty);
    CHECK(site.dict->users.size() == 1203);
    CHECK(site.outbox->empty());
}

TEST_CASE("a dict that was emptied is noticed before a witness is written again, and filled again", "[clone]") {
    CloneSite site;
    REQUIRE(site.outbox->add(Names{"alice@x", "bob@x", "carol@x"}));
    CHECK(site.drain() == State::empty);
    const int gets = site.dict->gets;
    CHECK(gets == 0);
    site.dict->users.clear();
    REQUIRE(site.outbox->add(Names{"alice@x"}));
    CHECK(site.drain() == State::empty);
    CHECK(site.dict->users.size() == 3);
    CHECK(site.outbox->empty());
}

TEST_CASE("only a process that has time publishes everybody", "[clone]") {
    CloneSite site;
    REQUIRE(site.outbox->add_everybody());
    REQUIRE(site.outbox->add(Names{"bob@x"}));
    CloneFeed feed = site.feed();
    Outbox::Drain right = site.right();
    CHECK(roost::drain(right, feed, Deadline::in(std::chrono::minutes(1))).state == State::some);
    CHECK(site.dict->users.size() == 1);
    CHECK(right.read()->everybody);
}

TEST_CASE("who gets mail after the outbox was read is published again", "[clone]") {
    CloneSite site;
    site.deliver("alice@x", 1000);
    REQUIRE(site.outbox->add(Names{"alice@x"}));
    CloneFeed feed = site.feed();
    Outbox::Drain right = site.right();
    int reads = 0;
    const auto read = [&] {
        if (++reads > 1) return;
        site.deliver("alice@x", 10);
        REQUIRE(site.outbox->add(Names{"alice@x"}));
    };
    CHECK(roost::drain(right, feed, std::nullopt, read).state == State::empty);
    CHECK(reads == 3);
    CHECK(site.dict->held("alice@x") == site.usage("alice@x"));
}
