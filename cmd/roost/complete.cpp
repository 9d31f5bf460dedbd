#include "complete.h"

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "command_line.h"
#include "records.h"
#include "store/instance.h"

namespace roost::cli {
namespace {

// How far a command line has come before the word that is completed.
struct Line {
    Options options;                  // config_path and overrides
    std::vector<std::string> words;   // that are no options
    const OptionRow* open = nullptr;  // an option whose value comes next
};

const OptionRow* option_of(std::string_view word) {
    for (const OptionRow& option : options())
        if ((word.starts_with("--") && word.substr(2) == option.name) ||
            (word.size() == 2 && word[0] == '-' && option.letter != 0 && word[1] == option.letter))
            return &option;
    return nullptr;
}

Line read_line(const std::vector<std::string>& words) {
    Line line;
    line.options.config_path = kDefaultConfigPath;
    for (std::size_t i = 0; i + 1 < words.size(); ++i) {
        const std::string& word = words[i];
        if (line.open != nullptr) {
            if (line.open->name == "config") line.options.config_path = word;
            if (line.open->name == "override") line.options.overrides.push_back(word);
            line.open = nullptr;
            continue;
        }
        if (!word.starts_with('-')) {
            line.words.push_back(word);
            continue;
        }
        const OptionRow* option = option_of(word);
        if (option != nullptr && !option->value.empty()) line.open = option;
    }
    return line;
}

// Collects the words that begin as what was typed.
class Candidates {
public:
    explicit Candidates(std::string typed) : typed_(std::move(typed)) {}
    const std::string& typed() const { return typed_; }
    void offer(std::string word) {
        if (word.starts_with(typed_)) words_.push_back(std::move(word));
    }
    std::vector<std::string> take() {
        std::sort(words_.begin(), words_.end());
        words_.erase(std::unique(words_.begin(), words_.end()), words_.end());
        return std::move(words_);
    }

private:
    std::string typed_;
    std::vector<std::string> words_;
};

void offer_values(const std::string& key, const Setting& setting, Candidates& out) {
    const std::string begin = key + "=";
    if (setting.kind == Kind::boolean) {
        out.offer(begin + "yes");
        out.offer(begin + "no");
    } else if (setting.kind == Kind::choice) {
        for (const std::string& choice : parse_words(setting.choices)) out.offer(begin + choice);
    } else if (setting.kind == Kind::size || setting.kind == Kind::count || setting.kind == Kind::positive ||
               setting.kind == Kind::room) {
        out.offer(begin + "unlimited");
    }
}

// What completion knows of the installation; each part is missing if it cannot be had.
class Surroundings {
public:
    explicit Surroundings(const Options& options) {
        if (auto config = read_config(options)) config_ = *std::move(config);
    }

    const Schema& schema() const { return config_ ? config_->schema() : own_; }

    SqlUserDb* db() {
        if (!config_ || tried_) return db_.get();
        tried_ = true;
        if (auto opened = open_database(*config_, SqlUserDb::Missing::fail)) db_ = *std::move(opened);
        return db_.get();
    }

private:
    std::optional<Config> config_;
    Schema own_;
    std::unique_ptr<SqlUserDb> db_;
    bool tried_ = false;
};

void offer_domains(Surroundings& around, Candidates& out, const std::string& before = {}) {
    if (around.db() == nullptr) return;
    if (auto domains = around.db()->domains())
        for (const DomainRecord& domain : *domains) out.offer(before + domain.name);
}

void offer_plans(Surroundings& around, Candidates& out, const std::string& before = {}) {
    if (around.db() == nullptr) return;
    if (auto plans = around.db()->plans())
        for (const PlanRecord& plan : *plans) out.offer(before + plan.name);
}

void offer_users(Surroundings& around, Candidates& out) {
    if (around.db() == nullptr) return;
    // In the order of names: past those that begin as typed, nothing more can come.
    (void)static_cast<bool>(around.db()->each_user({}, [&](std::string_view name, const Result<UserRecord>&) {
        out.offer(std::string(name));
        return name < out.typed() || name.starts_with(out.typed());
    }));
}

// A setting's key; with the folder's name that was typed so far in the place of NAME.
std::string named_as_typed(std::string_view key, std::string_view typed) {
    constexpr std::string_view kName = "NAME";
    const std::size_t at = key.find(kName);
    if (at == std::string_view::npos || !typed.starts_with(key.substr(0, at))) return std::string(key);
    const std::string_view name = typed.substr(at, typed.find('.', at) - at);
    if (name.empty() || name.size() == typed.size() - at) return std::string(key);
    return std::string(key).replace(at, kName.size(), name);
}

void offer_settings(Surroundings& around, Level level, bool with_value, Candidates& out) {
    const std::string& typed = out.typed();
    const std::size_t equals = with_value ? typed.find('=') : std::string::npos;
    if (equals != std::string::npos) {
        const std::string key = typed.substr(0, equals);
        if (level == Level::user && key == "enabled") {
            out.offer("enabled=yes");
            out.offer("enabled=no");
        } else if (level == Level::domain && key == "plan") {
            offer_plans(around, out, "plan=");
        } else if (const Setting* setting = around.schema().find(key)) {
            offer_values(key, *setting, out);
        }
        return;
    }
    const std::string end = with_value ? "=" : "";
    for (const Setting* setting : around.schema().all())
        if (setting->narrowest >= level) out.offer(named_as_typed(setting->key, typed) + end);
    if (level == Level::user) out.offer("enabled" + end);
    if (level == Level::domain) out.offer("plan" + end);
}

void offer_operand(Operand operand, Level level, Surroundings& around, Candidates& out) {
    switch (operand) {
        case Operand::user:
        case Operand::address:
            offer_users(around, out);
            break;
        case Operand::domain:
            offer_domains(around, out);
            break;
        case Operand::plan:
            offer_plans(around, out);
            break;
        case Operand::assignment:
            offer_settings(around, level, true, out);
            break;
        case Operand::key:
            offer_settings(around, level, false, out);
            break;
        case Operand::none:
        case Operand::new_user:
            break;
    }
}

std::vector<std::string> words_of(const Command& command) { return parse_words(command.words); }

// The next word of the commands that begin with the words so far.
void offer_commands(const std::vector<std::string>& words, Candidates& out) {
    for (const Command& command : commands()) {
        const auto parts = words_of(command);
        if (parts.size() > words.size() && std::equal(words.begin(), words.end(), parts.begin()))
            out.offer(parts[words.size()]);
    }
}

}  // namespace

std::vector<std::string> complete(const std::vector<std::string>& words) {
    if (words.empty()) return {};
    const Line line = read_line(words);
    Candidates out(words.back());
    const Command* command = find_command(line.words);
    if (line.open == nullptr && out.typed().starts_with('-')) {
        for (const OptionRow& option : options()) {
            const bool fits = command == nullptr ? is_common(option) : takes(*command, option);
            if (fits) out.offer("--" + std::string(option.name));
        }
        return out.take();
    }
    if (line.open == nullptr && command == nullptr) {
        offer_commands(line.words, out);
        return out.take();
    }
    Surroundings around(line.options);
    if (line.open != nullptr) {
        if (line.open->name == "override") offer_settings(around, Level::file, true, out);
        if (line.open->name == "domain") offer_domains(around, out);
        if (line.open->name == "from") out.offer("clone");
        return out.take();
    }
    const std::size_t operands = line.words.size() - words_of(*command).size();
    if (operands < command->most)
        offer_operand(operands == 0 ? command->first : command->rest, command->level, around, out);
    return out.take();
}

}  // namespace roost::cli
