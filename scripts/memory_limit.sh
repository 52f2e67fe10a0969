#!/bin/sh
# Does training on a token directory need memory for the set? Trains the same steps twice, first free, then where the
# memory that the process and its page cache may have is less than the set, and prints both speeds.
#
#   scripts/memory_limit.sh TOKENS [MEGABYTES] [more flags of igpt pretrain]
#
# With systemd the limit is a control group's (MemoryMax, no swap): the kernel's cache of the set counts too. Without it
# the limit is that of private memory alone (ulimit -d), which a copy of the set would break. IGPT names the program.
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

if [ "$(id -u)" = 0 ]; then scope="systemd-run --scope --quiet"; else scope="systemd-run --user --scope --quiet"; fi
if $scope -p MemoryMax="${limit}M" true 2> /dev/null; then
    limited() { $scope -p MemoryMax="${limit}M" -p MemorySwapMax=0 "$@"; }
else
    echo "no systemd: limiting private memory only"
    limited() { (ulimit -d $((limit * 1024)) && exec "$@"); }
fi

train="pretrain --data $tokens --steps 60 --set train.sample_images=0 --set train.eval_images=64 --json"
speed() { sed -n 's/.*"tokens_per_second":\([0-9.]*\).*/\1/p'; }
echo "free:    $("$igpt" $train "$@" --out "$out/free" 2> /dev/null | speed) tokens/s"
echo "limited: $(limited "$igpt" $train "$@" --out "$out/limited" 2> /dev/null | speed) tokens/s"
cmp "$out/free/model/model.safetensors" "$out/limited/model/model.safetensors" && echo "the same weights"
