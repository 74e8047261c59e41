#!/bin/sh
# The first process of the guest that count.sh boots: serves and loads as /settings says, with the mark around each load.
# The server has the second processor for itself, everything else the first (the kernel is booted with isolcpus=1).
set -eu

/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /srv
mount -t tmpfs tmpfs /tmp
mkdir -p /var/log/nginx /var/lib/nginx
ip link set lo up

trap 'test $? = 0 || echo "guest: failed"; reboot -f' EXIT
# shellcheck source=/dev/null
. /settings

server() { # NAME FILE
    case $1 in
        file-server) echo "/bin/file-server --listen 127.0.0.1:8080 --threads 1 --log-level off /srv" ;;
        nginx-sendfile) echo "nginx -c /etc/nginx-sendfile.conf" ;;
        nginx) echo "nginx -c /etc/nginx.conf" ;;
        lighttpd) echo "lighttpd -D -f /etc/lighttpd.conf" ;;
        bare-*) echo "bare ${1#bare-} 8080 /srv/$2" ;;
        *) echo "guest: no server is called $1" > /dev/console && exit 1 ;;
    esac
}

wait_for() { # URL
    for _ in $(seq 300); do
        if wget -q -O /dev/null "$1" 2> /dev/null; then return; fi
        sleep 0.1
    done
    echo "guest: nobody answers" && exit 1
}

load() { # REQUESTS PIPELINED FILE, prints how many were answered
    REQUESTS=$1 PIPELINED=$2 wrk -t1 -c32 -d600s --timeout 60s -s /etc/requests.lua "http://127.0.0.1:8080/$3" > /tmp/wrk
    if grep -E 'Socket errors|Non-2xx' /tmp/wrk > /dev/console; then exit 1; fi
    sed -nE 's/^ *([0-9]+) requests in .*/\1/p' /tmp/wrk
}

measure() { # SERVER CASE
    file=${2%x*} pipelined=1
    case $2 in
        *x*) pipelined=${2#*x} requests=3200 ;;
        *00K) requests=200 ;;
        *K) requests=1000 ;;
        *) requests=128 ;;
    esac
    case $1-$pipelined in bare-*-16) return ;; esac # one answer to whatever comes is too few
    command=$(server "$1" "$file")
    # shellcheck disable=SC2086 # its words
    taskset 2 $command 2> /dev/null &
    wait_for "http://127.0.0.1:8080/$file"
    load "$requests" "$pipelined" "$file" > /dev/null # what is done once
    mark
    few=$(load "$requests" "$pipelined" "$file")
    mark
    many=$(load $((requests * TIMES)) "$pipelined" "$file")
    mark
    kill $!
    wait $! || true
    echo "run $1 $2 $few $many after $(cut -d' ' -f1 /proc/uptime) s"
}

for size in 1K 100K 1M; do head -c "$(echo $size | tr KM km)" /dev/zero > "/srv/$size"; done
echo "guest: $(uname -r), clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)," \
    "congestion control $(cat /proc/sys/net/ipv4/tcp_congestion_control)," \
    "copies by $(grep -m 1 flags /proc/cpuinfo | grep -oEw 'erms|fsrm|smap|rep_good' | tr '\n' ' ')"
grep . /sys/devices/system/cpu/vulnerabilities/* | grep -v ':Not affected$' | sed 's|^/.*vulnerabilities/|guest: |' || true
mark check
for round in $(seq "$ROUNDS"); do
    echo "guest: round $round"
    for case in $CASES; do
        for server in $SERVERS; do measure "$server" "$case"; done
    done
done
echo "guest: done"
