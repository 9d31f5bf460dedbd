#include "site_checks.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/files.h"
#include "base/text.h"
#include "config/value.h"
#include "quota/warnings.h"

namespace roost::cli {
namespace {

std::string parent_of(const std::string& path) {
    return path.substr(0, std::max<std::size_t>(path.find_last_of('/'), 1));
}

Result<std::string> read_regular(const std::string& path) {
    constexpr std::size_t kMost = 256UL * 1024;
    Files files;
    auto fd = files.open({AT_FDCWD, {}}, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, Files::Follow::yes);
    if (!fd) return std::move(fd).error();
    return files.read_all(fd->get(), path, kMost);
}

Result<void> check_program(const std::string& path) {
    struct stat info {};
    const int sys = ::stat(path.c_str(), &info) != 0                             ? errno
                    : S_ISDIR(info.st_mode)                                      ? EISDIR
                    : ::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) != 0 ? errno
                                                                                 : 0;
    if (sys == 0) return {};
    return system_error(sys, "cannot run " + printable(path), "check the path");
}

}  // namespace

Result<void> check_directory(const std::string& key, const std::string& path) {
    constexpr mode_t kMode = 0600;
    Files files;
    auto there = files.open_dir({AT_FDCWD, {}}, path, Files::Follow::yes);
    std::string dir = path;
    while (!there && there.error().sys == ENOENT && dir != "/") {
        dir = parent_of(dir);
        there = files.open_dir({AT_FDCWD, {}}, dir, Files::Follow::yes);
    }
    if (there) {
        // A file without a name leaves nothing behind.
        auto file = files.open({there->get(), dir}, ".", O_TMPFILE | O_WRONLY, kMode);
        const bool unsupported = !file && (file.error().sys == EOPNOTSUPP || file.error().sys == EISDIR);
        if (file || unsupported) return {};
        there = std::move(file).error();
    }
    Error error = std::move(there).error();
    error.what = key + " = " + printable(path);
    error.why = (dir == path ? "it cannot be written: " : "it cannot be made in " + dir + ": ") + error.why;
    if (error.hint.empty()) error.hint = "make the directory, for the user that runs Roost";
    return error;
}

Result<void> check_log(const std::string& target) {
    if (target == "stderr" || target == "syslog") return {};
    const std::string what = "log.target = " + printable(target);
    if (!target.starts_with('/'))
        return config_error(what, "it is neither stderr, syslog nor a path", "begin a file's path with /");
    const std::string dir = parent_of(target);
    // Nobody makes it.
    if (::access(dir.c_str(), F_OK) != 0)
        return system_error(errno, what + ": cannot look into " + dir,
                            "make the directory, for the user that runs Roost");
    Files files;
    auto file = files.open({AT_FDCWD, {}}, target, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY, 0, Files::Follow::yes);
    if (file || file.error().sys == ENXIO) return {};  // a pipe that nobody reads at the moment
    if (file.error().sys == ENOENT) return check_directory("log.target: directory", dir);
    Error error = std::move(file).error();
    error.what = what;
    error.outcome = Outcome::misconfigured;
    error.hint = "let the user that runs Roost write it, or move it away";
    return error;
}

Result<void> check_database(const Config& config) {
    const std::string_view url = config.text("users.database");
    const std::string path(url.substr(url.find(':') + 1));
    // Not opened: closing it would take SQLite's locks along, if this process has it open.
    if (::faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK, AT_EACCESS) != 0)
        return system_error(errno, "users.database = " + printable(url), "let the user that runs Roost write the file");
    // SQLite keeps files of its own beside it.
    return check_directory("users.database: directory", parent_of(path));
}

std::vector<Error> check_warnings(const Config& config) {
    std::vector<Error> out;
    const auto add = [&](const char* key, Error error) {
        error.what = std::string(config.origin(key)) + ": " + key + ": " + error.what;
        out.push_back(std::move(error));
    };
    if (const std::string path(config.text("quota.warning-message")); !path.empty()) {
        auto text = read_regular(path);
        if (text) text = expand_warning(*text, Warning{}, {});
        if (!text) {
            if (text.error().sys == 0) text.error().what = path;
            add("quota.warning-message", std::move(text).error());
        }
    }
    const std::vector<std::string> command = parse_words(config.text("quota.warning-command"));
    if (!command.empty() && command.front().find('%') == std::string::npos)
        if (auto program = check_program(command.front()); !program)
            add("quota.warning-command", std::move(program).error());
    return out;
}

}  // namespace roost::cli
