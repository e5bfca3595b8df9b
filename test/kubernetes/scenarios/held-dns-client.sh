#!/bin/bash
# Asks each of the DNS servers TARGETS (ADDRESS,PORT …) again and again by one connected UDP socket that stays. An error makes it open
# another, which is what a resolver does; silence five times in a row is a loss. Prints like fresh-client.sh.
# The query: id xy, one question, kube-dns.kube-system.svc.cluster.local A; without a newline in it, which would make two datagrams of it.
query='xy\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08kube-dns\x0bkube-system\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01'
repeat() {
	count=0 silent=0
	exec 3<>"/dev/udp/$2/$3"
	while :; do
		byte='' status=1
		# An error is told once, to whoever asks first: the question, or the wait for its answer.
		if printf "$query" 2>/dev/null >&3; then
			IFS= read -r -t 1 -n 1 byte 2>/dev/null <&3
			status=$?
		fi
		if [ "$byte" = x ]; then
			silent=0 count=$((count + 1))
			[ $((count % 10)) -ne 0 ] || echo "$1 ok $count"
		elif [ "$status" -gt 128 ]; then
			silent=$((silent + 1))
			[ "$silent" -ne 5 ] || echo "$1 lost $(date +%T) $2 silent"
		else
			exec 3>&-
			exec 3<>"/dev/udp/$2/$3"
			sleep 0.1
		fi
		sleep 0.05
	done
}
number=0
for target in $TARGETS; do
	number=$((number + 1))
	repeat "$number" "${target%,*}" "${target#*,}" &
done
wait
