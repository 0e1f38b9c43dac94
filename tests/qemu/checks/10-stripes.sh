# Striped memories: the worker proves them before it serves, and serves.
# machines: keys
# expects: striped-is-accepted striped-proves striped-serves
# expects: wasmtime_14076_images_keep_their_key_in_recycled_slots
# expects: ten_times_the_slots_in_the_same_address_space
# expects: mappings_are_no_more_than_the_profile_says
# expects: one_key_can_run_out_of_memories
# expects: requests_that_last_may_have_all_memories_of_one_key

# As the profile says.
sysctl -qw vm.max_map_count=524288
configure striped /tmp/skep.toml
skep check --config /tmp/skep.toml >/tmp/check.log 2>&1
is striped-is-accepted '^/tmp/skep.toml: ok' /tmp/check.log

# A tenth of it: an emulated processor takes longer than a worker may to colour 80,000 memories.
cat >/tmp/tenth.toml <<PROFILE
extends = "striped"
slots = 2000
running_max = 1500
warm_slots = 2000
PROFILE
configure /tmp/tenth.toml /tmp/skep.toml
start /tmp/skep.toml
is striped-proves 'worker 0: protection keys hold: 28 of 28 reads of a neighbouring memory faulted' /tmp/serve.log
serves striped-serves
stop

tests stripes
