// Which file belongs to which user: a path with variables in it.
#pragma once

#include "base/result.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace roost {

// "%u" and "%{user}" stand for the whole name, "%n" and "%{local}" for what is before "@" in it, "%d" and "%{domain}"
// for what is behind, "%%" for "%". Each becomes one path component, in which bytes that have no place there are
// escaped as path_component() does; a component holds at most one. A value.
class FilePaths {
public:
    // Errors (misconfigured): a path that is relative or climbs, a variable that is none, and one file for several
    // users.
    static Result<FilePaths> make(std::string_view pattern);

    std::string path_of(std::string_view user) const;

    // Every user whose file is there, with its path, in any order. `visit` returns false to stop; so does an Error of
    // its own. Directories that cannot be read are an Error.
    using Visit = std::function<Result<bool>(const std::string& user, const std::string& path)>;
    Result<void> each(const Visit& visit) const;

private:
    // One component of the path: text, what one variable stands for, text.
    struct Component {
        enum class Variable { none, user, local, domain };
        std::string before;
        Variable variable = Variable::none;
        std::string after;

        std::string expand(std::string_view user) const;
    };
    // What the variables stood for in the components of a path that was found.
    struct Found {
        std::string user, local, domain;
        std::string name() const;
    };

    static Result<Component> read(std::string_view text);
    Result<bool> walk(std::size_t depth, const std::string& above, const Found& found, const Visit& visit) const;

    std::vector<Component> components_;
};

}  // namespace roost
