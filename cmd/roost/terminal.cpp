#include "terminal.h"

#include <iostream>

#include "base/text.h"

#include <langinfo.h>
#include <locale.h>
#include <unistd.h>

namespace roost::cli {

bool can_ask() { return ::isatty(STDIN_FILENO) == 1; }

bool ask(std::string_view question) {
    std::cerr << question << " [y/N] " << std::flush;
    std::string answer;
    if (!std::getline(std::cin, answer)) {
        std::cerr << '\n';
        return false;
    }
    const std::string said = lower(trim(answer));
    return said == "y" || said == "yes";
}

bool is_terminal() { return ::isatty(STDOUT_FILENO) == 1; }

bool terminal_takes_utf8() {
    const locale_t locale = ::newlocale(LC_CTYPE_MASK, "", nullptr);
    if (locale == nullptr) return false;
    const bool utf8 = std::string_view(::nl_langinfo_l(CODESET, locale)) == "UTF-8";
    ::freelocale(locale);
    return utf8;
}

Progress::Progress(std::string what, bool quiet)
    : what_(std::move(what)), shown_(!quiet && ::isatty(STDERR_FILENO) == 1), next_(std::chrono::steady_clock::now()) {}

Progress::~Progress() { wipe(); }

void Progress::step() {
    constexpr std::chrono::milliseconds kPause(200);
    ++done_;
    if (!shown_ || std::chrono::steady_clock::now() < next_) return;
    next_ = std::chrono::steady_clock::now() + kPause;
    std::cerr << '\r' << what_ << ": " << done_ << std::flush;
    on_screen_ = true;
}

void Progress::wipe() {
    if (on_screen_) std::cerr << "\r\033[K" << std::flush;
    on_screen_ = false;
}

}  // namespace roost::cli
