# shellcheck shell=bash
# Sourced by the benchmarks: makes the folder $work in DIR, $top/build by default, which is on the file system to measure.
#
# ext4 without a journal does not give out an inode again for minutes after it was freed, but looks at each of them first,
# so that whatever was removed nearby, by a benchmark before, too, slows every file that is made. +T has ext4 spread the
# folders in a folder over its block groups, so that each benchmark starts in a place of its own.
place=$(realpath "${DIR:-$top/build}")/bench
mkdir -p "$place"
chattr +T "$place" 2>/dev/null || true
work=$(mktemp -d "$place/XXXXXX")
chmod 711 "$place" "$work"
