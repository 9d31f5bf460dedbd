// roost-power-cut: does a message that was acknowledged survive a power cut?
//
//   roost-power-cut DIR CUTS [--journal] [--no-sync WHICH]
//
// Delivers from many threads, to one and to many recipients, old and new, into ext4 and XFS file systems of its own
// below DIR, and cuts their power: at a random moment, or right after an acknowledgement. After each recovery it holds
// every acknowledged message against what is in the store: none may be lost, torn or doubled, and none may have been
// acknowledged after the cut. The user database lies beside the file system that is cut, or on it, in turn.
//   --journal  with delivery.durability = journal; the journal lies where the user database does
//   --no-sync  syncs of `files`, of `directories` or `all` are left out: succeeds if a promise is broken then, for a
//   test
//              that cannot fail proves nothing
// Exit status: 0; 1 if a promise was broken; 77 if it cannot run here, with the reason.
#include "loop_volume.h"
#include "numbered_mail.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "module/loader.h"
#include "store/instance.h"
#include "store/journal.h"

namespace roost::fault {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kThreads = 8;
constexpr unsigned kOldUsers = 10;
constexpr unsigned kNewUsers = 10;  // of each cut
constexpr const char* kDomain = "example.org";

template <class T>
T must(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().text());
    return *std::move(result);
}
void must(const Result<void>& result) {
    if (!result) throw std::runtime_error(result.error().text());
}

// Forgets to sync: `files`, `directories` or `all`. Once dead, as the process would be after a power cut, no sync ends
// well any more, whatever the file system makes of it in the moment of its shutdown, and no journal is written: a
// journal or a user database on another file system than the mail must look as it did when the power went.
class TestFiles : public Files {
public:
    explicit TestFiles(std::string forgets) : forgets_(std::move(forgets)) {}
    Result<void> sync_data(int fd, std::string_view path) override {
        return alive(path, forgets("files") ? Result<void>() : Files::sync_data(fd, path));
    }
    Result<void> sync(int fd, std::string_view path) override {
        return alive(path, forgets("directories") ? Result<void>() : Files::sync(fd, path));
    }
    Result<void> write_at(int fd, std::uint64_t offset, std::string_view data, std::string_view path) override {
        return dead ? alive(path, {}) : Files::write_at(fd, offset, data, path);
    }
    std::atomic<bool> dead{false};

private:
    bool forgets(const char* what) const { return forgets_ == what || forgets_ == "all"; }
    Result<void> alive(std::string_view path, Result<void> done) const {
        return dead ? system_error(EIO, "no power: " + std::string(path)) : std::move(done);
    }
    std::string forgets_;
};

