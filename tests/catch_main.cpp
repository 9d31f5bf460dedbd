// main() for Catch2 version 2, which has none in a library.
#define CATCH_CONFIG_MAIN
#include "catch.h"
