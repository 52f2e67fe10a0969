#!/bin/sh
# Runs a command as two ranks on two "computers": network namespaces of this one, each with a name, an address and a
# processor core of its own, and a line between them of the rate given (tc's notation).
#
#     studies/two_hosts.sh 1gbit target/release/igpt-mpi pretrain --data emoji --steps 4 --set train.gradient_groups=2 --out runs/a
#
# Needs root, iproute2, OpenMPI, and igpt-mpi.
set -eu
[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
rate=$1
shift
a=igpt-a-$$
b=igpt-b-$$
work=$(mktemp -d)
clean() {
    for host in $a $b; do ip netns del $host 2> /dev/null || true; done
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM

ip netns add $a
ip netns add $b
ip link add eth0 netns $a type veth peer name eth0 netns $b
for place in "$a 10.77.0.1" "$b 10.77.0.2"; do
    in="ip netns exec ${place% *}"
    $in ip addr add "${place#* }/24" dev eth0
    $in ip link set lo up
    $in ip link set eth0 up
    $in tc qdisc add dev eth0 root tbf rate "$rate" burst 2mb latency 20ms
done
printf '10.77.0.1 %s\n10.77.0.2 %s\n127.0.0.1 localhost\n' $a $b > "$work/hosts"
printf '%s slots=1\n%s slots=1\n' $a $b > "$work/list"

# The command, for a shell that knows nothing of this one.
printf 'cd %s && exec' "$(pwd | sed "s/'/'\\\\''/g; s/.*/'&'/")" > "$work/command"
for word in "$@"; do printf ' %s' "$(printf %s "$word" | sed "s/'/'\\\\''/g; s/.*/'&'/")" >> "$work/command"; done

# What mpirun starts its other half with, in place of ssh: the first argument is the computer, the rest the command.
cat > "$work/enter" <<'ENTER'
#!/bin/sh
host=$1
shift
case $host in igpt-a-*) core=0 ;; *) core=1 ;; esac
exec ip netns exec "$host" unshare --mount --uts sh -c '
    hostname "$1" && mount --bind "$2/hosts" /etc/hosts && core=$3 && shift 3 && exec taskset -c "$core" sh -c "$*"
' sh "$host" "$(dirname "$0")" "$core" "$@"
ENTER
chmod +x "$work/enter"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
"$work/enter" $a exec mpirun -n 2 --hostfile "$work/list" --bind-to none --mca plm_rsh_agent "$work/enter" \
    --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 sh "$work/command"
