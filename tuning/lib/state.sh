# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the variables are those of the script that reads this
# How both scripts end, keep files and keep each other out.

# fail CODE MESSAGE…
fail() {
    code=$1
    shift
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit "$code"
}

# Puts standard input into a file so that a crash leaves the old one or the new one.
replace() {
    { mkdir -p "$(dirname "$1")" && cat >"$1.new"; } 2>/dev/null ||
        fail 71 "cannot write $1; run as root, with $(dirname "$1") writable"
    # Not every sync(1) takes a file.
    sync "$1.new" 2>/dev/null || sync
    mv "$1.new" "$1" || fail 71 "cannot put $1 into its place; run as root"
}

lock() {
    mkdir -p "$state" 2>/dev/null || fail 71 "cannot make $state; run as root"
    mkdir "$state/lock" 2>/dev/null ||
        fail 71 "cannot take the lock $state/lock; if no other ${0##*/} is at work, remove it with rmdir"
    locked=yes
}

finish() {
    code=$?
    [ -z "${work:-}" ] || rm -rf "$work"
    [ "${locked:-no}" = no ] || rmdir "$state/lock"
    exit "$code"
}

# A folder for notes, gone at the end, however that comes.
make_work() {
    trap finish EXIT
    trap 'exit 130' INT TERM
    work=$(mktemp -d) || fail 71 'cannot make a folder for notes; free some space in /tmp, or set TMPDIR'
}
