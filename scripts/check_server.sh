#!/usr/bin/env bash
# A real `igpt serve` under its own examples, under a fuzzer that makes requests from its OpenAPI document (schemathesis),
# and under load (wrk, where it is installed): no server error, no answer that the document does not allow, nothing left
# open at the end.
#
#     pip install schemathesis
#     scripts/check_server.sh target/release/igpt [examples of each path]
set -euo pipefail
igpt=$1
examples=${2:-60}
log=$(mktemp)
# Requests that take long are no bugs: few images each.
"$igpt" serve --listen 127.0.0.1:0 --max-images 4 --neighbors docs/images --per-client 0 2> "$log" &
server=$!
trap 'kill $server 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 300); do
    url=$(grep -o 'http://[0-9.:]*' "$log" || true)
    [ -n "$url" ] && break
    sleep 0.1
done
echo "serving at $url"

"$(dirname "$0")/serve_examples.sh" "$url" > /dev/null
python3 "$(dirname "$0")/serve_examples.py" "$url"

schemathesis run "$url/openapi.json" --max-examples "$examples" --workers 2 --seed 1 \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --request-timeout 60 --exclude-path /metrics --no-color

if command -v wrk > /dev/null; then
    wrk -t2 -c64 -d10s "$url/v1/models"
fi

metrics=$(curl -sSf "$url/metrics")
echo "$metrics" | grep -E '^igpt_(queue_length|busy_rows) 0$'
kill -TERM $server
wait $server
echo "the server ended as it should"
