// roost quota show: usage and limits, the fullest users first.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <iomanip>
#include <iostream>
#include <limits>
#include <sstream>

#include "base/text.h"
#include "commands.h"
#include "config/value.h"
#include "output.h"
#include "quota_domains.h"
#include "records.h"
#include "scope.h"
#include "store/instance.h"
#include "terminal.h"
#include "usage_rows.h"

namespace roost::cli {
namespace {

constexpr std::uint64_t kWhole = 100;

// One account of a user: a line of its own.
struct Line {
    Folder folder;  // empty: the mailbox
    Usage usage;
    Limits limits;
};

struct Row {
    std::string name;  // a user's, or "@" and a domain's
    bool domain = false;
    bool mailbox = false;     // there is one; true for a domain
    std::vector<Line> lines;  // the mailbox, then the folders that are counted apart
    std::string_view absent = "no mailbox yet";
};

// How much of a limit is used, in per cent; more than any number for anything of nothing.
double share(std::uint64_t used, const std::optional<std::uint64_t>& limit) {
    if (!limit) return 0;
    if (*limit == 0) return used == 0 ? 0 : std::numeric_limits<double>::infinity();
    return static_cast<double>(used) / static_cast<double>(*limit) * static_cast<double>(kWhole);
}

// Of the limit that is used most.
double fullness(const Line& line) {
    return std::max(share(line.usage.storage, line.limits.storage), share(line.usage.messages, line.limits.messages));
}

double fullness(const Row& row) {
    double most = 0;
    for (const Line& line : row.lines) most = std::max(most, fullness(line));
    return most;
}

std::string percent(double share) {
    if (share > 9999) return ">9999%";
    return std::to_string(static_cast<std::uint64_t>(share)) + "%";
}

Result<double> threshold_of(const Options& options) {
    if (!options.over) return -1.0;
    std::string_view text = *options.over;
    if (text.ends_with('%')) text.remove_suffix(1);
    std::uint64_t number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    if (read.ec != std::errc() || read.ptr != text.data() + text.size() || number > 9999)
        return usage_error("--over", "'" + printable(*options.over) + "' is no share in per cent", "write --over 90%");
    return static_cast<double>(number);
}

// What the clone holds, which knows mailboxes as a whole.
Result<Row> cloned_row_of(Instance& instance, const User& user) {
    constexpr std::chrono::seconds kAnswer(30);
    auto held = instance.clone()->read(user.name(), Deadline::in(kAnswer));
    if (!held) return std::move(held).error();
    const Line line{{}, held->value_or(Usage{}), limits_of(user.settings())};
    return Row{user.name(), false, held->has_value(), {line}, "not in the clone"};
}

Result<Row> row_of(Instance& instance, const User& user) {
    Row row;
    row.name = user.name();
    auto made = has_mailbox(instance.mda(), user);
    if (!made) return std::move(made).error();
    row.mailbox = *made;
    auto usage = instance.accounts().mailbox(user, {});
    if (!usage) return std::move(usage).error();
    const Limits limits = limits_of(user.settings());
    row.lines.push_back({{}, *usage, limits});
    if (!row.mailbox) return row;
    const FolderRules rules = folder_rules(user.settings());
    for (const Folder& folder : accounts_of(user)) {
        if (folder.empty()) continue;
        auto held = instance.mda().usage(user, folder, {});
        if (!held) return std::move(held).error();
        row.lines.push_back({folder, *held, rules.limits(folder, limits)});
    }
    return row;
}

Json json_of(const Row& row) {
    const Line& all = row.lines.front();
    Json out{{"name", row.name}};
    if (row.domain) {
        out["domain"] = true;
    } else {
        out["mailbox"] = row.mailbox;
    }
    out["usage"] = to_json(all.usage);
    out["limits"] = {{"storage", cli::to_json(all.limits.storage)}, {"messages", cli::to_json(all.limits.messages)}};
    if (!row.domain) out["limits"]["message"] = cli::to_json(all.limits.message);
    for (std::size_t i = 1; i < row.lines.size(); ++i) {
        const Line& line = row.lines[i];
        out["folders"].push_back(
            Json{{"folder", folder_name(line.folder)},
                 {"usage", to_json(line.usage)},
                 {"limits",
                  {{"storage", cli::to_json(line.limits.storage)}, {"messages", cli::to_json(line.limits.messages)}}}});
    }
    return out;
}

// A field of RFC 4180.
std::string csv_field(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
    std::string out = "\"";
    for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
    return out + "\"";
}

void print_csv(const std::vector<Row>& rows) {
    const auto number = [](const std::optional<std::uint64_t>& limit) {
        return limit ? std::to_string(*limit) : std::string();
    };
    std::cout << "name,folder,mailbox,storage,storage-limit,messages,messages-limit\r\n";
    for (const Row& row : rows)
        for (const Line& line : row.lines)
            std::cout << csv_field(row.name) << ',' << (line.folder.empty() ? "" : csv_field(folder_name(line.folder)))
                      << ','
                      << (row.domain    ? ""
                          : row.mailbox ? "yes"
                                        : "no")
                      << ',' << line.usage.storage << ',' << number(line.limits.storage) << ',' << line.usage.messages
                      << ',' << number(line.limits.messages) << "\r\n";
}

std::string storage_text(const Line& line) {
    return format_size(line.usage.storage) + " of " + size_text(line.limits.storage);
}

std::string messages_text(const Line& line) {
    return std::to_string(line.usage.messages) + " of " +
           (line.limits.messages ? std::to_string(*line.limits.messages) : std::string("unlimited")) + " messages";
}

std::string label_of(const Row& row, const Line& line) {
    return printable(line.folder.empty() ? row.name : "  " + folder_name(line.folder));
}

// For other programs: fields between tabs.
void print_plain(const std::vector<Row>& rows) {
    for (const Row& row : rows) {
        for (const Line& line : row.lines) {
            std::cout << label_of(row, line) << '\t';
            if (!row.mailbox) {
                std::cout << row.absent << '\n';
                continue;
            }
            std::cout << storage_text(line);
            if (line.limits.storage && *line.limits.storage > 0)
                std::cout << " (" << percent(share(line.usage.storage, line.limits.storage)) << ")";
            std::cout << '\t' << messages_text(line) << '\n';
        }
    }
}

// On a terminal: columns, and a bar for the limit that is used most.
class Table {
public:
    explicit Table(const std::vector<Row>& rows) : rows_(rows), utf8_(terminal_takes_utf8()) {
        for (const Row& row : rows)
            for (const Line& line : row.lines) {
                names_ = std::max(names_, width(label_of(row, line)));
                storages_ = std::max(storages_, width(storage_text(line)));
            }
    }

