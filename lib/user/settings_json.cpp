#include "user/settings_json.h"

#include "base/text.h"

#include <nlohmann/json.hpp>

namespace roost {
namespace {

using Json = nlohmann::json;

// Takes the object while it is read: keys that stand twice are seen, and nothing is built that is not wanted.
class Reader : public nlohmann::json_sax<Json> {
public:
    bool null() override { return unfit("null"); }
    bool boolean(bool value) override { return take(value ? "yes" : "no"); }
    bool number_integer(number_integer_t value) override { return take(std::to_string(value)); }
    bool number_unsigned(number_unsigned_t value) override { return take(std::to_string(value)); }
    bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return unfit("a fraction"); }
    bool string(string_t& value) override { return take(std::move(value)); }
    bool binary(binary_t& /*value*/) override { return unfit("binary data"); }
    bool start_object(std::size_t /*size*/) override {
        if (inside_) return unfit("an object");
        inside_ = true;
        return true;
    }
    bool key(string_t& name) override {
        key_ = std::move(name);
        if (!settings_.contains(key_)) return true;
        why_ = "the key '" + printable(key_) + "' stands twice";
        return false;
    }
    bool end_object() override { return true; }
    bool start_array(std::size_t /*size*/) override { return unfit("a list"); }
    bool end_array() override { return true; }
    bool parse_error(std::size_t position, const std::string& /*token*/, const Json::exception& /*why*/) override {
        why_ = "not JSON at byte " + std::to_string(position);
        return false;
    }

    Settings& settings() { return settings_; }
    const std::string& why() const { return why_; }

private:
    bool take(std::string value) {
        if (!inside_) return unfit("a single value");
        settings_.emplace(std::move(key_), std::move(value));
        return true;
    }
    bool unfit(std::string_view kind) {
        why_ = inside_ ? "the value of '" + printable(key_) + "' is " + std::string(kind) +
                             ", not a string, a whole number or a boolean"
                       : "it is " + std::string(kind) + ", not an object";
        return false;
    }

    bool inside_ = false;
    std::string key_;
    std::string why_;
    Settings settings_;
};

}  // namespace

Result<Settings> parse_settings(std::string_view where, std::string_view json) {
    if (json == "{}") return Settings{};
    Reader reader;
    if (Json::sax_parse(json, &reader)) return std::move(reader.settings());
    return config_error(std::string(where), reader.why(),
                        R"(write an object like {"quota.storage": "1G", "quota.messages": 1000})");
}

Result<std::string> render_settings(std::string_view where, const Settings& settings) {
    for (const auto& [key, value] : settings)
        if (!is_utf8(key) || !is_utf8(value))
            return config_error(std::string(where), "the value of '" + printable(key) + "' is not UTF-8",
                                "the user database holds JSON, which must be");
    return Json(settings).dump();
}

std::string render_value(const std::string& text) { return Json(text).dump(); }

}  // namespace roost
