#!/bin/sh
# Runs in the build: installs what production needs from the lock file, with the certificate authorities of docker/ca if there are any,
# and drops what this platform cannot load (onnxruntime-node carries binaries for every system).
set -eu
. docker/trust-extra-ca.sh
# The runtime is the image's own Node, so the optional packages that carry one stay out.
npm install --no-save --omit=dev --omit=optional --ignore-scripts --no-fund --no-audit --loglevel=error
platform=$(node -p 'process.platform')
arch=$(node -p 'process.arch')
cd node_modules/onnxruntime-node/bin/*/
for system in *; do [ "$system" = "$platform" ] || rm -rf "$system"; done
for cpu in "$platform"/*; do [ "$cpu" = "$platform/$arch" ] || rm -rf "$cpu"; done
