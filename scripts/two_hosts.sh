#!/bin/sh
# Runs a command as two ranks on two "computers": network namespaces of this one, each with a name, an address and a
# processor core of its own, and a line between them of the rate given (tc's notation).
#
#     scripts/two_hosts.sh 1gbit target/release/igpt pretrain --data emoji --steps 4 --set train.gradient_groups=2 --out runs/a
#
# Needs root, iproute2, OpenMPI, and an igpt built with --features mpi.
set -eu
[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
rate=$1
shift
work=$(mktemp -d)
clean() {
    ip netns del igpt-a 2>/dev/null || true
    ip netns del igpt-b 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT INT TERM

ip netns add igpt-a
ip netns add igpt-b
ip link add eth0 netns igpt-a type veth peer name eth0 netns igpt-b
for host in a b; do
    in="ip netns exec igpt-$host"
    [ $host = a ] && address=10.77.0.1 || address=10.77.0.2
    $in ip addr add $address/24 dev eth0
    $in ip link set lo up
    $in ip link set eth0 up
    $in tc qdisc add dev eth0 root tbf rate "$rate" burst 2mb latency 20ms
done
printf '10.77.0.1 igpt-a\n10.77.0.2 igpt-b\n127.0.0.1 localhost\n' > "$work/hosts"
printf 'igpt-a slots=1\nigpt-b slots=1\n' > "$work/list"

# What mpirun starts its other half with, in place of ssh: the first argument is the computer, the rest the command.
cat > "$work/enter" <<'ENTER'
#!/bin/sh
host=$1
shift
[ "$host" = igpt-a ] && core=0 || core=1
exec ip netns exec "$host" unshare --mount --uts sh -c '
    hostname "$1" && mount --bind "$2/hosts" /etc/hosts && core=$3 && shift 3 && exec taskset -c "$core" sh -c "$*"
' sh "$host" "$(dirname "$0")" "$core" "$@"
ENTER
chmod +x "$work/enter"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
"$work/enter" igpt-a exec mpirun -n 2 --hostfile "$work/list" --bind-to none --mca plm_rsh_agent "$work/enter" \
    --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
    "$(realpath "$1")" "$(shift; printf '%s ' "$@")"
