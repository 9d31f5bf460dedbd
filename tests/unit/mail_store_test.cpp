#include "store/mail_store.h"

#include <fcntl.h>

#include <map>

#include "catch.h"
#include "store/durability.h"

using namespace roost;

namespace {

// A database of records in memory.
class MemoryDb : public UserDb {
public:
    std::map<std::string, UserRecord> users;
    bool broken = false;

    void add(const std::string& name, Settings settings = {}, bool allocated = true) {
        UserRecord record;
        record.name = name;
        record.settings = std::move(settings);
        if (allocated) record.allocation = Settings{{"box.name", name}};
        const std::size_t at = name.rfind('@');
        if (at != std::string::npos) record.domain = name.substr(at + 1);
        users[name] = record;
    }
    Result<std::optional<UserRecord>> find(std::string_view name) override {
        if (broken) return Error{Outcome::trouble, "database", "broken", {}, 0};
        const auto user = users.find(std::string(name));
        if (user == users.end()) return std::optional<UserRecord>();
        return std::optional(user->second);
    }
    Result<void> each_user(std::string_view domain,
                           const std::function<bool(std::string_view, Result<UserRecord>)>& visit) {
        for (const auto& [name, record] : users)
            if (record.domain == domain && !visit(name, record)) break;
        return {};
    }
    Result<bool> add_allocation(const UserRecord&, const Settings&) override { return true; }
    Result<void> overwrite_allocation(std::string_view name, const Settings& allocation) override {
        users[std::string(name)].allocation = allocation;
        return {};
    }
    Result<std::unique_ptr<Lock>> lock(std::string_view, Deadline) override { return std::make_unique<Lock>(); }
    Result<std::uint32_t> own_number(std::string_view, std::string_view, IdRange range) override { return range.from; }
};

// Mailboxes in memory, and an order of events to look at.
class MemoryMda : public Mda {
public:
    std::map<std::string, std::vector<std::string>> boxes;  // "user/folder": messages
    std::vector<std::string> events;
    std::string fail_prepare;  // the user whose prepare fails
    std::string fail_publish;
    bool commits_itself = false;
    int twins = 0;
    int nameless = 0;

    Result<Readiness> check(const User& user) override {
        if (user.allocated("box.name") != nullptr) return Readiness{};
        return Readiness{{"box.name"}};
    }
    Result<Settings> allocate(const User& user) override { return Settings{{"box.name", user.name()}}; }
    Result<void> release(const User&, const Settings&) override { return {}; }
    Folder missing;  // does not exist
    Result<Folder> destination(const User&, const Folder& wanted, bool create_folder) override {
        return wanted == missing && !create_folder ? Folder() : wanted;
    }
    Result<std::unique_ptr<Pending>> prepare(const User& user, const Delivery& delivery,
                                             const Message& message) override {
        events.push_back("prepare " + user.name());
        if (user.name() == fail_prepare) return system_error(ENOSPC, "cannot write");
        if (delivery.twin != nullptr) ++twins;
        if (delivery.may_be_nameless) ++nameless;
        std::string bytes = delivery.header;
        auto read = message.each([&](std::string_view chunk) -> Result<void> {
            bytes += chunk;
            return {};
        });
        if (!read) return std::move(read).error();
        return std::unique_ptr<Pending>(std::make_unique<Staged>(*this, user.name(), delivery.folder, bytes));
    }
    Result<Usage> usage(const User& user, const Folder& account, const Usage&) override {
        return recount(user, account);
    }
    Result<Usage> recount(const User& user, const Folder& /*account*/) override {
        Usage usage;
        for (const auto& [box, messages] : boxes)
            if (box.starts_with(user.name() + "/"))
                for (const std::string& message : messages)
                    usage = {usage.storage + message.size(), usage.messages + 1};
        return usage;
    }
    Result<void> purge(const User&) override { return {}; }

private:
    class Staged : public Pending {
    public:
        Staged(MemoryMda& mda, std::string user, Folder folder, std::string bytes)
            : mda_(mda), user_(std::move(user)), folder_(std::move(folder)), bytes_(std::move(bytes)) {
            if (!mda_.commits_itself) plan_.after.push_back({-1, user_});
        }
        const SyncPlan& plan() const override { return plan_; }
        Result<Receipt> publish() override {
            mda_.events.push_back("publish " + user_);
            if (user_ == mda_.fail_publish) return system_error(EIO, "cannot move");
            mda_.boxes[user_ + "/" + folder_name(folder_)].push_back(bytes_);
            return Receipt{folder_, "memory", bytes_.size()};
        }
        Result<void> withdraw() override {
            mda_.boxes.erase(user_ + "/" + folder_name(folder_));
            return {};
        }

