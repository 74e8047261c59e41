#!/bin/bash
# Counts the instructions of user code and kernel that a server executes for a request, on any machine: in a guest of QEMU.
#
#   benches/instructions/count.sh target/release/file-server
#
# Boots Debian's cloud kernel with two emulated processors, serves a hot file of a tmpfs by one server at a time on one of them
# to `wrk -t1 -c32` on the other, and prints a table of what was executed for a request: the difference of a long run and a short
# one, so that starting and connecting cancel out; the median of the rounds.
#
#   user, kernel    by the server, and by the interrupts that interrupt it
#   rest            by the idle task and kernel threads of its processor
#   load            by wrk on the other processor, user and kernel
#
# Needs qemu-system-x86 (7.2) linux-image-cloud-amd64 busybox-static cpio gcc libc6-dev wrk nginx-light lighttpd.
# Settings, by the environment:
#
#   ROUNDS=3
#   SERVERS="file-server nginx-sendfile nginx lighttpd bare-send bare-sendfile bare-vmsplice"
#   CASES="1K 100K 1M 1Kx16"    sizes; x16: so many requests in one segment
#   TIMES=5                     how many times as many requests the long run has: 1000 and 5000 of 1K, 200 and 1000 of 100K,
#                               128 and 640 of 1M
#   KERNEL=/boot/vmlinuz-...    another kernel
#   APPEND="mitigations=off"    more of the kernel's command line
#   THREADS=single              the processors take turns, so that who waits finds all that came at once, whatever else the
#                               machine does; or multi: they run side by side
set -euo pipefail

binary=$(realpath "${1:?usage: count.sh FILE-SERVER}")
here=$(dirname "$(realpath "$0")")
kernel=${KERNEL:-$(printf '%s\n' /boot/vmlinuz-*-cloud-amd64 | sort -V | tail -n 1)}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
root=$work/root

install_program() { # PROGRAM NAME, with the libraries it loads
    local library
    install -D "$1" "$root/bin/$2"
    while read -r library; do
        install -D "$library" "$root$library"
    done < <(ldd "$1" 2> /dev/null | grep -oE '/[^ ]+')
}

make_root() {
    mkdir -p "$root"/{bin,dev,etc,proc,srv,sys,tmp}
    ln -s bin "$root/sbin"
    gcc -O2 -static "$here/mark.c" -o "$root/bin/mark"
    gcc -O2 -static "$here/bare.c" -o "$root/bin/bare"
    install -m 755 "$here/guest.sh" "$root/init"
    install "$here"/etc/* "$root/etc"
    sed 's/sendfile off/sendfile on/' "$here/etc/nginx.conf" > "$root/etc/nginx-sendfile.conf"
    local program
    for program in busybox wrk nginx lighttpd; do install_program "$(command -v "$program")" "$program"; done
    install_program "$binary" file-server
    ln -s busybox "$root/bin/sh"
    cat > "$root/settings" <<END
ROUNDS=${ROUNDS:-3}
SERVERS="${SERVERS:-file-server nginx-sendfile nginx lighttpd bare-send bare-sendfile bare-vmsplice}"
CASES="${CASES:-1K 100K 1M 1Kx16}"
TIMES=${TIMES:-5}
END
    (cd "$root" && find . | cpio --quiet -o -H newc) > "$work/initrd"
}

boot() {
    gcc -O2 -shared -fPIC -fvisibility=hidden "$here/count.c" -o "$work/count.so"
    qemu-system-x86_64 -accel "tcg,thread=${THREADS:-single}" -cpu max,-la57 -smp 2 -m 2G -nodefaults -no-reboot \
        -display none -serial stdio -plugin "$work/count.so" -kernel "$kernel" -initrd "$work/initrd" \
        -append "console=ttyS0 quiet panic=-1 isolcpus=1 irqaffinity=0 nowatchdog tsc=reliable ${APPEND:-}" \
        < /dev/null 2> "$work/marks" | sed -u 's/\r//g' | tee "$work/console" | grep --line-buffered -E '^(guest:|run) ' >&2
    grep -v '^mark ' "$work/marks" >&2 || true
    grep -q '^guest: done' "$work/console" || { tail -n 20 "$work/console" >&2 && exit 1; }
}

# 2 000 001 instructions and those of leaving and entering: were `rep movsb` counted by bytes, it would be a million more.
check() {
    awk '$2 == 1 && $4 == 0 { ok = $6 > 2000000 && $6 < 2001000; print "known program: " $6 " instructions of 2 000 000" }
         END { exit !ok }' "$work/marks" >&2
}

# Marks 0 and 1 are around the known program; then each run has three, with the short and the long one between them.
samples() {
    awk 'FNR == NR { if ($1 == "mark") { user[$2, $4] = $6; kernel[$2, $4] = $8; rest[$2, $4] = $10 } next }
         $1 == "run" { s = 3 + 3 * runs++; l = s + 1; n = $5 - $4
             print $3, $2, n, (user[l, 1] - user[s, 1]) / n, (kernel[l, 1] - kernel[s, 1]) / n, (rest[l, 1] - rest[s, 1]) / n,
                 (user[l, 0] + kernel[l, 0] - user[s, 0] - kernel[s, 0]) / n }' "$work/marks" "$work/console"
}

median() { # FIELD of the samples in $work/of
    cut -d' ' -f"$1" "$work/of" | sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

table() {
    samples > "$work/samples"
    echo "| case | server | requests | user | kernel | user + kernel | lowest, highest | rest | load |"
    echo "|---|---|---:|---:|---:|---:|---:|---:|---:|"
    local case server
    cut -d' ' -f1,2 "$work/samples" | awk '!seen[$0]++' | while read -r case server; do
        awk -v c="$case" -v s="$server" '$1 == c && $2 == s { print $0, $4 + $5 }' "$work/samples" > "$work/of"
        printf '| %s | %s | %.0f | %.0f | %.0f | %.0f | %.0f, %.0f | %.0f | %.0f |\n' "$case" "$server" "$(median 3)" "$(median 4)" \
            "$(median 5)" "$(median 8)" "$(cut -d' ' -f8 "$work/of" | sort -g | head -n 1)" \
            "$(cut -d' ' -f8 "$work/of" | sort -g | tail -n 1)" "$(median 6)" "$(median 7)"
    done
}

make_root
boot
check
table
