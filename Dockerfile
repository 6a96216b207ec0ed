# docker build -t privatelink-dns .
# docker run -p 53:53/udp -p 53:53/tcp -v ./config:/etc/privatelink-dns:ro privatelink-dns

# Bookworm has the C library that the image below has.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libcap2-bin \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --release --locked
# Port 53 without root; the container needs the capability NET_BIND_SERVICE, which is among Docker's defaults.
RUN setcap cap_net_bind_service=+ep target/release/privatelink-dns \
    && mkdir -p /state/privatelink-dns

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /source/target/release/privatelink-dns /privatelink-dns
COPY --from=build --chown=65532:65532 /state/privatelink-dns /var/lib/privatelink-dns
# A number: Kubernetes cannot tell from a name that it is not root (runAsNonRoot).
USER 65532:65532
EXPOSE 53/udp 53/tcp
ENTRYPOINT ["/privatelink-dns"]
CMD ["serve", "--config", "/etc/privatelink-dns/config.toml"]
