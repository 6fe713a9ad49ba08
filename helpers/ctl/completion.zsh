#compdef patronictl
# Completion of patronictl for zsh.  Commands, options and their fixed words;
# names of members and clusters would need the store, and are not asked for.

_patronictl_options()
{
	local -a found
	local line

	# what --help lists, without needing a configuration to be there
	for line in ${(f)"$(PATRONI_CONFIGURATION='{}' ${words[1]} $1 --help 2>/dev/null)"}; do
		if [[ $line == '  -'* ]]; then
			found+=(${(M)${(s: :)${line//,/ }}:#-*})
		fi
	done
	compadd -a found
}

_patronictl()
{
	local -a commands
	local command='' prev=${words[CURRENT-1]}
	local -i i

	commands=(
		'demote-cluster:Demote cluster to a standby cluster'
		'dsn:Generate a dsn for the provided member'
		'edit-config:Edit cluster configuration'
		'failover:Failover to a replica'
		'flush:Discard scheduled events'
		'history:Show the history of failovers/switchovers'
		'list:List the Patroni members for a given Patroni'
		'local:Ask the daemon of this node'
		'pause:Disable auto failover'
		'promote-cluster:Promote cluster, make it run standalone'
		'query:Query a Patroni PostgreSQL member'
		'reinit:Reinitialize cluster member'
		'reload:Reload cluster member configuration'
		'remove:Remove cluster from DCS'
		'restart:Restart cluster member'
		'resume:Resume auto failover'
		'show-config:Show cluster configuration'
		'switchover:Switchover to a replica'
		'topology:Prints ASCII topology for given cluster'
		'version:Output version of patronictl command or an instance'
	)
	for ((i = 2; i < CURRENT; i++)); do
		case ${words[i]} in
		-c | --config-file | -d | --dcs-url | --dcs) ((i++)) ;;
		-*) ;;
		*)
			command=${words[i]}
			break
			;;
		esac
	done
	if [[ -z $command ]]; then
		case $prev in
		-c | --config-file) _files ;;
		-d | --dcs-url | --dcs)
			compadd etcd:// etcd3:// consul:// zookeeper:// exhibitor:// ;;
		*)
			if [[ ${words[CURRENT]} == -* ]]; then
				compadd -- -c --config-file -d --dcs-url --dcs -k --insecure --help
			else
				_describe command commands
			fi
			;;
		esac
		return
	fi
	case $prev in
	--role | -r) compadd leader primary standby-leader replica standby any; return ;;
	--apply | --replace | --file) _files; return ;;
	--format) compadd pretty tsv json yaml; return ;;
	-f)
		if [[ $command == query ]]; then
			_files
		else
			compadd pretty tsv json yaml
		fi
		return
		;;
	esac
	if [[ ${words[CURRENT]} == -* ]]; then
		_patronictl_options $command
		return
	fi
	case $command in
	flush) compadd restart switchover ;;
	local)
		case $prev in
		restart-helper) compadd dcs rest postgres watchdog ;;
		log-level) compadd default debug info warning error critical ;;
		flush) compadd restart switchover ;;
		*) compadd processes journal reload restart-helper log-level \
			restart reinit switchover failover flush ;;
		esac
		;;
	esac
}

if [[ ${funcstack[1]} == _patronictl ]]; then
	_patronictl "$@"
else
	compdef _patronictl patronictl
fi
