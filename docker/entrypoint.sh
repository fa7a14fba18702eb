#!/bin/sh
# The image's one entry. A service's name first runs that service with the flags behind it; without a name it is TensorFlow Serving's
# contract: one process that serves ${MODEL_BASE_PATH}/${MODEL_NAME} on 8500 and 8501, further flags appended.
# `exec` makes node process 1, so that it gets the signals itself and drains.
set -eu
cd /app
run() {
  service=$1
  shift
  exec node --disable-warning=ExperimentalWarning --max-semi-space-size=8 "services/$service/main.ts" "$@"
}
case "${1:-}" in
  gateway | batcher | worker-gpu | registry | embedded) run "$@" ;;
  *)
    run embedded --port=8500 --rest_api_port=8501 --model_name="${MODEL_NAME}" \
      --model_base_path="${MODEL_BASE_PATH}/${MODEL_NAME}" "$@"
    ;;
esac
