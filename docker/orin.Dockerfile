# jetbench on a Jetson Orin with JetPack 6 (Python 3.10, the base's own torch):
#   docker build -f docker/orin.Dockerfile -t jetbench-orin .
#   docker run --rm -it --runtime nvidia \
#     -v /run/jtop.sock:/run/jtop.sock --group-add "$(getent group jtop | cut -d: -f3)" \
#     -v "$PWD/reports:/bench/reports" jetbench-orin profile
# R36 images before and from 36.4 do not mix: take a BASE of your board's release.
ARG BASE=dustynv/l4t-pytorch:r36.4.0
# hadolint ignore=DL3006
FROM ${BASE}
# The same as on the host (jtop --version): service and client must agree.
ARG JETSON_STATS=7.2.2
COPY . /opt/jetbench
# The base's torch is built for the board: nothing may replace it.
RUN python3 -c "from importlib.metadata import version; print('torch==' + version('torch'))" > /opt/torch.txt \
 && python3 -m pip install --no-cache-dir -c /opt/torch.txt "/opt/jetbench" "jetson-stats==${JETSON_STATS}" \
 && rm /opt/torch.txt
WORKDIR /bench
ENTRYPOINT ["jetbench"]
CMD ["doctor"]
