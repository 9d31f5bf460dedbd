// roost.conf, and the cascade from file over plan and domain to the user.
#pragma once

#include "base/result.h"
#include "config/setting.h"

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace roost {

// What a roost.conf says, before its keys are checked: syntax and duplicates are.
class ConfigFile {
public:
    struct Entry {
        std::string key;  // "section.name"
        std::string value;
        std::string where;  // "FILE:LINE" or "command line"
    };

    // Reads `path` with Boost.Program_options (`#` begins a comment wherever it stands), then the overrides, each
    // "key=value", which win over the file. A missing file, a line that is neither section nor setting, a key outside
    // a section and a duplicate are Errors that name file and line.
    static Result<ConfigFile> read(const std::string& path, const std::vector<std::string>& overrides);

    const std::string& path() const { return path_; }
    const std::vector<Entry>& entries() const { return entries_; }
    // The value of a key, or null.
    const Entry* find(std::string_view key) const;

private:
    std::string path_;
    std::vector<Entry> entries_;
};

// A checked roost.conf together with the schema that it was checked against. Immutable; any thread.
class Config {
public:
    // Checks every entry: an unknown key or a bad value is an Error that names file, line, key and what would be right.
    static Result<Config> make(ConfigFile file, Schema schema);

    const Schema& schema() const { return schema_; }
    const std::string& path() const { return file_.path(); }

    // Every setting by its key, in the order of the tables. Those with a folder's name in their key: as many as are
    // given.
    std::vector<std::string> keys() const;

    // The value at file level, or the default. An unknown key is a fault in the program and throws std::logic_error.
    std::string_view text(std::string_view key) const;
    bool flag(std::string_view key) const;
    std::chrono::milliseconds duration(std::string_view key) const;
    // "FILE:LINE", "command line" or "default".
    std::string_view origin(std::string_view key) const;

    Config(Config&&) = default;
    Config& operator=(Config&&) = default;
    Config(const Config& other) : Config(other.file_, other.schema_) {}
    Config& operator=(const Config&) = delete;
    ~Config() = default;

private:
    friend class Cascade;
    std::set<std::string_view> given() const;
    Config(ConfigFile file, Schema schema);
    ConfigFile file_;
    Schema schema_;
    // Each delivery asks for some dozens of settings.
    std::unordered_map<std::string_view, std::string_view> values_;  // at file level, of every setting in force
    std::vector<std::string_view> named_;  // those of the file's keys that have a folder's name in them
};

// The effective settings of one user: file < plan < domain < user, the nearest wins. Holds a pointer to the Config,
// which must outlive it. Immutable; any thread.
class Cascade {
public:
    struct Layer {
        Level level = Level::user;
        std::string name;  // "gold", "example.org", "alice@example.org"
        Settings settings;
    };
    struct Value {
        std::string_view text;
        std::string origin;  // "user", "domain example.org", "plan gold", "FILE:LINE", "default"
    };

    // `layers`: widest first. Every key and value is checked against the schema; what is unknown, malformed or not
    // allowed at its level is an Error that names the layer and the key.
    static Result<Cascade> make(const Config& config, std::vector<Layer> layers);

    // The getters of Config, cascaded. Unknown keys throw std::logic_error.
    std::string_view text(std::string_view key) const;
    bool flag(std::string_view key) const;
    std::optional<std::uint64_t> size(std::string_view key) const;   // nullopt: unlimited
    std::optional<std::uint64_t> count(std::string_view key) const;  // nullopt: unlimited
    mode_t mode(std::string_view key) const;
    Allowance allowance(std::string_view key) const;
    std::optional<IdRange> id_range(std::string_view key) const;
    std::vector<std::string> words(std::string_view key) const;
    Room room(std::string_view key) const;
    Value explain(std::string_view key) const;

    // As Config::keys, at any level.
    std::vector<std::string> keys() const;
    // The folders' names with which a setting with NAME in its key is given at any level, sorted.
    std::set<std::string, std::less<>> names(std::string_view row_key) const;

    const Config& config() const { return *config_; }

private:
    Cascade(const Config& config, std::vector<Layer> layers) : config_(&config), layers_(std::move(layers)) {}
    const Cascade::Layer* layer_of(std::string_view key) const;
    std::set<std::string_view> given() const;
    const Config* config_;
    std::vector<Layer> layers_;
};

}  // namespace roost
