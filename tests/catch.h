// Catch2 in either of the versions that Debian has: 2 (bookworm) and 3 (trixie).
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
