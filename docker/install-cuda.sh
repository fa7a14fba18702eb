#!/bin/sh
# Runs in the build of the gpu target: onnxruntime-node's own install script downloads the CUDA libraries that fit its version.
set -eu
. docker/trust-extra-ca.sh
node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12
