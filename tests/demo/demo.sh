#!/usr/bin/env bash
# A three-node cluster with automatic failover on this machine, to play with.
# Usage: demo.sh start|stop BUILD-DIRECTORY
set -eu
cd "$(dirname "$0")/../.."
build=$PWD/${2:-build}
dir=${DEMO_DIR:-/tmp/patroni-demo}
etcd_port=${DEMO_ETCD_PORT:-23790}
pg_port=${DEMO_PG_PORT:-54310}
rest_port=${DEMO_REST_PORT:-8010}
pg_bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)
as_user=$PWD/tests/tools/as_user.sh
nodes="node1 node2 node3"

say() { printf '%s\n' "$*"; }

running() { # pid file
	[ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null
}

stop_one() { # pid file, signal
	local pid n=0
	running "$1" || { rm -f "$1"; return 0; }
	pid=$(cat "$1")
	kill -"$2" "$pid" 2>/dev/null || true
	while kill -0 "$pid" 2>/dev/null; do
		n=$((n + 1))
		[ "$n" -gt 600 ] && { say "process $pid does not stop; kill -9"; kill -9 "$pid"; }
		sleep 0.1
	done
	rm -f "$1"
}

stop() {
	[ -d "$dir" ] || { say "No demo is running."; return 0; }
	for n in $nodes; do stop_one "$dir/$n.pid" TERM & done
	wait
	for n in $nodes; do # a postmaster that outlived a killed manager
		if [ -s "$dir/$n/data/postmaster.pid" ]; then
			head -n 1 "$dir/$n/data/postmaster.pid" >"$dir/$n.pm.pid"
			stop_one "$dir/$n.pm.pid" INT
		fi
	done
	stop_one "$dir/etcd.pid" TERM
	rm -rf "$dir"
	say "The demo is stopped and its files are removed."
}

config() { # name number
	cat <<-YML
	scope: demo
	name: $1
	control_socket: $dir/$1.sock
	log:
	  level: INFO
	etcd3:
	  hosts: 127.0.0.1:$etcd_port
	restapi:
	  listen: 127.0.0.1:$((rest_port + $2))
	  connect_address: 127.0.0.1:$((rest_port + $2))
	bootstrap:
	  dcs:
	    ttl: 20
	    loop_wait: 5
	    retry_timeout: 5
	    postgresql:
	      use_pg_rewind: true
	      parameters:
	        max_connections: 60
	        shared_buffers: 16MB
	        wal_keep_size: 64MB
	  initdb:
	    - encoding: UTF8
	    - data-checksums
	postgresql:
	  listen: 127.0.0.1:$((pg_port + $2))
	  connect_address: 127.0.0.1:$((pg_port + $2))
	  data_dir: $dir/$1/data
	  bin_dir: $pg_bin
	  pgpass: $dir/$1/pgpass
	  authentication:
	    superuser: {username: postgres, password: demo}
	    replication: {username: replicator, password: demo}
	    rewind: {username: rewinder, password: demo}
	  pg_hba:
	    - local all all trust
	    - host all all 127.0.0.1/32 trust
	    - host replication all 127.0.0.1/32 trust
	  parameters:
	    unix_socket_directories: $dir/$1
	YML
}

# wait_until "what" seconds command...: with a dot a second
wait_until() {
	local what=$1 limit=$2 n=0
	shift 2
	printf '%s ' "$what"
	until "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		if [ "$n" -gt $((limit * 5)) ]; then
			say "- not within $limit s. Logs are in $dir/*.log"
			exit 1
		fi
		[ $((n % 5)) = 0 ] && printf '.'
		sleep 0.2
	done
	say " done"
}

http() { # port path: true for 200
	exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
	printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3
	local line
	IFS= read -r -t 3 line <&3
	exec 3>&-
	case $line in *" 200 "*) return 0 ;; esac
	return 1
}

etcd_ready() { ETCDCTL_API=3 etcdctl --endpoints "127.0.0.1:$etcd_port" endpoint health; }

