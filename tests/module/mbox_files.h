// What the tests of mbox share: a message, a foreign one, and the files seen as other programs see them.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <string>

#include "catch.h"
#include "mbox_reader.h"
#include "site.h"

namespace roost::test {

inline const std::string kForeign =
    "From carol@example.com Mon Jan  1 00:00:00 2024\nSubject: foreign\n\nBy another program.\n\n";

inline std::string inbox_of(const User& user) { return *user.allocated("mbox.path"); }
inline std::string contents(const std::string& path) { return MboxReader::contents(path); }

inline void append(const std::string& path, const std::string& text) { put(path, text, std::ios::app); }

// Runs `work` in a process of its own and returns the wait status.
inline int in_child(const std::function<int()>& work) {
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) ::_exit(work());
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    return status;
}

}  // namespace roost::test
