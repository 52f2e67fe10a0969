#!/usr/bin/env bash
# Every path of `igpt serve` with curl. Start one first; give its address, and a picture or none:
#
#     igpt serve --neighbors emoji &
#     scripts/serve_examples.sh http://127.0.0.1:8000 [picture.png]
set -euo pipefail
url=${1:-http://127.0.0.1:8000}
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
json() { curl -sSf "$url$1" -H 'Content-Type: application/json' -d "$2"; }
# An answer's beginning.
show() { local answer; answer=$(cat); echo "${answer:0:${2:-160}}" | sed "s|^|$1: |"; }

for path in /healthz /readyz /v1/models /metrics /openapi.json; do
    curl -sSf "$url$path" | show "$path"
done

# A picture to go on with: a sample, unless one was given.
picture=${2:-$folder/sample.png}
if [ $# -lt 2 ]; then
    json /v1/sample '{"seed": 1}' | sed 's/.*"png":"\([^"]*\)".*/\1/' | base64 -d > "$picture"
fi

for path in quantize complete neighbors; do
    curl -sS "$url/v1/$path" -F image=@"$picture" | show "/v1/$path"
done
curl -sS "$url/v1/predict" -F image=@"$picture" -F row=3 | show /v1/predict
for path in score embed classify; do
    curl -sS "$url/v1/$path" -F images=@"$picture" | show "/v1/$path"
done

# Pixels as they are drawn.
curl -sSfN "$url/v1/complete" -F image=@"$picture" -F rows=4 -F completions=2 -F stream=true | show events 1000
