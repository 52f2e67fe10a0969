#!/bin/sh
# Does training on a token directory need memory for the set? Trains the same steps twice, first free, then where the
# memory that the process and its page cache may have is less than the set, and prints both speeds.
#
#   studies/memory_limit.sh TOKENS [MEGABYTES] [more flags of igpt pretrain]
#
# The limit is a control group's: the kernel's cache of the set counts too. Without root and without systemd it is that of
# private memory alone (ulimit -d), which a copy of the set would break. IGPT names the program.
set -eu
tokens=$1
limit=${2:-512}
[ $# -ge 2 ] && shift
shift
igpt=${IGPT:-igpt}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
size=$(du -sm --apparent-size "$tokens" | cut -f1)
echo "$tokens: $size MB; limit $limit MB"
[ "$size" -gt "$limit" ] || echo "the set is smaller than the limit: this proves little"

scope="systemd-run --user --scope --quiet"
group=$(for controller in /sys/fs/cgroup/memory /sys/fs/cgroup; do
    mkdir "$controller/igpt-limit-$$" 2> /dev/null && echo "$controller/igpt-limit-$$" && break
done || true)
bytes=$((limit * 1048576))
if [ -n "$group" ] && { echo $bytes > "$group/memory.limit_in_bytes" || echo $bytes > "$group/memory.max"; } 2> /dev/null; then
    trap 'rm -rf "$out"; rmdir "$group"' EXIT
    limited() { sh -c 'echo $$ > "$0/cgroup.procs" && exec "$@"' "$group" "$@"; }
elif $scope -p MemoryMax="${limit}M" true 2> /dev/null; then
    limited() { $scope -p MemoryMax="${limit}M" -p MemorySwapMax=0 "$@"; }
else
    echo "no control group: limiting private memory only"
    limited() { (ulimit -d $((limit * 1024)) && exec "$@"); }
fi
# What is in the cache already counts for nobody.
forget() { sync && { echo 1 > /proc/sys/vm/drop_caches; } 2> /dev/null || true; }

[ $# -gt 0 ] || set -- --steps 60
train="pretrain --data $tokens --set train.sample_images=0 --set train.eval_images=64 --json"
speed() {
    "$@" 2> "$out/words" | sed -n 's/.*"tokens_per_second":\([0-9.]*\).*/\1 tokens\/s/p' | grep . || tail -1 "$out/words"
}
forget
echo "free:    $(speed "$igpt" $train "$@" --out "$out/free")"
forget
echo "limited: $(speed limited "$igpt" $train "$@" --out "$out/limited")"
cmp "$out/free/model/model.safetensors" "$out/limited/model/model.safetensors" && echo "the same weights"
