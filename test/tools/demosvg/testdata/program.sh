#!/bin/sh
# A program that draws on a terminal as the plugin does: it replaces lines that it has drawn.
# Without a terminal it says so.
if ! [ -t 0 ] || ! [ -t 1 ] || ! [ -t 2 ]; then
	echo "not a terminal"
	exit 1
fi
[ -z "$NO_COLOR" ] || echo "without colours"
echo "terminal: $(stty size), $TERM"
printf 'cp1  restarting etcd\ncp2  starting its process …\n'
printf '\033[2A\r\033[J' >&2
printf 'cp1  replaced\n'
exit "$1"
