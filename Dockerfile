# On a processor; point pip at PyTorch's CPU index, or CUDA libraries come along:
#   docker build -t relbid --build-arg PIP_EXTRA_INDEX_URL=... .
#   docker run --rm -p 8501:8501 -v relbid:/work relbid
# With a GPU:
#   docker build -t relbid:cuda --target cuda .
#   docker run --rm --gpus all -p 8501:8501 -v relbid:/work relbid:cuda
# Who reaches the port can start jobs. tests/test_container.py tries what can be tried without a container engine.

FROM python:3.12-slim AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --create-home relbid && mkdir /work && chown relbid /work
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY app app
COPY relevance relevance
COPY scenarios scenarios
COPY simulator simulator
EXPOSE 8501
CMD ["relbid", "app", "--server.address=0.0.0.0", "--server.port=8501", "--server.headless=true"]

FROM base AS cuda
RUN pip install --constraint constraints.txt ".[app,hcmrm]"
USER relbid
WORKDIR /work

FROM base AS cpu
ARG PIP_EXTRA_INDEX_URL
RUN pip install --constraint constraints.txt ".[app,hcmrm]"
USER relbid
WORKDIR /work
