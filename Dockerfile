# Three images: `coordinator` (SuperLink, gate, relay, training), `party` (node, feeds) and `limits`
# (the limit service, with neither Flower nor torch in it). The command decides what a container is.
# torch is in none of them: --build-arg EXTRAS=neural adds it to `party`, for the neural model.
# Stages are in the order in which a builder that makes all of them loses least: what confide needs
# first, which lasts while confide itself changes, and images last.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS runtime
# A new volume takes its owner from the image's folder, so the demo's folders are made here.
RUN echo 'confide:x:10001:10001:confide:/tmp:/bin/false' >> /etc/passwd \
 && echo 'confide:x:10001:' >> /etc/group \
 && for folder in ca coordinator limits database password watching releases \
      bank bureau ecommerce payments; do mkdir -p "/federation/$folder"; done \
 && chown -R 10001:10001 /federation && chmod 700 /federation/* \
 && python -m venv /opt/confide
ENV PATH=/opt/confide/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    FLWR_HOME=/tmp/flower \
    FLWR_TELEMETRY_ENABLED=0 \
    FLWR_DISABLE_UPDATE_CHECK=1 \
    FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1 \
    OPENBLAS_NUM_THREADS=1 \
    OMP_NUM_THREADS=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONWARNINGS="ignore:Protobuf gencode" \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /federation
ENTRYPOINT ["confide"]
CMD ["--version"]

FROM runtime AS limits-packages
COPY constraints-limits.txt /src/
RUN pip install --no-deps --requirement /src/constraints-limits.txt

# The others need all of that, and more.
FROM limits-packages AS packages
COPY constraints.txt pyproject.toml /src/
RUN python -c "import tomllib; own = tomllib.load(open('/src/pyproject.toml', 'rb'))['project']; \
print(*own['dependencies'], sep='\n')" > /src/requirements.txt \
 && pip install --constraint /src/constraints.txt --requirement /src/requirements.txt

FROM packages AS party-packages
ARG EXTRAS=
# The CPU build of torch; the one that PyPI has for Linux brings gigabytes of CUDA.
ARG TORCH=https://download.pytorch.org/whl/cpu
RUN if [ -n "$EXTRAS" ]; then \
      python -c "import tomllib; own = tomllib.load(open('/src/pyproject.toml', 'rb'))['project']; \
print(*own['optional-dependencies']['$EXTRAS'], sep='\n')" > /src/extras.txt \
      && pip install --extra-index-url "$TORCH" --constraint /src/constraints.txt \
         --requirement /src/extras.txt; \
    fi

FROM ${BASE} AS source
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY clients clients
COPY server server
RUN pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir /wheels .

FROM limits-packages AS limits
COPY --from=source /wheels /wheels
RUN pip install --no-deps /wheels/*.whl
USER 10001:10001

FROM packages AS coordinator
COPY --from=source /wheels /wheels
RUN pip install --no-deps /wheels/*.whl
USER 10001:10001

FROM party-packages AS party
COPY --from=source /wheels /wheels
RUN pip install --no-deps /wheels/*.whl
USER 10001:10001
