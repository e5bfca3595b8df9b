#!/bin/bash
# Runs in a pod: keeps CONNECTIONS connections to each of TARGETS busy, a request every 100 ms; ends when one of them breaks.
# A connection is one bash socket; `read -t` is how long the network may be silent. Each counts its answers in a file in /tmp.
talk() {
	exec 3<>"/dev/tcp/$1/$PORT" || exit 1
	count=0
	while :; do
		printf 'GET /hostname HTTP/1.1\r\nHost: x\r\n\r\n' >&3 || exit 1
		length=
		while IFS= read -r -t 30 line <&3; do
			line=${line%$'\r'}
			case $line in
			[Cc]ontent-[Ll]ength:*) length=${line#*: } ;;
			'') break ;;
			esac
		done
		[ -n "$length" ] || exit 1
		read -r -N "$length" -t 30 body <&3 || exit 1
		count=$((count + 1))
		echo "$count"
		sleep 0.1
	done
}
for address in $TARGETS; do
	for i in $(seq "$CONNECTIONS"); do
		talk "$address" >"/tmp/answers-$address-$i" &
	done
done
wait -n
echo 'a connection broke'
exit 1
