// roostd: takes mail by LMTP and delivers it. See roostd(8).
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "base/log.h"
#include "base/text.h"
#include "confinement.h"
#include "lmtp_conversation.h"
#include "metrics_page.h"
#include "net/listener.h"
#include "net/notify.h"
#include "options.h"
#include "privileges.h"
#include "reach.h"
#include "server.h"
#include "service.h"

namespace roost {
namespace {

constexpr int kExitUsage = 64;
constexpr int kExitFailed = 1;

int exit_status(const Error& error) { return error.outcome == Outcome::malformed ? kExitUsage : kExitFailed; }

int fail(const Error& error) {
    log(LogLevel::error, error.text());
    return exit_status(error);
}

// What the parent may have set up badly: a closed descriptor 0 to 2, which the first file opened would become; a low
// limit of open files, of which a connection needs one and a delivery some more; signals that a write can raise.
void settle_process() {
    for (int fd = 0; fd <= STDERR_FILENO; ++fd)
        if (::fcntl(fd, F_GETFD) < 0) (void)::open("/dev/null", O_RDWR);
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &files);
    }
    for (const int quiet : {SIGPIPE, SIGXFSZ}) ::signal(quiet, SIG_IGN);
}

// Many threads, few of them at work at a time: they share some pools, and what a large message took is given back.
void settle_memory() {
    constexpr int kArenas = 4;
    constexpr int kLargeBlock = 256 * 1024;
    // NOLINTBEGIN(concurrency-mt-unsafe): one thread yet
    ::mallopt(M_ARENA_MAX, kArenas);
    ::mallopt(M_MMAP_THRESHOLD, kLargeBlock);
    ::mallopt(M_TRIM_THRESHOLD, 4 * kLargeBlock);
    // NOLINTEND(concurrency-mt-unsafe)
}

Result<void> open_log_of(const Config& config) {
    return open_log("roostd", config.text("log.target"), log_level(config.text("log.level")));
}

// Gives up privileges, reads the configuration, and confines the process to what that needs before anything starts a
// thread. `level`: how the log is told of the latter.
Result<std::shared_ptr<const Setup>> start_up(const DaemonOptions& options, Instance::Journaling journaling,
                                              Confinement& confinement, LogLevel level) {
    if (auto given_up = give_up_privileges(); !given_up) return std::move(given_up).error();
    return load_setup(options.config_path, options.overrides, journaling,
                      [&](Instance& instance, const Setup& read) -> Result<void> {
                          // Before the journal is read, since that tells what it finds.
                          if (auto opened = open_log_of(instance.config()); !opened) return opened;
                          log(level, confine(confinement, instance, read));
                          return {};
                      });
}

sigset_t signals_of_ours() {
    sigset_t set;
    sigemptyset(&set);
    for (const int each : {SIGHUP, SIGTERM, SIGINT}) sigaddset(&set, each);
    return set;
}

// What to listen on, and what is spoken there.
struct Wanted {
    Endpoint endpoint;
    mode_t mode;
    Door::Speaks speaks;
};

// Which services have sockets that the service manager opened, so that their own settings count no more.
struct Activated {
    bool lmtp = false;
    bool policy = false;
};

Result<std::vector<Wanted>> wanted_doors(const Setup& setup, const Activated& activated) {
    std::vector<Wanted> out;
    if (!activated.lmtp)
        for (const Endpoint& each : setup.lmtp.listen)
            out.push_back({each, setup.lmtp.socket_mode, Door::Speaks::lmtp});
    if (!activated.policy)
        for (const Endpoint& each : setup.policy.listen)
            out.push_back({each, setup.policy.socket_mode, Door::Speaks::policy});
    if (out.empty() && !activated.lmtp && !activated.policy) return no_socket(setup.instance->config());
    return out;
}

// Whether this is the door that is wanted, and clients still find it.
bool is_open_for(const Door& door, const Wanted& wanted) {
    return door.listener.name() == wanted.endpoint.text() && !door.listener.inherited() && !door.listener.lost();
}

// Opens what is wanted and `open` does not have.
Result<std::vector<Door>> open_missing(const std::vector<Wanted>& wanted, const std::vector<Door>& open) {
    std::vector<Door> made;
    for (const Wanted& each : wanted) {
        if (std::any_of(open.begin(), open.end(), [&](const Door& door) { return is_open_for(door, each); })) continue;
        auto more = net::Listener::open(each.endpoint, each.mode);
        if (!more) {
            Error error = std::move(more).error();
            const bool ours = !each.endpoint.local() && std::any_of(open.begin(), open.end(), [&](const Door& door) {
                return door.listener.name().ends_with(":" + each.endpoint.port);
            });
            if (error.sys == EADDRINUSE && ours) error.hint = "roostd itself listens on that port: restart it";
            return error;
        }
        for (net::Listener& listener : *more) made.push_back({std::move(listener), each.speaks});
    }
    return made;
}