    private:
        MemoryMda& mda_;
        std::string user_;
        Folder folder_;
        std::string bytes_;
        SyncPlan plan_;
    };
};

class AllocatingCreator : public Creator {
public:
    Result<User> create(UserDb& db, Mda& mda, const User& seen, Deadline) override {
        auto allocation = mda.allocate(seen);
        auto written = db.overwrite_allocation(seen.name(), *allocation);
        if (!written) return std::move(written).error();
        auto record = db.find(seen.name());
        return User::make(seen.settings().config(), **std::move(record));
    }
};

class ScriptedDurability : public Durability {
public:
    explicit ScriptedDurability(MemoryMda& mda) : mda_(mda) {}
    bool fail_before = false;
    bool fail_after = false;
    bool nameless = false;
    bool lets_be_nameless(const Message&) const override { return nameless; }
    Result<void> before_publish(std::span<Pending* const> group) override {
        mda_.events.push_back("before " + std::to_string(group.size()));
        if (fail_before) return system_error(EIO, "cannot sync");
        return {};
    }
    Result<void> after_publish(std::span<Pending* const> group) override {
        mda_.events.push_back("after " + std::to_string(group.size()));
        if (fail_after) return system_error(EIO, "cannot sync");
        return {};
    }

private:
    MemoryMda& mda_;
};

Config config_of(const std::vector<std::string>& overrides) {
    auto file = ConfigFile::read("/dev/null", overrides);
    REQUIRE(file);
    auto config = Config::make(*std::move(file), Schema());
    REQUIRE(config);
    return *std::move(config);
}

// A mail store on memory, and the one call that the tests make.
struct Fixture {
    explicit Fixture(const std::vector<std::string>& overrides = {"delivery.received=no"})
        : config(config_of(overrides)) {}

    Config config;
    MemoryDb db;
    MemoryMda mda;
    AllocatingCreator creator;
    ScriptedDurability durability{mda};
    Files files;
    Reservations reservations;
    Accounts accounts{{config, mda, files, reservations,
                       [this](std::string_view domain, const auto& visit) { return db.each_user(domain, visit); }}};
    MailStore store{{config, db, mda, creator, durability, accounts}};

    std::vector<Verdict> deliver(const std::vector<std::string>& users,
                                 MailStore::Together together = MailStore::Together::no,
                                 const std::string& text = "Subject: x\n\nbody\n",
                                 std::function<void()> publishing = {}) {
        Envelope envelope;
        envelope.sender = "s@example.com";
        for (const std::string& user : users) {
            Recipient recipient;
            recipient.address = user;
            envelope.recipients.push_back(recipient);
        }
        return store.deliver(envelope, Message::from_text(text), Deadline::in(std::chrono::seconds(10)), together,
                             std::move(publishing));
    }
    std::size_t stored(const std::string& box) { return mda.boxes[box].size(); }
};

}  // namespace