streams() { # number of replicas that stream, have caught up and know their timeline
	local rows
	rows=$("$build/patronictl" -c "$dir/node1.yml" list -f tsv | awk -F'\t' \
		'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "State") s = i; else if ($i == "TL") t = i}
		 NR > 1 && $s == "streaming" && $t != "" && $NF == "0"' | wc -l)
	[ "$rows" = "$1" ]
}

start() {
	if [ -d "$dir" ]; then
		if running "$dir/etcd.pid"; then
			say "A demo is already running in $dir; stop it with: make demo-stop"
			exit 1
		fi
		rm -rf "$dir"
	fi
	mkdir -p "$dir"
	trap 'say "Interrupted."; stop; exit 130' INT TERM
	etcd --name demo --data-dir "$dir/etcd" --log-level error \
		--listen-client-urls "http://127.0.0.1:$etcd_port" \
		--advertise-client-urls "http://127.0.0.1:$etcd_port" \
		--listen-peer-urls "http://127.0.0.1:$((etcd_port + 1))" \
		--initial-advertise-peer-urls "http://127.0.0.1:$((etcd_port + 1))" \
		--initial-cluster "demo=http://127.0.0.1:$((etcd_port + 1))" \
		>"$dir/etcd.log" 2>&1 </dev/null &
	echo $! >"$dir/etcd.pid"
	wait_until "etcd" 30 etcd_ready
	local i=0
	for n in $nodes; do
		i=$((i + 1))
		mkdir "$dir/$n"
		config "$n" "$i" >"$dir/$n.yml"
		setsid "$build/patroni" "$dir/$n.yml" >"$dir/$n.log" 2>&1 </dev/null &
		echo $! >"$dir/$n.pid"
		[ "$i" = 1 ] && wait_until "first node: initdb and promotion" 120 http $((rest_port + 1)) /primary
	done
	wait_until "two replicas: base backup and streaming" 180 streams 2
	trap - INT TERM
	say
	"$build/patronictl" -c "$dir/node1.yml" list
	cat <<-TEXT

	PostgreSQL listens on 127.0.0.1:$((pg_port + 1)) to $((pg_port + 3)) (user postgres), the REST API on $((rest_port + 1)) to $((rest_port + 3)),
	logs are in $dir/node*.log. Things to try:

	  watch the cluster:        $build/patronictl -c $dir/node1.yml list -w 1
	  kill the leader (node1):  kill -9 \$(head -n 1 $dir/node1/data/postmaster.pid)
	  lose its manager as well: kill -9 \$(cat $dir/node1.pid) \$(pgrep -P \$(cat $dir/node1.pid))
	  stop it cleanly:          kill \$(cat $dir/node1.pid)
	  bring it back:            make demo-node NODE=node1
	  what its processes do:    $build/patronictl -c $dir/node1.yml local processes
	  write as a client would:  psql "host=127.0.0.1,127.0.0.1,127.0.0.1 port=$((pg_port + 1)),$((pg_port + 2)),$((pg_port + 3)) user=postgres target_session_attrs=read-write"

	Stop everything and remove its files: make demo-stop
	TEXT
}

start_node() {
	local n=${NODE:-node1}
	[ -f "$dir/$n.yml" ] || { say "There is no $n; nodes: $nodes"; exit 1; }
	running "$dir/$n.pid" && { say "$n is running."; exit 0; }
	setsid "$build/patroni" "$dir/$n.yml" >>"$dir/$n.log" 2>&1 </dev/null &
	echo $! >"$dir/$n.pid"
	say "$n is started."
}

# everything below runs without root
if [ "$(id -u)" = 0 ]; then
	exec "$as_user" "$0" "$@"
fi
case "${1:-}" in
start) start ;;
stop) stop ;;
node) start_node ;;
*)
	say "usage: demo.sh start|stop|node [build directory]"
	exit 2
	;;
esac
