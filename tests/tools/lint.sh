#!/bin/sh
# clang-format, clang-tidy, cppcheck and shellcheck; any complaint fails.
# Usage: lint.sh SOURCE...
set -u
bad=0
clang-format --dry-run --Werror "$@" || bad=1
cfiles=$(printf '%s\n' "$@" | grep '\.c$')
flags="-D_GNU_SOURCE -I. -std=gnu11 -DLIBEXECDIR=\\\"x\\\" $(pkg-config --cflags libpq)"
# shellcheck disable=SC2086
printf '%s\n' $cfiles | xargs -P "$(nproc)" -n 4 sh -c \
	'clang-tidy --quiet --warnings-as-errors="*" "$@" -- '"$flags"' 2>/dev/null' sh || bad=1
# cppcheck sees the programs only: cmocka's assertions, which do not return, are
# nothing to it.  autoVariables: where a caller's struct is filled for a call.
# shellcheck disable=SC2046,SC2086
cppcheck --quiet -j "$(nproc)" --error-exitcode=1 --inline-suppr --std=c11 \
	--enable=warning,portability --suppress=missingIncludeSystem \
	--suppress=autoVariables --include=tests/tools/cppcheck.h -D_GNU_SOURCE -I. \
	$(printf '%s\n' $cfiles | grep -v '^tests/') || bad=1
shellcheck tests/tools/*.sh tests/demo/*.sh .ci/run || bad=1
exit "$bad"
