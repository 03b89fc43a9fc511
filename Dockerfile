# Builds everything into /venv; the image that runs gets that folder and nothing else of this stage.
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /build
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH

# The libraries first: they change seldom, and this layer is kept when only the code has changed.
# TORCH_INDEX: where to take torch from, for example PyTorch's index of wheels without the gigabytes for graphics cards.
ARG TORCH_INDEX=""
COPY pyproject.toml constraints.txt ./
RUN grep '^torch==' constraints.txt > torch.txt \
 && pip install --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --requirement torch.txt \
 && python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
    print(*p['dependencies'], *p['optional-dependencies']['postgresql'], sep='\n')" > requirements.txt \
 && pip install --constraint constraints.txt --requirement requirements.txt \
 && pip install --no-deps label-studio-ml==1.0.9

COPY README.md LICENSE ./
COPY ml_backend ml_backend
COPY plugins plugins
RUN pip install --no-deps .


FROM python:3.11.14-slim-bookworm
RUN groupadd --gid 10001 apprentice \
 && useradd --uid 10001 --gid apprentice --no-create-home --home-dir /tmp --shell /usr/sbin/nologin apprentice \
 && install --directory --owner=apprentice --group=apprentice --mode=0700 /data
COPY --from=build /venv /venv
COPY docker/healthcheck.py /usr/local/bin/healthcheck.py

# The root file system may be read-only: all that is kept lies in /data, all that is not in /tmp.
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    HF_HOME=/data/huggingface \
    APPRENTICE_HOST=0.0.0.0 \
    APPRENTICE_PORT=9090 \
    APPRENTICE_DATA_DIR=/data
USER 10001:10001
WORKDIR /srv
VOLUME /data
EXPOSE 9090
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=4 \
    CMD ["python", "/usr/local/bin/healthcheck.py"]
CMD ["apprentice", "serve"]
