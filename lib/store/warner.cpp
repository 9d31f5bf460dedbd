#include "store/warner.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <optional>

#include "base/log.h"
#include "base/text.h"

namespace roost {
namespace {

constexpr std::size_t kMostState = 65536;
constexpr const char* kUsers = "users";
constexpr const char* kDomains = "domains";
constexpr std::size_t kMostTemplate = 256UL * 1024;

// A file below STATE/warnings.
struct Place {
    std::string folder;
    std::string file;
};

// Whose usage is looked at, and what is to be done about it.
struct Subject {
    std::string whom;
    Place place;
    std::vector<Threshold> thresholds;
    std::optional<Account> account;  // none: it has no limits
    std::string message;             // the file with the message to put into the mailbox; may be empty
    std::string command;             // the program to run; may be empty
};

// What was told, on disk.
class State {
public:
    State(Files& files, std::string_view state)
        : files_(files), top_(std::string(state) + "/warnings"), owner_(state) {}

    Result<Told> read(const Place& place) {
        auto text = files_.read_small({AT_FDCWD, {}}, top_ + "/" + place.folder + "/" + place.file, kMostState);
        if (text) return parse_told(*text);
        if (text.error().sys == ENOENT) return Told();
        return std::move(text).error();
    }

    // Until the descriptor is closed nobody else writes.
    Result<Fd> lock() {
        auto dir = make_dir(top_);
        if (!dir) return std::move(dir).error();
        const std::string path = top_ + "/lock";
        auto fd = files_.open({AT_FDCWD, {}}, path, O_RDWR | O_CREAT, kMode);
        if (!fd) return std::move(fd).error();
        if (auto given = give(fd->get(), path); !given) return std::move(given).error();
        while (::flock(fd->get(), LOCK_EX) != 0)
            if (errno != EINTR) return system_error(errno, "cannot lock " + path);
        return fd;
    }

    // Under the lock.
    Result<void> write(const Place& place, const Told& told) {
        const std::string folder = top_ + "/" + place.folder;
        auto dir = make_dir(folder);
        if (!dir) return std::move(dir).error();
        if (told.empty()) return files_.unlink({dir->get(), folder}, place.file);
        const std::string fresh = top_ + "/new";
        auto fd = files_.open({AT_FDCWD, {}}, fresh, O_WRONLY | O_CREAT | O_TRUNC, kMode);
        if (!fd) return std::move(fd).error();
        if (auto given = give(fd->get(), fresh); !given) return given;
        if (auto done = files_.write(fd->get(), render_told(told), fresh); !done) return done;
        return files_.rename({AT_FDCWD, {}}, fresh, {dir->get(), folder}, place.file);
    }

    // Forgets that a warning was given, by one of the ways that Told has.
    void take_back(const Place& place, Reached Told::*way, const Warning& warning) {
        const auto attempt = [&]() -> Result<void> {
            auto held = lock();
            if (!held) return std::move(held).error();
            auto told = read(place);
            if (!told) return std::move(told).error();
            roost::take_back(*told.*way, warning.crossed);
            return write(place, *told);
        };
        if (auto done = attempt(); !done)
            log(LogLevel::warning, "the warning for " + warning.whom + " is not tried again: " + done.error().text());
    }

    Result<void> forget(const Place& place) {
        if (const auto there = files_.stat({AT_FDCWD, {}}, top_ + "/" + place.folder + "/" + place.file);
            !there && there.error().sys == ENOENT)
            return {};
        auto held = lock();
        return held ? write(place, {}) : Result<void>(std::move(held).error());
    }

private:
    static constexpr mode_t kMode = 0600;
    static constexpr mode_t kDirMode = 0700;

    Result<Fd> make_dir(const std::string& path) {
        auto dir = files_.make_path(path, kDirMode);
        if (!dir) return dir;
        if (auto given = give(dir->get(), path); !given) return std::move(given).error();
        return dir;
    }

    // What root makes belongs to the owner of the state directory, as all else there.
    Result<void> give(int fd, const std::string& path) {
        if (::geteuid() != 0) return {};
        auto info = files_.stat({AT_FDCWD, {}}, owner_);
        if (!info) return std::move(info).error();
        return files_.set_owner(fd, info->st_uid, info->st_gid, path);
    }

