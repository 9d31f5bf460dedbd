#include "dict/file_paths.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/text.h"

namespace roost {
namespace {

constexpr std::string_view kHint =
    "write an absolute path with %{user}, or %{domain} and %{local}, at most one of them between two slashes, and %% "
    "for a percent sign";

std::string domain_component(std::string_view user) {
    const std::size_t at = user.rfind('@');
    if (at == std::string_view::npos) return path_component({});
    // "alice@" is not "alice", though neither has a domain.
    return at + 1 == user.size() ? "%40" : path_component(user.substr(at + 1));
}

}  // namespace

std::string FilePaths::Component::expand(std::string_view user) const {
    switch (variable) {
        case Variable::none:
            return before;
        case Variable::user:
            return before + path_component(user) + after;
        case Variable::local:
            return before + path_component(user.substr(0, user.rfind('@'))) + after;
        case Variable::domain:
            return before + domain_component(user) + after;
    }
    return {};
}

std::string FilePaths::Found::name() const {
    if (!user.empty()) return user;
    return domain.empty() ? local : local + "@" + domain;
}

Result<FilePaths::Component> FilePaths::read(std::string_view text) {
    constexpr std::array<std::pair<std::string_view, Component::Variable>, 6> kVariables{
        {{"%u", Component::Variable::user},
         {"%{user}", Component::Variable::user},
         {"%n", Component::Variable::local},
         {"%{local}", Component::Variable::local},
         {"%d", Component::Variable::domain},
         {"%{domain}", Component::Variable::domain}}};
    Component out;
    while (!text.empty()) {
        std::string& literal = out.variable == Component::Variable::none ? out.before : out.after;
        const std::size_t percent = std::min(text.find('%'), text.size());
        literal += text.substr(0, percent);
        text.remove_prefix(percent);
        if (text.empty()) break;
        if (text.starts_with("%%")) {
            literal += '%';
            text.remove_prefix(2);
            continue;
        }
        const auto* const found = std::find_if(kVariables.begin(), kVariables.end(),
                                               [&](const auto& row) { return text.starts_with(row.first); });
        if (found == kVariables.end()) return config_error({}, "a '%' that begins no variable");
        if (out.variable != Component::Variable::none)
            return config_error({}, "two variables without a slash between them");
        out.variable = found->second;
        text.remove_prefix(found->first.size());
    }
    return out;
}

Result<FilePaths> FilePaths::make(std::string_view pattern) {
    const auto wrong = [&](std::string why) {
        return config_error("the path '" + printable(pattern) + "'", std::move(why), std::string(kHint));
    };
    if (!pattern.starts_with('/')) return wrong("it is not absolute");
    FilePaths out;
    for (std::string_view rest = pattern; !rest.empty();) {
        rest.remove_prefix(std::min(rest.find_first_not_of('/'), rest.size()));
        const std::string_view text = rest.substr(0, rest.find('/'));
        rest.remove_prefix(text.size());
        if (text.empty()) return wrong("it ends with a slash");
        if (text == "." || text == "..") return wrong("'" + std::string(text) + "' has no place in it");
        auto component = read(text);
        if (!component) return wrong(component.error().why);
        out.components_.push_back(*std::move(component));
    }
    const auto has = [&](Component::Variable variable) {
        return std::any_of(out.components_.begin(), out.components_.end(),
                           [&](const Component& component) { return component.variable == variable; });
    };
    if (!has(Component::Variable::user) && !(has(Component::Variable::local) && has(Component::Variable::domain)))
        return wrong("it is one file for several users, and keys in a file do not say whose they are");
    return out;
}

std::string FilePaths::path_of(std::string_view user) const {
    std::string out;
    for (const Component& component : components_) out += "/" + component.expand(user);
    return out;
}

Result<void> FilePaths::each(const Visit& visit) const {
    auto walked = walk(0, {}, {}, visit);
    if (!walked) return std::move(walked).error();
    return {};
}

// False: `visit` wants no more.
Result<bool> FilePaths::walk(std::size_t depth, const std::string& above, const Found& found,
                             const Visit& visit) const {
    if (depth == components_.size()) {
        const std::string user = found.name();
        // What was not written by path_of() belongs to somebody else.
        return user.empty() || path_of(user) != above ? Result<bool>(true) : visit(user, above);
    }
    const Component& component = components_[depth];
    if (component.variable == Component::Variable::none)
        return walk(depth + 1, above + "/" + component.before, found, visit);
    const std::string directory = above.empty() ? "/" : above;
    std::error_code failure;
    for (std::filesystem::directory_iterator entry(directory, failure), end; !failure && entry != end;
         entry.increment(failure)) {
        const std::string name = entry->path().filename().string();
        const std::size_t fixed = component.before.size() + component.after.size();
        if (name.size() <= fixed || !name.starts_with(component.before) || !name.ends_with(component.after)) continue;
        const std::string value =
            path_component_value(std::string_view(name).substr(component.before.size(), name.size() - fixed));
        Found now = found;
        (component.variable == Component::Variable::user    ? now.user
         : component.variable == Component::Variable::local ? now.local
                                                            : now.domain) = value;
        std::string path = above;
        path.append("/").append(name);
        auto more = walk(depth + 1, path, now, visit);
        if (!more || !*more) return more;
    }
    if (failure && failure != std::errc::no_such_file_or_directory && failure != std::errc::not_a_directory)
        return system_error(failure.value(), "cannot read the directory " + directory);
    return true;
}

}  // namespace roost
