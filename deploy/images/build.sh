#!/bin/sh
# Builds the images with whichever of buildah, podman, docker is there.
#
#   deploy/images/build.sh                     # every service, for CPUs, and the client
#   deploy/images/build.sh ingest mastering    # some
#   VARIANT=cuda deploy/images/build.sh generation analysis
#
# BASE, BUILDER     images to build on (Dockerfile says what they must hold)
# REGISTRY, TAG     names: REGISTRY/SERVICE:TAG, with -cuda behind it for that variant
# TORCH_INDEX       where torch is taken from
# ENGINE, FLAGS     the program, and what else to tell it
set -eu
cd "$(dirname "$0")/../.."

ALL="ingest analysis fingerprint mastering generation"
DEVICES="analysis generation"
VARIANT=${VARIANT:-cpu}
REGISTRY=${REGISTRY:-chorale}
VERSION=$(sed -n 's/^appVersion: //p' deploy/helm/chorale/Chart.yaml)
TAG=${TAG:-$VERSION}
REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)

fail() { printf 'images: %s\n' "$*" >&2; exit 1; }

if [ -z "${ENGINE:-}" ]; then
  for ENGINE in buildah podman docker none; do
    command -v "$ENGINE" >/dev/null && { [ "$ENGINE" != docker ] || docker info >/dev/null 2>&1; } && break
  done
  [ "$ENGINE" != none ] || fail "buildah, podman or docker (with its engine running) is needed; none was found."
fi

case $VARIANT in
  cpu) suffix="" services=${*:-$ALL client} index=https://download.pytorch.org/whl/cpu ;;
  cuda) suffix=-cuda services=${*:-$DEVICES} index=https://download.pytorch.org/whl/cu128 ;;
  *) fail "VARIANT is cpu or cuda, and not '$VARIANT'." ;;
esac

for service in $services; do
  case " $ALL client " in *" $service "*) ;; *) fail "there is no image '$service'; there are: $ALL client" ;; esac
  if [ "$VARIANT" = cuda ]; then
    case " $DEVICES " in *" $service "*) ;; *) fail "$service uses no device; a CUDA image is made of: $DEVICES" ;; esac
  fi
  name=$REGISTRY/$service:$TAG$suffix
  printf '==> %s, with %s\n' "$name" "$ENGINE"
  # shellcheck disable=SC2086
  "$ENGINE" build ${FLAGS:-} --file deploy/images/Dockerfile --tag "$name" \
    ${BASE:+--build-arg BASE="$BASE"} ${BUILDER:+--build-arg BUILDER="$BUILDER"} \
    --build-arg SERVICE="$service" --build-arg VARIANT="$VARIANT" --build-arg TORCH_INDEX="${TORCH_INDEX:-$index}" \
    --build-arg VERSION="$VERSION" --build-arg REVISION="$REVISION" .
done
