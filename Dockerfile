# One image for every role: coordinator, relay, parties, limit service. The command decides.
# torch is not in it: docker build --build-arg EXTRAS=neural adds it for parties that train the
# neural model.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG EXTRAS=
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
# What confide needs comes first: its layer lasts while confide itself changes.
RUN python -m venv /opt/confide \
 && python -c "import tomllib; own = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*own['dependencies'], *own['optional-dependencies'].get('${EXTRAS}', []), sep='\n')" \
    > requirements.txt \
 && /opt/confide/bin/pip install --no-cache-dir --disable-pip-version-check \
    --constraint constraints.txt --requirement requirements.txt
COPY shared shared
COPY clients clients
COPY server server
RUN /opt/confide/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM ${BASE}
COPY --from=build /opt/confide /opt/confide
# A new volume takes its owner from the image's folder, so the demo's folders are made here.
RUN echo 'confide:x:10001:10001:confide:/tmp:/bin/false' >> /etc/passwd \
 && echo 'confide:x:10001:' >> /etc/group \
 && for folder in ca coordinator limits store releases bank bureau ecommerce payments; do \
      mkdir -p "/federation/$folder"; done \
 && chown -R 10001:10001 /federation && chmod 700 /federation/*
ENV PATH=/opt/confide/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    FLWR_HOME=/tmp/flower \
    FLWR_TELEMETRY_ENABLED=0 \
    FLWR_DISABLE_UPDATE_CHECK=1 \
    FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1 \
    OPENBLAS_NUM_THREADS=1 \
    OMP_NUM_THREADS=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONWARNINGS="ignore:Protobuf gencode"
USER 10001:10001
WORKDIR /federation
ENTRYPOINT ["confide"]
CMD ["--help"]
