# docker build -t privatelink-dns .
# docker run --cap-drop ALL --security-opt no-new-privileges -p 53:53/udp -p 53:53/tcp \
#   -v ./config:/etc/privatelink-dns:ro -v privatelink-dns:/var/lib/privatelink-dns privatelink-dns

# Bookworm has the C library that the image below has.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
# No file capability: with one, exec fails where capabilities are dropped. Port 53 is open to all by the sysctl
# net.ipv4.ip_unprivileged_port_start=0, which Docker sets; the README says what else does.
RUN cargo build --release --locked \
    && mkdir -p /state/privatelink-dns

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /source/target/release/privatelink-dns /privatelink-dns
COPY --from=build --chown=65532:65532 /state/privatelink-dns /var/lib/privatelink-dns
# A number: Kubernetes cannot tell from a name that it is not root (runAsNonRoot).
USER 65532:65532
EXPOSE 53/udp 53/tcp
ENTRYPOINT ["/privatelink-dns"]
CMD ["serve", "--config", "/etc/privatelink-dns/config.toml"]
