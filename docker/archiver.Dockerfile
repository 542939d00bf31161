# The image of the archiver: that of the database, so that it has the same PostgreSQL, and the same account owns the data.
# fastzero creates the build context: requirements.txt with exact versions and hashes, and app/ with a part of the package.
ARG POSTGRES_IMAGE=postgres:18

FROM ${POSTGRES_IMAGE}
ARG VERSION=0
# An index other than pip's default. It must have the same files: their hashes are checked.
ARG PIP_INDEX_URL
LABEL org.opencontainers.image.title="fastzero-archiver" \
      org.opencontainers.image.description="Archives a PostgreSQL database, and recovers it" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT"
USER root
RUN apt-get update -q \
 && apt-get install -qy --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY requirements.txt /requirements.txt
# --no-deps: barman asks for psycopg2, and has it from psycopg2-binary, which needs no compiler.
RUN python3 -m venv /venv \
 && /venv/bin/pip --disable-pip-version-check install --no-cache-dir --no-deps --require-hashes -r /requirements.txt
ENV PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
COPY app /app
RUN /venv/bin/python -m compileall -q /app \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
USER postgres
WORKDIR /tmp
ENTRYPOINT ["/venv/bin/python", "-P", "-m"]
CMD ["fastzero_core.archive.archiver"]
