# What the checks share. Sourced, inside the machine.

ok() { echo "ok $1"; }

# FAIL NAME: why, and what was seen (the file $3) indented below it.
fail() {
    echo "FAIL $1: $2"
    [ -z "${3:-}" ] || awk '{ print "    " $0 }' "$3"
}

# `is NAME PATTERN FILE`: ok if the file has a line like that.
is() {
    if grep -q -- "$2" "$3"; then ok "$1"; else fail "$1" "no line \`$2\`" "$3"; fi
}

# `until_line PATTERN FILE SECONDS PID`: waits for a line; fails when it does not come, or the process
# that is to write it has ended.
until_line() {
    local left=$(($3 * 10))
    : "${4:?whose line it is}" # without it, it would not wait
    until grep -q -- "$1" "$2" 2>/dev/null; do
        left=$((left - 1))
        [ $left -gt 0 ] && kill -0 "$4" 2>/dev/null || return 1
        usleep 100000
    done
}

# Writes a configuration with one worker and the tenant `hello.test`: `configure PROFILE FILE`.
configure() {
    cat >"$2" <<CONFIG
[listen]
http = ["127.0.0.1:8080"]
[artifacts]
dir = "/tmp/artifacts"
[workers]
cores = [0]
profile = "$1"
[[tenant]]
name = "hello"
component = "/guests/hello.wasm"
hosts = ["hello.test"]
[tenant.limits]
cpu_ms = 10000 # the processor is emulated
CONFIG
}

# `start CONFIGURATION [ARGUMENTS]`: starts `skep serve`; its output is in /tmp/serve.log. Fails when it
# is not ready in time. On a busy host an emulated worker can take longer to start than the 10 s that any
# may: then again, twice.
start() {
    for attempt in 1 2 3; do
        : >/tmp/serve.log # what an earlier one said is not waited for
        skep serve --config "$@" >/tmp/serve.log 2>&1 &
        server=$!
        until_line "$READY" /tmp/serve.log 60 "$server" && return
        grep -q ': its time is over$' /tmp/serve.log || return
        wait "$server"
        echo "start $attempt: its time was over"
    done
    return 1
}
READY='^ready http'

# Ends it.
stop() {
    kill "$server" 2>/dev/null
    wait "$server"
}

# One request; the answer, head and body, is the output: `get HOST [PATH]`. (busybox's wget asks
# the C library for a port's name, which a static program cannot.)
get() {
    printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "${2:-/}" "$1" |
        nc -w 30 127.0.0.1 8080
}

# `serves NAME`: whether the tenant answers, once it is compiled.
serves() {
    local left=60
    until get hello.test >/tmp/answer 2>&1 && ! grep -q '^x-skep-reason: compiling' /tmp/answer; do
        left=$((left - 1))
        [ $left -gt 0 ] && kill -0 "$server" 2>/dev/null || break
        sleep 1
    done
    cat /tmp/serve.log >>/tmp/answer
    is "$1" '^Hello from skep' /tmp/answer
}

# `run_tests BINARY [ARGUMENTS]`: tests of a cargo test binary that are ignored elsewhere.
run_tests() {
    local binary=$1
    shift
    /tests/$binary --ignored --test-threads=1 --show-output "$@"
}

# `tests BINARY`: one line for each of its tests that are ignored elsewhere.
tests() {
    run_tests "$1" >/tmp/tests.log 2>&1
    sed -n 's/^test \([a-z0-9_]*\) .*ok$/\1/p' /tmp/tests.log >/tmp/passed
    while read -r name; do ok "$name"; done </tmp/passed
    sed -n 's/^test \([a-z0-9_]*\) .*FAILED$/\1/p' /tmp/tests.log >/tmp/failed
    while read -r name; do fail "$name" "the test failed"; done </tmp/failed
    # What they measured; everything, when one failed.
    if [ -s /tmp/failed ] || ! [ -s /tmp/passed ]; then cat /tmp/tests.log; else grep -E '^([0-9]+ )?slots' /tmp/tests.log; fi
}
