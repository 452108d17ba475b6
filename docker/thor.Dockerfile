# jetbench on a Jetson with JetPack 7 (Thor; Orin from JetPack 7.2; Python 3.12, the base's own torch):
#   docker build -f docker/thor.Dockerfile -t jetbench-thor .
#   docker run --rm -it --runtime nvidia \
#     -v /run/jtop.sock:/run/jtop.sock --group-add "$(getent group jtop | cut -d: -f3)" \
#     -v "$PWD/reports:/bench/reports" jetbench-thor profile
# The images for Jetson alone (-igpu) ended with 26.02: JetPack 7 takes NVIDIA's images for every ARM64 server.
ARG BASE=nvcr.io/nvidia/pytorch:25.08-py3
# hadolint ignore=DL3006
FROM ${BASE}
# The same as on the host (jtop --version): service and client must agree. Older ones do not read Thor's VIN.
ARG JETSON_STATS=7.2.2
COPY . /opt/jetbench
# The base's torch is built for the board: nothing may replace it. Its own constraints pin packages that jetbench needs newer.
ENV PIP_CONSTRAINT=""
RUN python3 -c "from importlib.metadata import version; print('torch==' + version('torch'))" > /opt/torch.txt \
 && python3 -m pip install --no-cache-dir -c /opt/torch.txt "/opt/jetbench" "jetson-stats==${JETSON_STATS}" \
 && rm /opt/torch.txt
WORKDIR /bench
ENTRYPOINT ["jetbench"]
CMD ["doctor"]