// Whether the power is out. SQLite maps a file, and writing to one on a file system that has been shut down is SIGBUS:
// after a real cut nobody would be left to write, so the page becomes memory of ours.
std::atomic<bool> power_is_out{false};
void on_bus_error(int number, siginfo_t* info, void* /*context*/) {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    void* const begin = static_cast<char*>(info->si_addr) - reinterpret_cast<std::uintptr_t>(info->si_addr) % page;
    if (!power_is_out ||
        ::mmap(begin, page, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
        ::signal(number, SIG_DFL);  // and again
}

// All that delivers mail: what Instance sets up, with Files of our choice.
class Post {
public:
    // `journal`: its directory; empty: each delivery is synced.
    Post(const std::string& work, const std::string& database, const std::string& mail, bool headers,
         const std::string& journal, Files& files)
        : config_(configure(work, database, mail, headers)) {
        db_ = must(SqlUserDb::open("sqlite:" + database, SqlUserDb::Missing::create, std::chrono::seconds(10)));
        const std::string modules(config_.text("store.modules"));
        const ModuleHost host{config_, files, *db_};
        mda_ = must(make_mda(*must(load_module(modules, ModuleKind::mda, config_.text("store.mda"))), host));
        creator_ =
            must(make_creator(*must(load_module(modules, ModuleKind::creator, config_.text("store.creator"))), host));
        if (journal.empty()) {
            durability_ = make_fsync_durability(files);
        } else {
            // Small, so that checkpoints happen all the time, and growing.
            JournalPlan plan{journal, 1ULL << 20U, 3, std::chrono::milliseconds(100), 4ULL << 20U};
            auto opened = must(Journal::open(files, plan));
            must(opened.recover(config_, *db_, *mda_));
            durability_ = must(std::move(opened).start(std::make_shared<Doubts>()));
        }
        accounts_ = std::make_unique<Accounts>(Accounts::Parts{
            config_, *mda_, files, reservations_,
            [this](std::string_view domain, const auto& visit) { return db_->each_user(domain, visit); }});
        store_ =
            std::make_unique<MailStore>(MailStore::Parts{config_, *db_, *mda_, *creator_, *durability_, *accounts_});
    }
    SqlUserDb& db() { return *db_; }
    MailStore& store() { return *store_; }

private:
    static Config configure(const std::string& work, const std::string& database, const std::string& mail,
                            bool headers) {
        const std::string conf = work + "/roost.conf";
        const char* flag = headers ? "yes" : "no";
        std::ofstream(conf) << "[users]\ndatabase = sqlite:" << database << "\n[store]\nstate = " << work
                            << "/state\nmodules = " << ROOST_TEST_MODULES << "\n[maildir]\npath = " << mail
                            << "/%{domain}/%{local}\n[quota]\nstorage = 1G\n[delivery]\nreturn-path = " << flag
                            << "\ndelivered-to = " << flag << "\nreceived = " << flag << "\n";
        return must(load_config(conf, {}));
    }

    Config config_;
    std::unique_ptr<SqlUserDb> db_;
    std::unique_ptr<Mda> mda_;
    std::unique_ptr<Creator> creator_;
    std::unique_ptr<Durability> durability_;
    Reservations reservations_;
    std::unique_ptr<Accounts> accounts_;
    std::unique_ptr<MailStore> store_;
};

using Copy = std::pair<std::string, Number>;  // a user's local part, a message

// What became of one cut.
struct Tally {
    unsigned acknowledged = 0;
    unsigned lost = 0;
    unsigned torn = 0;
    unsigned doubled = 0;
    unsigned stray = 0;    // in a mailbox that it was not sent to
    unsigned late = 0;     // acknowledged although delivery began after the cut
    unsigned crossed = 0;  // acknowledged in the moment of the cut: see Load
    unsigned stuck = 0;    // a mailbox that takes no mail after recovery

    bool broken() const { return lost + torn + doubled + stray + late + stuck > 0; }
    void operator+=(const Tally& other) {
        acknowledged += other.acknowledged;
        lost += other.lost;
        torn += other.torn;
        doubled += other.doubled;
        stray += other.stray;
        late += other.late;
        crossed += other.crossed;
        stuck += other.stuck;
    }
};

std::ostream& operator<<(std::ostream& out, const Tally& tally) {
    return out << tally.acknowledged << " acknowledged and " << tally.crossed << " crossed by the cut, " << tally.lost
               << " lost, " << tally.torn << " torn, " << tally.doubled << " doubled, " << tally.stray << " stray, "
               << tally.late << " late, " << tally.stuck << " stuck";
}

// How one cut is made.
struct Cut {
    unsigned round;
    bool after_acknowledgement;
    bool database_on_volume;
    bool journal;
    bool headers;  // trace fields differ between recipients, so each has a file of its own; else they share one
};

// Many threads that deliver until the power is cut. A real power cut stops them all; here they run on for a moment, so
// a delivery whose last sync ended just before can end in an acknowledgement that nobody would have lived to give: it
// is counted apart.
class Load {
public:
    Load(LoopVolume& volume, const Cut& cut, Post& post, TestFiles& files, std::vector<std::string> users)
        : volume_(volume), cut_(cut), post_(post), files_(files), users_(std::move(users)) {}

    void run(std::mt19937& random) {
        const auto moment = std::chrono::microseconds(std::uniform_int_distribution<int>(500, 700'000)(random));
        cut_after_ = std::uniform_int_distribution<unsigned>(1, 60)(random);
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < kThreads; ++t) threads.emplace_back([this, t, seed = random()] { deliver(t, seed); });
        if (!cut_.after_acknowledgement) {
            std::this_thread::sleep_for(moment);
            cut_now();
        }
        for (std::thread& thread : threads) thread.join();
        if (!cut_done_) cut_now();
    }

    std::set<Copy> acknowledged;
    std::set<Copy> sent;
    unsigned late = 0;
    unsigned crossed = 0;

private:
    void cut_now() {
        if (cut_begun_.exchange(true)) return;
        files_.dead = true;
        power_is_out = true;
        volume_.cut();
        cut_done_ = true;
    }

    void deliver(unsigned thread, std::uint64_t seed) {
        std::mt19937_64 random(seed);
        const auto pick = [&](unsigned from, unsigned to) {
            return std::uniform_int_distribution<unsigned>(from, to)(random);
        };
        // A few after the cut, to see that they are refused.
        for (unsigned serial = 0, after = 0; after < 3 && serial < 5000; ++serial) {
            const Number number{cut_.round, thread, serial, pick(0, 9) == 0 ? pick(1, 1U << 20U) : pick(1, 20000)};
            Envelope envelope;
            envelope.sender = "sender@example.net";
            std::set<std::string> names;
            const unsigned wanted = pick(0, 2) == 0 ? pick(2, 12) : 1;
            while (names.size() < wanted) names.insert(users_[pick(0, static_cast<unsigned>(users_.size()) - 1)]);
            for (const std::string& name : names) {
                Recipient recipient;
                const std::string detail = pick(0, 4) == 0 ? "+folder" + std::to_string(pick(1, 20)) : "";
                recipient.address = name + detail + "@" + kDomain;
                envelope.recipients.push_back(std::move(recipient));
            }
            {
                const std::lock_guard lock(mutex_);
                for (const std::string& name : names) sent.emplace(name, number);
            }
            const bool cut_before = cut_done_;
            const auto verdicts =
                post_.store().deliver(envelope, Message::from_text(numbered_mail(number)),
                                      Deadline::in(std::chrono::seconds(20)), MailStore::Together::no);
            const bool cut_since = cut_begun_;
            if (cut_before) ++after;
            bool any = false;
            const std::lock_guard lock(mutex_);
            std::size_t i = 0;
            for (const std::string& name : names) {
                if (verdicts.at(i++).outcome != Outcome::delivered) continue;
                any = true;
                if (cut_before) {
                    ++late;
                } else if (cut_since) {
                    ++crossed;
                } else {
                    acknowledged.emplace(name, number);
                }
            }
            if (any && cut_.after_acknowledgement && ++acknowledgements_ >= cut_after_) cut_now();
        }
    }

    LoopVolume& volume_;
    const Cut& cut_;
    Post& post_;
    TestFiles& files_;
    const std::vector<std::string> users_;
    unsigned cut_after_ = 0;
    unsigned acknowledgements_ = 0;
    std::atomic<bool> cut_begun_{false};
    std::atomic<bool> cut_done_{false};
    std::mutex mutex_;
};

// Every message that a mail program would see in a user's mailbox: all folders, new/ and cur/.
void each_visible(const fs::path& mailbox, const std::function<void(const fs::path&)>& visit) {
    if (!fs::exists(mailbox)) return;
    std::vector<fs::path> folders{mailbox};
    for (const auto& entry : fs::directory_iterator(mailbox))
        if (entry.is_directory() && entry.path().filename().string().starts_with('.')) folders.push_back(entry.path());
    std::vector<fs::path> files;
    for (const fs::path& folder : folders)
        for (const char* part : {"new", "cur"})
            if (fs::exists(folder / part))
                std::copy(fs::directory_iterator(folder / part), fs::directory_iterator(), std::back_inserter(files));
    for (const fs::path& file : files) visit(file);
}

std::string contents(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Looks at everything in the mailboxes, and empties them for the next cut.
Tally compare(const Load& load, const fs::path& mail, unsigned round) {
    Tally tally;
    tally.acknowledged = static_cast<unsigned>(load.acknowledged.size());
    tally.late = load.late;
    tally.crossed = load.crossed;
    std::map<Copy, unsigned> found;
    if (fs::exists(mail / kDomain))
        for (const auto& mailbox : fs::directory_iterator(mail / kDomain))
            each_visible(mailbox.path(), [&](const fs::path& path) {
                const auto number = whole_number(contents(path));
                if (!number) {
                    ++tally.torn;
                    std::cerr << "torn: " << path << '\n';
                } else if (number->round == round) {
                    ++found[{mailbox.path().filename(), *number}];
                }
                fs::remove(path);
            });
    for (const auto& [copy, count] : found) {
        if (load.sent.count(copy) == 0) ++tally.stray;
        if (count > 1) ++tally.doubled;
    }
    for (const Copy& copy : load.acknowledged)
        if (found.count(copy) == 0) {
            ++tally.lost;
            std::cerr << "lost: to " << copy.first << ", number " << copy.second.round << '.' << copy.second.thread
                      << '.' << copy.second.serial << '.' << copy.second.size << '\n';
        }
    return tally;
}

// A mailbox that each of these users can still get mail into.
unsigned stuck(Post& post, const std::vector<std::string>& users, unsigned round) {
    unsigned count = 0;
    for (const std::string& user : users) {
        Envelope envelope;
        envelope.sender = "";
        envelope.recipients.emplace_back();
        envelope.recipients.back().address = user + "@" + kDomain;
        const auto verdicts = post.store().deliver(envelope, Message::from_text(numbered_mail({round, kThreads, 0, 1})),
                                                   Deadline::in(std::chrono::seconds(20)), MailStore::Together::no);
        if (verdicts.at(0).outcome == Outcome::delivered) continue;
        ++count;
        std::cerr << "stuck: " << user << ": " << verdicts.at(0).text << '\n';
    }
    return count;
}

Tally run_cut(const std::string& work, LoopVolume& volume, const Cut& cut, TestFiles& files, std::mt19937& random) {
    files.dead = false;
    power_is_out = false;
    const std::string database =
        cut.database_on_volume ? volume.path() + "/users.db" : work + "/" + volume.type() + ".users.db";
    const std::string mail = volume.path() + (cut.database_on_volume ? "/mail-1" : "/mail-2");
    fs::create_directories(mail);
    const std::string beside = cut.database_on_volume ? volume.path() + "/" : work + "/" + volume.type() + ".";
    const std::string journal = cut.journal ? beside + "journal" : "";
    std::vector<std::string> users;
    std::optional<Load> load;
    {
        Post post(work, database, mail, cut.headers, journal, files);
        const auto add = [&](const std::string& name) {
            users.push_back(name);
            static_cast<void>(must(post.db().add_user(name + "@" + kDomain, {}, true)));
        };
        for (unsigned i = 0; i < kOldUsers; ++i) add("old" + std::to_string(i));
        for (unsigned i = 0; i < kNewUsers; ++i) add("new" + std::to_string(cut.round) + "-" + std::to_string(i));
        load.emplace(volume, cut, post, files, users);
        load->run(random);
    }
    volume.recover();
    Files sound;
    Post post(work, database, mail, cut.headers, journal, sound);
    Tally tally = compare(*load, mail, cut.round);
    tally.stuck = stuck(post, users, cut.round);
    return tally;
}

int run(const std::string& work, unsigned cuts, bool journal, const std::string& no_sync) {
    const std::string missing = LoopVolume::missing();
    if (!missing.empty()) {
        std::cout << "SKIPPED: " << missing << '\n';
        return 77;
    }
    fs::create_directories(work);
    must(open_log("roost-power-cut", work + "/log", LogLevel::error));
    const auto seed = std::random_device{}();
    std::mt19937 random(seed);
    TestFiles files(no_sync);
    Tally all;
    unsigned broken = 0;
    {
        LoopVolume volumes[] = {{work, "ext4"}, {work, "xfs"}};
        for (unsigned i = 0; i < cuts; ++i) {
            LoopVolume& volume = volumes[i % 2];
            const Cut cut{i, (i / 2) % 2 == 1, (i / 4) % 2 == 1, journal, (i / 8) % 2 == 1};
            Tally tally = run_cut(work, volume, cut, files, random);
            if (tally.broken()) ++broken;
            if (tally.broken() || cuts <= 32)
                std::cout << "cut " << i << " of " << volume.type()
                          << (cut.after_acknowledgement ? " after an acknowledgement" : " at a random moment")
                          << (cut.database_on_volume ? ", database too: " : ": ") << tally << std::endl;
            all += tally;
        }
    }
    std::cout << cuts << " cuts, seed " << seed << ": " << all << '\n';
    fs::remove_all(work);
    return (broken > 0) != no_sync.empty() ? 0 : 1;
}

}  // namespace
}  // namespace roost::fault

int main(int argc, char** argv) {
    std::vector<std::string> args(argv + 1, argv + argc);
    const auto journal = std::find(args.begin(), args.end(), "--journal");
    const bool journaled = journal != args.end();
    if (journaled) args.erase(journal);
    const std::set<std::string> which{"files", "directories", "all"};
    const bool no_sync = args.size() == 4 && args[2] == "--no-sync" && which.count(args[3]) == 1;
    if (args.size() != 2 && !no_sync) {
        std::cerr << "usage: roost-power-cut DIR CUTS [--journal] [--no-sync files|directories|all]\n";
        return 64;
    }
    struct sigaction action {};
    action.sa_sigaction = roost::fault::on_bus_error;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGBUS, &action, nullptr);
    try {
        return roost::fault::run(args[0], static_cast<unsigned>(std::stoul(args[1])), journaled,
                                 no_sync ? args[3] : "");
    } catch (const std::exception& error) {
        std::cerr << "roost-power-cut: " << error.what() << '\n';
        return 1;
    }
}
