#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "base/text.h"

namespace roost {
namespace {

spdlog::level::level_enum spdlog_level(LogLevel level) {
    switch (level) {
        case LogLevel::debug:
            return spdlog::level::debug;
        case LogLevel::info:
            return spdlog::level::info;
        case LogLevel::warning:
            return spdlog::level::warn;
        case LogLevel::error:
        case LogLevel::nothing:
            break;
    }
    return spdlog::level::err;
}

using Logger = std::shared_ptr<spdlog::logger>;

// Takes lines of all levels. That lines are lost is told once on standard error, except by the pipe command: what that
// writes there is the MTA's, one line for each recipient.
Logger make_logger(const std::string& name, spdlog::sink_ptr sink, const std::string& pattern) {
    auto made = std::make_shared<spdlog::logger>(name, std::move(sink));
    made->set_error_handler([name, told = std::make_shared<std::atomic_flag>()](const std::string& why) {
        if (name != "roost-deliver" && !told->test_and_set())
            std::fprintf(stderr, "%s: cannot write the log: %s: until it can be, lines are lost\n", name.c_str(),
                         why.c_str());
    });
    made->set_pattern(pattern);
    made->set_level(spdlog::level::trace);
    return made;
}

// Where lines go. On stderr the logger is made for the first line, so that a program that logs nothing pays nothing.
class Log {
public:
    // `logger`: null for stderr.
    void open(std::string_view ident, LogLevel least, Logger logger) {
        const std::lock_guard guard(mutex_);
        ident_ = ident;
        least_ = least;
        logger_ = std::move(logger);
    }

    // Null if nobody wants a line of this level.
    Logger logger(LogLevel level) {
        const std::lock_guard guard(mutex_);
        if (level < least_) return nullptr;
        if (!logger_) logger_ = make_logger(ident_, std::make_shared<spdlog::sinks::stderr_sink_mt>(), "%n: %v");
        return logger_;
    }

private:
    std::mutex mutex_;
    std::string ident_ = "roost";
    LogLevel least_ = LogLevel::warning;
    Logger logger_;
};

Log& current() {
    static Log log;
    return log;
}

}  // namespace

Result<void> open_log(std::string_view ident, std::string_view target, LogLevel level) {
    const std::string name(ident);
    try {
        Logger made;
        if (target == "syslog") {
            made =
                make_logger(name, std::make_shared<spdlog::sinks::syslog_sink_mt>(name, LOG_PID, LOG_MAIL, true), "%v");
        } else if (target.starts_with('/')) {
            // spdlog would make missing directories; a mistyped path must not become one.
            const std::string directory(target.substr(0, target.rfind('/') + 1));
            if (::access(directory.c_str(), F_OK) != 0) {
                Error error = system_error(errno, "cannot open the log " + std::string(target), "check log.target");
                error.outcome = Outcome::misconfigured;
                return error;
            }
            made = make_logger(name, std::make_shared<spdlog::sinks::basic_file_sink_mt>(std::string(target)),
                               "%Y-%m-%dT%H:%M:%S.%e%z %n[%P] %l: %v");
            made->flush_on(spdlog::level::debug);
        } else if (target != "stderr") {
            return config_error("log.target '" + printable(target) + "'", "not a log target",
                                "use stderr, syslog or the absolute path of a file");
        }
        current().open(ident, level, std::move(made));
    } catch (const spdlog::spdlog_ex& e) {
        return config_error("cannot open the log " + std::string(target), e.what(), "check log.target");
    }
    return {};
}

LogLevel log_level(std::string_view name) {
    if (name == "debug") return LogLevel::debug;
    if (name == "info") return LogLevel::info;
    return name == "warning" ? LogLevel::warning : LogLevel::error;
}

void log(LogLevel level, std::string_view text) {
    if (const Logger logger = current().logger(level)) logger->log(spdlog_level(level), "{}", printable(text));
}

}  // namespace roost
