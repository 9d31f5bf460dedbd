// What the statically linked roost-deliver does where a module is to be loaded that it carries no copy of, or a dict
// needs a library that it is linked without: it becomes roost-deliver-modules, the same program linked dynamically,
// which stands beside it. Modules are loaded and dicts are made before anything else is done, so nothing has been read
// or changed yet.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "base/files.h"
#include "dict/driver.h"
#include "module/shared_object.h"

namespace roost {
namespace {

constexpr std::size_t kLongestCommandLine = 4UL << 20U;

// Returns only if it fails.
Error become(const std::string& program) {
    Files files;
    // The words of the command line, a NUL after each.
    auto fd = files.open({AT_FDCWD, {}}, "/proc/self/cmdline", O_RDONLY);
    if (!fd) return std::move(fd).error();
    auto line = files.read_all(fd->get(), "/proc/self/cmdline", kLongestCommandLine);
    if (!line) return std::move(line).error();
    std::vector<char*> words;
    for (std::size_t at = 0; at < line->size(); at = line->find('\0', at) + 1) words.push_back(line->data() + at);
    words.push_back(nullptr);
    ::execv(program.c_str(), words.data());
    return system_error(errno, "cannot run " + program, "is Roost installed completely?");
}

// Returns only if it fails.
Error become_dynamic() {
    std::array<char, 4096> own{};
    const ssize_t length = ::readlink("/proc/self/exe", own.data(), own.size());
    if (length < 0 || static_cast<std::size_t>(length) == own.size())
        return Error{Outcome::trouble, "roost-deliver", "cannot find out where it stands", "mount /proc", 0};
    return become(std::string(own.data(), static_cast<std::size_t>(length)) + "-modules");
}

}  // namespace

Result<ModuleEntry> load_shared_object(const std::string& path) {
    const Error error = become_dynamic();
    return module_error(path, error.text(), error.hint);
}

Result<std::span<const DictDriver>> large_dict_drivers() { return become_dynamic(); }

}  // namespace roost
