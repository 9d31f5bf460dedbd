// roost-deliver: takes one message from an MTA and delivers it. See roost-deliver(8).
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "base/text.h"
#include "options.h"
#include "store/after_delivery.h"
#include "store/instance.h"
#include "store/settle.h"
#include "store/verdict_log.h"
#include "store/warner.h"

namespace roost {
namespace {

constexpr int kExitUsage = 64;
constexpr int kExitTemporary = 75;

// The enhanced status code for a pipe. Postfix believes it more than the exit status, so both must agree: what leaves
// with 75 is never a 5.x.x.
std::string pipe_code(Outcome outcome) {
    std::string code(row_of(outcome).enhanced);
    if (is_temporary(outcome)) code[0] = '4';
    return code;
}

void say(Outcome outcome, std::string_view text) {
    const std::string line = pipe_code(outcome) + " " + printable(text) + "\n";
    std::fwrite(line.data(), 1, line.size(), stderr);
}

int fail(const Error& error) {
    say(error.outcome, error.text());
    const int code = row_of(error.outcome).exit_code;
    // A person sees a wrong flag as what it is; an MTA, whose administrator made the slip, keeps the mail.
    return error.outcome == Outcome::malformed && ::isatty(STDERR_FILENO) != 0 ? kExitUsage : code;
}

// How far the delivery is, for signal handlers.
volatile std::sig_atomic_t visible = 0;   // the message may be in a mailbox
volatile std::sig_atomic_t decided = -1;  // the exit status, once it is known

// Ends at once: with what was decided, or with the one status that makes every MTA keep the mail. For signal handlers.
template <std::size_t N>
[[noreturn]] void end_now(const char (&text)[N]) {
    if (decided >= 0) ::_exit(decided);
    (void)!::write(STDERR_FILENO, text, N - 1);
    ::_exit(kExitTemporary);
}

// The last resort when something hangs that cannot be given a deadline, as a dead file server: rather end with a
// temporary failure than be killed by the MTA, which may bounce the mail then.
void on_deadline(int) { end_now("4.3.0 the delivery did not end before delivery.deadline\n"); }

// Exim takes a command that a signal ended, as at a shutdown, for a permanent failure. A message that may be in a
// mailbox is soon safe there, or taken back: to end before would have the MTA deliver it twice.
void on_signal(int) {
    if (visible == 0 || decided >= 0) end_now("4.3.2 the delivery was ended by a signal\n");
}

void on_fault(int) { end_now("4.3.0 roost-deliver failed: a fault in the program\n"); }

// Has a signal that would end the process call a handler. One that is ignored stays so, and a sanitizer keeps its own.
void handle(int number, void (*handler)(int)) {
    struct sigaction ours {};
    struct sigaction before {};
    ours.sa_handler = handler;
    ours.sa_flags = SA_RESTART;
    if (::sigaction(number, &ours, &before) == 0 && before.sa_handler != SIG_DFL) ::sigaction(number, &before, nullptr);
}

// What the MTA may have set up badly: a closed descriptor 0 to 2, which the first file opened would become, error
// texts and all (a message cannot be read from the one that takes the place of standard input); signals, with which the
// MTA cannot tell our trouble from the message's.
void settle_process() {
    for (int fd = 0; fd <= STDERR_FILENO; ++fd)
        if (::fcntl(fd, F_GETFD) < 0) (void)::open("/dev/null", O_WRONLY);
    // Each prepared delivery holds some descriptors, and the customary soft limit of 1024 is for select(2).
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &files);
    }
    for (const int quiet : {SIGPIPE, SIGXFSZ}) ::signal(quiet, SIG_IGN);  // the call that caused it fails instead
    for (const int end :
         {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGSTKFLT, SIGXCPU, SIGVTALRM, SIGPROF, SIGIO, SIGPWR})
        handle(end, on_signal);
    for (const int fault : {SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS}) handle(fault, on_fault);
    sigset_t none;
    sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

void arm_timer(std::chrono::milliseconds span) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(span);
    itimerval timer{};
    timer.it_value.tv_sec = seconds.count();
    timer.it_value.tv_usec = std::chrono::duration_cast<std::chrono::microseconds>(span - seconds).count();
    if (timer.it_value.tv_sec == 0 && timer.it_value.tv_usec == 0) timer.it_value.tv_usec = 1;
    ::setitimer(ITIMER_REAL, &timer, nullptr);
}

// What follows must not change the status that was decided, nor keep the MTA waiting: whatever hangs then, as the
// lookup of a host name, has no more than this and the clone's patience.
void limit_rest(Instance& instance) {
    constexpr std::chrono::milliseconds kToSettle(1000);
    const auto patience = instance.clone() == nullptr ? std::chrono::milliseconds(0) : instance.clone()->patience();
    arm_timer(patience + kToSettle);
}

// Warnings of those who got mail, and their usage for the clone and for other services.
void publish(Instance& instance, const std::vector<Verdict>& verdicts) {
    std::vector<std::string> users;
    for (const Verdict& verdict : verdicts)
        if (verdict.outcome == Outcome::delivered) users.push_back(verdict.user);
    if (users.empty()) return;
    const auto each_watched = [&](const auto& look) {
        for (const Verdict& verdict : verdicts)
            if (verdict.outcome == Outcome::delivered && verdict.watched) look(verdict.user);
    };
    each_watched([&](const std::string& user) { warn_after_delivery(instance, user, run_detached); });
    publish_before_end(instance, users);
    each_watched([&](const std::string& user) { settle_usage(instance, user); });
}

