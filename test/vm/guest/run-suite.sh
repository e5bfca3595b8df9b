#!/bin/sh
# run-suite.sh FOLDER LIMIT NODE NAME: runs FOLDER/NAME.mjs under FOLDER/NAME.env and says how it ended: `@@suite {…}`.
folder=$1 limit=$2 node=$3 name=$4
. "$folder/$name.env"
# What Node has compiled once is kept: the same programs start again and again.
export NODE_COMPILE_CACHE=/tmp/node-compile-cache SINABRO_SLOWNESS=10
start=$(date +%s)
timeout -k 5 "$limit" "$node" "$folder/$name.mjs" </dev/null
status=$?
printf '\n@@suite {"name":"%s","status":%d,"seconds":%d}\n' "$name" "$status" $(($(date +%s) - start))
