// What depends on a person sitting there: questions and progress.
#pragma once

#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace roost::cli {

// True if standard input is a terminal, so that somebody can answer.
bool can_ask();
// Asks on the terminal; anything but y or yes, the end of input included, is no.
bool ask(std::string_view question);

// True if standard output is a terminal, and if what it shows may be UTF-8 by the locale.
bool is_terminal();
bool terminal_takes_utf8();

// A line on a terminal that tells how far long work has come. Silent if standard error is no terminal, or if `quiet`.
class Progress {
public:
    Progress(std::string what, bool quiet);
    ~Progress();  // wipes the line
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // One more is done. Rewrites the line a few times a second.
    void step();
    // Wipes the line, so that something else can be printed.
    void wipe();

private:
    std::string what_;
    bool shown_;
    bool on_screen_ = false;
    std::uint64_t done_ = 0;
    std::chrono::steady_clock::time_point next_;
};

}  // namespace roost::cli
