#!/bin/sh
# Fills /opt/chorale with one service and what its lock names: run inside the build stage.
#
#   install.sh SERVICE VARIANT TORCH_INDEX
set -eu
service=$1
variant=$2
torch_index=$3
wheels=/opt/wheels-made
case $service in
  client) folder=client program=chorale local="protos client" ;;
  ingest) folder=services/ingest program="python3 -m chorale_ingest" local="protos runtime services/ingest" ;;
  *) folder=services/$service program="python3 -m chorale_$service" local="protos runtime client audio services/$service" ;;
esac

# The environment has no pip of its own; the build stage's installs into it from outside.
python3 -m venv --without-pip /opt/chorale
into() { /opt/build/bin/pip --python /opt/chorale/bin/python install --no-deps --no-compile "$@"; }

grep -v '^torch==' "$folder/requirements.lock" >/tmp/lock
into -r /tmp/lock
torch=$(sed -n 's/^torch==/torch==/p' "$folder/requirements.lock")
if [ -n "$torch" ] && [ "$variant" = cuda ]; then
  # torch pins its own CUDA libraries exactly, one release of torch to one set of them.
  /opt/build/bin/pip --python /opt/chorale/bin/python install --no-compile --constraint "$folder/requirements.lock" \
    --index-url "$torch_index" "$torch"
elif [ -n "$torch" ]; then
  into --index-url "$torch_index" "$torch"
fi

# What is published as source only is made into a wheel here, with the build stage's compiler.
mkdir -p "$wheels"
if [ -f "$folder/requirements-source.lock" ]; then
  CYTHON_FORCE_REGEN=1 /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir "$wheels" \
    -r "$folder/requirements-source.lock"
fi
for package in $local; do
  /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir "$wheels" "./$package"
done
into "$wheels"/*.whl

# Debian's package of this library asks for twice of what it links: it comes alone, with that. The
# C library is the base's.
if [ "$service" = fingerprint ]; then
  apt-get update
  apt-get install --yes --no-install-recommends libchromaprint1
  native=/opt/chorale/lib/native
  library=$(dpkg -L libchromaprint1 | grep '/libchromaprint\.so\.1$')
  mkdir -p "$native"
  cp --dereference --target-directory="$native" "$library" \
    $(ldd "$library" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | grep --invert-match '/lib\(c\|m\|dl\|rt\|pthread\)\.so')
fi

# Suites of other packages, which nothing here runs.
find /opt/chorale/lib -type d -name tests -path '*/site-packages/*' -prune -exec rm -rf {} +
printf '#!/bin/sh\nexec %s "$@"\n' "$program" >/opt/chorale/bin/serve
chmod 755 /opt/chorale/bin/serve
# The root file system is read-only: what is not compiled now is compiled at every start.
/opt/chorale/bin/python -m compileall -q /opt/chorale/lib || true
/opt/chorale/bin/python deploy/images/inventory.py "chorale-$service" >/opt/chorale/sbom.cdx.json
