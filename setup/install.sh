#!/bin/sh
# Makes the tree ready to run: Debian packages, npm packages, build. Needs nothing but a POSIX shell, Debian 12 and npm.
#
# install.sh           everything that one machine needs, then the build
# install.sh --check   what `npm run check` needs; no build, no root once installed
# install.sh --tools   as without a flag, but does not build
# install.sh --test    and what `npm test` needs
# install.sh --vm      and what test:vm needs
# install.sh --bench   and what bench needs
# install.sh --image   and what the image holds
# install.sh --kubernetes  and what test:kubernetes needs, Go aside
#
# Says in one line what it is about to install, and is silent when nothing is missing.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
groups='base check rust'
wants_build=yes
for flag in "$@"; do
	case $flag in
	--check) groups='check' wants_build=no ;;
	--tools) wants_build=no ;;
	--test) groups="$groups test" ;;
	--vm) groups="$groups test vm" ;;
	--bench) groups="$groups bench" ;;
	--image) groups="$groups image" ;;
	--kubernetes) groups="$groups kubernetes" ;;
	*) echo "install.sh: unknown flag $flag (--check, --tools, --test, --vm, --bench, --image, --kubernetes)" >&2; exit 2 ;;
	esac
done

die() {
	echo "sinabro setup: $*" >&2
	exit 1
}

# The tree's owner runs npm and the build, so that after `sudo npm run demo` the owner can still work in it.
owner_uid=$(stat -c %u "$root")
owner_gid=$(stat -c %g "$root")
owner_home=$(getent passwd "$owner_uid" | cut -d: -f6)
[ -n "$owner_home" ] || owner_home=$root/.cache/home
if [ "$(id -u)" != 0 ]; then
	owner_home=$HOME
fi

as_owner() {
	if [ "$(id -u)" != 0 ] || [ "$owner_uid" = 0 ]; then
		"$@"
		return
	fi
	# npm hands its own paths down to scripts; root's are of no use to the owner.
	env -u npm_config_cache -u npm_config_userconfig -u npm_config_prefix -u npm_config_globalconfig \
		HOME="$owner_home" setpriv --reuid "$owner_uid" --regid "$owner_gid" --clear-groups "$@"
}

# A rustc of at least 1.87 wherever it comes from; rustup's folder is often not on root's PATH.
PATH=$PATH:$owner_home/.cargo/bin:/usr/sbin:/sbin
export PATH
has_rust() {
	command -v cargo >/dev/null 2>&1 || return 1
	rust=$(as_owner rustc --version 2>/dev/null) || return 1
	rust=${rust#rustc }
	minor=${rust#*.}
	[ "${rust%%.*}" -gt 1 ] || [ "${minor%%.*}" -ge 87 ]
}

# The one thing that Rust is for is there, and nothing it is made from is younger.
has_executable() {
	built=$root/cni/build/sinabro-cni
	[ -x "$built" ] || return 1
	younger=$(cd "$root/cni" && find src host/src host/.cargo host/Cargo.toml host/Cargo.lock host/build.sh \
		-type f ! -name '*.test.ts' -newer "$built") && [ -z "$younger" ]
}

# Names of the packages of our groups that are not installed.
missing_packages() {
	wanted=
	while read -r group package _; do
		case " $groups " in
		*" $group "*) wanted="$wanted $package" ;;
		esac
	done <"$root/setup/packages.txt"
	# shellcheck disable=SC2086 # one word per package
	installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null) || true
	for package in $wanted; do
		case "
$installed
" in
		*"
installed $package
"*) ;;
		*) printf '%s ' "$package" ;;
		esac
	done
}

install_packages() {
	command -v dpkg-query >/dev/null 2>&1 ||
		die 'this is not Debian (no dpkg); install what setup/packages.txt names by hand'
	case $groups in
	*rust*) ! { has_rust || has_executable; } || groups=$(echo "$groups" | sed 's/ rust//') ;;
	esac
	missing=$(missing_packages)
	missing=${missing% }
	[ -n "$missing" ] || return 0
	# --no-remove: rustc-web would otherwise silently take the place of an older rustc
	command="apt-get install -y --no-install-recommends --no-remove $missing"
	if [ "$(id -u)" != 0 ]; then
		die "needs Debian packages, and root to install them. Run this, then try again:
  sudo sh -c 'apt-get update && $command'"
	fi
	echo "installing Debian packages: $missing"
	log=$(mktemp)
	if ! { apt-get update && DEBIAN_FRONTEND=noninteractive $command; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		die "apt-get failed (above; all of it in $log)"
	fi
	rm -f "$log"
}

# npm ci only when the lock file is not the one that was installed.
install_npm() {
	stamp=$root/node_modules/.installed-lock.json
	if cmp -s "$root/package-lock.json" "$stamp" && [ -x "$root/node_modules/node/bin/node" ]; then
		return 0
	fi
	command -v npm >/dev/null 2>&1 || die 'npm is missing: apt-get install npm'
	echo 'installing npm packages (npm ci)'
	(cd "$root" && NODE_OPTIONS="--require \"$root/setup/npm-node.cjs\"" as_owner npm ci) || die 'npm ci failed'
	[ -x "$root/node_modules/node/bin/node" ] || die 'npm ci left no node_modules/node/bin/node'
	as_owner cp "$root/package-lock.json" "$stamp"
}

# One at a time: a second run waits, then finds everything there.
exec 9<"$root/setup/install.sh"
command -v flock >/dev/null 2>&1 && flock 9

install_packages
install_npm
if [ $wants_build = yes ]; then
	as_owner sh "$root/setup/node.sh" "$root/setup/build.ts"
fi
