#!/bin/bash
# Asks each of TARGETS (ADDRESS,PORT …) again and again, every request over a connection of its own; ends when its input does, or never.
# Each target prints `NUMBER ok COUNT` now and then, and `NUMBER lost WHY` for a request without an answer within ten seconds.
ask() {
	exec 3<>"/dev/tcp/$1/$2" || return 1
	printf 'GET /hostname HTTP/1.0\r\n\r\n' >&3 || return 1
	IFS= read -r -t 10 line <&3 || return 1
	exec 3>&-
	case $line in *' 200 '*) ;; *) return 1 ;; esac
}
repeat() {
	count=0
	while :; do
		if why=$( { ask "$2" "$3"; } 2>&1); then
			count=$((count + 1))
			[ $((count % 10)) -ne 0 ] || echo "$1 ok $count"
		else
			echo "$1 lost $(date +%T) $2 $3 ${why##*: }"
		fi
		sleep 0.02
	done
}
number=0
for target in $TARGETS; do
	number=$((number + 1))
	repeat "$number" "${target%,*}" "${target#*,}" &
done
wait
