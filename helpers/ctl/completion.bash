# Completion of patronictl for bash.  Commands, options and their fixed words;
# names of members and clusters would need the store, and are not asked for.

_patronictl_options()
{
	# what --help lists, without needing a configuration to be there
	PATRONI_CONFIGURATION='{}' "$1" "$2" --help 2>/dev/null |
		command sed -n 's/^  \(-[^ ,]*\)\(, \(--[^ ]*\)\)\{0,1\}.*/\1 \3/p'
}

_patronictl()
{
	local cur prev command i
	local commands='demote-cluster dsn edit-config failover flush history
		list local pause promote-cluster query reinit reload remove
		restart resume show-config switchover topology version'

	COMPREPLY=()
	cur=${COMP_WORDS[COMP_CWORD]}
	prev=${COMP_WORDS[COMP_CWORD - 1]}
	command=
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-c | --config-file | -d | --dcs-url | --dcs) ((i++)) ;;
		-*) ;;
		*)
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	if [[ -z $command ]]; then
		case $prev in
		-c | --config-file)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
			;;
		-d | --dcs-url | --dcs)
			mapfile -t COMPREPLY < <(compgen -W \
				'etcd:// etcd3:// consul:// zookeeper:// exhibitor://' \
				-- "$cur")
			return
			;;
		esac
		mapfile -t COMPREPLY < <(compgen -W \
			"$commands -c --config-file -d --dcs-url --dcs -k --insecure --help" \
			-- "$cur")
		return
	fi
	case $prev in
	--role | -r)
		mapfile -t COMPREPLY < <(compgen -W \
			'leader primary standby-leader replica standby any' -- "$cur")
		return
		;;
	--apply | --replace | --file)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--format)
		mapfile -t COMPREPLY < <(compgen -W 'pretty tsv json yaml' -- "$cur")
		return
		;;
	-f)
		if [[ $command == query ]]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -W 'pretty tsv json yaml' -- "$cur")
		fi
		return
		;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W \
			"$(_patronictl_options "${COMP_WORDS[0]}" "$command")" -- "$cur")
		return
	fi
	case $command in
	flush)
		mapfile -t COMPREPLY < <(compgen -W 'restart switchover' -- "$cur")
		;;
	local)
		case $prev in
		restart-helper)
			mapfile -t COMPREPLY < <(compgen -W 'dcs rest postgres watchdog' \
				-- "$cur")
			;;
		log-level)
			mapfile -t COMPREPLY < <(compgen -W \
				'default debug info warning error critical' -- "$cur")
			;;
		flush)
			mapfile -t COMPREPLY < <(compgen -W 'restart switchover' -- "$cur")
			;;
		*)
			mapfile -t COMPREPLY < <(compgen -W 'processes journal reload
				restart-helper log-level restart reinit switchover failover
				flush' -- "$cur")
			;;
		esac
		;;
	esac
}

complete -F _patronictl patronictl
