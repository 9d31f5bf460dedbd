#include "config/config.h"

#include <algorithm>
#include <boost/program_options/parsers.hpp>
#include <sstream>
#include <stdexcept>

#include "base/files.h"
#include "base/text.h"

#include <fcntl.h>

namespace roost {
namespace {

namespace po = boost::program_options;

constexpr std::string_view kCommandLine = "command line";
constexpr std::size_t kLargestConfig = 4UL * 1024 * 1024;

// The numbers, from 1, of the lines that hold a setting. Boost.Program_options hands settings out in the order of the
// file but without their lines; its rules are: "#" begins a comment, "[...]" is a section, all else is NAME=VALUE.
// A line that is none of these, or a setting outside any section, is an Error.
Result<std::vector<std::size_t>> setting_lines(const std::string& path, const std::string& text) {
    std::vector<std::size_t> lines;
    std::istringstream in(text);
    bool in_section = false;
    std::size_t number = 0;
    for (std::string line; std::getline(in, line);) {
        ++number;
        if (line.ends_with('\r')) line.pop_back();
        const std::string_view body = trim(std::string_view(line).substr(0, line.find('#')));
        const std::string where = path + ":" + std::to_string(number);
        if (body.empty()) continue;
        if (body.starts_with('[')) {
            if (!body.ends_with(']') || trim(body.substr(1, body.size() - 2)).empty())
                return config_error(where, excerpt(body) + " is not a section", "write [section]");
            in_section = true;
            continue;
        }
        const std::size_t equals = body.find('=');
        if (equals == std::string_view::npos || trim(body.substr(0, equals)).empty())
            return config_error(where, excerpt(body) + " is neither a section nor a setting",
                                "write [section] or key = value");
        if (!in_section)
            return config_error(where, "the setting " + excerpt(trim(body.substr(0, equals))) + " is in no section",
                                "put it below a [section]");
        lines.push_back(number);
    }
    return lines;
}

}  // namespace

Result<ConfigFile> ConfigFile::read(const std::string& path, const std::vector<std::string>& overrides) {
    ConfigFile out;
    out.path_ = path;
    Files files;
    auto fd = files.open({AT_FDCWD, {}}, path, O_RDONLY | O_NONBLOCK, 0, Files::Follow::yes);
    auto text = fd ? files.read_all(fd->get(), path, kLargestConfig) : Result<std::string>(std::move(fd).error());
    if (!text) {
        Error error = std::move(text).error();
        error.outcome = Outcome::misconfigured;
        error.hint = "name the configuration with -c FILE, or see roost.conf(5)";
        return error;
    }
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // as some editors write it before UTF-8
    if (text->starts_with(kByteOrderMark)) text->erase(0, kByteOrderMark.size());
    auto lines = setting_lines(path, *text);
    if (!lines) return std::move(lines).error();

    std::istringstream in(*text);
    std::vector<po::option> options;
    try {
        options = po::parse_config_file(in, po::options_description(), true).options;
    } catch (const po::error& e) {
        return config_error(path, e.what(), "see roost.conf(5)");
    }
    if (options.size() != lines->size()) return config_error(path, "it cannot be read as sections and settings", {});
    for (std::size_t i = 0; i < options.size(); ++i) {
        const std::string where = path + ":" + std::to_string((*lines)[i]);
        const std::string& key = options[i].string_key;
        if (const Entry* first = out.find(key))
            return config_error(where, "the setting " + excerpt(key) + " was given already at " + first->where,
                                "keep one of the two");
        out.entries_.push_back({key, options[i].value.empty() ? "" : options[i].value.front(), where});
    }

    for (const std::string& override_text : overrides) {
        const std::size_t equals = override_text.find('=');
        if (equals == std::string::npos || equals == 0)
            return Error{Outcome::malformed, "option -o " + printable(override_text), "it is not key=value",
                         "write -o section.key=value", 0};
        Entry entry{std::string(trim(std::string_view(override_text).substr(0, equals))),
                    std::string(trim(std::string_view(override_text).substr(equals + 1))), std::string(kCommandLine)};
        std::erase_if(out.entries_, [&](const Entry& e) { return e.key == entry.key; });
        out.entries_.push_back(std::move(entry));
    }
    return out;
}

const ConfigFile::Entry* ConfigFile::find(std::string_view key) const {
    const auto entry = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.key == key; });
    return entry == entries_.end() ? nullptr : &*entry;
}

Result<Config> Config::make(ConfigFile file, Schema schema) {
    for (const ConfigFile::Entry& entry : file.entries()) {
        auto checked = schema.check(entry.where, Level::file, entry.key, entry.value);
        if (checked) continue;
        Error error = std::move(checked).error();
        if (entry.where == kCommandLine) error.outcome = Outcome::malformed;
        return error;
    }
    return Config(std::move(file), std::move(schema));
}

