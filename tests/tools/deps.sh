#!/bin/sh
# Install what building, testing and the demonstration need, from the
# distribution's packages.  Does nothing when everything is there.
# Usage: deps.sh build|check|dev
set -eu

build="gcc make pkg-config libc6-dev linux-libc-dev libevent-dev libpq-dev
	libcurl4-openssl-dev libc-ares-dev libyaml-dev libjansson-dev libseccomp-dev libssl-dev
	libzookeeper-st-dev"
run="postgresql-15 etcd-server etcd-client"
check="libcmocka-dev python3 python3-pytest python3-pytest-xdist
	python3-psycopg2 openssl dnsmasq-base haproxy pgbackrest procps zookeeper python3-kazoo
	util-linux iproute2 zsh tmux less"
dev="clang clang-format clang-tidy cppcheck shellcheck libclang-rt-14-dev mandoc
	patroni"

case "${1:-build}" in
build) want="$build $run" ;;
check) want="$build $run $check" ;;
dev) want="$build $run $check $dev" ;;
*)
	echo "usage: deps.sh build|check|dev" >&2
	exit 2
	;;
esac

missing=""
for p in $want; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' ||
		missing="$missing $p"
done
[ -z "$missing" ] && exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || {
		echo "These packages are missing and neither root nor sudo is available:$missing" >&2
		exit 1
	}
	sudo="sudo"
fi

# The packages would start servers of their own on the usual ports, which
# nothing here uses: keep them from it while installing.
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
	$sudo chmod 755 "$policy"
	made=1
fi
cluster=/etc/postgresql-common/createcluster.conf
if [ ! -e "$cluster" ]; then
	$sudo mkdir -p /etc/postgresql-common
	echo "create_main_cluster = false" | $sudo tee "$cluster" >/dev/null
fi
rc=0
echo "Installing:$missing"
{
	# shellcheck disable=SC2086
	$sudo apt-get update -qq &&
		$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
			--no-install-recommends -o Dpkg::Options::=--force-confold $missing
} >/tmp/patroni-deps.$$ 2>&1 || rc=$?
[ -n "$made" ] && $sudo rm -f "$policy"
[ "$rc" = 0 ] || tail -n 20 /tmp/patroni-deps.$$ >&2
rm -f /tmp/patroni-deps.$$
exit "$rc"
