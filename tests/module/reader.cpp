#include "reader.h"

#include <stdexcept>

#include "maildir_reader.h"
#if __has_include("mbox_reader.h")
#include "mbox_reader.h"
#endif

namespace roost::test {

std::unique_ptr<Reader> make_reader(std::string_view module) {
    if (module == "maildir") return std::make_unique<MaildirReader>();
#if __has_include("mbox_reader.h")
    if (module == "mbox") return std::make_unique<MboxReader>();
#endif
    throw std::runtime_error("no reader for the module " + std::string(module));
}

}  // namespace roost::test
