#!/bin/sh
# Run a command as an unprivileged user when started as root, because
# PostgreSQL refuses root; otherwise just run it.
# Usage: as_user.sh command [argument ...]
set -eu
if [ "$(id -u)" != 0 ]; then
	exec "$@"
fi
user=${TEST_USER:-postgres}
id "$user" >/dev/null
exec setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups \
	env HOME="${TMPDIR:-/tmp}" USER="$user" LOGNAME="$user" "$@"
