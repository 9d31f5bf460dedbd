// Failure as a value: Error says what failed, why and what to do; Result<T> is a T or an Error.
//
// Whatever handles an Error is marked as cold, so that the compiler makes that code small and puts it out of the way of
// what runs: a pipe command pays for each page of its program that it touches.
#pragma once

#include "base/outcome.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace roost {

// One failure. `text()` is what an administrator reads: "what: why: hint".
struct Error {
    Outcome outcome = Outcome::trouble;  // what the MTA is told
    std::string what;                    // what failed, naming the object
    std::string why;                     // the reason
    std::string hint;                    // what to do about it; may be empty
    int sys = 0;                         // errno, where a system call failed

    [[gnu::cold]] std::string text() const;
};

// An Error for a failed system call; the outcome follows from the errno (ENOSPC and EDQUOT: store_full).
[[gnu::cold]] Error system_error(int sys, std::string what, std::string hint = {});

// An Error for configuration, records and other things an administrator wrote.
[[gnu::cold]] Error config_error(std::string what, std::string why, std::string hint = {});

// A value or an Error. Test it before use: `*r` of a failure and `error()` of a success throw std::logic_error-like
// variant exceptions, because both are faults in the program.
template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
    [[gnu::cold]] Result(Error error)                                      // NOLINT(google-explicit-constructor)
        : state_(std::in_place_index<1>, std::move(error)) {}

    explicit operator bool() const { return state_.index() == 0; }
    T& operator*() & { return std::get<0>(state_); }
    const T& operator*() const& { return std::get<0>(state_); }
    T&& operator*() && { return std::get<0>(std::move(state_)); }
    T* operator->() { return &std::get<0>(state_); }
    const T* operator->() const { return &std::get<0>(state_); }
    [[gnu::cold]] Error& error() & { return std::get<1>(state_); }
    [[gnu::cold]] const Error& error() const& { return std::get<1>(state_); }
    [[gnu::cold]] Error&& error() && { return std::get<1>(std::move(state_)); }

private:
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    [[gnu::cold]] Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

    explicit operator bool() const { return !error_; }
    [[gnu::cold]] Error& error() & { return error_.value(); }
    [[gnu::cold]] const Error& error() const& { return error_.value(); }
    [[gnu::cold]] Error&& error() && { return std::move(error_).value(); }

private:
    std::optional<Error> error_;
};

}  // namespace roost