// Names this delivery: the time in microseconds and the process, in hexadecimal.
std::string session_name() {
    const auto now =
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch());
    std::array<char, 48> text{};
    std::snprintf(text.data(), text.size(), "%llx.%x", static_cast<unsigned long long>(now.count()),
                  static_cast<unsigned>(::getpid()));
    return text.data();
}

Result<Message> read_message(Files& files, const DeliverOptions& options, const Config& config, Deadline deadline) {
    const std::string spool = std::string(config.text("store.state")) + "/spool";
    if (!options.file) return Message::read(files, STDIN_FILENO, spool, deadline);
    auto fd = files.open({AT_FDCWD, {}}, *options.file, O_RDONLY, 0, Files::Follow::yes);
    if (!fd) return std::move(fd).error();
    return Message::read(files, fd->get(), spool, deadline);
}

// One exit status for all recipients: temporary trouble first, since only it makes the MTA try again.
int exit_code(const std::vector<Verdict>& verdicts) {
    int code = 0;
    for (const Verdict& verdict : verdicts) {
        const int own = row_of(verdict.outcome).exit_code;
        if (own == kExitTemporary) return own;
        if (code == 0) code = own;
    }
    return code;
}

// The verdict that decides the exit status comes first, and its cause before what it entails: Postfix reads the code at
// the very beginning.
void say_failures(const std::vector<Verdict>& verdicts, int code) {
    const auto say_those = [&](const auto& chosen) {
        for (const Verdict& verdict : verdicts)
            if (verdict.outcome != Outcome::delivered && chosen(verdict)) say(verdict.outcome, verdict.text);
    };
    const auto decides = [&](const Verdict& verdict) { return row_of(verdict.outcome).exit_code == code; };
    say_those([&](const Verdict& verdict) { return decides(verdict) && !verdict.with_others; });
    say_those([&](const Verdict& verdict) { return !decides(verdict); });
    say_those([&](const Verdict& verdict) { return verdict.with_others; });
}

int deliver(const DeliverOptions& options) {
    auto described = make_envelope(options, [](const char* name) -> const char* {
        return std::getenv(name);  // NOLINT(concurrency-mt-unsafe): one thread, and nothing changes the environment
    });
    if (!described) return fail(described.error());
    Envelope& envelope = described->envelope;
    envelope.session = session_name();

    auto config = load_config(options.config_path, options.overrides);
    if (!config) return fail(config.error());
    const auto span = config->duration("delivery.deadline");
    ::signal(SIGALRM, on_deadline);
    arm_timer(span);
    // What can be given a deadline ends a little earlier and cleans up after itself.
    const Deadline deadline = Deadline::in(span - span / 10);

    const std::string_view target = config->text("log.target");
    // On stderr the MTA wants to read nothing but why a delivery failed.
    auto logging = open_log("roost-deliver", target,
                            target == "stderr" ? LogLevel::nothing : log_level(config->text("log.level")));
    if (!logging) return fail(logging.error());
    if (!described->warning.empty()) log(LogLevel::warning, described->warning);

    auto instance = Instance::open(*std::move(config), SqlUserDb::Use::once);
    if (!instance) return fail(instance.error());
    auto message = read_message((*instance)->files(), options, (*instance)->config(), deadline);
    if (!message) return fail(message.error());
    if (!envelope.sender) envelope.sender = message->from_line_sender();

    const std::vector<Verdict> verdicts =
        (*instance)->store().deliver(envelope, *message, deadline, MailStore::Together::yes, [] { visible = 1; });
    decided = exit_code(verdicts);
    say_failures(verdicts, decided);
    limit_rest(**instance);
    for (std::size_t i = 0; i < verdicts.size(); ++i) {
        DeliveryContext context;
        context.code = pipe_code(verdicts[i].outcome);
        log_verdict(envelope, envelope.recipients[i], &*message, verdicts[i], context);
    }
    publish(**instance, verdicts);
    // The process ends now, and the kernel lets go of everything faster than destructors do; only a database that was
    // written to, for a new mailbox, wants to be closed.
    if (std::none_of(verdicts.begin(), verdicts.end(), [](const Verdict& verdict) { return verdict.created; }))
        [[maybe_unused]]
        static const Instance* const left = instance->release();
    return decided;
}

int run(int argc, char** argv) {
    settle_process();
    auto options = read_options(argc, argv);
    if (!options) return fail(options.error());
    switch (options->show) {
        case DeliverOptions::Show::help:
            std::fputs(help_text().c_str(), stdout);
            return 0;
        case DeliverOptions::Show::version:
            std::puts("roost-deliver " ROOST_VERSION);
            return 0;
        case DeliverOptions::Show::options:
            std::fputs(option_list().c_str(), stdout);
            return 0;
        case DeliverOptions::Show::nothing:
            break;
    }
    return deliver(*options);
}

}  // namespace
}  // namespace roost

int main(int argc, char** argv) {
    try {
        return roost::run(argc, argv);
    } catch (const std::exception& e) {  // out of memory, a fault of ours: the MTA keeps the mail
        if (roost::decided >= 0) return roost::decided;
        std::fprintf(stderr, "4.3.0 roost-deliver failed: %s\n", e.what());
        return roost::kExitTemporary;
    }
}
