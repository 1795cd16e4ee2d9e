# tc3net in a container. CPU:   docker build -t tc3net .
#                        GPU:   docker build --build-arg EXTRAS=gpu,hdf5,mat,video -t tc3net:gpu .
# Run:  docker run --rm --user "$(id -u):$(id -g)" -v "$PWD":/work tc3net train --flagfile=thumos14.cfg ...   (GPU: add --gpus all)
# docs/install.md says more.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY setup.py pyproject.toml MANIFEST.in README.md LICENSE requirements.txt requirements-addons.txt ./
COPY configs configs
COPY tc3net tc3net
COPY data_prep data_prep
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
ARG EXTRAS=hdf5,mat,video
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /wheels /tmp/wheels
# The versions that the tests ran with; CUDA's libraries, which are not among them, as TensorFlow asks for them.
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt "$(echo /tmp/wheels/tc3net-*.whl)[${EXTRAS}]" \
    && rm -r /tmp/wheels /tmp/constraints.txt \
    && useradd --create-home user
# matplotlib and TensorFlow keep files in the home folder, which any --user may write.
ENV HOME=/tmp PYTHONUNBUFFERED=1
USER user
WORKDIR /work
ENTRYPOINT ["tc3net"]
CMD ["--help"]
