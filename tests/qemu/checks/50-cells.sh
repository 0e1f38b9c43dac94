# Cells in control groups: a cell above its memory loses one of its own workers and nobody else does;
# a cell above its share of the processor stands still for the rest of each period; groups go with
# skep, and with the next one when it was killed.
# machines: no-keys
# expects: cells-have-their-groups cells-cannot-swap cell-memory-is-limited cell-memory-is-its-own-worker
# expects: cell-memory-spares-others cell-comes-back cell-processor-is-limited cells-leave-no-group
# expects: cells-remove-stale-groups

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
    skep serve --config /tmp/skep.toml --pid-dir /tmp/pids >/tmp/serve.log 2>&1 &
    server=$!
    until_line "$READY" /tmp/serve.log 60
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
cat $group/cell-*/memory.swap.max | sort -u >/tmp/swap.max
is cells-cannot-swap '^0$' /tmp/swap.max

# The guest may have 512 MiB, its cell 160.
other=$(cat /tmp/pids/worker-0.pid)
grow=$(cat /tmp/pids/worker-1.pid)
get grow.test '/alloc?mib=400' >/tmp/answer 2>&1
until_line 'worker 1 .*gold.* died (SIGKILL)' /tmp/serve.log 60
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

# A fifth of the processor, measured over what the kernel counts. Set by a reload: an emulated worker
# that starts with so little takes longer than it may.
sed -i 's/^cpu_max = 2.0/cpu_max = 0.2/' /tmp/skep.toml
kill -HUP $server
until_line 'reloaded: ' /tmp/serve.log 60
get spin.test '/spin?ms=60000' >/dev/null 2>&1 &
spinning=$!
sleep 1
usage() { sed -n 's/^usage_usec //p' $group/cell-slow/cpu.stat; }
from=$(usage)
from_s=$(cut -d. -f1 /proc/uptime)
sleep 5
used_ms=$((($(usage) - from) / 1000))
passed_ms=$((($(cut -d. -f1 /proc/uptime) - from_s) * 1000))
kill $spinning 2>/dev/null
echo "used $used_ms of $passed_ms ms" >/tmp/used
sed -n 's/^nr_throttled //p' $group/cell-slow/cpu.stat >>/tmp/used
# 20 %, with a second of clock on either side.
if [ $used_ms -gt 100 ] && [ $used_ms -le $(((passed_ms + 1000) / 4)) ]; then
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
kill -9 $server
wait $server 2>/dev/null
# Its children die with it, a moment later.
left=100
while grep -q . "$killed"/*/cgroup.procs && [ $left -gt 0 ]; do
    left=$((left - 1))
    usleep 100000
done
serve
if [ -d "$group" ] && ! [ -d "$killed" ]; then
    ok cells-remove-stale-groups
else
    ls -d /sys/fs/cgroup/skep-* >/tmp/left
    fail cells-remove-stale-groups "$killed is still there" /tmp/left
fi
stop
