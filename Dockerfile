# SPDX-License-Identifier: Apache-2.0
#
# For those who have a container engine; `make images` gives the same content
# without one.
#
#   docker build --target manager -t kube-wlbs.dev/manager:dev .
#   docker build --target agent -t kube-wlbs.dev/agent:dev .

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# The BPF objects are in the repository: no C compiler is needed here.
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w" -o /out/ ./cmd/wlbs-manager ./cmd/wlbs-agent ./hack/whoami

FROM scratch AS whoami
COPY --from=build /out/whoami /whoami
ENTRYPOINT ["/whoami"]

FROM scratch AS agent
LABEL org.opencontainers.image.title="kube-wlbs node agent" \
      org.opencontainers.image.source="https://github.com/kube-wlbs/kube-wlbs" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/wlbs-agent /wlbs-agent
# Loads BPF programs and changes the node's network: root, with the capabilities
# that its DaemonSet names.
ENTRYPOINT ["/wlbs-agent"]

FROM scratch AS manager
LABEL org.opencontainers.image.title="kube-wlbs manager" \
      org.opencontainers.image.source="https://github.com/kube-wlbs/kube-wlbs" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/wlbs-manager /wlbs-manager
USER 65532:65532
ENTRYPOINT ["/wlbs-manager"]
