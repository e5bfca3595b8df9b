#!/bin/sh
# Builds the executable: sh cni/host/build.sh SCRIPT.js OUTPUT. Needs cargo and rustc 1.87 or newer, gcc and libc's static library; no network once the crates are there.
set -eu
script=$(realpath "$1")
output=$(realpath -m "$2")
cd "$(dirname "$0")"

target=$(rustc -vV | sed -n 's/^host: //p')
folder=$(dirname "$output")/target
release=$folder/$target/release
# The target is named so that its flags (.cargo/config.toml) do not reach what runs at build time.
build() {
	cargo build --quiet --locked --release --target "$target" --target-dir "$folder" "$@"
}

# Bytecode is only good for the engine that wrote it, so both come out of one build.
build --bin compile-script
"$release/compile-script" "$script" "$output.bytecode"
SINABRO_CNI_BYTECODE=$output.bytecode build --bin sinabro-cni --features script
# A rename, so that a running executable is never written to.
cp "$release/sinabro-cni" "$output.new"
mv "$output.new" "$output"
