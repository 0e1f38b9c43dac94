# Striped memories: the worker proves them before it serves, and serves.
# machines: keys
# expects: striped-is-accepted striped-proves-P2 striped-proves-P3 striped-serves
# expects: striped-serves-with-fuel striped-proves-FuelP2
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
for engine in P2 P3; do
    is striped-proves-$engine "protection keys hold: 14 of 14 reads of a neighbouring memory faulted ($engine engine)" /tmp/serve.log
done
serves striped-serves
stop

# The engine that counts fuel is made, and proved, when a tenant needs it.
echo 'fuel = 1000000000' >>/tmp/skep.toml
start /tmp/skep.toml
serves striped-serves-with-fuel
is striped-proves-FuelP2 'protection keys hold: 14 of 14 reads of a neighbouring memory faulted (FuelP2 engine)' /tmp/serve.log
stop

tests stripes
