#include "reach.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "module/loader.h"
#include "user/user.h"

namespace roost {
namespace {

// Programs, libraries and what they read: for modules, looking up names, commands of quota.warning.
constexpr const char* kSystem[] = {"/usr", "/lib", "/lib64", "/bin",  "/sbin",
                                   "/opt", "/etc", "/run",   "/proc", "/dev/urandom"};

std::string folder_of(std::string_view path) {
    const std::size_t slash = path.find_last_of('/');
    if (slash == std::string_view::npos) return ".";
    return std::string(path.substr(0, std::max<std::size_t>(slash, 1)));
}

// The directories of a file that is read again at a reload: where it stands and, if that is a link, where it is.
void add_file(std::vector<std::string>& to, const std::string& path) {
    if (path.empty()) return;
    to.push_back(folder_of(path));
    const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
    if (real) to.push_back(folder_of(real.get()));
}

// The files that a dict's URI names: the database of sqlite:, what the template of file: makes, and certificates.
// Sockets, which "path", "host" and a part without a key are elsewhere, need no rights.
void add_dict(Reach& out, std::string_view uri) {
    const bool is_template = uri.starts_with("file:");
    const bool is_file = is_template || uri.starts_with("sqlite:");
    while (!uri.empty()) {
        const std::size_t colon = std::min(uri.find(':'), uri.size());
        const std::string_view part = uri.substr(0, colon);
        uri.remove_prefix(std::min(colon + 1, uri.size()));
        const std::size_t equals = part.find('=');
        if (is_file && part.starts_with('/')) {
            out.writes.push_back(is_template ? common_path(part) : folder_of(part));
        } else if (equals != std::string_view::npos && part.substr(equals + 1).starts_with('/')) {
            const std::string_view key = part.substr(0, equals);
            if (key != "path" && key != "host") add_file(out.reads, std::string(part.substr(equals + 1)));
        }
    }
}

}  // namespace

Result<std::optional<Reach>> reach_of(Instance& instance, const Setup& setup) {
    const Config& config = instance.config();
    auto stores = instance.mda().directories();
    if (!stores) return std::move(stores).error();
    if (!*stores) return std::optional<Reach>();

    Reach out;
    out.writes = **std::move(stores);
    for (std::string& each : parse_words(config.text("store.directories"))) out.writes.push_back(std::move(each));
    out.writes.emplace_back(config.text("store.state"));
    out.writes.emplace_back("/dev/null");
    const std::string_view database = config.text("users.database");
    if (database.starts_with("sqlite:")) out.writes.push_back(folder_of(database.substr(database.find(':') + 1)));
    if (config.text("log.target").starts_with('/')) out.writes.push_back(folder_of(config.text("log.target")));
    for (const auto* listen : {&setup.lmtp.listen, &setup.policy.listen})
        for (const Endpoint& each : *listen)
            if (each.local()) out.writes.push_back(folder_of(each.path));
    for (const std::string& key : config.keys())
        if (key.ends_with("dict")) add_dict(out, config.text(key));

    for (const char* each : kSystem) out.reads.emplace_back(each);
    const std::string_view modules = config.text("store.modules");
    out.reads.emplace_back(modules.empty() ? default_module_dir() : modules);
    add_file(out.reads, config.path());
    for (const char* key : {"lmtp.tls-certificate", "lmtp.tls-key", "quota.warning-message"})
        add_file(out.reads, std::string(config.text(key)));
    if (const auto command = parse_words(config.text("quota.warning-command")); !command.empty())
        add_file(out.reads, command.front());
    // Each once, for the log.
    std::sort(out.writes.begin(), out.writes.end());
    out.writes.erase(std::unique(out.writes.begin(), out.writes.end()), out.writes.end());
    return std::optional(std::move(out));
}

std::string confine(Confinement& confinement, Instance& instance, const Setup& setup) {
    const std::string no = "not confined to its directories: ";
    const Config& config = instance.config();
    if (!config.flag("store.confine")) return no + "store.confine is no";
    auto reach = reach_of(instance, setup);
    if (!reach) return no + reach.error().text();
    if (!*reach)
        return no + "the MDA module " + std::string(config.text("store.mda")) + " does not say where it writes";
    // SQLite would put what it has no memory for wherever there is room.
    ::setenv("SQLITE_TMPDIR", std::string(config.text("store.state")).c_str(), 0);  // NOLINT(concurrency-mt-unsafe)
    if (auto begun = confinement.begin(**reach); !begun) return begun.error().text();
    std::string text = "confined: writes below";
    for (const std::string& each : (*reach)->writes) text += " " + each;
    return text;
}

}  // namespace roost
