# Without protection keys the profile is refused, in one line that says why and what would do.
# machines: no-keys other-vendor
# expects: striped-is-refused-by-check striped-is-refused-by-serve

case $machine in
no-keys) why='this processor has none (no `pku` in /proc/cpuinfo)' ;;
other-vendor) why='Wasmtime uses them on GenuineIntel processors only, and this one is AuthenticAMD' ;;
esac
line="skep: core 0: its profile has memory_protection_keys = 15, but $why; choose a profile without them: balanced, or density for as many slots"
configure striped /tmp/skep.toml
for command in check serve; do
    timeout 60 skep $command --config /tmp/skep.toml >/tmp/$command.log 2>&1
    status=$?
    echo "exit code $status" >>/tmp/$command.log
    printf '%s\nexit code 1\n' "$line" >/tmp/expected
    if cmp -s /tmp/expected /tmp/$command.log; then
        ok striped-is-refused-by-$command
    else
        fail striped-is-refused-by-$command "not exactly: $line" /tmp/$command.log
    fi
done
