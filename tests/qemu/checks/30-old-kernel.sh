# A kernel of 2022 has no PAGEMAP_SCAN (6.7), an older Landlock and fewer io_uring flags: what needs
# them is left out, and skep serves.
# machines: no-keys
# expects: balanced-serves balanced-drains

configure balanced /tmp/skep.toml
start /tmp/skep.toml
serves balanced-serves
if stop; then ok balanced-drains; else fail balanced-drains "exit code $?" /tmp/serve.log; fi
