# PAGEMAP_SCAN is for processes that cannot swap: with a swap device, those in a cgroup that may not
# use it.
# machines: no-keys
# expects: swap-without-device swap-with-device swap-in-closed-cgroup swap-below-closed-cgroup
# expects: swap-in-open-cgroup

cgroup=/sys/fs/cgroup/swap
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir $cgroup && echo +memory >$cgroup/cgroup.subtree_control && mkdir $cgroup/worker

# `swap NAME possible|impossible [CGROUP]`
swap() {
    (
        [ -z "${3:-}" ] || echo 0 >"$3/cgroup.procs"
        SKEP_EXPECT_SWAP=$2 run_tests lib sys::swap::tests::what_is_expected >/tmp/swap.log 2>&1
    )
    is "$1" 'test sys::swap::tests::what_is_expected ... ok' /tmp/swap.log
}

swap swap-without-device impossible
insmod /modules/brd.ko
mkswap /dev/ram0 >/dev/null && swapon /dev/ram0
swap swap-with-device possible
swap swap-in-open-cgroup possible $cgroup/worker
echo 0 >$cgroup/worker/memory.swap.max
swap swap-in-closed-cgroup impossible $cgroup/worker
echo max >$cgroup/worker/memory.swap.max
echo 0 >$cgroup/memory.swap.max
swap swap-below-closed-cgroup impossible $cgroup/worker
swapoff /dev/ram0
