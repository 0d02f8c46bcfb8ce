# docker build --build-arg VERSION=$(git describe --tags --always) -t pdns-distribute .
#
# The only image from elsewhere is that of the compiler, of which nothing gets into the result. It is pinned by digest:
# make images asks the registry whether it still has it, and whether the tag still means it. For one of your own:
#   --build-arg GO_IMAGE=registry.example/golang:1.26.8@sha256:...
# What it made can be checked without trust in it: any Go 1.26.8 makes the same file of the same source and VERSION
# (make reproducible).
ARG GO_IMAGE=golang:1.26.8@sha256:0f063af2d465d8dcae54cce04278ada488b96f77b42449c8d071e47d016cc65a
FROM ${GO_IMAGE} AS build
# Neither another compiler than that of the image, nor modules with other content than go.sum says.
ENV GOTOOLCHAIN=local GOFLAGS=-mod=readonly
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN make build VERSION="$VERSION"

# Nothing but the program: it brings no certificates, because every peer is checked against the CA file that it is
# configured with.
FROM scratch
COPY --from=build /src/pdns-distribute /pdns-distribute
USER 65532:65532
# It knows nothing of the role's flags: give the configuration by PDNS_DISTRIBUTE_CONFIG, or at its default place.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["/pdns-distribute", "healthcheck"]
ENTRYPOINT ["/pdns-distribute"]
