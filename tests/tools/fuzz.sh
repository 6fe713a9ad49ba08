#!/bin/sh
# Run each fuzz target for a bounded time; a finding fails.
# Usage: fuzz.sh SECONDS TARGET...
set -u
seconds=$1
shift
bad=0
work=$(mktemp -d /tmp/patroni-fuzz-XXXXXX)
trap 'rm -rf "$work"' EXIT
for target in "$@"; do
	name=$(basename "$target")
	corpus=tests/fuzz/corpus/${name#fuzz_}
	mkdir "$work/$name"
	[ -d "$corpus" ] && cp -R "$corpus/." "$work/$name/"
	if "$target" -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 \
		-artifact_prefix="build-fuzz/$name-" "$work/$name" >"$work/log" 2>&1; then
		printf '%-24s %s\n' "$name" "$(grep -o 'Done .*' "$work/log" | tail -n 1)"
	else
		bad=1
		printf '%-24s FOUND SOMETHING\n' "$name"
		tail -n 40 "$work/log"
	fi
done
exit "$bad"
