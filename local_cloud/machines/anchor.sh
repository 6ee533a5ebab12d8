#!/bin/bash
# PID 1 of a local cloud's own namespaces (mount, network, PID), which live exactly as long as it does.
# It ends when its standard input closes, that is with the process that started it, however that one ended.
# $1: the gateway's address; $2...: further addresses that the cloud answers on.
set -eu
ip link set lo up
for address in "$@"; do ip address add "$address/32" dev lo; done
echo 1 > /proc/sys/net/ipv4/ip_forward
read -r pid _ < /proc/self/stat   # /proc is the host's: this is the PID that the host sees
echo "$pid"
exec > /dev/null
while read -r _; do :; done       # bash reaps what is re-parented to it meanwhile
