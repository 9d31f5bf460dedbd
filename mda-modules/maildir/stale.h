// Cleaning up what killed deliveries leave in tmp/.
#pragma once

#include <sys/stat.h>

#include "base/files.h"

namespace roost::maildir {

// Removes regular files in the open directory `tmp` that were neither read, written nor otherwise touched for 36 hours,
// as the Maildir specification asks of deliverers. Best effort: what fails is left for the next time.
//
// It runs at each delivery, since a pipe command keeps no memory between messages and the only clocks that a directory
// has do not tell when it was last swept. That is cheap because it lists one batch of names only (tmp/ holds what is
// being delivered right now), looks closer only at names that do not begin with a recent time, and removes few at once.
// One that was empty is remembered, for is_known_empty().
void remove_stale(Files& files, DirRef tmp);

// Whether remove_stale() found this directory empty in this process and nothing has come or gone since, as its time of
// change tells. It remembers some 65,000 directories. Any thread.
bool is_known_empty(const struct stat& tmp);

}  // namespace roost::maildir
