#!/bin/sh
# Places a job over HTTP with nothing but curl, follows it, waits for it, and looks at the account.
#
# Beside `darkroom up`, once:   darkroom accounts create acme --credits 100
# Then:                         sh examples/curl.sh
#
# DARKROOM_URL       where the API is           default http://127.0.0.1:8080
# DARKROOM_API_KEY   needed once any key exists  default none
# ACCOUNT            who pays                    default acme
set -eu

url=${DARKROOM_URL:-http://127.0.0.1:8080}
account=${ACCOUNT:-acme}

umask 077
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# In a file, because everybody on this machine can read the arguments of a command.
if [ -n "${DARKROOM_API_KEY:-}" ]; then
    printf 'header = "Authorization: Bearer %s"\n' "$DARKROOM_API_KEY" >"$folder/config"
else
    : >"$folder/config"
fi

# Leaves the answer in $folder/head and $folder/body. Tries again where that may help; with an
# Idempotency-Key this is safe for POST as well.
call() {
    printf '\n> %s %s\n' "$1" "$2"
    method=$1 path=$2
    shift 2
    status=$(curl --silent --show-error --config "$folder/config" --request "$method" \
        --retry 5 --retry-connrefused --max-time 90 \
        --dump-header "$folder/head" --output "$folder/body" --write-out '%{http_code}' \
        "$@" "$url$path")
    printf '< %s\n' "$status"
    case $status in 2??) ;; *) show; exit 1 ;; esac
}

# Prints the answer, a field per line, so that people can read it.
show() {
    awk '{ gsub(/,"/, ",\n  \""); print }' "$folder/body"
}

header() {
    sed -n "s/^$1: *//p" "$folder/head" | tr -d '\r' | tail -n 1
}

key="example-$(date +%s)-$$"
order='{
    "account_id": "'$account'",
    "task": "text-to-image",
    "prompt": "a lighthouse at dusk",
    "aspect_ratio": "3:2",
    "quantity": 2
}'

echo "Place a job. The key makes it safe to send the same again: $key"
call POST /v1/jobs -H "Idempotency-Key: $key" -H 'Content-Type: application/json' -d "$order"
show
job=$(header Location)
cp "$folder/body" "$folder/first"

printf '\nThe same again, as after a lost answer: the same job, and no second hold.\n'
call POST /v1/jobs -H "Idempotency-Key: $key" -H 'Content-Type: application/json' -d "$order"
cmp "$folder/first" "$folder/body"
echo "the same answer, byte for byte"
echo "Idempotent-Replayed: $(header Idempotent-Replayed)"

printf '\nFollow its events, for three seconds at most.\n\n> GET %s/events\n' "$job"
# 28 is curl's word for: the time is over. The stream ends by itself when the job has ended.
curl --silent --no-buffer --config "$folder/config" --max-time 3 "$url$job/events" || [ $? -eq 28 ]

printf '\nWait for its end: each request is answered then, or after half a minute.\n'
ended=no
while [ $ended = no ]; do
    call GET "$job?wait=30"
    state=$(sed 's/.*"state":"\([a-z]*\)".*/\1/' "$folder/body")
    echo "$state"
    case $state in succeeded | failed | cancelled) ended=yes ;; esac
done
show

printf '\nWhat the account has left.\n'
call GET "/v1/accounts/$account"
show

[ "$state" = succeeded ]
