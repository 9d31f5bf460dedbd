// The user record, and the user that the cascade makes of it.
#pragma once

#include "base/result.h"
#include "config/config.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace roost {

// What the user database holds of one user, with the domain's and the plan's settings beside it.
struct UserRecord {
    std::string name;  // lower case
    bool enabled = true;
    Settings settings;
    std::optional<Settings> allocation;  // what a module added when it made the mailbox; nullopt: no mailbox yet
    std::int64_t version = 0;            // grows with every change that Roost makes
    std::string allocation_text;         // the allocation column as read, to notice changes by others

    std::string domain;  // the part behind the last "@"; may be empty
    Settings domain_settings;
    std::string plan;  // the domain's plan; may be empty
    Settings plan_settings;
};

// What an MDA module keeps with a User between two calls, such as the opened mailbox. It is let go of with the User,
// and whenever the User has to wait for a peer; a copy of the User begins without it.
class Kept {
public:
    Kept() = default;
    Kept(const Kept& /*other*/) {}
    Kept(Kept&& other) noexcept = default;
    Kept& operator=(const Kept& other) {
        if (this != &other) thing_.reset();
        return *this;
    }
    Kept& operator=(Kept&& other) noexcept = default;
    ~Kept() = default;

    template <class Thing>
    std::shared_ptr<Thing> get() const {
        return std::static_pointer_cast<Thing>(thing_);
    }
    void set(std::shared_ptr<void> thing) { thing_ = std::move(thing); }

private:
    std::shared_ptr<void> thing_;
};

// A user as modules see one: effective settings and allocation. Holds a pointer to the Config behind `settings`. One
// thread at a time.
class User {
public:
    // Runs the cascade. Errors (misconfigured) name the level and the key that is wrong.
    static Result<User> make(const Config& config, UserRecord record);

    const std::string& name() const { return record_.name; }
    std::string_view local() const;
    std::string_view domain() const { return record_.domain; }
    const Cascade& settings() const { return settings_; }
    const UserRecord& record() const { return record_; }

    // The allocated value of a key, or null.
    const std::string* allocated(std::string_view key) const;

    // The MDA module's own; nobody else looks into it.
    Kept& kept() const { return kept_; }

private:
    User(UserRecord record, Cascade settings) : record_(std::move(record)), settings_(std::move(settings)) {}
    UserRecord record_;
    Cascade settings_;
    mutable Kept kept_;
};

// Expands %{user} %{local} %{domain} %{hash} %% in a path template for `user`. Each value becomes one path component
// (%{hash}: two, of two hex digits each, from the 64-bit FNV-1a hash of the name): "/", "%", control characters and a
// leading "." become %HH, and an empty value, as the domain of a name without one, becomes "@", so that no two names
// share a path and no name leaves the template's directory. An unknown variable, a relative path or a ".." component
// in the template is an Error (misconfigured). `key` names the setting in messages.
Result<std::string> expand_path(std::string_view key, std::string_view pattern, const User& user);

// The directory that all paths have in common that expand_path makes of an absolute template.
std::string common_path(std::string_view pattern);

}  // namespace roost
