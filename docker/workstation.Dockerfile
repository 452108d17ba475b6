# jetbench on a workstation with an NVIDIA GPU:
#   docker build -f docker/workstation.Dockerfile -t jetbench .
#   docker run --rm --gpus all -v "$PWD/reports:/bench/reports" jetbench profile --device workstation
ARG BASE=python:3.11-slim
FROM ${BASE}
ARG TORCH=2.13.0
# The index for your driver's CUDA version, see pytorch.org; without a GPU: https://download.pytorch.org/whl/cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu130
# torch.compile needs a C++ compiler; its version is the base's business.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --no-install-recommends -y g++ \
 && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir "torch==${TORCH}" --index-url "${TORCH_INDEX}"
COPY . /opt/jetbench
RUN pip install --no-cache-dir "/opt/jetbench[nvidia]"
WORKDIR /bench
ENTRYPOINT ["jetbench"]
CMD ["doctor"]
