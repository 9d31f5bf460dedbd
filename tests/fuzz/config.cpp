// roost.conf. Input: the file.
#include "config/config.h"

#include "base/fd.h"
#include "base/text.h"
#include "check.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

using namespace roost;

namespace {

void check_error(const Error& error) {
    check(error.outcome == Outcome::misconfigured, "a bad configuration is the administrator's fault");
    const std::string text = error.text();
    check(text.find("/proc/self/fd/") != std::string::npos, "an error names the file");
    check(std::none_of(text.begin(), text.end(), is_control) && is_utf8(text), "an error's text is clean");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Fd file(::memfd_create("roost.conf", MFD_CLOEXEC));
    check(file && ::write(file.get(), data, size) == static_cast<ssize_t>(size), "the file can be written");
    const std::string path = "/proc/self/fd/" + std::to_string(file.get());
    auto read = ConfigFile::read(path, {});
    if (!read) {
        check_error(read.error());
        return 0;
    }
    for (const ConfigFile::Entry& entry : read->entries()) {
        check(entry.where.starts_with(path + ":"), "each setting knows where it stands");
        check(read->find(entry.key) == &entry, "no setting stands twice");
    }
    const std::size_t entries = read->entries().size();
    const auto config = Config::make(*std::move(read), Schema());
    if (!config) {
        check_error(config.error());
        return 0;
    }
    // Every value that was let pass can be used.
    std::size_t given = 0;
    const auto cascade = Cascade::make(*config, {});
    check(bool(cascade), "no levels are a cascade, too");
    for (const std::string& key : config->keys()) {
        given += config->origin(key) != "default" ? 1 : 0;
        switch (config->schema().find(key)->kind) {
            case Kind::boolean:
                config->flag(key);
                break;
            case Kind::duration:
                config->duration(key);
                break;
            case Kind::size:
                cascade->size(key);
                break;
            case Kind::count:
                cascade->count(key);
                break;
            case Kind::mode:
                cascade->mode(key);
                break;
            case Kind::allowance:
                cascade->allowance(key);
                break;
            case Kind::id_range:
                cascade->id_range(key);
                break;
            case Kind::room:
                cascade->room(key);
                break;
            default:
                cascade->words(key);
                break;
        }
    }
    check(given == entries, "every setting counts");
    return 0;
}
