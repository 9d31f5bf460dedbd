#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>

#include "base/text.h"

namespace roost {
namespace {

// Made at the first use, so that a program that logs nothing pays nothing. Atomic, since open_log() may come again.
std::atomic<std::shared_ptr<spdlog::logger>>& logger() {
    static std::atomic<std::shared_ptr<spdlog::logger>> instance = [] {
        auto first = std::make_shared<spdlog::logger>("roost", std::make_shared<spdlog::sinks::stderr_sink_mt>());
        first->set_pattern("roost: %v");
        first->set_level(spdlog::level::warn);
        return first;
    }();
    return instance;
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
    switch (level) {
        case LogLevel::debug:
            return spdlog::level::debug;
        case LogLevel::info:
            return spdlog::level::info;
        case LogLevel::warning:
            return spdlog::level::warn;
        case LogLevel::error:
            break;
    }
    return spdlog::level::err;
}

}  // namespace

Result<void> open_log(std::string_view ident, std::string_view target, LogLevel level) {
    const std::string name(ident);
    try {
        std::shared_ptr<spdlog::logger> made;
        if (target == "stderr") {
            made = std::make_shared<spdlog::logger>(name, std::make_shared<spdlog::sinks::stderr_sink_mt>());
            made->set_pattern("%n: %v");
        } else if (target == "syslog") {
            made = std::make_shared<spdlog::logger>(
                name, std::make_shared<spdlog::sinks::syslog_sink_mt>(name, LOG_PID, LOG_MAIL, true));
            made->set_pattern("%v");
        } else if (target.starts_with('/')) {
            // spdlog would make missing directories; a mistyped path must not become one.
            const std::string directory(target.substr(0, target.rfind('/') + 1));
            if (::access(directory.c_str(), F_OK) != 0) {
                Error error = system_error(errno, "cannot open the log " + std::string(target), "check log.target");
                error.outcome = Outcome::misconfigured;
                return error;
            }
            made = std::make_shared<spdlog::logger>(
                name, std::make_shared<spdlog::sinks::basic_file_sink_mt>(std::string(target)));
            made->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %n[%P] %l: %v");
            made->flush_on(spdlog::level::debug);
        } else {
            return config_error("log.target '" + printable(target) + "'", "not a log target",
                                "use stderr, syslog or the absolute path of a file");
        }
        made->set_level(spdlog_level(level));
        logger().store(std::move(made));
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

void log(LogLevel level, std::string_view text) { logger().load()->log(spdlog_level(level), "{}", printable(text)); }

}  // namespace roost
