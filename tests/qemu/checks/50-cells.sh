# Cells in control groups: a cell above its memory loses one of its own workers and nobody else does;
# a cell above its share of the processor stands still for the rest of each period; groups go with
# skep, and with the next one when it was killed.
# machines: no-keys
# expects: cells-have-their-groups cells-cannot-swap cell-memory-is-limited cell-memory-is-its-own-worker
# expects: cell-memory-spares-others cell-comes-back cell-processor-is-limited
# expects: cell-processor-counts-all-but-the-ticker cells-leave-no-group cells-remove-stale-groups

# `tenant NAME CELL`: one of the kitchens.
tenant() {
    cat <<CONFIG
[[tenant]]
name = "$1"
component = "/guests/kitchen.wasm"
hosts = ["$1.test"]
cell = "$2"
[tenant.limits]
cpu_ms = 60000 # the processor is emulated
wall_ms = 60000
memory_mib = 512
CONFIG
}
cat >/tmp/skep.toml <<CONFIG
[listen]
http = ["127.0.0.1:8080"]
[artifacts]
dir = "/tmp/artifacts"
[workers]
cores = [0]
[[cell]]
name = "gold"
memory_max_mib = 160
[[cell]]
name = "slow"
cpu_max = 2.0
$(tenant other default)
$(tenant grow gold)
$(tenant spin slow)
CONFIG

serve() {
    start /tmp/skep.toml --pid-dir /tmp/pids
    group=/sys/fs/cgroup/skep-$server
}
# `answers HOST PATH PATTERN`: whether it does, once it is compiled.
answers() {
    local left=60
    until get "$1" "$2" >/tmp/answer 2>&1 && grep -q -- "$3" /tmp/answer; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        sleep 1
    done
}
serve
for host in other grow spin; do answers $host.test /twice '^1$' || cat /tmp/answer; done

{
    cat $group/cell-gold/memory.max $group/cell-slow/cpu.max $group/cell-gold/pids.max
    for cell in default gold slow; do
        wc -l <$group/cell-$cell/cgroup.procs
    done
} | tr '\n' ' ' >/tmp/groups
is cells-have-their-groups '^167772160 20000 10000 64 1 1 1 $' /tmp/groups
cat $group/cell-*/memory.swap.max | tr '\n' ' ' >/tmp/swap.max
is cells-cannot-swap '^0 0 0 $' /tmp/swap.max

# The guest may have 512 MiB, its cell 160.
other=$(cat /tmp/pids/worker-0.pid)
grow=$(cat /tmp/pids/worker-1.pid)
get grow.test '/alloc?mib=400' >/tmp/answer 2>&1
until_line 'worker 1 .*gold.* died (SIGKILL)' /tmp/serve.log 60 $server
is cell-memory-is-its-own-worker 'worker 1 .*gold.* died (SIGKILL)' /tmp/serve.log
is cell-memory-is-limited '^oom_kill [1-9]' $group/cell-gold/memory.events
answers other.test /twice '^1$'
if [ "$other" = "$(cat /tmp/pids/worker-0.pid)" ] && [ "$(grep -c died /tmp/serve.log)" = 1 ]; then
    ok cell-memory-spares-others
else
    fail cell-memory-spares-others "another process than gold's died" /tmp/serve.log
fi
if answers grow.test /twice '^1$' && [ "$grow" != "$(cat /tmp/pids/worker-1.pid)" ]; then
    ok cell-comes-back
else
    fail cell-comes-back "no new worker" /tmp/serve.log
fi

# A fifth of the processor, measured over what the kernel counts, which is every thread but real-time
# ones; of those a worker has its ticker only, which no guest can have do more. (An emulated ticker
# takes a seventh of the processor.) Set by a reload: an emulated worker that starts with so little
# takes longer than it may.
sed -i 's/^cpu_max = 2.0/cpu_max = 0.2/' /tmp/skep.toml
kill -HUP $server
until_line 'reloaded: ' /tmp/serve.log 60 $server
get spin.test '/spin?ms=60000' >/dev/null 2>&1 &
spinning=$!
# What each real-time thread of the cell has used, in nanoseconds, and its name.
real_time() {
    for thread in $(cat $group/cell-slow/cgroup.threads); do
        [ "$(cut -d' ' -f41 /proc/$thread/stat)" = 0 ] ||
            echo "$(cut -d' ' -f1 /proc/$thread/schedstat) $(cat /proc/$thread/comm)"
    done
}
sleep 1
real_time >/tmp/real_time
if [ "$(cut -d' ' -f2 /tmp/real_time)" = ticker ]; then
    ok cell-processor-counts-all-but-the-ticker
else
    fail cell-processor-counts-all-but-the-ticker "others are real-time threads" /tmp/real_time
fi
# `now NAME`: sets NAME_ms, the time, and NAME_used_ms, what the cell has used by then.
now() {
    eval "$1_ms=\$(cut -d' ' -f1 /proc/uptime | tr -d .)0"
    local all=$(sed -n 's/^usage_usec //p' $group/cell-slow/cpu.stat)
    local ticker=$(real_time | awk '{ us += $1 / 1000 } END { printf "%.0f", us }')
    eval "$1_used_ms=$(((all - ticker) / 1000))"
}
now from
sleep 5
now to
kill $spinning 2>/dev/null
used_ms=$((to_used_ms - from_used_ms))
passed_ms=$((to_ms - from_ms))
{
    echo "used $used_ms of $passed_ms ms"
    cat $group/cell-slow/cpu.max $group/cell-slow/cpu.stat
} >/tmp/used
# 20 %, give or take what a slow machine needs to read its clocks.
if [ $used_ms -ge $((passed_ms / 20)) ] && [ $used_ms -le $((passed_ms / 4)) ]; then
    ok cell-processor-is-limited
else
    fail cell-processor-is-limited "not a fifth" /tmp/used
fi

stop
ls -d /sys/fs/cgroup/skep-* >/tmp/left 2>/dev/null
if [ -s /tmp/left ]; then fail cells-leave-no-group "groups are left" /tmp/left; else ok cells-leave-no-group; fi

# One that is killed leaves its groups to the next.
sed -i 's/^cpu_max = 0.2/cpu_max = 2.0/' /tmp/skep.toml
serve
killed=$group
ls -d $killed/cell-gold >/tmp/left
kill -9 $server
wait $server 2>/dev/null
# Its children die with it, a moment later.
left=100
while grep -qs . "$killed"/*/cgroup.procs && [ $left -gt 0 ]; do
    left=$((left - 1))
    usleep 100000
done
serve
if [ -s /tmp/left ] && [ -d "$group" ] && ! [ -d "$killed" ]; then
    ok cells-remove-stale-groups
else
    ls -d /sys/fs/cgroup/skep-* >>/tmp/left
    fail cells-remove-stale-groups "$killed was not there, or still is" /tmp/left
fi
stop