// Adds to `made` those of `open` that are wanted, or that the service manager opened.
std::vector<Door> join(std::vector<Door> made, std::vector<Door>& open, const std::vector<Wanted>& wanted) {
    for (Door& door : open) {
        const auto found =
            std::find_if(wanted.begin(), wanted.end(), [&](const Wanted& each) { return is_open_for(door, each); });
        if (found != wanted.end()) {
            if (auto done = door.listener.set_mode(found->mode); !done) log(LogLevel::warning, done.error().text());
            made.push_back({std::move(door.listener), found->speaks});
        } else if (door.listener.inherited()) {
            made.push_back(std::move(door));
        }
    }
    return made;
}

// Warns of the addresses that a setting names to no effect, since the service manager opened other sockets.
void warn_of_displaced(const Setup& setup, const std::vector<Door>& doors) {
    const auto warn = [&](std::string_view key, const std::vector<Endpoint>& listen, Door::Speaks speaks,
                          const std::string& unit) {
        if (setup.instance->config().origin(key) == "default") return;
        std::string opened = " ";
        for (const auto& [listener, spoken] : doors)
            if (listener.inherited() && spoken == speaks) opened += listener.name() + " ";
        if (opened == " ") return;
        std::string idle;
        for (const Endpoint& each : listen)
            if (opened.find(" " + each.text() + " ") == std::string::npos) idle.append(" ").append(each.text());
        if (idle.empty()) return;
        log(LogLevel::warning, std::string(key) + ": nobody listens on" + idle +
                                   ": the sockets of the service manager count alone, which are" + opened +
                                   "here: add ListenStream= to " + unit + " (systemctl edit " + unit +
                                   ") and restart it with roostd, or disable it");
    };
    warn("lmtp.listen", setup.lmtp.listen, Door::Speaks::lmtp, "roostd.socket");
    warn("policy.listen", setup.policy.listen, Door::Speaks::policy, "roostd-policy.socket");
}

class Daemon {
public:
    Daemon(const DaemonOptions& options, std::shared_ptr<const Setup> setup, Confinement confinement)
        : options_(options), confinement_(std::move(confinement)), service_(std::move(setup)) {}

    int run() {
        auto inherited = net::Listener::take_inherited();
        if (!inherited) return fail(inherited.error());
        std::vector<Door> given;
        for (net::Listener& listener : *inherited) {
            const bool policy = listener.label() == "policy";
            (policy ? activated_.policy : activated_.lmtp) = true;
            given.push_back({std::move(listener), policy ? Door::Speaks::policy : Door::Speaks::lmtp});
        }
        const auto wanted = wanted_doors(*service_.setup(), activated_);
        if (!wanted) return fail(wanted.error());
        auto doors = open_missing(*wanted, given);
        if (!doors) return fail(doors.error());
        warn_of_displaced(*service_.setup(), given);
        service_.load_redelivery();

        const sigset_t set = signals_of_ours();
        const Fd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
        auto page = open_page(*service_.setup());
        if (!page) return fail(page.error());
        page_ = *std::move(page);
        service_.after().start();
        Server server(service_, signals.get(), [&] { reload(server); });
        if (auto done = server.listen(join(*std::move(doors), given, *wanted)); !done) return fail(done.error());
        service_.drop_redelivery_file();  // not before a start that failed would have lost it
        log(LogLevel::info, "roostd " ROOST_VERSION " is ready");
        net::notify_manager("READY=1");
        const bool clean = server.run([] { net::notify_manager("STOPPING=1"); });
        service_.save_redelivery();
        service_.after().stop(clean);
        // So that a backup can take its place.
        service_.setup()->instance->db().fold_log();
        log(LogLevel::info, "roostd has stopped");
        if (!clean) ::_exit(0);  // threads are still at work on what nobody waits for any more
        return 0;
    }

private:
    // Takes the configuration anew, all of it or nothing.
    void reload(Server& server) {
        net::notify_reloading();
        auto done = try_reload(server);
        if (done) {
            log(LogLevel::info, "the configuration was read again");
        } else {
            log(LogLevel::error, "the old configuration stays in force: " + done.error().text());
        }
        net::notify_manager("READY=1");
    }

