# shellcheck shell=sh
# What both agents share. POSIX sh, no library of the cluster manager needed, so that they run and are tested anywhere.

OCF_SUCCESS=0 OCF_ERR_GENERIC=1 OCF_ERR_ARGS=2 OCF_ERR_UNIMPLEMENTED=3 OCF_ERR_INSTALLED=5 OCF_ERR_CONFIGURED=6 OCF_NOT_RUNNING=7

# The cluster manager shows the last such line beside the resource.
reason() {
	echo "ocf-exit-reason:$*" >&2
}

note() {
	echo "${OCF_RESOURCE_INSTANCE:-opentec}: $*" >&2
}

# true, yes, on, 1: as the cluster manager's own agents read them
is_true() {
	case "$1" in
	1 | [Tt]rue | TRUE | [Yy]es | YES | [Oo]n | ON) return 0 ;;
	esac
	return 1
}

is_number() {
	case "$1" in
	'' | *[!0-9]*) return 1 ;;
	esac
	return 0
}

# Run a command as the user of the resource, for SECONDS at most: a command that hangs must not take the action with it.
as_user() {
	_limit=$1
	shift
	if [ "$(id -un)" = "$user" ]; then
		TEC_RUNTIME_DIR=$runtime timeout -k 2 "$_limit" "$@"
	else
		runuser -u "$user" -- env TEC_RUNTIME_DIR="$runtime" timeout -k 2 "$_limit" "$@"
	fi
}

# Checks that hold for any resource: the program and the user are there. Else the node cannot run it, others may.
check_installed() {
	if ! command -v "$tec" >/dev/null 2>&1; then
		reason "$tec is not an executable: install opentec on this node, or set the parameter tec"
		return $OCF_ERR_INSTALLED
	fi
	if ! user_id=$(id -u "$user" 2>/dev/null); then
		reason "there is no user $user on this node"
		return $OCF_ERR_INSTALLED
	fi
	return $OCF_SUCCESS
}

# The directory for sockets: it must belong to the user, and is gone after a reboot.
make_runtime() {
	[ -d "$runtime" ] && return 0
	mkdir -p -m 750 "$runtime" && chown "$user" "$runtime"
}

# Processes whose command line, NUL bytes read as spaces, the function MATCH accepts, and that belong to the user.
# One grep looks at all of them; only what may be ours costs more.
find_processes() {
	_match=$1 _wanted=$2 _uid=$(id -u "$user" 2>/dev/null)
	for _file in $(grep -aslF -e "$_wanted" /proc/[0-9]*/cmdline); do
		_line=$({ tr '\0' ' ' <"$_file" | sed 's/ *$//'; } 2>/dev/null)
		"$_match" "$_line" || continue
		# a user that cannot be looked up at the moment must not make what runs look stopped
		[ -z "$_uid" ] || [ "$(stat -c %u "$_file" 2>/dev/null)" = "$_uid" ] || continue
		_pid=${_file#/proc/}
		echo "${_pid%/cmdline}"
	done
}

# End what FIND still finds: SIGKILL, until it is gone. Everything is made for that. A process that cannot die (state D)
# is for fencing: then the stop times out.
kill_remaining() {
	_find=$1
	while _left=$("$_find") && [ -n "$_left" ]; do
		# shellcheck disable=SC2086
		kill -9 $_left 2>/dev/null
		sleep 0.1
	done
}

# Name whoever still has files open below DIRECTORY: it would make an unmount fail (redbook 3.1.2).
name_openers() {
	for _pid in $(find /proc/[0-9]*/fd /proc/[0-9]*/cwd -maxdepth 1 -type l -lname "$1/*" 2>/dev/null | cut -d/ -f3 | sort -un); do
		note "process $_pid ($(cat "/proc/$_pid/comm" 2>/dev/null)) still has files open below $1"
	done
}
