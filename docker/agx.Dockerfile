# Measures a bundle on a Jetson AGX Xavier (or Xavier NX) with JetPack 5, whose torch is for Python 3.8: jetbench itself needs 3.10.
# On any machine:   jetbench bundle --device agx --out bundle
# On the board:     docker build -f docker/agx.Dockerfile -t jetbench-agx docker
#                   docker run --rm -it --runtime nvidia \
#                     -v /run/jtop.sock:/run/jtop.sock --group-add "$(getent group jtop | cut -d: -f3)" \
#                     -v "$PWD/bundle:/bundle" jetbench-agx
# Then anywhere:    jetbench collect bundle/result.json
ARG BASE=nvcr.io/nvidia/l4t-ml:r35.1.0-py3
# hadolint ignore=DL3006
FROM ${BASE}
# The same as on the host (jtop --version): service and client must agree.
ARG JETSON_STATS=7.2.2
RUN python3 -m pip install --no-cache-dir "jetson-stats==${JETSON_STATS}"
WORKDIR /bundle
ENTRYPOINT ["python3", "-m", "probe"]
CMD ["."]