    void print() const {
        for (const Row& row : rows_) {
            for (const Line& line : row.lines) {
                std::cout << padded(label_of(row, line), names_) << "  ";
                if (!row.mailbox) {
                    std::cout << row.absent << '\n';
                    continue;
                }
                const bool limited = needs_usage(line.limits);
                const double used = fullness(line);
                std::ostringstream share_text;
                share_text << std::setw(6) << (limited ? percent(used) : "");
                std::cout << (limited ? bar(used) : std::string(kBar + 2, ' ')) << ' ' << share_text.str() << "  "
                          << padded(storage_text(line), storages_) << "  " << messages_text(line) << '\n';
            }
        }
    }

private:
    static constexpr std::size_t kBar = 20;

    // Characters; all are taken to be as wide as one another.
    static std::size_t width(std::string_view text) {
        constexpr unsigned char kMask = 0xC0;
        constexpr unsigned char kContinues = 0x80;
        return static_cast<std::size_t>(std::count_if(
            text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & kMask) != kContinues; }));
    }
    static std::string padded(const std::string& text, std::size_t to) {
        return text + std::string(to - std::min(to, width(text)), ' ');
    }
    // Full only where the limit is reached, and empty only where nothing is used.
    std::string bar(double used) const {
        const double cells = std::min(used, static_cast<double>(kWhole)) / static_cast<double>(kWhole) * kBar;
        auto full = static_cast<std::size_t>(cells);
        if (full == 0 && used > 0) full = 1;
        std::string out = "[";
        for (std::size_t i = 0; i < kBar; ++i) out += i < full ? (utf8_ ? "\u2588" : "#") : (utf8_ ? "\u2591" : "-");
        return out + "]";
    }

    const std::vector<Row>& rows_;
    bool utf8_;
    std::size_t names_ = 0;
    std::size_t storages_ = 0;
};

}  // namespace

Result<int> quota_show(const Options& options) {
    auto scope = Scope::of(options, "quota show", true);
    if (!scope) return std::move(scope).error();
    if (options.json && options.csv)
        return usage_error("command quota show", "--json and --csv exclude each other", "keep one of the two");
    if (options.from && options.from != "clone")
        return usage_error("--from", "'" + printable(*options.from) + "' is no source of usage", "write --from clone");
    const bool cloned = options.from.has_value();
    auto threshold = threshold_of(options);
    if (!threshold) return std::move(threshold).error();
    auto config = read_config(options);
    if (!config) return std::move(config).error();
    auto opened = Instance::open(*std::move(config));
    if (!opened) return std::move(opened).error();
    Instance& instance = **opened;
    if (cloned && instance.clone() == nullptr)
        return config_error("quota-clone.dict", "it is empty, so there is no clone", "set it to a dict's URI");

    std::vector<Row> rows;
    DomainsSeen domains;
    int status = kSuccess;
    Progress progress("looked at", options.quiet);
    auto listed = each_in(instance.db(), *scope, [&](Result<UserRecord> record) {
        auto user = record ? User::make(instance.config(), *std::move(record)) : Result<User>(record.error());
        if (user) domains.add(*user);
        auto row = !user    ? Result<Row>(std::move(user).error())
                   : cloned ? cloned_row_of(instance, *user)
                            : row_of(instance, *user);
        if (!row) {
            progress.wipe();
            print_error(row.error());
            status = kFailure;
        } else if (fullness(*row) > *threshold) {
            rows.push_back(*std::move(row));
        }
        progress.step();
        return true;
    });
    progress.wipe();
    if (!listed) return std::move(listed).error();
    for (const std::string& name : scope->domains) {
        auto added = domains.add(instance.db(), instance.config(), name);
        if (!added) return std::move(added).error();
    }
    for (const auto& [name, seen] : domains.all()) {
        if (cloned || !scope->has_domain(name)) continue;
        auto usage = instance.accounts().domain(name, seen.limits);
        if (!usage) return std::move(usage).error();
        Row row{"@" + name, true, true, {{{}, *usage, seen.limits}}, {}};
        if (fullness(row) > *threshold) rows.push_back(std::move(row));
    }
    std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
        return a.domain != b.domain ? b.domain : fullness(a) > fullness(b);
    });

    if (options.csv) {
        print_csv(rows);
    } else if (options.json) {
        Listing listing(true);
        for (const Row& row : rows) listing.row(json_of(row));
    } else if (is_terminal()) {
        Table(rows).print();
    } else {
        print_plain(rows);
    }
    return status;
}

}  // namespace roost::cli
