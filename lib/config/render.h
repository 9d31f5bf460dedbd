// Renders settings tables for people: the commented sample of roost.conf and the settings part of roost.conf(5).
#pragma once

#include "config/setting.h"

#include <span>
#include <string>

namespace roost {

// A table and whose it is. Within a table the settings of a section stand together.
struct NamedTable {
    std::string title;  // empty for the program's own; else one line such as "MDA module maildir: what it does"
    SettingTable settings;
};

// A roost.conf in which every setting stands commented out, at its default, below its help. It reads back as an empty
// configuration; without the "#" of its settings, as one that changes nothing. Lines are at most 80 columns wide,
// except where one value is longer.
std::string render_sample(std::span<const NamedTable> tables);

// The settings as mdoc(7): for each section a .Ss with a .Bl, for each setting its kind, default and narrowest level
// and its help. What would be markup is escaped, for no text breaks the page.
std::string render_manual(std::span<const NamedTable> tables);

}  // namespace roost