TEST_CASE("each recipient has a verdict of its own, in order") {
    Fixture f;
    f.db.add("a@x");
    f.db.add("off@x");
    f.db.users["off@x"].enabled = false;
    f.db.add("full@x", {{"quota.storage", "10"}});
    f.db.add("small@x", {{"quota.message", "3"}});
    f.db.add("wait@x", {{"quota.messages", "0"}, {"quota.when-full", "defer"}});
    f.db.add("wrong@x", {{"quota.storage", "many"}});
    const auto verdicts =
        f.deliver({"a@x", "nobody@x", "off@x", "full@x", "small@x", "wait@x", "wrong@x", "a@x", "bad\n@x"});
    const std::vector<Outcome> want{Outcome::delivered,     Outcome::no_such_user,      Outcome::user_disabled,
                                    Outcome::over_quota,    Outcome::message_too_large, Outcome::over_quota_deferred,
                                    Outcome::misconfigured, Outcome::delivered,         Outcome::no_such_user};
    REQUIRE(verdicts.size() == want.size());
    for (std::size_t i = 0; i < want.size(); ++i) {
        INFO(i << ": " << verdicts[i].text);
        CHECK(verdicts[i].outcome == want[i]);
    }
    CHECK(f.stored("a@x/INBOX") == 1);
    CHECK(f.mda.boxes.size() == 1);
}

TEST_CASE("the order is prepare, settle, publish, settle") {
    Fixture f;
    f.db.add("a@x");
    f.db.add("b@x");
    f.deliver({"a@x", "b@x"});
    CHECK(f.mda.events ==
          std::vector<std::string>{"prepare a@x", "prepare b@x", "before 2", "publish a@x", "publish b@x", "after 2"});
}

TEST_CASE("nothing is published, and nobody told so, when the sync before it fails") {
    Fixture f;
    f.db.add("a@x");
    f.db.add("b@x");
    f.durability.fail_before = true;
    for (const Verdict& verdict : f.deliver({"a@x", "b@x"})) CHECK(verdict.outcome == Outcome::trouble);
    CHECK(f.mda.boxes.empty());
}

TEST_CASE("no delivery is acknowledged, or stays visible, when the sync after it fails") {
    Fixture f;
    f.db.add("a@x");
    f.durability.fail_after = true;
    CHECK(f.deliver({"a@x", "nobody@x"})[0].outcome == Outcome::trouble);
    CHECK(f.mda.boxes.empty());
}

TEST_CASE("together: one recipient's temporary trouble keeps everything invisible, a permanent refusal does not") {
    Fixture f;
    f.db.add("a@x");
    f.db.add("b@x");
    f.mda.fail_prepare = "b@x";
    auto verdicts = f.deliver({"a@x", "b@x"}, MailStore::Together::yes);
    CHECK(verdicts[0].outcome == Outcome::trouble);
    CHECK(verdicts[1].outcome == Outcome::store_full);
    CHECK(f.mda.boxes.empty());

    verdicts = f.deliver({"a@x", "b@x"}, MailStore::Together::no);
    CHECK(verdicts[0].outcome == Outcome::delivered);
    CHECK(f.stored("a@x/INBOX") == 1);

    verdicts = f.deliver({"a@x", "nobody@x"}, MailStore::Together::yes);
    CHECK(verdicts[0].outcome == Outcome::delivered);
    CHECK(verdicts[1].outcome == Outcome::no_such_user);
    CHECK(f.stored("a@x/INBOX") == 2);
}

TEST_CASE("the limits of the folder that the message really goes to hold, and it goes there once") {
    Fixture f({"delivery.received=no", "delivery.create-folders=no", "quota.messages=1", "quota.folder.gone.ignore=yes",
               "quota.folder.there.ignore=yes"});
    f.mda.missing = {"gone"};
    f.db.add("a@x");
    const auto verdicts = f.deliver({"a+gone@x", "a@x", "a+there@x"});
    for (const Verdict& verdict : verdicts) CHECK(verdict.outcome == Outcome::delivered);
    CHECK(verdicts[1].again);
    CHECK(f.stored("a@x/INBOX") == 1);
    CHECK(f.stored("a@x/there") == 1);
    CHECK(f.deliver({"a+gone@x"})[0].outcome == Outcome::over_quota);
    CHECK(f.deliver({"a+there@x"})[0].outcome == Outcome::delivered);
    Recipient recipient;
    recipient.address = "a+gone@x";
    CHECK(f.store.judge(*f.store.route(recipient).route, 1).outcome == Outcome::over_quota);
}

