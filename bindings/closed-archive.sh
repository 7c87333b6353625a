#!/bin/sh
# Closes a static library: of the thousands of names in the archive that cargo makes, only the ft_ functions can be
# linked to afterwards, and only by the program, plugin or shared library that holds the archive; nobody sees them from
# outside. Two plugins in a process then each use their own copy, and other Rust archives may be linked beside it.
#
#   bindings/closed-archive.sh target/release/libflowturbo_capi.a libflowturbo.a
#
# For ELF systems (Linux, Android, BSD), with the tools of GNU or of LLVM. CC, LD, NM, OBJCOPY and AR name those for
# another machine. Does nothing if the result is newer than the archive.
set -eu

[ $# -eq 2 ] || { echo "usage: $0 ARCHIVE RESULT" >&2; exit 2; }
from=$1
to=$2
: "${CC:=cc}" "${LD:=ld}" "${NM:=nm}" "${OBJCOPY:=objcopy}" "${AR:=ar}"

[ -r "$from" ] || { echo "$0: there is no $from" >&2; exit 1; }
if [ -e "$to" ] && [ -z "$(find "$from" "$0" -newer "$to")" ]; then
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

$NM -g --defined-only "$from" 2>"$work/said" | sed -n 's/^.* T \(ft_[a-z0-9_]*\)$/\1/p' | sort -u >"$work/names"
[ -s "$work/names" ] || { cat "$work/said" >&2; echo "$0: no ft_ function in $from" >&2; exit 1; }

# Asks for each function, which pulls in what it needs, and makes its symbol hidden: known here, not outside. Not all of
# tract's assembler files say that they need no executable stack; the whole says so.
sed 's/^/.hidden /' "$work/names" >"$work/hidden.s"
$CC -c "$work/hidden.s" -o "$work/hidden.o"
$LD -r -z noexecstack -o "$work/whole.o" "$work/hidden.o" "$from"
# Without groups: of two groups with one name a linker drops one, and what was local to it is missing then. Without the
# bitcode of Rust's own library, on which the plugin of an older LLVM ends ar.
$OBJCOPY --keep-global-symbols="$work/names" --remove-section=.group --remove-section=.llvmbc \
  --remove-section=.llvmcmd --strip-debug "$work/whole.o" "$work/flowturbo.o"

rm -f "$work/closed.a"
$AR crs "$work/closed.a" "$work/flowturbo.o"
cp "$work/closed.a" "$to.new"
mv "$to.new" "$to"
