#!/bin/sh
# Brings the images of this bundle into a registry. Needs this folder, and plumbline or skopeo.
#
# Check the signature before you run anything of this folder, this script included: README.md shows how.
set -eu

usage="usage: import.sh REGISTRY [--ca FILE] [--authfile FILE] [--key FILE | --allow-unsigned]"
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

fail() {
    code=$1
    shift
    printf 'import: %s\n' "$*" >&2
    exit "$code"
}

if [ "${PLUMBLINE_IMPORT:-}" != skopeo ] && command -v plumbline >/dev/null; then
    exec plumbline bundle push "$here" "$@"
fi

registry='' ca='' accounts='' key='' unsigned=''
while [ $# -gt 0 ]; do
    case $1 in
        --ca | --authfile | --key) [ $# -gt 1 ] || fail 64 "$1 needs a file; $usage" ;;
    esac
    case $1 in
        --ca) ca=$2 && shift ;;
        --authfile) accounts=$2 && shift ;;
        --key) key=$2 && shift ;;
        --allow-unsigned) unsigned=yes ;;
        -*) fail 64 "unknown option $1; $usage" ;;
        *) [ -z "$registry" ] || fail 64 "two registries: $registry, $1; $usage" && registry=$1 ;;
    esac
    shift
done
[ -n "$registry" ] || fail 64 "$usage"
for file in "$ca" "$accounts" "$key"; do
    [ -z "$file" ] || [ -r "$file" ] || fail 64 "$file: cannot be read; name another"
done
command -v skopeo >/dev/null || fail 78 "neither plumbline nor skopeo is installed; install one"

check() {
    if [ -n "$key" ]; then
        [ -r SHA256SUMS.sig ] || fail 77 "$here is not signed; get a signed one"
        openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig >/dev/null 2>&1 ||
            fail 77 "SHA256SUMS.sig is not the key's signature of this bundle; get bundle and key from its maker again"
    elif [ -z "$unsigned" ]; then
        fail 77 "the signature needs a public key; name it with --key FILE, or go without with --allow-unsigned"
    fi
    sha256sum --check --strict --quiet SHA256SUMS >&2 || fail 65 "$here is damaged; copy it again"
    [ -z "$(find . ! -type f ! -type d)" ] || fail 65 "$here holds links; copy it again"
    listed=$(sed 's/^[0-9a-f]*  //' SHA256SUMS | LC_ALL=C sort)
    found=$(find . -type f ! -path ./SHA256SUMS ! -path ./SHA256SUMS.sig | sed 's,^\./,,' | LC_ALL=C sort)
    [ "$listed" = "$found" ] || fail 65 "$here holds files that SHA256SUMS does not list; copy it again"
}

# From where the caller is, or the names of files would mean others.
case $key in "" | /*) ;; *) key=$PWD/$key ;; esac
(cd "$here" && check) || exit $?

trusted=$(mktemp -d)
trap 'rm -rf "$trusted"' EXIT
[ -z "$ca" ] || cp "$ca" "$trusted/ca.crt"
while read -r name repository tag digest; do
    printf 'import: %s %s\n' "$name" "$digest" >&2
    # Trust was decided above; a policy of this machine would speak of other signatures.
    skopeo --insecure-policy copy --quiet --all --preserve-digests --dest-cert-dir "$trusted" \
        ${accounts:+--authfile "$accounts"} "oci:$here/images:$name" "docker://$registry/$repository:$tag" </dev/null ||
        fail 69 "skopeo could not copy $name to $registry, see above; mend that and run this again"
done <"$here/images.txt"

chart=$(echo "$here"/charts/*.tgz)
echo "helm install plumbline $chart -n plumbline --create-namespace" \
    "-f $here/values-bundle.yaml --set global.imageRegistry=$registry"
