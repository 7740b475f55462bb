# One image for backend, workers and sync.
#   TORCH_INDEX   index to take PyTorch from; empty = pip's own, whose wheels carry CUDA; PyTorch's index of CPU wheels
#                 makes a much smaller image for machines without a GPU
FROM python:3.12-slim

ARG TORCH_INDEX=""
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /src
# PyTorch first: it is large and changes rarely.
COPY constraints.txt ./
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -c constraints.txt torch
COPY pyproject.toml README.md ./
COPY label_config label_config
COPY ml_backend ml_backend
COPY plugins plugins
RUN pip install -c constraints.txt ".[postgres]" && rm -rf /src/build

COPY docker/with-secrets.sh /usr/local/bin/with-secrets.sh

# The same user and group as in Label Studio's image: both write to the shared folder of documents.
RUN useradd --uid 1001 --gid 0 --create-home parallax \
    && install -d -o 1001 -g 0 -m 0775 /project /project/.parallax /documents
USER 1001:0
WORKDIR /project
EXPOSE 9090
ENTRYPOINT ["/usr/local/bin/with-secrets.sh", "parallax", "-c", "/project/parallax.yaml"]
CMD ["status"]
