# Writes OUT, a header with the build ID of the shared object FILE as the constant kBuildId_NAME. Run with cmake -P.
file(READ ${FILE} HEAD LIMIT 4096 HEX)
# The ELF note: name size 4, descriptor size 20, type NT_GNU_BUILD_ID, "GNU".
string(REGEX MATCH "040000001400000003000000474e5500(........................................)" NOTE "${HEAD}")
if(NOT NOTE)
  message(FATAL_ERROR "${FILE} has no SHA-1 build ID")
endif()
string(REGEX REPLACE "(..)" "\\\\x\\1" BYTES ${CMAKE_MATCH_1})
set(TEXT "inline constexpr char kBuildId_${NAME}[] = \"${BYTES}\";\n")
# Written anew whenever it is asked for, so that what depends on it knows that it is current.
file(WRITE ${OUT} "${TEXT}")
