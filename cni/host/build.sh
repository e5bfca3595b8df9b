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
	cargo build --quiet --locked --release --target "$target" --target-dir "$folder" --config "target.$target.rustflags = [$paths]" "$@"
}

# Messages of panics and assertions hold paths: without the folders of whoever builds, the same sources give the same bytes.
cargo fetch --quiet --locked --target "$target"
paths="'--remap-path-prefix=$PWD=/cni'"
for crates in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
	paths="$paths, '--remap-path-prefix=$crates=/crates'"
done
export CFLAGS="-ffile-prefix-map=$folder=/build"

# Bytecode is only good for the engine that wrote it, so both come out of one build.
build --bin compile-script
"$release/compile-script" "$script" "$output.bytecode"
SINABRO_CNI_BYTECODE=$output.bytecode build --bin sinabro-cni --features script
# A rename, so that a running executable is never written to.
cp "$release/sinabro-cni" "$output.new"
mv "$output.new" "$output"
