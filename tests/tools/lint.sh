#!/bin/sh
# clang-format, clang-tidy, cppcheck and shellcheck; any complaint fails.
# Usage: lint.sh SOURCE...
set -u
bad=0
clang-format --dry-run --Werror "$@" || bad=1
cfiles=$(printf '%s\n' "$@" | grep '\.c$')
flags="-D_GNU_SOURCE -I. -std=gnu11 -DLIBEXECDIR=\"x\" $(pkg-config --cflags libpq)"
# shellcheck disable=SC2086
printf '%s\n' $cfiles | xargs -P "$(nproc)" -n 4 sh -c \
	'clang-tidy --quiet --warnings-as-errors="*" "$@" -- '"$flags"' 2>/dev/null' sh || bad=1
# shellcheck disable=SC2086
# cppcheck does not see the system's headers: the list heads without a name of
# sys/queue.h are given here
cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --enable=warning,portability \
	--suppress=missingIncludeSystem -D_GNU_SOURCE -I. \
	'-DLIST_HEAD(n,t)=struct{struct t*lh_first;}' \
	'-DTAILQ_HEAD(n,t)=struct{struct t*tqh_first;struct t**tqh_last;}' \
	'-DSTAILQ_HEAD(n,t)=struct{struct t*stqh_first;struct t**stqh_last;}' \
	$cfiles || bad=1
shellcheck tests/tools/*.sh tests/demo/*.sh .ci/run || bad=1
exit "$bad"