    Files& files_;
    std::string top_;
    std::string owner_;
};

// What is due now.
struct Due {
    std::vector<Warning> messages;
    std::vector<Warning> commands;
    std::vector<Warning> all;  // each once
};

Due due_of(const Subject& subject, const Judged& by_message, const Judged& by_command) {
    Due out;
    const bool nothing_to_do = subject.message.empty() && subject.command.empty();
    if (nothing_to_do || !subject.message.empty()) out.all = by_message.due;
    if (!subject.message.empty()) out.messages = by_message.due;
    if (subject.command.empty()) return out;
    out.commands = by_command.due;
    for (const Warning& warning : by_command.due)
        if (std::none_of(out.all.begin(), out.all.end(),
                         [&](const Warning& other) { return other.threshold == warning.threshold; }))
            out.all.push_back(warning);
    return out;
}

// From here on it is told. The usual case, in which nothing has changed, takes no lock and writes nothing.
Result<Due> take_due(Instance& instance, const User& user, const Subject& subject, State& state) {
    if (subject.thresholds.empty()) return Due();
    Judged by_message;
    Judged by_command;
    const auto look = [&]() -> Result<bool> {
        auto before = state.read(subject.place);
        if (!before) return std::move(before).error();
        Usage used;
        if (subject.account) {
            auto books = instance.accounts().usage(user, *subject.account, {});
            if (!books) return std::move(books).error();
            used = {books->storage + subject.account->elsewhere.storage,
                    books->messages + subject.account->elsewhere.messages};
        }
        const auto judge = [&](const Reached& told) {
            return judge_thresholds(subject.whom, subject.thresholds,
                                    subject.account ? subject.account->limits : Limits(), used, told);
        };
        by_message = judge(before->by_message);
        by_command = judge(before->by_command);
        return *before != Told{by_message.reached, by_command.reached};
    };
    auto changed = look();
    if (!changed) return std::move(changed).error();
    if (!*changed) return Due();
    auto lock = state.lock();
    if (!lock) return std::move(lock).error();
    changed = look();
    if (!changed) return std::move(changed).error();
    if (!*changed) return Due();
    auto done = state.write(subject.place, {by_message.reached, by_command.reached});
    if (!done) return std::move(done).error();
    return due_of(subject, by_message, by_command);
}

// As RFC 5322 section 3.3 has it.
std::string date_now() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    std::array<char, 64> text{};
    (void)std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S +0000", &parts);
    return text.data();
}

// The names of the fields of a message's header, in lower case; none if it has no header.
std::set<std::string> fields_of(std::string_view message) {
    std::set<std::string> out;
    while (!message.empty() && message.front() != '\n') {
        const std::string_view line = message.substr(0, message.find('\n'));
        message.remove_prefix(std::min(line.size() + 1, message.size()));
        if (line.front() == ' ' || line.front() == '\t') continue;
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || line.substr(0, colon).find(' ') != std::string_view::npos) return {};
        out.insert(lower(line.substr(0, colon)));
    }
    return out;
}

Result<void> put_message(Instance& instance, const User& user, const Warning& warning, const std::string& path) {
    Files& files = instance.files();
    auto fd = files.open({AT_FDCWD, {}}, path, O_RDONLY, 0, Files::Follow::yes);
    if (!fd) return std::move(fd).error();
    auto pattern = files.read_all(fd->get(), path, kMostTemplate);
    if (!pattern) return std::move(pattern).error();
    const std::string date = date_now();
    auto text = expand_warning(*pattern, warning, date);
    if (!text) {
        Error error = std::move(text).error();
        error.what = path;
        return error;
    }
    const std::set<std::string> fields = fields_of(*text);
    if (fields.empty()) return config_error(path, "it does not begin with a header", "begin with Subject: ...");
    std::string header;
    const auto add = [&](std::string_view name, std::string_view value) {
        if (!fields.contains(lower(name))) header.append(name).append(": ").append(value).append("\n");
    };
    add("From", "postmaster" + (user.domain().empty() ? "" : "@" + std::string(user.domain())));
    add("To", user.name());
    add("Date", date);
    add("Message-ID", "<" + std::to_string(std::time(nullptr)) + "." + std::to_string(::getpid()) + "." +
                          warning.threshold.text().substr(0, 1) + std::to_string(warning.threshold.percent) +
                          "@warning.roost>");
    // RFC 3834 section 5: nobody answers it by machine.
    add("Auto-Submitted", "auto-generated");
    auto receipt = instance.store().put(user, Message::from_text(header + *text));
    if (!receipt) return std::move(receipt).error();
    log(LogLevel::info, "warning to=<" + user.name() + "> threshold=" + warning.threshold.text() +
                            " percent=" + std::to_string(warning.percent()) + " file=" + receipt->path);
    return {};
}

