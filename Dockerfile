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
ENTRYPOINT ["/pdns-distribute"]
