#include "commands.h"

#include <array>

namespace roost::cli {
namespace {

constexpr std::array kCommands{
    Command{"user add", "NAME [key=value ...]", Operand::new_user, Operand::assignment, 1, kAnyNumber, "", Level::user,
            "Adds a user, with settings of its own if given.", user_add},
    Command{"user set", "NAME key=value ...", Operand::user, Operand::assignment, 2, kAnyNumber, "", Level::user,
            "Sets settings of a user; enabled=no refuses its mail.", user_set},
    Command{"user unset", "NAME key ...", Operand::user, Operand::key, 2, kAnyNumber, "", Level::user,
            "Removes settings of a user, so that the wider level shows through.", user_unset},
    Command{"user show", "NAME", Operand::user, Operand::none, 1, 1, "json", Level::user, "Shows a user's record.",
            user_show},
    Command{"user list", "", Operand::none, Operand::none, 0, 0, "domain json", Level::user,
            "Lists users, one name a line.", user_list},
    Command{"user remove", "NAME", Operand::user, Operand::none, 1, 1, "purge yes", Level::user,
            "Removes a user's record; the mail stays, unless --purge removes it.", user_remove},
    Command{"user allocate", "NAME", Operand::user, Operand::none, 1, 1, "", Level::user,
            "Makes a user's mailbox now rather than at the first mail.", user_allocate},

    Command{"domain set", "NAME [key=value ...]", Operand::domain, Operand::assignment, 1, kAnyNumber, "",
            Level::domain, "Sets settings of a domain; plan=PLAN gives it a plan.", domain_set},
    Command{"domain unset", "NAME key ...", Operand::domain, Operand::key, 2, kAnyNumber, "", Level::domain,
            "Removes settings of a domain.", domain_unset},
    Command{"domain show", "NAME", Operand::domain, Operand::none, 1, 1, "json", Level::domain,
            "Shows a domain's record.", domain_show},
    Command{"domain list", "", Operand::none, Operand::none, 0, 0, "json", Level::domain,
            "Lists the domains that have a record.", domain_list},
    Command{"domain remove", "NAME", Operand::domain, Operand::none, 1, 1, "", Level::domain,
            "Removes a domain's record; its users stay.", domain_remove},

    Command{"plan set", "NAME [key=value ...]", Operand::plan, Operand::assignment, 1, kAnyNumber, "", Level::plan,
            "Sets settings of a plan.", plan_set},
    Command{"plan unset", "NAME key ...", Operand::plan, Operand::key, 2, kAnyNumber, "", Level::plan,
            "Removes settings of a plan.", plan_unset},
    Command{"plan show", "NAME", Operand::plan, Operand::none, 1, 1, "json", Level::plan, "Shows a plan's record.",
            plan_show},
    Command{"plan list", "", Operand::none, Operand::none, 0, 0, "json", Level::plan, "Lists the plans.", plan_list},
    Command{"plan remove", "NAME", Operand::plan, Operand::none, 1, 1, "", Level::plan,
            "Removes a plan that no domain has.", plan_remove},

    Command{"quota show", "[NAME ...]", Operand::user, Operand::user, 0, kAnyNumber, "domain+ all over from json csv",
            Level::user, "Shows usage and limits of users, of domains' users or of all, the fullest first.",
            quota_show},
    Command{"quota recount", "[NAME ...]", Operand::user, Operand::user, 0, kAnyNumber, "domain+ all check jobs json",
            Level::user, "Looks at the store and puts the books on usage right.", quota_recount},
    Command{"quota check", "[NAME ...]", Operand::user, Operand::user, 0, kAnyNumber, "domain+ all json", Level::user,
            "Warns those whose usage has crossed a threshold, as a delivery would.", quota_check},
    Command{"quota publish", "[NAME ...]", Operand::user, Operand::user, 0, kAnyNumber, "domain all check prune json",
            Level::user, "Writes usage into the clone, or shows where the clone differs.", quota_publish},
    Command{"quota report", "NAME SERVICE storage=SIZE [messages=NUMBER]", Operand::user, Operand::none, 3, 4, "",
            Level::user, "Writes what another service of a user holds of the limits that it shares with the mail.",
            quota_report},

    Command{"config check", "", Operand::none, Operand::none, 0, 0, "records", Level::file,
            "Looks for everything that would keep Roost from working.", config_check},
    Command{"config show", "[NAME]", Operand::user, Operand::none, 0, 1, "json", Level::user,
            "Shows each setting's effective value, for a user if named, and where it comes from.", config_show},
    Command{"config sample", "", Operand::none, Operand::none, 0, 0, "", Level::file,
            "Prints a roost.conf with every setting, its help and its default.", config_sample},
    Command{"config man", "", Operand::none, Operand::none, 0, 0, "", Level::file,
            "Prints the settings as a part of a manual page, in mdoc(7).", config_man},

    Command{"explain", "ADDRESS", Operand::address, Operand::none, 1, 1, "size json", Level::user,
            "Says what a delivery to ADDRESS would do now, and why, without doing it.", explain},
    Command{"modules", "", Operand::none, Operand::none, 0, 0, "json", Level::file, "Lists the installed modules.",
            list_all_modules},

    Command{"database create", "", Operand::none, Operand::none, 0, 0, "", Level::file,
            "Makes the user database, or its tables, if missing.", database_create},
    Command{"database upgrade", "", Operand::none, Operand::none, 0, 0, "", Level::file,
            "Brings the tables of an older Roost up to date.", database_upgrade},
    Command{"database show", "", Operand::none, Operand::none, 0, 0, "json", Level::file,
            "Shows where the user database is, its schema version, and counts.", database_show},
};

}  // namespace

std::span<const Command> commands() { return kCommands; }

}  // namespace roost::cli
