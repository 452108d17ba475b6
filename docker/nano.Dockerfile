# Measures a bundle on a Jetson Nano (or TX2) with JetPack 4, whose torch is for Python 3.6: jetbench itself needs 3.10.
# On any machine:   jetbench bundle reports/nano --device nano --backend eager,tensorrt --dtype fp32,fp16 --out bundle
# Then copy this folder and the bundle to the board.
# On the board:     docker build -f docker/nano.Dockerfile -t jetbench-nano docker
#                   docker run --rm -it --runtime nvidia \
#                     -v /run/jtop.sock:/run/jtop.sock --group-add "$(getent group jtop | cut -d: -f3)" \
#                     -v "$PWD/bundle:/bundle" jetbench-nano
# Then, with the result copied back:   jetbench collect bundle/result.json --into reports/nano
# Take a BASE of your board's release (head -1 /etc/nv_tegra_release): the engines are those of its TensorRT.
ARG BASE=nvcr.io/nvidia/l4t-ml:r32.7.1-py3
# hadolint ignore=DL3006
FROM ${BASE}
# The same as on the host (jtop --version): service and client must agree.
ARG JETSON_STATS=4.3.2
RUN python3 -m pip install --no-cache-dir "jetson-stats==${JETSON_STATS}"
WORKDIR /bundle
ENTRYPOINT ["python3", "-m", "probe"]
CMD ["."]