TEST_CASE("together: a publish that fails has the others taken back, unless they committed themselves") {
    Fixture f;
    f.db.add("a@x");
    f.db.add("b@x");
    f.db.add("c@x");
    f.mda.fail_publish = "b@x";
    f.mda.commits_itself = GENERATE(false, true);
    int told = 0;
    const auto publishing = [&] {
        ++told;
        CHECK(f.mda.boxes.empty());
    };
    const auto verdicts = f.deliver({"a@x", "b@x", "c@x"}, MailStore::Together::yes, "x", publishing);
    CHECK(told == 1);
    CHECK(verdicts[1].text.find("cannot move") != std::string::npos);
    CHECK_FALSE(verdicts[1].with_others);
    for (const std::size_t i : {std::size_t{0}, std::size_t{2}}) {
        CHECK((verdicts[i].outcome == Outcome::delivered) == f.mda.commits_itself);
        CHECK(verdicts[i].with_others != f.mda.commits_itself);
    }
    CHECK(f.mda.boxes.size() == (f.mda.commits_itself ? 2 : 0));
}

TEST_CASE("a publish that fails is that recipient's trouble alone") {
    Fixture f;
    f.db.add("a@x");
    f.db.add("b@x");
    f.mda.fail_publish = "a@x";
    const auto verdicts = f.deliver({"a@x", "b@x"});
    CHECK(verdicts[0].outcome == Outcome::trouble);
    CHECK(verdicts[1].outcome == Outcome::delivered);
    CHECK(f.mda.events.back() == "after 1");
}

TEST_CASE("the whole address is looked up first, then the one without its detail") {
    Fixture f;
    f.db.add("alice@x");
    f.db.add("alice+team@x");
    f.db.add("plain@x", {{"delivery.detail", "inbox"}});
    f.db.add("strict@x", {{"delivery.detail", "ignore"}});
    const auto verdicts = f.deliver(
        {"Alice+Team@X", "alice+lists@x", "plain+lists@x", "strict+lists@x", "strict@x", "alice+../../etc@x"});
    CHECK(verdicts[0].user == "alice+team@x");
    CHECK(f.stored("alice@x/lists") == 1);
    CHECK(f.stored("plain@x/INBOX") == 1);
    CHECK(verdicts[3].outcome == Outcome::no_such_user);
    CHECK(verdicts[4].outcome == Outcome::delivered);
    CHECK(f.stored("alice@x/INBOX") == 1);  // an impossible folder is INBOX, not lost
}

TEST_CASE("the detail survives an alias, a folder asked for by name wins") {
    Fixture f;
    f.db.add("alice@x");
    Envelope envelope;
    Recipient aliased;
    aliased.address = "alice@x";
    aliased.original = "sales+eu@y";
    Recipient named = aliased;
    named.folder = "Sent";
    Recipient apart;
    apart.address = "alice@x";
    apart.detail = "apart";
    envelope.recipients = {aliased, named, apart};
    f.store.deliver(envelope, Message::from_text("x\n"), Deadline::in(std::chrono::seconds(5)),
                    MailStore::Together::no);
    CHECK(f.stored("alice@x/eu") == 1);
    CHECK(f.stored("alice@x/Sent") == 1);
    CHECK(f.stored("alice@x/apart") == 1);
}

TEST_CASE("the limits of a user hold for all copies of one message together") {
    Fixture f;
    f.db.add("alice@x", {{"quota.messages", "1"}});
    const auto verdicts = f.deliver({"alice@x", "alice+lists@x"});
    CHECK(verdicts[0].outcome == Outcome::delivered);
    CHECK(verdicts[1].outcome == Outcome::over_quota);
}