Config::Config(ConfigFile file, Schema schema) : file_(std::move(file)), schema_(std::move(schema)) {
    // Views into the file's entries and the tables, neither of which a move of the Config moves; a copy makes its own.
    const auto settings = schema_.all();
    values_.reserve(settings.size() + file_.entries().size());
    for (const ConfigFile::Entry& entry : file_.entries()) {
        values_.emplace(entry.key, entry.value);
        const Setting* setting = schema_.find(entry.key);
        if (setting != nullptr && name_in_key(setting->key, entry.key)) named_.emplace_back(entry.key);
    }
    for (const Setting* setting : settings) values_.emplace(setting->key, setting->default_value);
}

std::set<std::string_view> Config::given() const {
    std::set<std::string_view> out;
    for (const ConfigFile::Entry& entry : file_.entries()) out.insert(entry.key);
    return out;
}

std::vector<std::string> Config::keys() const { return schema_.keys(given()); }

std::string_view Config::text(std::string_view key) const {
    if (const auto value = values_.find(key); value != values_.end()) return value->second;
    const Setting* setting = schema_.find(key);
    if (setting == nullptr) throw std::logic_error("no such setting: " + std::string(key));
    return setting->default_value;
}

// The values below were checked when they were read, so the readers cannot fail.
bool Config::flag(std::string_view key) const { return *parse_boolean(text(key)); }
std::chrono::milliseconds Config::duration(std::string_view key) const { return *parse_duration(text(key)); }

std::string_view Config::origin(std::string_view key) const {
    const ConfigFile::Entry* entry = file_.find(key);
    return entry == nullptr ? std::string_view("default") : std::string_view(entry->where);
}

Result<Cascade> Cascade::make(const Config& config, std::vector<Layer> layers) {
    for (const Layer& layer : layers) {
        const std::string where = std::string(level_name(layer.level)) + " " + printable(layer.name);
        for (const auto& [key, value] : layer.settings) {
            auto checked = config.schema().check(where, layer.level, key, value);
            if (!checked) return std::move(checked).error();
        }
    }
    // They answer no question, and each is asked several dozen.
    std::erase_if(layers, [](const Layer& layer) { return layer.settings.empty(); });
    return Cascade(config, std::move(layers));
}

const Cascade::Layer* Cascade::layer_of(std::string_view key) const {
    const auto layer = std::find_if(layers_.rbegin(), layers_.rend(),
                                    [&](const Layer& l) { return l.settings.find(key) != l.settings.end(); });
    return layer == layers_.rend() ? nullptr : &*layer;
}

std::string_view Cascade::text(std::string_view key) const {
    if (const Layer* layer = layer_of(key)) return layer->settings.find(key)->second;
    return config_->text(key);
}

bool Cascade::flag(std::string_view key) const { return *parse_boolean(text(key)); }
std::optional<std::uint64_t> Cascade::size(std::string_view key) const { return *parse_size(text(key)); }
std::optional<std::uint64_t> Cascade::count(std::string_view key) const { return *parse_count(text(key)); }
mode_t Cascade::mode(std::string_view key) const { return *parse_mode(text(key)); }
Allowance Cascade::allowance(std::string_view key) const { return *parse_allowance(text(key)); }
std::optional<IdRange> Cascade::id_range(std::string_view key) const { return *parse_id_range(text(key)); }
Room Cascade::room(std::string_view key) const { return *parse_room(text(key)); }
std::vector<std::string> Cascade::words(std::string_view key) const { return parse_words(text(key)); }

std::set<std::string_view> Cascade::given() const {
    std::set<std::string_view> out = config_->given();
    for (const Layer& layer : layers_)
        for (const auto& setting : layer.settings) out.insert(setting.first);
    return out;
}

std::vector<std::string> Cascade::keys() const { return config_->schema().keys(given()); }

std::set<std::string, std::less<>> Cascade::names(std::string_view row_key) const {
    std::set<std::string, std::less<>> out;
    const auto take = [&](std::string_view key) {
        if (const auto name = name_in_key(row_key, key)) out.emplace(*name);
    };
    for (const std::string_view key : config_->named_) take(key);
    for (const Layer& layer : layers_)
        for (const auto& setting : layer.settings) take(setting.first);
    return out;
}

Cascade::Value Cascade::explain(std::string_view key) const {
    const Layer* layer = layer_of(key);
    if (layer == nullptr) return {config_->text(key), std::string(config_->origin(key))};
    std::string origin(level_name(layer->level));
    if (layer->level != Level::user) origin += " " + layer->name;
    return {layer->settings.find(key)->second, std::move(origin)};
}

}  // namespace roost
