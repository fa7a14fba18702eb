# One image for every service of Headrace. `docker build .` makes the CPU image; `--target gpu` adds what onnxruntime needs for CUDA.
# The stages stand in this order because Docker's older builder runs all stages up to the target: with `--target cpu` it stops in time.
ARG NODE_IMAGE=node:24-slim
ARG CUDA_IMAGE=nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04

FROM ${NODE_IMAGE} AS packages
# Another npm registry, if you have one: --build-arg NPM_CONFIG_REGISTRY=…
ARG NPM_CONFIG_REGISTRY
WORKDIR /app
COPY docker/ca docker/ca
COPY docker/install-packages.sh docker/trust-extra-ca.sh docker/
COPY package.json package-lock.json .npmrc ./
RUN sh docker/install-packages.sh

FROM ${NODE_IMAGE} AS app
WORKDIR /app
COPY . .
RUN rm -rf docker/ca docker/*install* docker/trust*

FROM ${NODE_IMAGE} AS cpu
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY --from=app /app .
# Imported SavedModels. Whatever user the container runs as may write there, and a volume that is mounted there starts out like it.
RUN install -d -m 1777 /var/cache/headrace
# glibc gives large freed blocks back to the system only with a fixed threshold: unloading a model then returns its memory.
ENV NODE_ENV=production \
    MALLOC_MMAP_THRESHOLD_=131072 \
    HEADRACE_IMPORT_CACHE_DIR=/var/cache/headrace \
    NODE_COMPILE_CACHE=/tmp/headrace-compiled \
    MODEL_NAME=model \
    MODEL_BASE_PATH=/models \
    HOME=/tmp
EXPOSE 8500 8501
USER 10001:10001
ENTRYPOINT ["/app/docker/entrypoint.sh"]

FROM packages AS packages-gpu
COPY docker/install-cuda.sh docker/
RUN sh docker/install-cuda.sh

FROM ${CUDA_IMAGE} AS gpu
WORKDIR /app
COPY --from=cpu /usr/local/bin/node /usr/local/bin/node
COPY --from=packages-gpu /app/node_modules node_modules
COPY --from=app /app .
RUN install -d -m 1777 /var/cache/headrace
ENV NODE_ENV=production \
    MALLOC_MMAP_THRESHOLD_=131072 \
    HEADRACE_IMPORT_CACHE_DIR=/var/cache/headrace \
    NODE_COMPILE_CACHE=/tmp/headrace-compiled \
    MODEL_NAME=model \
    MODEL_BASE_PATH=/models \
    HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
EXPOSE 8500 8501
USER 10001:10001
ENTRYPOINT ["/app/docker/entrypoint.sh"]

FROM cpu
