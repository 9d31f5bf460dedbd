// The system calls that change a file system, a lock or what a parent learns, as roost-kill counts them.
#pragma once

#include <cstdint>
#include <span>

namespace roost::fault {

// What the first arguments of a call name, to print it.
enum class Names { descriptor, path, path_at, nothing };

struct Call {
    std::uint64_t number;
    const char* name;
    Names names;
    // Whether it changes anything with these arguments; null: always.
    bool (*modifies)(const std::uint64_t (&args)[6]);
    bool can_fail;     // making it fail is a test
    int short_length;  // the argument that holds the length, for calls that may do less than asked; -1: none
};

// The row of a call, or null for one that only looks.
const Call* find_call(std::uint64_t number);

}  // namespace roost::fault
