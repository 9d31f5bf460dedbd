#include "config/render.h"

#include "config/value.h"

#include <algorithm>
#include <string_view>
#include <vector>

namespace roost {
namespace {

constexpr std::size_t kWidth = 80;

struct SectionKey {
    std::string_view section;
    std::string_view name;
};

SectionKey split_key(std::string_view key) {
    const auto dot = key.find('.');
    return {key.substr(0, dot), key.substr(dot + 1)};
}

// Calls `section` before the first setting of each section and `setting` for each setting.
template <class OnSection, class OnSetting>
void each_setting(const NamedTable& table, OnSection section, OnSetting setting) {
    std::string_view current;
    for (const Setting& row : table.settings) {
        const auto key = split_key(row.key);
        if (key.section != current) section(key.section);
        current = key.section;
        setting(row, key.name);
    }
}

// Appends `text` in lines of at most `width` columns, each begun with `prefix`.
void append_wrapped(std::string& out, std::string_view text, std::string_view prefix, std::size_t width) {
    std::string line;
    while (!text.empty()) {
        const auto end = std::min(text.find(' '), text.size());
        const auto word = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (word.empty()) continue;
        if (!line.empty() && prefix.size() + line.size() + 1 + word.size() > width) {
            out.append(prefix).append(line) += '\n';
            line.clear();
        }
        if (!line.empty()) line += ' ';
        line += word;
    }
    if (!line.empty()) out.append(prefix).append(line) += '\n';
}

bool has_fixed_words(const Setting& setting) { return setting.kind == Kind::choice || setting.kind == Kind::boolean; }

// Where the setting can be given besides roost.conf.
std::string narrower_levels(Level narrowest) {
    std::string text;
    for (const Level level : {Level::plan, Level::domain, Level::user}) {
        if (level > narrowest) break;
        text.append(text.empty() ? " Also for a " : level == narrowest ? " or a " : ", a ").append(level_name(level));
    }
    return text.empty() ? text : text + ".";
}

// Text that roff takes literally, on a line that begins with it.
std::string roff_text(std::string_view text) {
    std::string out;
    if (text.starts_with('.') || text.starts_with('\'')) out += "\\&";
    for (const char c : text) {
        if (c == '\\') {
            out += "\\e";
        } else {
            out += c;
        }
    }
    return out;
}

// One argument of an mdoc macro: never a macro's name, never punctuation that mdoc treats apart.
std::string roff_word(std::string_view word) {
    std::string out = word.size() <= 3 ? "\\&" : "";
    for (const char c : word) {
        if (c == '\\') {
            out += "\\e";
        } else if (c == '"') {
            out += "\\(dq";
        } else {
            out += c;
        }
    }
    return word.find(' ') == std::string_view::npos ? out : '"' + out + '"';
}

// Each sentence on lines of its own, as mdoc(7) asks for: the formatter knows a sentence's end by the line's end.
void append_sentences(std::string& out, std::string_view text) {
    while (!text.empty()) {
        const auto end = std::min(text.find(". "), text.size() - 1) + 1;
        std::string lines;
        append_wrapped(lines, text.substr(0, end), "", kWidth - 2);
        for (std::string_view rest = lines; !rest.empty();) {
            const auto newline = rest.find('\n');
            out += roff_text(rest.substr(0, newline)) + '\n';
            rest.remove_prefix(newline + 1);
        }
        text.remove_prefix(end);
    }
}

void append_manual_entry(std::string& out, const Setting& row, std::string_view name) {
    const std::string kind = kind_name(row.kind, row.choices);
    out.append(".It Cm ").append(roff_word(name)).append(" No = ");
    if (has_fixed_words(row)) {
        std::string words = kind;
        for (auto at = words.find('|'); at != std::string::npos; at = words.find('|', at + 3)) {
            words.replace(at, 1, " | ");
        }
        out.append("Cm ").append(words) += '\n';
    } else {
        out.append("Ar ").append(kind) += '\n';
    }
    append_sentences(out, row.help);
    if (row.default_value.empty()) {
        out += "Default: empty.\n";
    } else {
        out.append("Default:\n.Ql ").append(roff_word(row.default_value)).append(" .\n");
    }
    out += row.narrowest == Level::file ? std::string("Level: file.\n")
                                        : "Levels: file to " + std::string(level_name(row.narrowest)) + ".\n";
}

}  // namespace

std::string render_sample(std::span<const NamedTable> tables) {
    std::string out;
    append_wrapped(out,
                   "roost.conf: the configuration of Roost. Every setting is shown commented out and at its default; "
                   "roost.conf(5) describes the values. A \"#\" begins a comment anywhere in a line.",
                   "# ", kWidth);
    for (const NamedTable& table : tables) {
        each_setting(
            table,
            [&](std::string_view section) {
                out.append("\n[").append(section).append("]\n");
                append_wrapped(out, table.title, "# ", kWidth);
            },
            [&](const Setting& row, std::string_view name) {
                out += '\n';
                append_wrapped(out, row.help, "# ", kWidth);
                append_wrapped(out, "(" + kind_name(row.kind, row.choices) + ")" + narrower_levels(row.narrowest), "# ",
                               kWidth);
                out.append("#").append(name).append(" =");
                if (!row.default_value.empty()) out.append(" ").append(row.default_value);
                out += '\n';
            });
    }
    return out;
}

std::string render_manual(std::span<const NamedTable> tables) {
    std::string out;
    for (const NamedTable& table : tables) {
        bool open = false;
        each_setting(
            table,
            [&](std::string_view section) {
                if (open) out += ".El\n";
                open = true;
                out.append(".Ss [").append(section).append("]\\&\n");  // no delimiter, but a word
                if (!table.title.empty()) append_sentences(out, table.title + ".");
                out += ".Bl -tag -width Ds\n";
            },
            [&](const Setting& row, std::string_view name) { append_manual_entry(out, row, name); });
        if (open) out += ".El\n";
    }
    return out;
}

}  // namespace roost
