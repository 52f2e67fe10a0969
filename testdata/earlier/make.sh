#!/bin/sh
# Makes a run as it was before [train.optimizer]: `whole`, what it came to, and `stopped`, the same run after half of its
# steps.
#
#     testdata/earlier/make.sh IGPT      # the program of commit 40f7568e580405ed8f2ac9253fbbe12789583bad
set -eu
igpt=$(realpath "$1")
cd "$(dirname "$0")"
rm -rf stopped whole
IGPT_ISA=portable "$igpt" pretrain --data emoji --recipe modern --n-px 8 --colors 8 --steps 6 --batch 4 --precision f32 \
    --threads 1 --set model.n_embd=16 --set model.n_layer=1 --set model.n_head=2 --set train.warmup_steps=2 \
    --set train.eval_every=3 --set train.checkpoint_every=3 --set train.eval_images=8 --set train.probe_images=0 \
    --set train.sample_images=0 --out stopped
mkdir -p whole/model
cp stopped/metrics.jsonl stopped/checkpoints/step-00000006/checkpoint.toml whole
mv stopped/model/model.safetensors whole/model
rm -r stopped/.lock stopped/model stopped/summary.json stopped/train.log stopped/checkpoints/step-00000006
grep -v '"step":[456],' whole/metrics.jsonl > stopped/metrics.jsonl
echo step-00000003 > stopped/checkpoints/last
