#include "quota/warnings.h"

#include "base/text.h"

#include <algorithm>
#include <limits>
#include <optional>

namespace roost {
namespace {

// For products of two 64-bit numbers.
__extension__ typedef unsigned __int128 Wide;  // NOLINT(modernize-use-using): takes no __extension__
constexpr unsigned kWhole = 100;

std::optional<std::uint64_t> limit_of(const Threshold& threshold, const Limits& limits) {
    return threshold.of_messages ? limits.messages : limits.storage;
}

std::uint64_t used_of(const Threshold& threshold, const Usage& used) {
    return threshold.of_messages ? used.messages : used.storage;
}

bool is_reached(const Threshold& threshold, const Limits& limits, const Usage& used) {
    const auto limit = limit_of(threshold, limits);
    return limit && Wide{used_of(threshold, used)} * kWhole >= Wide{*limit} * threshold.percent;
}

// Whether `a` is the one to speak of rather than `b`, of the same kind and direction.
bool tells_more(const Threshold& a, const Threshold& b) {
    return a.rising ? a.percent > b.percent : a.percent < b.percent;
}

std::string render_reached(const Reached& reached) {
    std::string out;
    for (const Threshold& each : reached) out += (out.empty() ? "" : " ") + each.text();
    return out;
}

Reached parse_reached(std::string_view text) {
    auto parsed = parse_thresholds(trim(text));
    if (!parsed) return {};
    return {parsed->begin(), parsed->end()};
}

std::string amount(const Warning& warning, std::uint64_t number) {
    return warning.threshold.of_messages ? std::to_string(number) : format_size(number);
}

}  // namespace

std::uint64_t Warning::percent() const {
    if (limit == 0) return kWhole;
    const Wide share = Wide{used} * kWhole / limit;
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
    return share > kMost ? kMost : static_cast<std::uint64_t>(share);
}

Judged judge_thresholds(std::string_view whom, std::span<const Threshold> thresholds, const Limits& limits,
                        const Usage& used, const Reached& before) {
    Judged out;
    for (const Threshold& threshold : thresholds) {
        const bool was = before.contains(threshold);
        const bool is = is_reached(threshold, limits, used);
        if (is) out.reached.insert(threshold);
        if (was == is || is != threshold.rising) continue;
        const auto same = std::find_if(out.due.begin(), out.due.end(), [&](const Warning& each) {
            return each.threshold.of_messages == threshold.of_messages && each.threshold.rising == threshold.rising;
        });
        if (same == out.due.end()) {
            out.due.push_back({std::string(whom),
                               threshold,
                               used_of(threshold, used),
                               limit_of(threshold, limits).value_or(0),
                               {threshold}});
        } else {
            same->crossed.push_back(threshold);
            if (tells_more(threshold, same->threshold)) same->threshold = threshold;
        }
    }
    // A limit that was lifted leaves nothing to speak of, but what was reached is not any more.
    std::erase_if(out.due, [&](const Warning& each) { return !limit_of(each.threshold, limits); });
    return out;
}

void take_back(Reached& reached, std::span<const Threshold> crossed) {
    for (const Threshold& each : crossed) {
        if (each.rising)
            reached.erase(each);
        else
            reached.insert(each);
    }
}

std::string render_told(const Told& told) {
    std::string out = render_reached(told.by_message) + "\n";
    if (told.by_command != told.by_message) out += render_reached(told.by_command) + "\n";
    return out;
}

Told parse_told(std::string_view text) {
    const std::size_t end = text.find('\n');
    Told out;
    out.by_message = out.by_command = parse_reached(text.substr(0, end));
    if (end == std::string_view::npos || end + 1 == text.size()) return out;
    text.remove_prefix(end + 1);
    out.by_command = parse_reached(text.substr(0, text.find('\n')));
    return out;
}

Result<std::string> expand_warning(std::string_view pattern, const Warning& warning, std::string_view date) {
    std::string out;
    while (true) {
        const std::size_t percent = pattern.find('%');
        out += pattern.substr(0, percent);
        if (percent == std::string_view::npos) return out;
        pattern.remove_prefix(percent);
        if (pattern.starts_with("%%")) {
            out += '%';
            pattern.remove_prefix(2);
            continue;
        }
        const std::size_t end = pattern.find('}');
        if (!pattern.starts_with("%{") || end == std::string_view::npos)
            return config_error("a warning", "a '%' that begins no variable", "write %% for a percent sign");
        const std::string_view name = pattern.substr(2, end - 2);
        pattern.remove_prefix(end + 1);
        if (name == "user")
            out += warning.whom;
        else if (name == "percent")
            out += std::to_string(warning.percent());
        else if (name == "threshold")
            out += std::to_string(warning.threshold.percent);
        else if (name == "kind")
            out += warning.threshold.of_messages ? "messages" : "storage";
        else if (name == "used")
            out += amount(warning, warning.used);
        else if (name == "limit")
            out += amount(warning, warning.limit);
        else if (name == "date")
            out += date;
        else
            return config_error("a warning", "unknown variable %{" + printable(name) + "}",
                                "use user, percent, threshold, kind, used, limit or date");
    }
}

}  // namespace roost
