#!/usr/bin/env bash
# Run the suites and end with the line "N passed, N failed".
# Usage: check.sh BUILD-DIRECTORY [long]
# ONLY="unit sim system" selects suites.
set -u
cd "$(dirname "$0")/../.." || exit 2
build=$1
long=${2:-}
only=${ONLY:-unit sim system}
passed=0
failed=0
out=$(mktemp -d /tmp/patroni-check-XXXXXX)
chmod 755 "$out"
trap 'rm -rf "$out"' EXIT
as_user=tests/tools/as_user.sh
export BUILD="$PWD/$build" PYTHONDONTWRITEBYTECODE=1
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}

count() { # passed failed
	passed=$((passed + $1))
	failed=$((failed + $2))
}

run_unit() {
	local program name rc
	export RULES_LOG=$out/rules
	: >"$RULES_LOG"
	chmod 666 "$RULES_LOG"
	for program in "$build"/unit/test_*; do
		case $program in *.d) continue ;; esac
		name=$(basename "$program")
		timeout 300 "$as_user" "$program" >"$out/$name" 2>&1
		rc=$?
		local ok bad
		ok=$(grep -c '^\[       OK \]' "$out/$name")
		bad=$(grep -c '^\[  FAILED  \] test_' "$out/$name")
		[ "$rc" != 0 ] && [ "$bad" = 0 ] && bad=1
		count "$ok" "$bad"
		printf '%-36s %3d passed, %d failed\n' "$name" "$ok" "$bad"
		[ "$bad" != 0 ] && grep -v -e '^\[ RUN' -e '^\[       OK' "$out/$name" | tail -n 40
	done
	unset RULES_LOG
	# every rule of the HA core is met by a test
	if tests/tools/rules.py --check "$out/rules"; then count 1 0; else count 0 1; fi
}

run_sim() {
	local seeds=${SIM_SEEDS:-0} rc
	if [ "$seeds" = 0 ]; then
		seeds=400
		[ -n "$long" ] && seeds=20000
	fi
	"$as_user" "$build/sim" --seeds "$seeds" >"$out/sim" 2>&1
	rc=$?
	tail -n 1 "$out/sim"
	if [ "$rc" = 0 ]; then count 1 0; else
		count 0 1
		tail -n 60 "$out/sim"
	fi
	"$as_user" "$build/sim-break" --prove >"$out/prove" 2>&1
	rc=$?
	tail -n 1 "$out/prove"
	if [ "$rc" = 0 ]; then count 1 0; else
		count 0 1
		tail -n 30 "$out/prove"
	fi
}

# What only root can test: being several users.
run_root() {
	local rc
	[ "$(id -u)" = 0 ] || return 0
	/usr/bin/python3 -m pytest -p no:cacheprovider -q \
		tests/system/test_ctl_access.py tests/system/test_root.py >"$out/root" 2>&1
	rc=$?
	tail -n 1 "$out/root"
	if [ "$rc" = 0 ]; then count 1 0; else
		count 0 1
		tail -n 60 "$out/root"
	fi
}

run_system() {
	run_root
	# beside Python Patroni: minutes, and only where that is installed
	local ignore="--ignore=tests/system/test_interop.py"
	if [ -n "$long" ]; then
		export KILLS=20 MASTER_STOP=120 LONG=1
		ignore=
	fi
	# shellcheck disable=SC2086
	"$as_user" /usr/bin/python3 -m pytest -p no:cacheprovider -q --maxfail=8 \
		--ignore=tests/system/test_partition.py -n "${JOBS:-3}" --dist loadfile --durations=15 \
		$ignore ${PYTEST_ARGS:-} tests/system 2>&1 | tee "$out/system"
	system_result must
	if [ -n "$long" ]; then
		run_partition
		run_stores
	fi
}

# The core scenarios on every other store.
run_stores() {
	local store
	for store in $(cd tests/system && /usr/bin/python3 -c \
		'import stores; print(*sorted({*stores.STORES, *stores.MODULES} - {"etcd3"}))'); do
		echo "-- on $store"
		DCS=$store "$as_user" /usr/bin/python3 -m pytest -p no:cacheprovider -q --maxfail=8 \
			-n "${JOBS:-3}" --dist loadfile tests/system/test_failover.py \
			tests/system/test_fence.py tests/system/test_helpers.py \
			tests/system/test_brain.py 2>&1 | tee "$out/system"
		system_result must
		# a cluster shared with Python nodes, where those have a client
		case $store in etcd | zookeeper)
			DCS=$store "$as_user" /usr/bin/python3 -m pytest -p no:cacheprovider -q \
				tests/system/test_interop.py -k mixed 2>&1 | tee "$out/system"
			system_result may
			;;
		esac
	done
}

# As root: it makes network namespaces, and starts everything in them as the
# unprivileged user.  Started as another user, it says that it is left out.
run_partition() {
	/usr/bin/python3 -m pytest -p no:cacheprovider -q -rs --maxfail=3 --durations=5 \
		tests/system/test_partition.py 2>&1 | tee "$out/system"
	system_result may
}

# Count what the last line of pytest says.  must: all skipped is a failure.
system_result() {
	local line ok bad
	line=$(tail -n 1 "$out/system")
	ok=$(sed -n 's/.*[^0-9]\?\b\([0-9]\+\) passed.*/\1/p' <<<"$line")
	bad=$(grep -oE '[0-9]+ (failed|error)' <<<"$line" | awk '{n += $1} END {print n + 0}')
	[ -z "$ok" ] && ok=0
	[ "$ok" = 0 ] && [ "$bad" = 0 ] && { [ "$1" = must ] || ! grep -q skipped <<<"$line"; } && bad=1
	count "$ok" "$bad"
}

for suite in $only; do
	echo "== $suite"
	"run_$suite"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