TEST_CASE("each copy carries its own Delivered-To; without it copies are equal and twins") {
    Fixture own;
    own.db.add("a@x");
    own.db.add("b@x");
    own.deliver({"a@x", "b@x"});
    CHECK(own.mda.boxes["b@x/INBOX"][0] == "Return-Path: <s@example.com>\nDelivered-To: b@x\nSubject: x\n\nbody\n");
    CHECK(own.mda.twins == 0);

    Fixture shared({"delivery.delivered-to=no"});
    shared.db.add("a@x");
    shared.db.add("b@x");
    shared.deliver({"a@x", "b@x"});
    CHECK(shared.mda.boxes["a@x/INBOX"][0] == shared.mda.boxes["b@x/INBOX"][0]);
    CHECK(shared.mda.twins == 1);
}

TEST_CASE("a staged file may be nameless if the durability says so and no copy is to be linked to it") {
    const auto nameless = [](bool lets, const std::string& delivered_to, const std::vector<std::string>& users) {
        Fixture f({"delivery.received=no", "delivery.delivered-to=" + delivered_to});
        for (const char* user : {"a@x", "b@x", "full@x"}) f.db.add(user);
        f.db.users["full@x"].settings = {{"quota.messages", "0"}};
        f.durability.nameless = lets;
        f.deliver(users);
        return f.mda.nameless;
    };
    CHECK(nameless(false, "no", {"a@x"}) == 0);
    CHECK(nameless(true, "no", {"a@x"}) == 1);
    CHECK(nameless(true, "no", {"a@x", "b@x"}) == 0);
    CHECK(nameless(true, "no", {"a@x", "full@x"}) == 1);
    CHECK(nameless(true, "yes", {"a@x", "b@x"}) == 2);
}

TEST_CASE("trace fields that the MTA wrote stay alone") {
    Fixture f;
    f.db.add("a@x");
    const std::string text = "Return-Path: <o@y>\nDelivered-To: a@x\nSubject: x\n\nbody\n";
    f.deliver({"a@x"}, MailStore::Together::no, text);
    CHECK(f.mda.boxes["a@x/INBOX"][0] == text);
}

TEST_CASE("the first mail makes the mailbox; a database that cannot be asked is no unknown user") {
    Fixture f;
    f.db.add("new@x", {}, false);
    const auto verdicts = f.deliver({"new@x"});
    CHECK(verdicts[0].outcome == Outcome::delivered);
    CHECK(verdicts[0].created);
    CHECK_FALSE(f.deliver({"new@x"})[0].created);
    f.db.broken = true;
    CHECK(f.deliver({"new@x"})[0].outcome == Outcome::trouble);
}

TEST_CASE("fsync durability settles each file and directory of a group once") {
    class CountingFiles : public Files {
    public:
        int data = 0;
        int full = 0;
        Result<void> sync_data(int, std::string_view) override {
            ++data;
            return {};
        }
        Result<void> sync(int, std::string_view) override {
            ++full;
            return {};
        }
    };
    class Planned : public Pending {
    public:
        SyncPlan sync_plan;
        const SyncPlan& plan() const override { return sync_plan; }
        Result<Receipt> publish() override { return Receipt{}; }
    };
    CountingFiles files;
    const auto durability = make_fsync_durability(files);
    const Fd dir(::open(".", O_RDONLY | O_DIRECTORY));
    const Fd same(::open(".", O_RDONLY | O_DIRECTORY));
    const Fd other(::open("/", O_RDONLY | O_DIRECTORY));
    Planned a;
    a.sync_plan = {{{other.get(), "file"}}, {{dir.get(), "."}}};
    Planned b;
    b.sync_plan = {{}, {{same.get(), "."}, {other.get(), "/"}}};
    const std::vector<Pending*> group{&a, &b};
    CHECK(durability->before_publish(group));
    CHECK(files.data == 1);
    CHECK(durability->after_publish(group));
    CHECK(files.full == 2);
}
