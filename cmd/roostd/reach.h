// Which parts of the file system roostd has to do with.
#pragma once

#include "base/result.h"
#include "confinement.h"
#include "service.h"

#include <optional>
#include <string>

namespace roost {

// All that `instance` with the sockets and certificates of `setup`, and a reload that changes no directory, need;
// nothing if the MDA module does not say where it writes. An Error is the module's.
Result<std::optional<Reach>> reach_of(Instance& instance, const Setup& setup);

// Confines this thread, and all that come later, to that, if store.confine says so and it can be done. Returns what
// became of it, for the log.
std::string confine(Confinement& confinement, Instance& instance, const Setup& setup);

}  // namespace roost
