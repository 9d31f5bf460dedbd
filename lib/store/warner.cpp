#include "store/warner.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <optional>

#include "base/log.h"
#include "base/text.h"

namespace roost {
namespace {

constexpr std::size_t kMostState = 65536;
constexpr std::size_t kMostTemplate = 256UL * 1024;

// Whose usage is looked at.
struct Subject {
    std::string whom;
    std::string folder;  // below STATE/warnings
    std::string file;
    std::vector<Threshold> thresholds;
    std::optional<Account> account;  // none: it has no limits
};

// What was reached, on disk.
class State {
public:
    State(Files& files, std::string_view state)
        : files_(files), top_(std::string(state) + "/warnings"), owner_(state) {}

    Result<Reached> read(const Subject& subject) {
        const std::string folder = top_ + "/" + subject.folder;
        auto text = files_.read_small({AT_FDCWD, {}}, folder + "/" + subject.file, kMostState);
        if (text) return parse_reached(trim(std::string_view(*text).substr(0, text->find('\n'))));
        if (text.error().sys == ENOENT) return Reached();
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
    Result<void> write(const Subject& subject, const Reached& reached) {
        const std::string folder = top_ + "/" + subject.folder;
        auto dir = make_dir(folder);
        if (!dir) return std::move(dir).error();
        if (reached.empty()) return files_.unlink({dir->get(), folder}, subject.file);
        const std::string fresh = top_ + "/new";
        auto fd = files_.open({AT_FDCWD, {}}, fresh, O_WRONLY | O_CREAT | O_TRUNC, kMode);
        if (!fd) return std::move(fd).error();
        if (auto given = give(fd->get(), fresh); !given) return given;
        if (auto done = files_.write(fd->get(), render_reached(reached) + "\n", fresh); !done) return done;
        return files_.rename({AT_FDCWD, {}}, fresh, {dir->get(), folder}, subject.file);
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

// What is due now. The usual case, in which nothing has changed, takes no lock and writes nothing.
Result<std::vector<Warning>> take_due(Instance& instance, const User& user, const Subject& subject) {
    if (subject.thresholds.empty()) return std::vector<Warning>();
    State state(instance.files(), instance.config().text("store.state"));
    Judged judged;
    const auto look = [&]() -> Result<bool> {
        auto before = state.read(subject);
        if (!before) return std::move(before).error();
        Usage used;
        if (subject.account) {
            auto books = instance.accounts().usage(user, *subject.account, {});
            if (!books) return std::move(books).error();
            used = {books->storage + subject.account->elsewhere.storage,
                    books->messages + subject.account->elsewhere.messages};
        }
        judged = judge_thresholds(subject.whom, subject.thresholds,
                                  subject.account ? subject.account->limits : Limits(), used, *before);
        return judged.reached != *before;
    };
    auto changed = look();
    if (!changed) return std::move(changed).error();
    if (!*changed) return std::vector<Warning>();
    auto lock = state.lock();
    if (!lock) return std::move(lock).error();
    changed = look();
    if (!changed) return std::move(changed).error();
    if (!*changed) return std::vector<Warning>();
    if (auto done = state.write(subject, judged.reached); !done) return std::move(done).error();
    return std::move(judged.due);
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

Result<void> start_command(const Warning& warning, std::string_view words, std::chrono::milliseconds timeout,
                           const StartCommand& start) {
    Command command{{}, timeout};
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
    start(std::move(command));
    return {};
}

void give(Instance& instance, const User& user, const Warning& warning, const StartCommand& start) {
    const Config& config = instance.config();
    const bool of_user = warning.whom == user.name();
    const std::string_view message = user.settings().text("quota.warning-message");
    const std::string_view command = config.text("quota.warning-command");
    const auto attempt = [&](Result<void> done) {
        if (!done) log(LogLevel::warning, "no warning for " + warning.whom + ": " + done.error().text());
    };
    if (of_user && !message.empty()) attempt(put_message(instance, user, warning, std::string(message)));
    if (!trim(command).empty())
        attempt(start_command(warning, command, config.duration("quota.warning-timeout"), start));
}

// What has thresholds at a user.
Result<std::vector<Subject>> subjects_of(Accounts& accounts, const User& user) {
    std::vector<Subject> out;
    const auto add = [&](std::string whom, std::string folder, std::string_view pattern,
                         std::string_view key) -> Result<void> {
        auto thresholds = parse_thresholds(user.settings().text(key));
        if (!thresholds) return std::move(thresholds).error();
        if (thresholds->empty()) return {};
        auto path = expand_path(key, pattern, user);
        if (!path) return std::move(path).error();
        out.push_back({std::move(whom), std::move(folder), path->substr(1), *std::move(thresholds), std::nullopt});
        return {};
    };
    if (auto done = add(user.name(), "users", "/%{user}", "quota.warning"); !done) return std::move(done).error();
    if (!user.domain().empty()) {
        auto done = add("@" + std::string(user.domain()), "domains", "/%{domain}", "domain-quota.warning");
        if (!done) return std::move(done).error();
    }
    if (out.empty()) return out;
    for (Account& account : accounts.charged(user, {}))
        for (Subject& subject : out)
            if (account.kind == (subject.folder == "users" ? Account::Kind::mailbox : Account::Kind::domain))
                subject.account = account;
    return out;
}

}  // namespace

Result<std::vector<Warning>> warn(Instance& instance, std::string_view name, const StartCommand& start) {
    std::vector<Warning> out;
    auto record = instance.db().find(name);
    if (!record) return std::move(record).error();
    if (!*record) return out;
    auto user = User::make(instance.config(), **std::move(record));
    if (!user) return std::move(user).error();
    auto ready = instance.mda().check(*user);
    if (!ready) return std::move(ready).error();
    if (!ready->complete()) return out;
    auto subjects = subjects_of(instance.accounts(), *user);
    if (!subjects) return std::move(subjects).error();
    for (const Subject& subject : *subjects) {
        auto due = take_due(instance, *user, subject);
        if (!due) return std::move(due).error();
        for (Warning& warning : *due) {
            give(instance, *user, warning, start);
            out.push_back(std::move(warning));
        }
    }
    return out;
}

void warn_after_delivery(Instance& instance, std::string_view name, const StartCommand& start) {
    auto done = warn(instance, name, start);
    if (!done) log(LogLevel::warning, "whether " + std::string(name) + " is to be warned: " + done.error().text());
}

}  // namespace roost
