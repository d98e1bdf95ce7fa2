# Builds the image of the catalog: buildah bud --file olm/catalog.Dockerfile --build-arg OPM=IMAGE .
# Where opm's image is pulled from.
ARG OPM=operator-framework/opm:v1.73.0
FROM ${OPM}
ENTRYPOINT ["/bin/opm"]
CMD ["serve", "/configs", "--cache-dir=/tmp/cache"]
COPY olm/catalog /configs
RUN ["/bin/opm", "serve", "/configs", "--cache-dir=/tmp/cache", "--cache-only"]
LABEL operators.operatorframework.io.index.configs.v1=/configs