    // What can fail comes first.
    Result<void> try_reload(Server& server) {
        auto setup = load_setup(
            options_.config_path, options_.overrides, Instance::Journaling::yes,
            [&](Instance& instance, const Setup& read) { return admits(instance, read); }, service_.setup().get());
        if (!setup) {
            Error error = std::move(setup).error();
            const std::string text = error.text();
            // The second is how SQLite puts it.
            const bool kept_out = text.find("Permission denied") != std::string::npos ||
                                  text.find("unable to open database file") != std::string::npos;
            if (confinement_.on() && kept_out)
                error.hint = "roostd has confined itself to its directories: if they are others now, restart it";
            return error;
        }
        auto page = open_page(**setup);
        if (!page) return std::move(page).error();
        const auto wanted = wanted_doors(**setup, activated_);
        if (!wanted) return wanted.error();
        auto doors = open_missing(*wanted, server.doors());
        if (!doors) return std::move(doors).error();
        if (auto opened = open_log_of((*setup)->instance->config()); !opened) return opened;
        if (auto taken = server.listen(join(*std::move(doors), server.doors(), *wanted)); !taken) return taken;
        warn_of_displaced(**setup, server.doors());
        if ((*setup)->metrics != page_.endpoint) page_ = *std::move(page);
        service_.replace_setup(*std::move(setup));
        return {};
    }

    // Whether what was read can be had within what was left of the file system at the start.
    Result<void> admits(Instance& instance, const Setup& read) const {
        if (!confinement_.on()) return {};
        auto reach = reach_of(instance, read);
        if (!reach) return std::move(reach).error();
        if (!*reach)
            return config_error("store.mda", "roostd has confined itself, and this module does not say where it writes",
                                "restart roostd");
        return confinement_.admits(**reach);
    }

    // Where the metrics are told, if anywhere.
    struct Page {
        std::optional<Endpoint> endpoint;
        std::unique_ptr<MetricsPage> page;
    };
    // The page that `setup` asks for, opened unless it is there already.
    Result<Page> open_page(const Setup& setup) {
        Page out{setup.metrics, nullptr};
        if (!setup.metrics || setup.metrics == page_.endpoint) return out;
        auto opened = MetricsPage::open(*setup.metrics, [this] { return service_.metrics().text(); });
        if (!opened) return std::move(opened).error();
        out.page = *std::move(opened);
        return out;
    }

    const DaemonOptions& options_;
    Confinement confinement_;
    Service service_;
    Page page_;
    Activated activated_;
};

// One session with whoever started us, or the reason why there is none. Nothing is ever written to standard error,
// which Exim's transport reads as part of the replies.
int serve_stdio(const Result<DaemonOptions>& options) {
    const Fd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    ::dup2(nowhere.get(), STDERR_FILENO);
    net::Connection connection(Fd(STDIN_FILENO), Fd(STDOUT_FILENO), peer_of(STDIN_FILENO));
    const auto decline = [&](const Error& error) {
        connection.write(lmtp::Session::busy_greeting(error.text()), Deadline::in(std::chrono::minutes(1)));
        return exit_status(error);
    };
    if (!options) return decline(options.error());
    Confinement confinement;
    auto setup = start_up(*options, Instance::Journaling::no, confinement, LogLevel::debug);
    if (!setup) return decline(setup.error());
    Service service(*std::move(setup));
    LmtpConversation talk(service, std::move(connection));
    if (!talk.greet()) return 0;
    constexpr std::size_t kBuffer = 64UL * 1024;
    std::vector<char> buffer(kBuffer);
    while (talk.go_on(buffer, std::chrono::hours(1)) == Conversation::Next::wait) {
        if (!talk.deadline().expired()) continue;
        talk.time_out();
        break;
    }
    service.after().stop(true);
    return 0;
}

int run(int argc, char** argv) {
    settle_process();
    settle_memory();
    auto options = read_options(argc, argv);
    if (!options)
        return names_stdio({argv, static_cast<std::size_t>(argc)}) ? serve_stdio(options) : fail(options.error());
    switch (options->show) {
        case DaemonOptions::Show::help:
            std::fputs(help_text().c_str(), stdout);
            return 0;
        case DaemonOptions::Show::version:
            std::puts("roostd " ROOST_VERSION);
            return 0;
        case DaemonOptions::Show::options:
            std::fputs(option_list().c_str(), stdout);
            return 0;
        case DaemonOptions::Show::nothing:
            break;
    }
    if (options->stdio) return serve_stdio(options);
    const sigset_t set = signals_of_ours();
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);  // before there are threads, which inherit it
    Confinement confinement;
    auto setup = start_up(*options, Instance::Journaling::yes, confinement, LogLevel::info);
    if (!setup) return fail(setup.error());
    return Daemon(*options, *std::move(setup), std::move(confinement)).run();
}

}  // namespace
}  // namespace roost

int main(int argc, char** argv) {
    try {
        return roost::run(argc, argv);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "roostd: failed: %s\n", e.what());
        return roost::kExitFailed;
    }
}
