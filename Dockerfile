# docker build --build-arg VERSION=$(git describe --tags --always) -t pdns-distribute .
FROM golang:1.26 AS build
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
