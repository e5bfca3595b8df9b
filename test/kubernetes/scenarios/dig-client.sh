#!/bin/bash
# Asks the DNS servers TARGETS (ADDRESS,PORT …) for a name again and again, each time by UDP from a new socket, as a resolver does: up to
# four times, a second each. Prints like fresh-client.sh.
repeat() {
	count=0
	while :; do
		said=$(dig +short +notcp +time=1 +tries=4 -p "$3" "@$2" kube-dns.kube-system.svc.cluster.local)
		case $said in
		*[0-9a-f][.:]*[0-9a-f])
			count=$((count + 1))
			[ $((count % 10)) -ne 0 ] || echo "$1 ok $count"
			;;
		*) echo "$1 lost $(date +%T) $2 ${said//$'\n'/ }" ;;
		esac
		sleep 0.02
	done
}
number=0
for target in $TARGETS; do
	number=$((number + 1))
	repeat "$number" "${target%,*}" "${target#*,}" &
done
wait