Result<Command> command_of(const Config& config, const Warning& warning, std::string_view words) {
    Command command{{}, config.duration("quota.warning-timeout"), {}};
    const std::string date = date_now();
    for (const std::string& word : parse_words(words)) {
        auto expanded = expand_warning(word, warning, date);
        if (!expanded) {
            Error error = std::move(expanded).error();
            error.what = "quota.warning-command";
            return error;
        }
        command.argv.push_back(*std::move(expanded));
    }
    if (!command.argv.front().starts_with('/'))
        return config_error("quota.warning-command", "it is no absolute path", "write /usr/bin/... or the like");
    return command;
}

// Gives what is due of one subject. What fails is taken back, so that it is tried at the next look.
class Giving {
public:
    Giving(Instance& instance, const User& user, const Subject& subject, State& state)
        : instance_(instance), user_(user), subject_(subject), state_(state) {}

    void put(const Warning& warning) {
        if (auto done = put_message(instance_, user_, warning, subject_.message); !done)
            fail(warning, &Told::by_message, done.error());
    }

    void run(const Warning& warning, const StartCommand& start) {
        auto command = command_of(instance_.config(), warning, subject_.command);
        if (!command) return fail(warning, &Told::by_command, command.error());
        // The command may outlive all that is here.
        command->failed = [state_dir = std::string(instance_.config().text("store.state")), place = subject_.place,
                           warning] {
            Files files;
            State(files, state_dir).take_back(place, &Told::by_command, warning);
        };
        start(*std::move(command));
    }

    bool failed() const { return failed_; }

private:
    void fail(const Warning& warning, Reached Told::*way, const Error& error) {
        failed_ = true;
        log(LogLevel::warning,
            "no warning for " + warning.whom + ", which is tried again at the next look: " + error.text());
        state_.take_back(subject_.place, way, warning);
    }

    Instance& instance_;
    const User& user_;
    const Subject& subject_;
    State& state_;
    bool failed_ = false;
};

// What has thresholds at a user.
Result<std::vector<Subject>> subjects_of(const Config& config, Accounts& accounts, const User& user) {
    std::vector<Subject> out;
    const std::string command(trim(config.text("quota.warning-command")));
    const auto add = [&](std::string whom, std::string folder, std::string_view name,
                         std::string_view key) -> Result<void> {
        auto thresholds = parse_thresholds(user.settings().text(key));
        if (!thresholds) return std::move(thresholds).error();
        if (thresholds->empty()) return {};
        out.push_back({std::move(whom),
                       {std::move(folder), path_component(name)},
                       *std::move(thresholds),
                       std::nullopt,
                       {},
                       command});
        return {};
    };
    if (auto done = add(user.name(), kUsers, user.name(), "quota.warning"); !done) return std::move(done).error();
    if (!out.empty()) out.front().message = user.settings().text("quota.warning-message");
    if (!user.domain().empty()) {
        auto done = add("@" + std::string(user.domain()), kDomains, user.domain(), "domain-quota.warning");
        if (!done) return std::move(done).error();
    }
    if (out.empty()) return out;
    for (Account& account : accounts.charged(user, {}))
        for (Subject& subject : out)
            if (account.kind == (subject.place.folder == kUsers ? Account::Kind::mailbox : Account::Kind::domain))
                subject.account = account;
    return out;
}

}  // namespace

Result<Warned> warn(Instance& instance, std::string_view name, const StartCommand& start) {
    Warned out;
    auto record = instance.db().find(name);
    if (!record) return std::move(record).error();
    if (!*record) return out;
    auto user = User::make(instance.config(), **std::move(record));
    if (!user) return std::move(user).error();
    auto ready = instance.mda().check(*user);
    if (!ready) return std::move(ready).error();
    if (!ready->complete()) return out;
    auto subjects = subjects_of(instance.config(), instance.accounts(), *user);
    if (!subjects) return std::move(subjects).error();
    State state(instance.files(), instance.config().text("store.state"));
    for (const Subject& subject : *subjects) {
        auto due = take_due(instance, *user, subject, state);
        if (!due) return std::move(due).error();
        Giving giving(instance, *user, subject, state);
        for (const Warning& warning : due->messages) giving.put(warning);
        for (const Warning& warning : due->commands) giving.run(warning, start);
        out.given.insert(out.given.end(), due->all.begin(), due->all.end());
        out.failed = out.failed || giving.failed();
    }
    return out;
}

void warn_after_delivery(Instance& instance, std::string_view name, const StartCommand& start) {
    auto done = warn(instance, name, start);
    if (!done) log(LogLevel::warning, "whether " + std::string(name) + " is to be warned: " + done.error().text());
}

Result<void> forget_warnings(Files& files, const std::string& state, const std::string& user) {
    return State(files, state).forget({kUsers, path_component(user)});
}

}  // namespace roost
