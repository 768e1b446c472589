# Three images: `coordinator` (SuperLink, relay, training), `party` (node, feeds) and `limits` (the
# limit service, with neither Flower nor torch in it). The command decides what a container is.
# torch is in none of them: --build-arg EXTRAS=neural adds it to `party`, for the neural model.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS source
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY clients clients
COPY server server
RUN pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir /wheels .

# What confide needs has stages of its own: they last while confide itself changes.
FROM ${BASE} AS packages
WORKDIR /src
COPY constraints.txt pyproject.toml ./
RUN python -m venv /opt/confide \
 && python -c "import tomllib; own = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*own['dependencies'], sep='\n')" > requirements.txt \
 && /opt/confide/bin/pip install --no-cache-dir --disable-pip-version-check \
    --constraint constraints.txt --requirement requirements.txt

FROM packages AS party-packages
ARG EXTRAS=
# The CPU build of torch; the one that PyPI has for Linux brings gigabytes of CUDA.
ARG TORCH=https://download.pytorch.org/whl/cpu
RUN if [ -n "$EXTRAS" ]; then \
      python -c "import tomllib; own = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*own['optional-dependencies']['$EXTRAS'], sep='\n')" > extras.txt \
      && /opt/confide/bin/pip install --no-cache-dir --disable-pip-version-check \
         --extra-index-url "$TORCH" --constraint constraints.txt --requirement extras.txt; \
    fi

FROM ${BASE} AS limits-packages
WORKDIR /src
COPY constraints-limits.txt ./
RUN python -m venv /opt/confide \
 && /opt/confide/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps \
    --requirement constraints-limits.txt

FROM ${BASE} AS runtime
# A new volume takes its owner from the image's folder, so the demo's folders are made here.
RUN echo 'confide:x:10001:10001:confide:/tmp:/bin/false' >> /etc/passwd \
 && echo 'confide:x:10001:' >> /etc/group \
 && for folder in ca coordinator limits database password watching releases \
      bank bureau ecommerce payments; do mkdir -p "/federation/$folder"; done \
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
WORKDIR /federation
ENTRYPOINT ["confide"]
CMD ["--version"]

FROM runtime AS coordinator
COPY --from=packages /opt/confide /opt/confide
COPY --from=source /wheels /wheels
RUN /opt/confide/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /wheels/*.whl
USER 10001:10001

FROM runtime AS party
COPY --from=party-packages /opt/confide /opt/confide
COPY --from=source /wheels /wheels
RUN /opt/confide/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /wheels/*.whl
USER 10001:10001

FROM runtime AS limits
COPY --from=limits-packages /opt/confide /opt/confide
COPY --from=source /wheels /wheels
RUN /opt/confide/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /wheels/*.whl
USER 10001:10001
