#!/usr/bin/env bash
# Unpacks the Go, opentelemetry-go and nats.go of Debian 14 under node_modules/.cache/gopeer, whatever Debian this is. It
# installs nothing: the packages are checked by apt and taken apart beside the system.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)/node_modules/.cache/gopeer"
if [ -d "$root/usr/share/gocode" ]; then exit; fi

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/lists/partial" "$scratch/archives/partial" "$scratch/packages"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian forky main" \
  >"$scratch/sources.list"
touch "$scratch/status"
cat >"$scratch/apt.conf" <<CONF
Dir::Etc::sourcelist "$scratch/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "$scratch";
Dir::State::status "$scratch/status";
Dir::Cache "$scratch";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
CONF
export APT_CONFIG="$scratch/apt.conf"

apt-get update -qq
go="$(apt-cache depends golang-go | sed -n 's/^ *Depends: \(golang-[0-9.]*-go\)$/\1/p')"

# What main.go imports, and no more: the packages' own dependencies are fifty times that.
packages=(
  "$go" "${go%-go}-src" golang-opentelemetry-otel-dev golang-github-nats-io-go-nats-dev
  golang-github-cespare-xxhash-v2-dev golang-github-go-logr-logr-dev golang-github-go-logr-stdr-dev
  golang-github-google-uuid-dev golang-github-klauspost-compress-dev golang-github-nats-io-nkeys-dev
  golang-github-nats-io-nuid-dev golang-golang-x-crypto-dev golang-golang-x-sys-dev
)
(cd "$scratch/packages" && apt-get download -qq "${packages[@]}")
for package in "$scratch"/packages/*.deb; do dpkg-deb --extract "$package" "$scratch/root"; done
ln -s "$(basename "$scratch"/root/usr/lib/go-*)" "$scratch/root/usr/lib/go"
mkdir -p "$(dirname "$root")"
rm -rf "$root"
mv "$scratch/root" "$root"

# Compiled once here, so that no test waits for Go to compile its libraries.
GO111MODULE=off GOPATH="$root/usr/share/gocode" CGO_ENABLED=0 \
  "$root/usr/lib/go/bin/go" build -o /dev/null "$(dirname "${BASH_SOURCE[0]}")/main.go"
